//! What a process has used of its CPU.

use std::time::Duration;
use std::{fs, io};

/// The kernel's clock ticks, by which it tells a process's own time from its own on the process's behalf.
const TICK: Duration = Duration::from_millis(10);

/// CPU time of a process so far, or between two looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// On a CPU, exactly.
    pub running: Duration,
    /// Ready to run, while something else ran.
    pub waiting: Duration,
    /// In the program itself, to a tick.
    pub user: Duration,
    /// In the kernel for the program, to a tick.
    pub kernel: Duration,
}

impl Usage {
    /// What the process has used so far.
    pub fn of(process: u32) -> io::Result<Usage> {
        let mut usage = ticks(&fs::read_to_string(format!("/proc/{process}/stat"))?)
            .ok_or_else(|| io::Error::other("/proc/PID/stat is not as expected"))?;
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            // A thread that has ended in between takes its share with it; the one that works does not end.
            if let Ok(line) = fs::read_to_string(thread?.path().join("schedstat"))
                && let Some((running, waiting)) = run_times(&line)
            {
                usage.running += running;
                usage.waiting += waiting;
            }
        }
        Ok(usage)
    }

    /// What was used between `earlier` and this.
    pub fn since(&self, earlier: &Usage) -> Usage {
        Usage {
            running: self.running.saturating_sub(earlier.running),
            waiting: self.waiting.saturating_sub(earlier.waiting),
            user: self.user.saturating_sub(earlier.user),
            kernel: self.kernel.saturating_sub(earlier.kernel),
        }
    }
}

/// From a line of `/proc/PID/stat`: fields 14 and 15 of proc(5), where the second is a name that may have blanks.
fn ticks(stat: &str) -> Option<Usage> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut time = || Some(TICK * fields.next()?.parse().ok()?);
    Some(Usage {
        user: time()?,
        kernel: time()?,
        ..Usage::default()
    })
}

/// From `/proc/PID/task/TID/schedstat`: time running, and time ready to run.
fn run_times(schedstat: &str) -> Option<(Duration, Duration)> {
    let mut fields = schedstat.split_whitespace();
    let mut time = || Some(Duration::from_nanos(fields.next()?.parse().ok()?));
    Some((time()?, time()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_blanks_and_brackets() {
        let stat = "42 (a (b) c) R 1 1 1 0 -1 4194304 1 0 0 0 250 30 0 0 20 0 3 0 100 1 1";
        let usage = ticks(stat).expect("a line of stat");
        assert_eq!(usage.user, Duration::from_millis(2500));
        assert_eq!(usage.kernel, Duration::from_millis(300));
        assert_eq!(ticks("42 (name) R 1"), None);
    }

    #[test]
    fn run_times_are_in_nanoseconds() {
        let expected = (Duration::from_micros(5), Duration::from_nanos(7));
        assert_eq!(run_times("5000 7 3\n"), Some(expected));
        assert_eq!(run_times("5000\n"), None);
    }

    #[test]
    fn a_process_that_works_is_seen_working() {
        let before = Usage::of(std::process::id()).expect("we exist");
        while Usage::of(std::process::id()).expect("we exist").running == before.running {}
        let after = Usage::of(std::process::id()).expect("we exist");
        assert!(after.since(&before).running > Duration::ZERO);
    }
}
