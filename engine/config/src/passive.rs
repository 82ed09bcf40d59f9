//! `[service.passive]`: when servers are suspected by their clients' packets.

use lb_checks::Passive;

use super::check::SPAN;
use super::fault::Faults;
use super::lines::{Lines, shown};
use super::schema::number;
use super::section::{Kind, Section};

const PERCENT_OR_NONE: Kind<u32> = Kind {
    allowed: "percent, 1..=100, or 0 to look away",
    parse: |value| number(value).filter(|percent| *percent <= 100),
};

const PERCENT: Kind<u32> = Kind {
    allowed: "percent, 1..=99",
    parse: |value| number(value).filter(|percent| (1..=99).contains(percent)),
};

const CONNS: Kind<u32> = Kind {
    allowed: "1..=1000000",
    parse: |value| number(value).filter(|conns| (1..=1_000_000).contains(conns)),
};

/// The whole table.
pub fn read(mut section: Section<'_>, faults: &mut Faults<'_>) -> Passive {
    let usual = Passive::default();
    let mut value = |key, kind: &Kind<u32>, usual| {
        let value = section.value(key, kind, faults);
        value.unwrap_or(usual)
    };
    let passive = Passive {
        window: usual.window,
        unanswered: value("unanswered", &PERCENT_OR_NONE, usual.unanswered),
        resets: value("resets", &PERCENT_OR_NONE, usual.resets),
        least_conns: value("least_conns", &CONNS, usual.least_conns),
        keeps: value("keeps", &PERCENT, usual.keeps),
        most_taken: value("most_taken", &PERCENT, usual.most_taken),
    };
    let window = section.value("window", &SPAN, faults);
    if passive.most_taken + passive.keeps >= 100 {
        let at = ["most_taken", "keeps"]
            .into_iter()
            .find(|key| section.has(key));
        let allowed = "together less than 100, so that never all servers are suspects";
        section.reproach(at.unwrap_or("keeps"), allowed, faults);
    }
    section.end(faults);
    Passive {
        window: window.unwrap_or(usual.window),
        ..passive
    }
}

/// The lines that [`read`] reads as `passive`.
pub fn written(passive: &Passive) -> Lines {
    let Passive {
        window,
        unanswered,
        resets,
        least_conns,
        keeps,
        most_taken,
    } = passive;
    let usual = Passive::default();
    let mut lines = Lines::default();
    lines.always("window", shown(*window));
    for (key, value, usual) in [
        ("unanswered", unanswered, usual.unanswered),
        ("resets", resets, usual.resets),
        ("least_conns", least_conns, usual.least_conns),
        ("keeps", keeps, usual.keeps),
        ("most_taken", most_taken, usual.most_taken),
    ] {
        lines.unless(*value == usual, key, || value.to_string());
    }
    lines
}
