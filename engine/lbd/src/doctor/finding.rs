//! What was found.

use std::fmt::Write;

use serde::Serialize;

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// `machine`, `configuration`, `server ADDRESS`, or an interface's name.
    pub about: String,
    /// What was looked at, in a word that stays the same.
    pub check: &'static str,
    pub verdict: Verdict,
    /// What was seen, and what it means.
    pub text: String,
    /// The command that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but could be better.
    Advice,
    /// lbd would not start, or lose traffic.
    Problem,
    /// It could not be looked at.
    Unseen,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Advice => "advice",
            Verdict::Problem => "PROBLEM",
            Verdict::Unseen => "unseen",
        }
    }
}

impl Finding {
    pub fn ok(about: &str, check: &'static str, text: impl Into<String>) -> Finding {
        Finding::new(about, check, Verdict::Ok, text)
    }

    pub fn advice(about: &str, check: &'static str, text: impl Into<String>) -> Finding {
        Finding::new(about, check, Verdict::Advice, text)
    }

    pub fn problem(about: &str, check: &'static str, text: impl Into<String>) -> Finding {
        Finding::new(about, check, Verdict::Problem, text)
    }

    pub fn unseen(about: &str, check: &'static str, text: impl Into<String>) -> Finding {
        Finding::new(about, check, Verdict::Unseen, text)
    }

    /// The same, with the command that mends it.
    pub fn mend(self, command: impl Into<String>) -> Finding {
        Finding {
            fix: Some(command.into()),
            ..self
        }
    }

    fn new(about: &str, check: &'static str, verdict: Verdict, text: impl Into<String>) -> Finding {
        Finding {
            about: about.to_owned(),
            check,
            verdict,
            text: text.into(),
            fix: None,
        }
    }
}

/// For people: a line for each finding, with what mends it below.
pub fn shown(findings: &[Finding]) -> String {
    let longest = findings.iter().map(|finding| finding.about.len()).max();
    let width = longest.unwrap_or_default();
    let mut text = String::new();
    for finding in findings {
        let (verdict, about) = (finding.verdict.name(), &finding.about);
        let line = format!("{verdict:<8} {about:<width$}  {}", finding.text);
        let fix = finding.fix.as_ref();
        let fix = fix.map(|fix| format!("{:9}{:width$}  try: {fix}", "", ""));
        for line in [Some(line), fix].into_iter().flatten() {
            writeln!(text, "{line}").expect("a String takes everything");
        }
    }
    let count = |verdict| findings.iter().filter(|f| f.verdict == verdict).count();
    let problems = match count(Verdict::Problem) {
        0 => "no problem".to_owned(),
        1 => "1 problem".to_owned(),
        more => format!("{more} problems"),
    };
    let unseen = match count(Verdict::Unseen) {
        0 => String::new(),
        unseen => format!("; {unseen} could not be looked at"),
    };
    text + &problems + &unseen + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_a_line_for_each_and_what_to_type() {
        let findings = [
            Finding::ok("machine", "kernel", "Linux 6.18"),
            Finding::problem("eth0", "lro", "LRO is on").mend("ethtool -K eth0 lro off"),
            Finding::unseen("eth0", "interrupts", "not told"),
        ];
        assert_eq!(
            shown(&findings),
            "ok       machine  Linux 6.18\n\
             PROBLEM  eth0     LRO is on\n\
             \x20                 try: ethtool -K eth0 lro off\n\
             unseen   eth0     not told\n\
             1 problem; 1 could not be looked at\n"
        );
    }

    #[test]
    fn programs_see_stable_names() {
        let finding = Finding::advice("eth0", "mtu", "small");
        assert_eq!(
            serde_json::to_string(&finding).expect("plain data"),
            r#"{"about":"eth0","check":"mtu","verdict":"advice","text":"small"}"#
        );
    }
}
