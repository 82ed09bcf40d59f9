//! An `lbd` without interfaces, and the programs that ask it.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lb_testkit::program;
use tempfile::TempDir;

/// Bounds a failure only.
const LIMIT: Duration = Duration::from_secs(60);

/// A running `lbd` with a socket of its own; ended with the test.
pub struct Daemon {
    process: Child,
    folder: Folder,
}

/// What is left of a daemon that has ended.
pub struct Gone(Folder);

struct Folder(TempDir);

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    pub stdout: String,
    pub stderr: String,
    pub code: Option<i32>,
}

impl Ended {
    /// What it printed, if it ended well and without a complaint.
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!(
            (self.code, self.stderr.as_str()),
            (Some(0), ""),
            "{}",
            self.stdout
        );
        self.stdout
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Ended {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            code: output.status.code(),
        }
    }
}

impl Daemon {
    pub fn start() -> Daemon {
        Daemon::start_with("", &[])
    }

    /// With more in its file, and in its environment.
    pub fn start_with(more: &str, environment: &[(&str, &OsStr)]) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lbd"));
        command.envs(environment.iter().copied());
        Daemon::spawn(command, more)
    }

    /// As nobody in particular would.
    pub fn start_without_rights() -> Daemon {
        if !rustix::process::geteuid().is_root() {
            return Daemon::start();
        }
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-all", "--inh-caps", "-all"]);
        command.arg(env!("CARGO_BIN_EXE_lbd"));
        Daemon::spawn(command, "")
    }

    fn spawn(mut command: Command, more: &str) -> Daemon {
        let folder = Folder(tempfile::tempdir().expect("a folder"));
        let config = folder.write_config(more);
        let socket = folder.socket();
        symlink(program("lbctl"), folder.path().join("ipvsadm")).expect("a link");
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let process = command
            .args(["run", "--config"])
            .arg(&config)
            .stderr(log)
            .spawn()
            .expect("lbd starts");
        let daemon = Daemon { process, folder };
        daemon.wait_until(|| socket.exists());
        daemon
    }

    /// Waits until something has happened, or fails.
    #[track_caller]
    pub fn wait_until(&self, happened: impl Fn() -> bool) {
        let end = Instant::now() + LIMIT;
        while !happened() {
            assert!(Instant::now() < end, "{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Writes another file in place of the one that it was started with.
    pub fn rewrite(&self, more: &str) {
        self.folder.write_config(more);
    }

    /// Sends what asks a daemon to read its file again.
    pub fn hang_up(&self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("it lives");
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("a file")
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.socket()
    }

    /// `ipvsadm` with the words of a line.
    pub fn ipvsadm(&self, line: &str) -> Ended {
        self.folder.ipvsadm(line, "")
    }

    pub fn ipvsadm_reading(&self, line: &str, input: &str) -> Ended {
        self.folder.ipvsadm(line, input)
    }

    pub fn lbctl(&self, words: &[&str]) -> Ended {
        self.folder.run(program("lbctl"), words, "")
    }

    pub fn curl(&self, words: &[&str]) -> Ended {
        let socket = self.socket();
        let mut all = vec![
            OsStr::new("-sS"),
            OsStr::new("--unix-socket"),
            socket.as_os_str(),
        ];
        all.extend(words.iter().map(OsStr::new));
        self.folder.run("/usr/bin/curl", &all, "")
    }

    /// Ends it as a service manager would.
    pub fn end(mut self) -> Gone {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it lives");
        let status = self.process.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "{}", self.log());
        let folder = std::mem::replace(
            &mut self.folder,
            Folder(tempfile::tempdir().expect("a folder")),
        );
        Gone(folder)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have been ended before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Gone {
    pub fn ipvsadm(&self, line: &str) -> Ended {
        self.0.ipvsadm(line, "")
    }

    pub fn socket(&self) -> PathBuf {
        self.0.socket()
    }
}

impl Folder {
    fn write_config(&self, more: &str) -> PathBuf {
        let (config, socket) = (self.path().join("lbd.toml"), self.socket());
        let text = format!("[engine]\ninterfaces = []\n[control]\nsocket = {socket:?}\n{more}");
        std::fs::write(&config, text).expect("a file");
        config
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn socket(&self) -> PathBuf {
        self.path().join("socket")
    }

    fn ipvsadm(&self, line: &str, input: &str) -> Ended {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.run("ipvsadm", &words, input)
    }

    /// Runs a program of the folder, or of anywhere.
    fn run(&self, program: impl AsRef<Path>, words: &[impl AsRef<OsStr>], input: &str) -> Ended {
        let mut child = Command::new(self.path().join(program))
            .args(words)
            .env("LBD_SOCKET", self.socket())
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut stdin = child.stdin.take().expect("piped");
        // A program that does not read has ended already.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().expect("it ends").into()
    }
}
