//! `lbctl top` and `lbctl why` in a real terminal: tmux has it, keys are typed, and what is on the screen is compared with what
//! is kept in `screens/`.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::daemon::Daemon;

const SERVICES: &str = "-A -t 198.51.100.10:80 -s wlc\n\
    -a -t 198.51.100.10:80 -r 10.20.0.11:8080 -m -w 3\n\
    -a -t 198.51.100.10:80 -r 10.20.0.12:8080 -m -w 0\n\
    -A -u 198.51.100.10:53 -s mh\n\
    -a -u 198.51.100.10:53 -r 10.20.0.21:53 -g -w 1\n";

/// A terminal of 100 columns and 20 lines in which a command runs; it ends with the test.
struct Terminal<'a> {
    folder: TempDir,
    daemon: &'a Daemon,
}

impl<'a> Terminal<'a> {
    fn start(daemon: &'a Daemon, words: &str) -> Terminal<'a> {
        let folder = tempfile::tempdir().expect("a folder");
        let terminal = Terminal { folder, daemon };
        let lbctl = lb_testkit::program("lbctl");
        let socket = daemon.socket();
        // A shell stays, so that what a command has printed can be looked at when it has ended.
        let command = format!(
            "LBD_SOCKET={} {} {words}; echo; echo END; read -r _",
            socket.display(),
            lbctl.display()
        );
        terminal.tmux(&["new-session", "-d", "-x", "100", "-y", "20", &command]);
        terminal
    }

    fn tmux(&self, words: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S")
            .arg(self.folder.path().join("tmux"))
            .args(["-f", "/dev/null", "-u"]);
        let output = tmux
            .args(words)
            .env("TERM", "xterm")
            .output()
            .expect("tmux starts");
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// What is on the screen once `text` is, without the spaces at the ends of lines and what no two runs have alike.
    fn screen(&self, text: &str) -> String {
        self.daemon
            .wait_until(|| self.tmux(&["capture-pane", "-p"]).contains(text));
        let screen = self.tmux(&["capture-pane", "-p"]);
        let mut lines: Vec<String> = screen
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        if let Some(first) = lines.first_mut()
            && let Some((before, after)) = first.split_once("up ")
            && let Some((_, after)) = after.split_once("  ")
        {
            *first = format!("{before}up ...  {after}");
        }
        lines.join("\n") + "\n"
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        // Where the session has ended tmux has ended with it.
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(self.folder.path().join("tmux"));
        let _ = tmux.arg("kill-server").output();
    }
}

/// With `LBD_RENEW_SCREENS` in the environment the screens are kept instead.
#[track_caller]
fn is_kept(name: &str, screen: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control/screens");
    let file = folder.join(name);
    if std::env::var_os("LBD_RENEW_SCREENS").is_some() {
        std::fs::write(&file, screen).expect("a file");
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(screen, kept, "{name}\n{screen}");
}

fn has_tmux() -> bool {
    let there = Command::new("tmux").arg("-V").output().is_ok();
    if !there {
        println!("SKIPPED: no tmux");
    }
    there
}

#[test]
fn top_is_drawn_and_its_keys_lead_from_page_to_page() {
    if !has_tmux() {
        return;
    }
    let daemon = Daemon::start();
    daemon.ipvsadm_reading("-R", SERVICES).done();
    let terminal = Terminal::start(&daemon, "top");
    is_kept("top.txt", &terminal.screen("udp 198.51.100.10:53"));
    terminal.press("Enter");
    is_kept("top-servers.txt", &terminal.screen("10.20.0.12:8080"));
    terminal.press("Escape");
    terminal.screen("udp 198.51.100.10:53");
    terminal.press("d");
    is_kept("top-drops.txt", &terminal.screen("REASON"));
    terminal.press("w");
    is_kept("top-workers.txt", &terminal.screen("WORKER"));
    terminal.press("q");
    // The terminal is as it was.
    assert_eq!(terminal.screen("END"), "\nEND\n");
}

#[test]
fn why_is_readable_in_a_terminal() {
    if !has_tmux() {
        return;
    }
    let daemon = Daemon::start();
    daemon.ipvsadm_reading("-R", SERVICES).done();
    let terminal = Terminal::start(&daemon, "why 203.0.113.7:40000 198.51.100.10:80");
    is_kept("why.txt", &terminal.screen("END"));
    let terminal = Terminal::start(&daemon, "why 203.0.113.7:40000 198.51.100.10:81");
    is_kept("why-not-ours.txt", &terminal.screen("END"));
}
