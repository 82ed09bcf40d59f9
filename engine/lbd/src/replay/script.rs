//! The commands of a replay: lines `SECONDS ARGS...`, seconds in the capture's clock.

use std::path::Path;

use anyhow::{Context, bail};
use lb::Time;

#[derive(Debug, Default)]
pub struct Script(Vec<Line>);

/// One command.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    pub time: Time,
    /// As written.
    pub text: String,
    pub words: Vec<String>,
}

impl Script {
    pub fn read(path: &Path) -> anyhow::Result<Script> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Script::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> anyhow::Result<Script> {
        let mut lines: Vec<Line> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (seconds, words) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let time = nanos(seconds).with_context(|| {
                format!("line {number}: \"{seconds}\", allowed: seconds in the capture's clock, like 12.5")
            })?;
            if lines.last().is_some_and(|before| before.time > time) {
                bail!("line {number}: {seconds} is earlier than the line before");
            }
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            // ipvsadm's name is what its users type first.
            let words = match words.split_first() {
                Some((name, rest)) if name == "ipvsadm" => rest.to_vec(),
                _ => words,
            };
            lines.push(Line {
                time,
                text: line.to_owned(),
                words,
            });
        }
        Ok(Script(lines))
    }

    /// In the order of time.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.0.iter()
    }
}

/// Decimal seconds to nanoseconds, exactly: floating point is too coarse for seconds since 1970.
fn nanos(seconds: &str) -> Option<Time> {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.is_empty() || fraction.len() > 9 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let fraction: u64 = format!("{fraction:0<9}").parse().ok()?;
    Some(Time::from_nanos(
        whole.checked_mul(1_000_000_000)?.checked_add(fraction)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_exact() {
        assert_eq!(
            nanos("1700000000.000000001"),
            Some(Time::from_nanos(1_700_000_000_000_000_001))
        );
        assert_eq!(nanos("0.5"), Some(Time::from_nanos(500_000_000)));
        assert_eq!(nanos("7"), Some(Time::from_nanos(7_000_000_000)));
        for bad in [
            "",
            ".5",
            "-1",
            "1e3",
            "1.0000000001",
            "99999999999999999999",
            "x",
        ] {
            assert_eq!(nanos(bad), None, "{bad}");
        }
    }

    #[test]
    fn lines_are_times_and_words() {
        let script =
            Script::parse("# a comment\n\n1.5 ipvsadm -A -t 10.0.0.1:80\n2 -Ln\n").expect("valid");
        let lines: Vec<(u64, &[String])> = script
            .lines()
            .map(|l| (l.time.as_nanos(), &l.words[..]))
            .collect();
        assert_eq!(lines[0].1, ["-A", "-t", "10.0.0.1:80"]);
        assert_eq!(
            (lines[1].0, lines[1].1),
            (2_000_000_000, &["-Ln".to_owned()][..])
        );
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, named) in [
            ("1 -L\nsoon -L", "line 2"),
            ("2 -L\n1 -L", "line 2: 1 is earlier"),
        ] {
            let error = Script::parse(text).expect_err("wrong").to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
