//! IPv4 options (RFC 791 section 3.1), as a router acts on them: kernel `__ip_options_compile`.

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const RECORD_ROUTE: u8 = 7;
const TIMESTAMP: u8 = 68;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const ROUTER_ALERT: u8 = 148;
const STRICT_SOURCE_ROUTE: u8 = 137;
/// Whether every fragment has the option, or just the first.
const COPIED: u8 = 0x80;

/// What to write into a timestamp option.
#[derive(Clone, Copy, Debug)]
enum Stamp {
    TimeOnly,
    AddressAndTime,
    /// At addresses that the sender has chosen.
    Prespecified,
}

impl Stamp {
    fn of(overflow_flags: u8) -> Option<Stamp> {
        match overflow_flags & 0xf {
            0 => Some(Stamp::TimeOnly),
            1 => Some(Stamp::AddressAndTime),
            3 => Some(Stamp::Prespecified),
            _ => None,
        }
    }
}

/// What is wrong with a header's options: the place, counted in bytes from their beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadOption(pub usize);

/// What options ask for that only a host with a route of its own can give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Nothing.
    Nothing,
    /// That the packet take a route of the sender's choice.
    SourceRoute,
}

/// Whether `options`, the bytes behind the fixed header, are well formed, and what they ask for.
pub fn check(options: &[u8]) -> Result<Asked, BadOption> {
    let mut asked = Asked::Nothing;
    let (mut routes, mut stamps, mut source_routes) = (0, 0, 0);
    let mut rest = 0;
    while let Some(found) = next(options, rest) {
        let (at, len) = found?;
        let option = &options[at..at + len];
        rest = at + len;
        let bad = |place| BadOption(at + place);
        let pointer = |least: usize| match option.get(2) {
            None => Err(bad(1)),
            Some(pointer) if usize::from(*pointer) < least => Err(bad(2)),
            Some(pointer) => Ok(usize::from(*pointer)),
        };
        let once = |seen: &mut u32| {
            *seen += 1;
            if *seen > 1 { Err(bad(0)) } else { Ok(()) }
        };
        match option[0] {
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => {
                pointer(4)?;
                once(&mut source_routes)?;
                asked = Asked::SourceRoute;
            }
            RECORD_ROUTE => {
                once(&mut routes)?;
                let pointer = pointer(4)?;
                if pointer <= len && pointer + 3 > len {
                    return Err(bad(2));
                }
            }
            TIMESTAMP => {
                once(&mut stamps)?;
                if len < 4 {
                    return Err(bad(1));
                }
                let pointer = pointer(5)?;
                let Some(stamp) = Stamp::of(option[3]) else {
                    return Err(bad(3));
                };
                let needs = if let Stamp::TimeOnly = stamp { 3 } else { 7 };
                if pointer <= len && pointer + needs > len {
                    return Err(bad(2));
                }
                if pointer > len && option[3] >> 4 == 0xf {
                    return Err(bad(3));
                }
            }
            ROUTER_ALERT if len < 4 => return Err(bad(1)),
            _ => {}
        }
    }
    Ok(asked)
}

/// Writes `address` and `time` (RFC 791: milliseconds) where [checked](check) options ask for them.
pub fn record(options: &mut [u8], address: [u8; 4], time: u32) {
    let mut at = 0;
    while let Some(Ok((start, len))) = next(options, at) {
        let option = &mut options[start..start + len];
        match option[0] {
            RECORD_ROUTE => record_route(option, address),
            TIMESTAMP => record_time(option, address, time),
            _ => {}
        }
        at = start + len;
    }
}

/// Blanks out what only the first fragment of a packet has (kernel `ip_options_fragment`).
pub fn blank_not_copied(options: &mut [u8]) {
    let mut at = 0;
    while let Some(Ok((start, len))) = next(options, at) {
        if options[start] & COPIED == 0 {
            options[start..start + len].fill(NO_OPERATION);
        }
        at = start + len;
    }
}

fn record_route(option: &mut [u8], address: [u8; 4]) {
    let at = usize::from(option[2]) - 1;
    if let Some(place) = option.get_mut(at..at + 4) {
        place.copy_from_slice(&address);
        option[2] += 4;
    }
}

fn record_time(option: &mut [u8], address: [u8; 4], time: u32) {
    let at = usize::from(option[2]) - 1;
    if at >= option.len() {
        // No room: counted, as far as four bits go.
        option[3] = option[3].saturating_add(0x10);
        return;
    }
    let with_address = !matches!(Stamp::of(option[3]), Some(Stamp::TimeOnly));
    if let Some(Stamp::Prespecified) = Stamp::of(option[3])
        && option.get(at..at + 4) != Some(&address[..])
    {
        return;
    }
    let stamp = at + if with_address { 4 } else { 0 };
    if let Some(place) = option.get_mut(stamp..stamp + 4) {
        place.copy_from_slice(&time.to_be_bytes());
        if with_address {
            option[at..at + 4].copy_from_slice(&address);
        }
        option[2] += (stamp + 4 - at) as u8;
    }
}

