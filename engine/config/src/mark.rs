//! `[[mark]]`: which packets get which mark.

use std::ops::RangeInclusive;

use lb::MarkRule;

use super::fault::Faults;
use super::network::PREFIX;
use super::schema::number;
use super::section::{Kind, Section};
use super::service::PROTOCOL;

pub const MARK: Kind<u32> = Kind {
    allowed: "1..=4294967295",
    parse: |value| number(value).filter(|mark| *mark > 0),
};

pub const PORTS: Kind<RangeInclusive<u16>> = Kind {
    allowed: "a port or two with a dash between, like \"80\" or \"80-90\"",
    parse: |value| ports(value.as_str()?),
};

fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = first.parse().ok()?..=last.parse().ok()?;
    (!range.is_empty()).then_some(range)
}

pub fn read(mut section: Section<'_>, faults: &mut Faults<'_>) -> Option<MarkRule> {
    let mark = section.required("mark", &MARK, faults);
    let destination = section.required("destination", &PREFIX, faults);
    let protocol = section.value("protocol", &PROTOCOL, faults);
    let ports = section.value("ports", &PORTS, faults);
    section.end(faults);
    Some(MarkRule {
        mark: mark?,
        destination: destination?,
        protocol,
        ports,
    })
}

#[cfg(test)]
mod tests {
    use super::ports;

    #[test]
    fn ports_are_one_or_a_range_in_order() {
        assert_eq!(ports("80"), Some(80..=80));
        assert_eq!(ports("80-90"), Some(80..=90));
        for bad in ["90-80", "", "-", "80-", "70000", "80-90-100"] {
            assert_eq!(ports(bad), None, "{bad}");
        }
    }
}
