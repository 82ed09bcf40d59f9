//! Time spans as people write them.

use std::time::Duration;

use lb::ConnState;
use toml::de::DeValue;

use super::section::Kind;

/// The keys of `[timeouts]`, and the states whose time-outs ipvsadm's `--set` changes.
pub const SETTABLE: [(&str, ConnState); 3] = [
    ("tcp", ConnState::Established),
    ("tcp_fin", ConnState::FinWait),
    ("udp", ConnState::Udp),
];

/// ipvsadm's `MAX_TIMEOUT`.
const LONGEST: Duration = Duration::from_secs(31 * 24 * 3600);

/// Whole seconds, as IPVS counts them.
pub const DURATION: Kind<Duration> = Kind {
    allowed: "whole seconds in words like \"300s\", \"15m\" or \"1h 30m\", up to 31 days",
    parse: duration,
};

fn duration(value: &DeValue<'_>) -> Option<Duration> {
    let duration = humantime::parse_duration(value.as_str()?).ok()?;
    let whole = duration.subsec_nanos() == 0 && !duration.is_zero();
    (whole && duration <= LONGEST).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_seconds_with_their_units() {
        let read = |text: &str| duration(&DeValue::String(text.into())).map(|d| d.as_secs());
        for (text, seconds) in [
            ("300s", 300),
            ("15m", 900),
            ("1h 30m", 5400),
            ("1h30m", 5400),
            ("31d", 2_678_400),
            ("2000ms", 2),
        ] {
            assert_eq!(read(text), Some(seconds), "{text}");
        }
        for text in [
            "",
            "300",
            "0s",
            "1.5s",
            "1500ms",
            "32d",
            "-1s",
            "soon",
            "99999999999999999999s",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