/// The next option from `at` on that is longer than a byte: where it begins, and how long it is.
fn next(options: &[u8], mut at: usize) -> Option<Result<(usize, usize), BadOption>> {
    while options.get(at) == Some(&NO_OPERATION) {
        at += 1;
    }
    let rest = options.get(at..)?;
    if *rest.first()? == END {
        return None;
    }
    let len = rest.get(1).map_or(0, |len| usize::from(*len));
    Some(if len < 2 || len > rest.len() {
        Err(BadOption(at))
    } else {
        Ok((at, len))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: [u8; 4] = [10, 0, 0, 100];
    const TIME: u32 = 0x8000_0001;

    #[test]
    fn options_are_written_to_as_a_router_does() {
        let cases: [(&str, &[u8], &[u8]); 9] = [
            ("no operation", &[1, 1, 1, 1], &[1, 1, 1, 1]),
            (
                "record route",
                &[7, 7, 4, 0, 0, 0, 0, 0],
                &[7, 7, 8, 10, 0, 0, 100, 0],
            ),
            (
                "record route, full",
                &[7, 7, 8, 9, 9, 9, 9, 0],
                &[7, 7, 8, 9, 9, 9, 9, 0],
            ),
            (
                "time",
                &[68, 8, 5, 0, 0, 0, 0, 0],
                &[68, 8, 9, 0, 0x80, 0, 0, 1],
            ),
            (
                "address and time",
                &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0],
                &[68, 12, 13, 1, 10, 0, 0, 100, 0x80, 0, 0, 1],
            ),
            (
                "time, if we are meant",
                &[68, 12, 5, 3, 10, 0, 0, 100, 0, 0, 0, 0],
                &[68, 12, 13, 3, 10, 0, 0, 100, 0x80, 0, 0, 1],
            ),
            (
                "time, of another",
                &[68, 12, 5, 3, 10, 0, 0, 99, 0, 0, 0, 0],
                &[68, 12, 5, 3, 10, 0, 0, 99, 0, 0, 0, 0],
            ),
            (
                "time, full",
                &[68, 8, 9, 0, 9, 9, 9, 9],
                &[68, 8, 9, 0x10, 9, 9, 9, 9],
            ),
            (
                "behind the end",
                &[0, 7, 7, 4, 0, 0, 0, 0],
                &[0, 7, 7, 4, 0, 0, 0, 0],
            ),
        ];
        for (what, before, after) in cases {
            let mut options = before.to_vec();
            assert_eq!(check(&options), Ok(Asked::Nothing), "{what}");
            record(&mut options, US, TIME);
            assert_eq!(options, after, "{what}");
        }
        assert_eq!(check(&[131, 7, 4, 10, 1, 0, 11, 0]), Ok(Asked::SourceRoute));
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        let cases: [(&str, &[u8], usize); 9] = [
            ("no length", &[1, 1, 1, 7], 3),
            ("length 0", &[7, 0, 0, 0], 0),
            ("length beyond the header", &[1, 7, 9, 4], 1),
            (
                "pointer before the first place",
                &[7, 7, 3, 0, 0, 0, 0, 0],
                2,
            ),
            ("pointer between places", &[7, 7, 5, 0, 0, 0, 0, 0], 2),
            ("no pointer", &[7, 2, 0, 0], 1),
            ("two routes", &[7, 3, 4, 7, 3, 4, 0, 0], 3),
            ("unknown kind of time", &[68, 8, 5, 2, 0, 0, 0, 0], 3),
            ("overflow of the overflow", &[68, 4, 5, 0xf0], 3),
        ];
        for (what, options, place) in cases {
            assert_eq!(check(options), Err(BadOption(place)), "{what}");
        }
    }

    #[test]
    fn any_bytes_are_checked_and_written_to_without_panic() {
        let mut seed = 1u32;
        for len in (0..=40).step_by(4).cycle().take(200_000) {
            let mut options = [0; 40];
            for byte in &mut options[..len] {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let likely = [0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 68, 131, 148, 0xf0];
                *byte = likely[(seed >> 16) as usize % likely.len()];
            }
            if check(&options[..len]).is_ok() {
                record(&mut options[..len], US, TIME);
            }
            blank_not_copied(&mut options[..len]);
        }
    }

    #[test]
    fn later_fragments_have_only_what_is_to_be_copied() {
        let mut options = [7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 0];
        blank_not_copied(&mut options);
        assert_eq!(options, [1, 1, 1, 1, 1, 1, 1, 148, 4, 0, 0, 0]);
    }
}
