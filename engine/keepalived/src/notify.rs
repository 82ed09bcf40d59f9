//! keepalived's scripts for every server and for the quorum, run from lbd's one program for a service.
//!
//! lbd tells its program what has changed ([docs/health-checks.md](../../../docs/health-checks.md)), keepalived has a script
//! for each change and tells it nothing. A shell finds the one for the other.

use lb::ServiceConfig;

use crate::report::{Kind, Report};
use crate::virtual_server::VirtualServer;

/// What the shell calls itself; lbd's own words follow as its arguments.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];
const NAME: &str = "lbd";

/// The `notify` of `service`, which has become `config`; empty: it has no scripts.
pub fn notify(service: &VirtualServer, config: &ServiceConfig, report: &mut Report) -> Vec<String> {
    let mut branches = Vec::new();
    let mut branch = |change: String, script: &Option<Vec<String>>| {
        if let Some(script) = script {
            let words: Vec<String> = script.iter().map(|word| quoted(word)).collect();
            branches.push(format!("{}) exec {};;", quoted(&change), words.join(" ")));
        }
    };
    for (server, at) in service.servers.iter().zip(&config.servers) {
        branch(format!("SERVER {} UP", at.rip), &server.notify_up);
        branch(format!("SERVER {} DOWN", at.rip), &server.notify_down);
    }
    branch("QUORUM UP".to_owned(), &service.quorum_up);
    branch("QUORUM DOWN".to_owned(), &service.quorum_down);
    if branches.is_empty() {
        return Vec::new();
    }
    let reason = "lbd runs one program for every change of a service: here a shell that runs the script for it, as the user that \
                  lbd runs as";
    let keys = "notify_up, notify_down, quorum_up, quorum_down";
    report.add(Kind::Changed, &service.place, keys, reason);
    // $2 of the quorum's is the service, which has spaces in its name.
    let change = "case \"$1\" in SERVER) change=\"$1 $2 $3\";; *) change=\"$1 $3\";; esac";
    let script = format!("{change}; case \"$change\" in {} esac", branches.join(" "));
    let words = SHELL.into_iter().map(str::to_owned);
    words.chain([script, NAME.to_owned()]).collect()
}

/// A word that a shell takes for what it is.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::{Options, import};

    /// What a real shell runs for each change, in order.
    #[test]
    fn each_change_runs_its_own_script_with_its_own_words() {
        let folder = std::env::temp_dir().join(format!("lb-keepalived-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("keepalived.conf");
        fs::write(
            &file,
            r#"virtual_server 192.0.2.1 80 {
                lvs_method NAT
                quorum_up "/bin/echo quorum up"
                quorum_down "/bin/echo 'quorum is $lost'"
                real_server 10.0.0.1 8080 {
                    notify_up "/bin/echo one up"
                    notify_down "/bin/echo 'one  is' \"isn't\" up"
                    TCP_CHECK { }
                }
                real_server 10.0.0.2 80 {
                    notify_up "/bin/echo two up"
                    TCP_CHECK { }
                }
            }"#,
        )
        .expect("written");
        let import = import(&crate::Disk, &file, &Options::default()).expect("a configuration");
        fs::remove_dir_all(&folder).expect("removed");
        let health = import.settings.health.values().next().expect("a check");
        let notify = &health.policy.notify;
        let service = "tcp 192.0.2.1:80";
        for (change, said) in [
            (["SERVER", "10.0.0.1:8080", "UP"], "one up\n"),
            (["SERVER", "10.0.0.1:8080", "DOWN"], "one  is isn't up\n"),
            (["SERVER", "10.0.0.2:80", "UP"], "two up\n"),
            (["SERVER", "10.0.0.2:80", "DOWN"], ""),
            (["QUORUM", service, "UP"], "quorum up\n"),
            (["QUORUM", service, "DOWN"], "quorum is $lost\n"),
        ] {
            let mut program = Command::new(&notify[0]);
            program.args(&notify[1..]).args(change);
            let output = program
                .args([service, "because"])
                .output()
                .expect("a shell");
            let found = String::from_utf8_lossy(&output.stdout);
            assert_eq!(
                (&*found, output.status.success()),
                (said, true),
                "{change:?}"
            );
        }
    }

    #[test]
    fn words_are_what_they_are_to_a_shell() {
        for (word, expected) in [
            ("/usr/bin/x", "/usr/bin/x"),
            ("", "''"),
            ("two words", "'two words'"),
            ("it's", "'it'\\''s'"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
