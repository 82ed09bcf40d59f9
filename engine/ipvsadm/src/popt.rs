//! Words into options, with the habits of popt, the library ipvsadm reads its command line with.
//!
//! Letters cluster (`-Lnt VIP`), and a value may be the rest of its cluster (`-w7`, `-w=7`) or the next word, whatever
//! that starts with; long names are exact; words that are no options may stand anywhere; after `--` there are no
//! options any more.

use crate::option::{Flag, Spelling, Value, find};

/// The words of a command line, read from left to right.
pub(crate) struct Words<'a> {
    words: &'a [&'a str],
    next: usize,
    /// What is left of a cluster of letters.
    cluster: &'a str,
    options_ended: bool,
    arguments: Vec<&'a str>,
}

/// Why there is no next option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unreadable {
    UnknownOption,
    MissingValue,
    UnwantedValue,
}

impl Unreadable {
    /// In popt's words.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Unreadable::UnknownOption => "unknown option",
            Unreadable::MissingValue => "missing argument",
            Unreadable::UnwantedValue => "option does not take an argument",
        }
    }
}

impl<'a> Words<'a> {
    pub(crate) fn new(words: &'a [&'a str]) -> Words<'a> {
        Words {
            words,
            next: 0,
            cluster: "",
            options_ended: false,
            arguments: Vec::new(),
        }
    }

    /// The next option and its value, or `None` at the end; which ones exist depends on the command.
    pub(crate) fn next_option(
        &mut self,
        command: Option<Flag>,
    ) -> Result<Option<(Flag, Option<&'a str>)>, Unreadable> {
        if self.cluster.is_empty() {
            let Some(word) = self.next_dashed() else {
                return Ok(None);
            };
            match word.strip_prefix("--") {
                Some(long) => return self.long(command, long).map(Some),
                None => self.cluster = &word[1..],
            }
        }
        self.letter(command).map(Some)
    }

    /// The word that was read last; the one to show when an option is wrong.
    pub(crate) fn last(&self) -> &'a str {
        self.words[self.next - 1]
    }

    /// The words that were neither options nor values, once all options are read.
    pub(crate) fn into_arguments(self) -> Vec<&'a str> {
        self.arguments
    }

    /// The next word with options in it; those without are put aside.
    fn next_dashed(&mut self) -> Option<&'a str> {
        loop {
            let word = *self.words.get(self.next)?;
            self.next += 1;
            if self.options_ended || !word.starts_with('-') || word == "-" {
                self.arguments.push(word);
            } else if word == "--" {
                self.options_ended = true;
            } else {
                return Some(word);
            }
        }
    }

    fn long(
        &mut self,
        command: Option<Flag>,
        text: &'a str,
    ) -> Result<(Flag, Option<&'a str>), Unreadable> {
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let option = find(command, |s| s.long == name).ok_or(Unreadable::UnknownOption)?;
        match (option.value, attached) {
            (Value::Absent, Some(_)) => Err(Unreadable::UnwantedValue),
            (Value::Absent, None) => Ok((option.flag, None)),
            (_, Some(value)) => Ok((option.flag, Some(value))),
            (_, None) => self.value_in_next_word(option),
        }
    }

    fn letter(&mut self, command: Option<Flag>) -> Result<(Flag, Option<&'a str>), Unreadable> {
        let mut rest = self.cluster.chars();
        let letter = rest.next();
        let option = find(command, |s| s.letter.is_some() && s.letter == letter)
            .ok_or(Unreadable::UnknownOption)?;
        let rest = rest.as_str();
        match option.value {
            Value::Absent if rest.starts_with('=') => Err(Unreadable::UnwantedValue),
            Value::Absent => {
                self.cluster = rest;
                Ok((option.flag, None))
            }
            _ => {
                self.cluster = "";
                match rest {
                    "" => self.value_in_next_word(option),
                    attached => Ok((
                        option.flag,
                        Some(attached.strip_prefix('=').unwrap_or(attached)),
                    )),
                }
            }
        }
    }

    fn value_in_next_word(
        &mut self,
        option: &Spelling,
    ) -> Result<(Flag, Option<&'a str>), Unreadable> {
        let next = self.words.get(self.next).copied();
        match (option.value, next) {
            (Value::Optional, Some(word)) if word.starts_with('-') => Ok((option.flag, None)),
            (Value::Optional, None) => Ok((option.flag, None)),
            (_, None) => Err(Unreadable::MissingValue),
            (_, Some(word)) => {
                self.next += 1;
                Ok((option.flag, Some(word)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Options<'a> = Vec<(Flag, Option<&'a str>)>;

    /// The options, the arguments, and what stopped the reading.
    fn read<'a>(words: &'a [&'a str]) -> (Options<'a>, Vec<&'a str>, Option<Unreadable>) {
        let mut reader = Words::new(words);
        let mut seen = Options::new();
        let stop = loop {
            match reader.next_option(seen.first().map(|(flag, _)| *flag)) {
                Ok(Some(option)) => seen.push(option),
                Ok(None) => break None,
                Err(e) => break Some(e),
            }
        };
        (seen, reader.into_arguments(), stop)
    }

    #[test]
    fn letters_cluster_and_values_may_be_attached() {
        let (seen, arguments, stop) = read(&["-at", "V", "-r=R", "-mw", "5", "-x7", "--weight=8"]);
        assert_eq!(
            seen,
            [
                (Flag::AddServer, None),
                (Flag::Tcp, Some("V")),
                (Flag::Server, Some("R")),
                (Flag::Nat, None),
                (Flag::Weight, Some("5")),
                (Flag::UpperThreshold, Some("7")),
                (Flag::Weight, Some("8")),
            ]
        );
        assert_eq!((arguments.len(), stop), (0, None));
    }

    #[test]
    fn only_an_optional_value_shies_away_from_a_dash() {
        let (seen, ..) = read(&["-A", "-p", "-w", "-1", "-p", "60", "-p"]);
        let values: Vec<_> = seen.iter().map(|(_, value)| *value).collect();
        assert_eq!(values, [None, None, Some("-1"), Some("60"), None]);
    }

    #[test]
    fn other_words_stand_anywhere_and_a_double_dash_ends_the_options() {
        let (seen, arguments, stop) = read(&["--set", "1", "-n", "2", "-", "", "--", "-n"]);
        assert_eq!(seen, [(Flag::Set, None), (Flag::Numeric, None)]);
        assert_eq!((arguments, stop), (vec!["1", "2", "-", "", "-n"], None));
    }

    #[test]
    fn what_cannot_be_read_is_told_apart() {
        for (words, wanted) in [
            (&["-Lq"][..], Unreadable::UnknownOption),
            (&["--lis"], Unreadable::UnknownOption),
            (&["-L", "-é"], Unreadable::UnknownOption),
            (&["-A", "-t"], Unreadable::MissingValue),
            (&["--list=x"], Unreadable::UnwantedValue),
            (&["-L=x"], Unreadable::UnwantedValue),
        ] {
            assert_eq!(read(words).2, Some(wanted), "{words:?}");
        }
    }

    #[test]
    fn special_options_exist_beside_their_commands_only() {
        assert_eq!(read(&["-a", "-b"]).0[1], (Flag::FullNat, None));
        assert_eq!(
            read(&["-A", "-b", "sh-port"]).0[1],
            (Flag::SchedulerFlags, Some("sh-port"))
        );
        assert_eq!(read(&["-P", "-z", "L", "-F", "eth0"]).2, None);
        assert_eq!(read(&["-L", "-z"]).2, Some(Unreadable::UnknownOption));
        assert_eq!(
            read(&["-L", "--complete"]).2,
            Some(Unreadable::UnknownOption)
        );
    }
}
