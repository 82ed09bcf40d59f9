//! What happens to a thread beside its own work.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// This thread, as the kernel's books have it.
pub struct ThreadEvents {
    stat: File,
    schedstat: File,
}

/// How much has happened to it so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Happened {
    /// Pages that it had to wait for.
    pub faults: u64,
    /// How often it came to a CPU: once more for each time that another thread had it.
    pub arrivals: u64,
}

impl ThreadEvents {
    /// The thread that calls this.
    ///
    /// # Errors
    ///
    /// If `/proc` is not there.
    pub fn of_this_thread() -> io::Result<ThreadEvents> {
        Ok(ThreadEvents {
            stat: File::open("/proc/thread-self/stat")?,
            schedstat: File::open("/proc/thread-self/schedstat")?,
        })
    }

    /// What has happened to it by now. It takes no memory to find out.
    ///
    /// # Errors
    ///
    /// If `/proc` is not as expected.
    pub fn so_far(&self) -> io::Result<Happened> {
        let unexpected = || io::Error::other("/proc/thread-self is not as expected");
        Ok(Happened {
            faults: faults(read(&self.stat, &mut [0; 1024])?).ok_or_else(unexpected)?,
            arrivals: arrivals(read(&self.schedstat, &mut [0; 128])?).ok_or_else(unexpected)?,
        })
    }
}

fn read<'b>(file: &File, buffer: &'b mut [u8]) -> io::Result<&'b str> {
    let len = file.read_at(buffer, 0)?;
    str::from_utf8(&buffer[..len]).map_err(io::Error::other)
}

/// From a line of `/proc/PID/stat`: fields 10 and 12 of proc_pid_stat(5), where the second is a name that may have blanks.
fn faults(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(7);
    let minor: u64 = fields.next()?.parse().ok()?;
    let major: u64 = fields.nth(1)?.parse().ok()?;
    Some(minor + major)
}

/// From `/proc/PID/schedstat`: the last field, "# of timeslices run on this cpu" (kernel
/// `Documentation/scheduler/sched-stats.rst`).
fn arrivals(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let stat = "81 (a (b) c) R 1 81 81 0 -1 4194304 1234 0 5 0 7 8 0 0 20 0 1 0\n";
        assert_eq!(faults(stat), Some(1239));
        assert_eq!(arrivals("1000 200 34\n"), Some(34));
    }

    #[test]
    fn a_page_that_is_written_for_the_first_time_is_seen() {
        let events = ThreadEvents::of_this_thread().expect("Linux has it");
        let before = events.so_far().expect("as expected");
        std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = events.so_far().expect("as expected");
        assert!(after.faults > before.faults && after.arrivals >= before.arrivals);
    }
}
