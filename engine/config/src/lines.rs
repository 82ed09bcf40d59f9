//! The lines of a table, as files and plans show them.

use std::fmt::Display;
use std::time::Duration;

/// Keys and values.
#[derive(Default)]
pub struct Lines(pub Vec<(&'static str, String)>);

impl Lines {
    /// A line that is never left out.
    pub fn always(&mut self, key: &'static str, value: String) {
        self.0.push((key, value));
    }

    /// A line that is left out where it says what is so anyway.
    pub fn unless(&mut self, usual: bool, key: &'static str, value: impl FnOnce() -> String) {
        if !usual {
            self.0.push((key, value()));
        }
    }

    /// A line if there is anything to say.
    pub fn some(&mut self, key: &'static str, value: Option<String>) {
        self.0.extend(value.map(|value| (key, value)));
    }
}

/// A value as a string of the file.
pub fn quoted(value: impl Display) -> String {
    super::write::quoted(&value.to_string())
}

/// Words as a list of the file.
pub fn list(words: &[String]) -> String {
    super::write::list(words.iter().map(quoted))
}

/// A time as the file has it.
pub fn shown(span: Duration) -> String {
    quoted(humantime::format_duration(span))
}
