//! A question to a name server (RFC 1035 section 4), and whether what came answers it.

use crate::{Dns, Failure};

const HEADER: usize = 12;
/// QR: this is an answer.
const ANSWER: u8 = 0x80;
/// RD: recursion desired.
const RECURSE: u8 = 0x01;
/// The Internet.
const CLASS_IN: u16 = 1;

/// Whether a name can be asked for: labels of 1 to 63 bytes, 255 in all; nothing is the root.
pub fn is_name(name: &str) -> bool {
    let fits = |label: &str| (1..=63).contains(&label.len());
    name.is_empty() || name.len() <= 253 && name.is_ascii() && name.split('.').all(fits)
}

/// The question for `dns`, numbered `id`.
pub fn question(id: u16, dns: &Dns) -> Vec<u8> {
    let mut question = Vec::with_capacity(HEADER + dns.name.len() + 6);
    question.extend_from_slice(&id.to_be_bytes());
    question.extend_from_slice(&[RECURSE, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in dns.name.split('.').filter(|label| !label.is_empty()) {
        // Whoever reads a configuration has asked `is_name`.
        question.push(label.len().min(63) as u8);
        question.extend(label.bytes().take(63));
    }
    question.push(0);
    question.extend_from_slice(&dns.record.0.to_be_bytes());
    question.extend_from_slice(&CLASS_IN.to_be_bytes());
    question
}

/// Whether `message` answers `question` well; `None` if it is no answer to it at all.
pub fn judge(message: &[u8], question: &[u8]) -> Option<Result<(), Failure>> {
    let (header, rest) = message.split_at_checked(HEADER)?;
    if header[..2] != *question.get(..2)? || header[2] & ANSWER == 0 {
        return None;
    }
    // A server that cannot read the question need not repeat it.
    let repeats = header[4..6] == [0, 1] && repeats(rest, question.get(HEADER..)?);
    Some(match header[3] & 0x0f {
        0 if repeats => Ok(()),
        0 => return None,
        1 => Err(Failure::Dns("FORMERR")),
        2 => Err(Failure::Dns("SERVFAIL")),
        3 => Err(Failure::Dns("NXDOMAIN")),
        4 => Err(Failure::Dns("NOTIMP")),
        5 => Err(Failure::Dns("REFUSED")),
        _ => Err(Failure::Dns("another error code")),
    })
}

/// Names may come back in other letters (RFC 4343).
fn repeats(rest: &[u8], asked: &[u8]) -> bool {
    rest.get(..asked.len())
        .is_some_and(|repeated| repeated.eq_ignore_ascii_case(asked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RecordType;

    fn asked() -> Vec<u8> {
        let dns = Dns {
            name: "www.example".into(),
            record: RecordType(28),
        };
        question(0x1234, &dns)
    }

    #[test]
    fn a_question_is_what_the_rfc_says() {
        let expected = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\0\0\x1c\0\x01";
        assert_eq!(asked(), expected);
        let root = Dns {
            name: String::new(),
            record: RecordType(6),
        };
        assert_eq!(question(0, &root)[HEADER..], [0, 0, 6, 0, 1]);
    }

    #[test]
    fn answers_are_told_from_what_is_none() {
        let answer = |flags: [u8; 2]| {
            let mut message = asked();
            message[2..4].copy_from_slice(&flags);
            message
        };
        assert_eq!(judge(&answer([0x81, 0x80]), &asked()), Some(Ok(())));
        for (code, name) in [(2, "SERVFAIL"), (3, "NXDOMAIN"), (5, "REFUSED")] {
            let judged = judge(&answer([0x81, code]), &asked());
            assert_eq!(judged, Some(Err(Failure::Dns(name))));
        }
        let mut other = answer([0x81, 0x80]);
        other[0] ^= 1;
        assert_eq!(judge(&other, &asked()), None, "another id");
        let mut other = answer([0x81, 0x80]);
        other[HEADER + 1] = b'x';
        assert_eq!(judge(&other, &asked()), None, "another name");
        other[HEADER + 1] = b'W';
        assert_eq!(judge(&other, &asked()), Some(Ok(())), "the same name");
        assert_eq!(judge(&asked(), &asked()), None, "a question");
        for length in 0..asked().len() {
            assert_eq!(judge(&answer([0x81, 0x80])[..length], &asked()), None);
        }
    }

    #[test]
    fn names_have_labels_that_fit() {
        assert!(is_name("") && is_name("a") && is_name("www.example.org"));
        let long = "a".repeat(64);
        for bad in ["a..b", ".a", "a.", &long, &"abcdefg.".repeat(40), "ä.b"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
