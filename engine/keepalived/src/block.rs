//! Words nested by braces.

use std::mem;

use crate::lines::{Line, Place};
use crate::report::{Kind, Report};
use crate::words::{self, Token};

/// Blocks within blocks: keepalived has four.
const DEEPEST: usize = 32;

/// A key, its values, and its block if it has one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub place: Place,
    pub words: Vec<String>,
    pub block: Option<Vec<Entry>>,
}

impl Entry {
    pub fn key(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    pub fn values(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The first value, or nothing.
    pub fn value(&self) -> &str {
        self.values().first().map_or("", String::as_str)
    }

    pub fn entries(&self) -> &[Entry] {
        self.block.as_deref().unwrap_or_default()
    }

    /// As a report quotes it.
    pub fn shown(&self) -> String {
        const LONGEST: usize = 60;
        let mut shown = self.words.join(" ");
        if shown.chars().count() > LONGEST {
            shown = shown.chars().take(LONGEST).collect::<String>() + "...";
        }
        shown
    }
}

/// The entries of the outermost level.
pub fn nest(lines: &[Line], report: &mut Report) -> Vec<Entry> {
    let mut nest = Nest::default();
    for line in lines {
        let tokens = match words::cut(&line.text) {
            Ok(tokens) => tokens,
            Err(reason) => {
                report.add(Kind::Error, &line.place, line.text.as_str(), reason);
                continue;
            }
        };
        for token in tokens {
            if let Err(reason) = nest.token(token, &line.place) {
                report.add(Kind::Error, &line.place, line.text.as_str(), reason);
                return Vec::new();
            }
        }
        nest.end_entry();
    }
    match nest.open.pop() {
        None => nest.entries,
        Some((entry, _)) => {
            report.error(&entry, "its block is not closed");
            Vec::new()
        }
    }
}

#[derive(Default)]
struct Nest {
    /// Entries whose blocks are open, each with what stands before it on its level.
    open: Vec<(Entry, Vec<Entry>)>,
    /// Of the level that is open.
    entries: Vec<Entry>,
    entry: Option<Entry>,
}

impl Nest {
    fn token(&mut self, token: Token, place: &Place) -> Result<(), &'static str> {
        match token {
            Token::Word(word) => match &mut self.entry {
                Some(entry) => entry.words.push(word),
                None => {
                    self.entry = Some(Entry {
                        place: place.clone(),
                        words: vec![word],
                        block: None,
                    });
                }
            },
            Token::Open => {
                // The brace may stand on a line of its own.
                let last = |entries: &mut Vec<Entry>| entries.pop_if(|last| last.block.is_none());
                let entry = self.entry.take().or_else(|| last(&mut self.entries));
                let entry = entry.ok_or("a block without a name")?;
                if self.open.len() >= DEEPEST {
                    return Err("more than 32 blocks within each other");
                }
                self.open.push((entry, mem::take(&mut self.entries)));
            }
            Token::Close => {
                self.end_entry();
                let (mut entry, before) = self.open.pop().ok_or("no block is open")?;
                entry.block = Some(mem::replace(&mut self.entries, before));
                self.entries.push(entry);
            }
        }
        Ok(())
    }

    fn end_entry(&mut self) {
        self.entries.extend(self.entry.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(text: &str) -> Result<String, String> {
        let line = |(number, text): (u32, &str)| Line {
            place: Place {
                file: "f".into(),
                line: number,
            },
            text: text.to_owned(),
        };
        let lines: Vec<Line> = (1..).zip(text.lines()).map(line).collect();
        let mut report = Report::default();
        let entries = nest(&lines, &mut report);
        match report.0.first() {
            Some(note) => Err(note.to_string()),
            None => Ok(shown(&entries)),
        }
    }

    fn shown(entries: &[Entry]) -> String {
        let one = |entry: &Entry| {
            let block = entry
                .block
                .as_ref()
                .map(|block| format!("[{}]", shown(block)));
            format!("{}{}", entry.words.join("-"), block.unwrap_or_default())
        };
        entries.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn braces_may_stand_anywhere() {
        for (text, expected) in [
            ("a 1 {\nb 2\nc {\nd\n}\n}\ne", "a-1[b-2 c[d]] e"),
            ("a\n{\nb\n}", "a[b]"),
            ("a { b 1 { c } }", "a[b-1[c]]"),
            ("a {\n}", "a[]"),
        ] {
            assert_eq!(nested(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn braces_that_do_not_match_are_refused() {
        for (text, expected) in [
            ("a {\nb {\n}", "f:1: error: a: its block is not closed"),
            ("a\n}\nb", "f:2: error: }: no block is open"),
            ("{\n}", "f:1: error: {: a block without a name"),
            ("a 'b", "f:1: error: a 'b: a quote is not closed"),
        ] {
            assert_eq!(nested(text), Err(expected.to_owned()), "{text}");
        }
    }
}
