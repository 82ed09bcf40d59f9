//! Programs of others, with a limit to what they can do to us.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

/// As much of what a program prints as can be quoted.
const LONGEST_LINE: usize = 200;

/// What a program prints after its end is not waited for; its children may hold the pipe.
const LAST_WORDS: Duration = Duration::from_millis(20);

/// A program and its arguments, run in a process group of its own.
pub struct Command {
    name: String,
    command: tokio::process::Command,
}

impl Command {
    /// The program and arguments in `words`, with more in its environment.
    pub fn new(words: &[String], environment: &[(&str, String)]) -> Command {
        let name = words.first().cloned().unwrap_or_default();
        let mut command = tokio::process::Command::new(&name);
        command
            .args(words.iter().skip(1))
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        Command { name, command }
    }

    /// Runs it to its end; what it ended with, and the first line that it printed, if that was not 0. Given up before,
    /// it is killed with all its children.
    pub async fn run(mut self) -> Result<(), String> {
        let child = self.command.spawn();
        let mut child = child.map_err(|error| format!("{}: {error}", self.name))?;
        let mut group = Group::of(&child);
        let mut output = Output::of(&mut child);
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                // Whoever prints much is not stopped by a full pipe.
                () = output.read(), if output.is_open() => {}
            }
        };
        group.ended();
        let status = status.map_err(|error| format!("{}: {error}", self.name))?;
        if status.success() {
            return Ok(());
        }
        while output.is_open() && timeout(LAST_WORDS, output.read()).await.is_ok() {}
        match output.first_line().as_str() {
            "" => Err(status.to_string()),
            line => Err(format!("{status}: {line}")),
        }
    }
}

/// What a program prints.
struct Output {
    pipe: Option<ChildStdout>,
    /// The beginning of it.
    text: Vec<u8>,
}

impl Output {
    fn of(child: &mut Child) -> Output {
        Output {
            pipe: child.stdout.take(),
            text: Vec::new(),
        }
    }

    fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    async fn read(&mut self) {
        let mut buffer = [0; 512];
        let Some(pipe) = &mut self.pipe else {
            return;
        };
        match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => self.pipe = None,
            Ok(length) => {
                let room = LONGEST_LINE.saturating_sub(self.text.len());
                self.text.extend_from_slice(&buffer[..length.min(room)]);
            }
        }
    }

    fn first_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.text);
        let line = text.trim().lines().next().unwrap_or_default();
        line.chars().filter(|letter| !letter.is_control()).collect()
    }
}

/// A program with its children, killed when this goes, unless it has ended.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Group {
        let leader = child.id().and_then(|id| i32::try_from(id).ok());
        Group(leader.map(Pid::from_raw))
    }

    fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Nobody is left of it, at worst. Its number is not another's: we have not taken note of its end yet.
            let _ = killpg(leader, Signal::SIGKILL);
        }
    }
}

/// Runs programs that are told something, those for the same recipient one after the other, without making anybody wait.
#[derive(Default)]
pub struct Notifier {
    recipients: HashMap<String, Sender<Vec<String>>>,
}

/// Messages to one recipient that wait for their turn.
const QUEUE: usize = 256;

/// How long a program may take to be told something.
const PATIENCE: Duration = Duration::from_secs(30);

impl Notifier {
    /// Runs the program in `words` after all others for `recipient`.
    pub fn tell(&mut self, recipient: &str, words: Vec<String>) {
        let sender = self
            .recipients
            .entry(recipient.to_owned())
            .or_insert_with(|| {
                let (sender, messages) = channel(QUEUE);
                tokio::spawn(deliver(messages));
                sender
            });
        if sender.try_send(words).is_err() {
            tracing::warn!("{recipient}: {QUEUE} notifications wait already, one more is left out");
        }
    }
}

async fn deliver(mut messages: Receiver<Vec<String>>) {
    while let Some(words) = messages.recv().await {
        let ended = timeout(PATIENCE, Command::new(&words, &[]).run()).await;
        let why = match ended {
            Ok(Ok(())) => continue,
            Ok(Err(why)) => why,
            Err(_) => format!("killed after {PATIENCE:?}"),
        };
        tracing::warn!("notify {}: {why}", words.join(" "));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn words(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(future)
    }

    #[test]
    fn a_program_says_how_it_ended() {
        for (script, expected) in [
            ("exit 0", Ok(())),
            ("echo fine; echo more; yes | head -c 200000", Ok(())),
            ("exit 3", Err("exit status: 3")),
            (
                "echo; echo \"too old\"; echo by far; exit 1",
                Err("exit status: 1: too old"),
            ),
            ("kill -9 $$", Err("signal: 9 (SIGKILL)")),
            ("echo $PLACE; exit 1", Err("exit status: 1: here")),
            (
                "sleep 1000 & echo left behind; exit 1",
                Err("exit status: 1: left behind"),
            ),
        ] {
            let environment = [("PLACE", "here".to_owned())];
            let mut words = words(script);
            if script.starts_with("sleep") {
                // Its child does not outlive the test.
                words[2] = script.replace("sleep 1000", "sleep 5");
            }
            let ended = run(Command::new(&words, &environment).run());
            assert_eq!(ended, expected.map_err(str::to_owned), "{script}");
        }
        let missing = run(Command::new(&["/no/such/program".to_owned()], &[]).run());
        assert!(
            missing
                .expect_err("missing")
                .starts_with("/no/such/program: No such file")
        );
    }

    #[test]
    fn a_program_that_is_given_up_dies_with_its_children() {
        let folder = tempfile::tempdir().expect("a folder");
        let pids = folder.path().join("pids");
        let script = format!(
            "sleep 1000 & echo $! $$ > {}.new; mv {0}.new {0}; wait",
            pids.display()
        );
        run(async {
            let command = Command::new(&words(&script), &[]).run();
            tokio::select! {
                ended = command => panic!("{ended:?}"),
                () = until(|| pids.exists()) => {}
            }
            let text = std::fs::read_to_string(&pids).expect("a file");
            let pids: Vec<&str> = text.split_whitespace().collect();
            assert_eq!(pids.len(), 2);
            for pid in pids {
                until(|| is_gone(pid)).await;
            }
        });
    }

    /// A zombie that nobody has taken note of yet is as dead as one can be.
    fn is_gone(pid: &str) -> bool {
        let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
        stat.map_or(true, |stat| stat.contains(") Z "))
    }

    #[test]
    fn messages_to_one_recipient_come_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        run(async {
            let mut notifier = Notifier::default();
            let mut expected = String::new();
            for number in 0..5 {
                let script = format!(
                    "sleep 0.0{}; echo {number} >> {}",
                    5 - number,
                    log.display()
                );
                notifier.tell("web", words(&script));
                expected += &format!("{number}\n");
            }
            until(|| std::fs::read_to_string(&log).is_ok_and(|log| log == expected)).await;
        });
    }

    async fn until(happened: impl Fn() -> bool) {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
