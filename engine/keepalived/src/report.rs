//! What is said about a file besides its translation.

use std::fmt;

use serde::Serialize;

use crate::block::Entry;
use crate::lines::Place;

/// What became of a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It has no meaning: nothing is translated.
    Error,
    /// lbd does it another way, or was given another value.
    Changed,
    /// It is not in lbd's configuration.
    Unused,
    /// keepalived goes on doing it.
    Left,
}

/// One word about one key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Note {
    /// Where it stands.
    #[serde(flatten)]
    pub place: Place,
    /// What became of it.
    pub kind: Kind,
    /// The key, with its value where that is short.
    pub key: String,
    /// Why, and what to do about it.
    pub reason: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Error => "error",
            Kind::Changed => "changed",
            Kind::Unused => "unused",
            Kind::Left => "left to keepalived",
        };
        write!(f, "{}: {kind}: {}: {}", self.place, self.key, self.reason)
    }
}

/// All that is said, in the file's order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report(pub Vec<Note>);

impl Report {
    /// Whether anything in the file has no meaning.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|note| note.kind == Kind::Error)
    }

    pub(crate) fn error(&mut self, entry: &Entry, reason: impl Into<String>) {
        self.add(Kind::Error, &entry.place, entry.shown(), reason);
    }

    pub(crate) fn changed(&mut self, entry: &Entry, reason: impl Into<String>) {
        self.add(Kind::Changed, &entry.place, entry.shown(), reason);
    }

    pub(crate) fn unused(&mut self, entry: &Entry, reason: impl Into<String>) {
        self.add(Kind::Unused, &entry.place, entry.shown(), reason);
    }

    pub(crate) fn add(
        &mut self,
        kind: Kind,
        place: &Place,
        key: impl Into<String>,
        reason: impl Into<String>,
    ) {
        let note = Note {
            place: place.clone(),
            kind,
            key: key.into(),
            reason: reason.into(),
        };
        // A line that a sequence repeats is as wrong each time.
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    pub(crate) fn sort(&mut self) {
        self.0.sort_by(|a, b| a.place.cmp(&b.place));
    }
}
