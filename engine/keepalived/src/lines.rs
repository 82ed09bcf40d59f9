//! From files to lines of meaning: comments, conditions, definitions, sequences and included files are gone.
//!
//! The order is keepalived's (`read_line` of its parser.c): comments first, then `include`, then conditions and
//! parameters, again and again until nothing is left to replace.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::braces;
use crate::files::Files;
use crate::parameters::{self, Parameters, Step};
use crate::report::{Kind, Report};

/// Files that include files that include files.
const DEEPEST_INCLUDE: usize = 32;

/// What one file may become, however it is multiplied: lines, of [`USUAL_LINE`] bytes each.
const MOST_STEPS: usize = 1_000_000;
const USUAL_LINE: usize = 64;

/// Parameters within parameters.
const DEEPEST_REPLACEMENT: usize = 64;

/// A line, its parameters replaced.
const LONGEST_LINE: usize = 64 << 10;

/// A line of a file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Place {
    /// As it was named.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What a line says when everything in it is replaced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Where it comes from.
    pub place: Place,
    /// What it says.
    pub text: String,
}

/// The lines of the file at `path` and of all that it includes.
pub(crate) fn read(
    files: &impl Files,
    path: &Path,
    config_id: &str,
    report: &mut Report,
) -> Vec<Line> {
    let mut reader = Reader {
        files,
        config_id,
        report,
        parameters: Parameters::new(config_id),
        steps: 0,
        open: Vec::new(),
        lines: Vec::new(),
    };
    let start = Place {
        file: path.display().to_string().into(),
        line: 0,
    };
    reader.file(path, &start);
    reader.lines
}

struct Reader<'a, F> {
    files: &'a F,
    config_id: &'a str,
    report: &'a mut Report,
    parameters: Parameters,
    steps: usize,
    /// Files that are being read, each included by the one before it.
    open: Vec<PathBuf>,
    lines: Vec<Line>,
}

impl<F: Files> Reader<'_, F> {
    fn error(&mut self, place: &Place, key: &str, reason: impl Into<String>) {
        self.report.add(Kind::Error, place, key, reason);
    }

    fn file(&mut self, path: &Path, from: &Place) {
        if self.open.len() >= DEEPEST_INCLUDE || self.open.iter().any(|open| open == path) {
            return self.error(
                from,
                "include",
                format!("{} includes itself", path.display()),
            );
        }
        let text = match self.files.read(path) {
            Ok(text) => text,
            Err(why) => {
                let reason = format!("cannot read {}: {why}", path.display());
                return self.error(from, "include", reason);
            }
        };
        self.open.push(path.to_owned());
        self.parameters.set_folder(folder(path));
        let name: Arc<str> = path.display().to_string().into();
        let mut definition: Option<(Place, String)> = None;
        for (number, line) in (1..).zip(text.lines()) {
            let place = Place {
                file: Arc::clone(&name),
                line: number,
            };
            let line = without_comment(line).trim();
            if line.is_empty() {
                continue;
            }
            // A definition goes on as long as its lines end in a backslash.
            let (line, goes_on) = match line.strip_suffix('\\') {
                Some(line) => (line.trim_end(), true),
                None => (line, false),
            };
            match &mut definition {
                Some((_, text)) => {
                    text.push('\n');
                    text.push_str(line);
                }
                None if goes_on => definition = Some((place, line.to_owned())),
                None => self.physical(&place, line),
            }
            if !goes_on && let Some((place, text)) = definition.take() {
                self.logical(&place, &text, 0);
            }
        }
        if let Some((place, text)) = definition {
            self.logical(&place, &text, 0);
        }
        self.open.pop();
        if let Some(path) = self.open.last() {
            self.parameters.set_folder(folder(path));
        }
    }

    fn physical(&mut self, place: &Place, line: &str) {
        match include(line) {
            Some((is_strict, pattern)) => self.include(place, pattern, is_strict),
            None => self.logical(place, line, 0),
        }
    }

    fn include(&mut self, place: &Place, pattern: &str, is_strict: bool) {
        let pattern = pattern.trim_matches(['"', '\'']);
        let base = self
            .open
            .last()
            .map(|path| folder(path))
            .unwrap_or_default();
        let names = match braces::expand(pattern) {
            Ok(names) => names,
            Err(reason) => return self.error(place, "include", reason),
        };
        let found: io::Result<Vec<Vec<PathBuf>>> = names
            .iter()
            .map(|name| self.files.matching(&base.join(name)))
            .collect();
        let paths: Vec<PathBuf> = match found {
            Err(why) => return self.error(place, "include", format!("{pattern}: {why}")),
            Ok(found) => found.into_iter().flatten().collect(),
        };
        if paths.is_empty() {
            let full = base.join(pattern);
            match is_strict {
                true => self.error(
                    place,
                    "include",
                    format!("{}: no such file", full.display()),
                ),
                false => self.report.add(
                    Kind::Unused,
                    place,
                    format!("include {pattern}"),
                    "there is no such file",
                ),
            }
        }
        for path in paths {
            self.file(&path, place);
        }
    }

    /// Does what a line says to the lines after it, or keeps it.
    fn logical(&mut self, place: &Place, text: &str, depth: usize) {
        if self.steps > MOST_STEPS {
            return;
        }
        self.steps += 1 + text.len() / USUAL_LINE;
        if self.steps > MOST_STEPS {
            return self.error(place, "$", "more than a million lines come of this");
        }
        if depth > DEEPEST_REPLACEMENT || text.len() > LONGEST_LINE {
            return self.error(place, "$", "a parameter that is replaced by itself");
        }
        let text = text.trim();
        if let Some(condition) = text.strip_prefix('@') {
            let end = condition
                .find(char::is_whitespace)
                .unwrap_or(condition.len());
            let (id, rest) = condition.split_at(end);
            let holds = match id.strip_prefix('^') {
                Some(id) => id != self.config_id,
                None => id == self.config_id,
            };
            if holds {
                self.logical(place, rest, depth + 1);
            }
            return;
        }
        match parameters::random(text) {
            None => {}
            Some(Err(reason)) => return self.error(place, "_RANDOM", reason),
            Some(Ok((replaced, number))) => {
                let reason = format!(
                    "keepalived takes another number each time it starts, lbd always the one in the middle: {number}"
                );
                self.report.add(Kind::Changed, place, "_RANDOM", reason);
                return self.logical(place, &replaced, depth + 1);
            }
        }
        match self.parameters.step(text) {
            Err(reason) => self.error(place, text.split('(').next().unwrap_or(text), reason),
            Ok(Step::Defined) => {}
            Ok(Step::Repeat { values, rest }) => {
                for value in values {
                    if self.steps > MOST_STEPS {
                        return;
                    }
                    for (name, value) in value {
                        self.parameters.define(&name, value);
                    }
                    self.logical(place, &rest, depth + 1);
                }
            }
            Ok(Step::Replaced(text)) => {
                // A definition within it keeps to one line, as it had to when it was written.
                for line in text.split('\n') {
                    self.logical(place, line, depth + 1);
                }
            }
            Ok(Step::Plain) if text.is_empty() => {}
            Ok(Step::Plain) => self.lines.push(Line {
                place: place.clone(),
                text: text.to_owned(),
            }),
        }
    }
}

fn folder(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

/// The pattern after one of the words for including, and whether there must be such a file.
fn include(line: &str) -> Option<(bool, &str)> {
    let (word, pattern) = line.split_once(char::is_whitespace)?;
    let is_strict = match word {
        "include" => false,
        "includer" | "includem" | "includew" | "includeb" | "includea" => true,
        _ => return None,
    };
    Some((is_strict, pattern.trim()))
}

/// The line up to its comment; in quotes there is none.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (_, '\\') => escaped = true,
            (None, '#' | '!') => return &line[..at],
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    struct Memory(BTreeMap<&'static str, &'static str>);

    impl Files for Memory {
        fn read(&self, path: &Path) -> io::Result<String> {
            let text = path.to_str().and_then(|path| self.0.get(path));
            let text = text.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            Ok((*text).to_owned())
        }

        fn matching(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
            let pattern = pattern.to_str().unwrap_or_default();
            let start = pattern.split('*').next().unwrap_or_default();
            let found = self.0.keys().filter(|name| match pattern.contains('*') {
                true => name.starts_with(start),
                false => **name == pattern,
            });
            Ok(found.map(PathBuf::from).collect())
        }
    }

    fn lines(files: &[(&'static str, &'static str)]) -> (Vec<String>, Vec<String>) {
        let files = Memory(files.iter().copied().collect());
        let mut report = Report::default();
        let lines = read(&files, Path::new("/k/main"), "high", &mut report);
        let lines = lines.iter().map(|l| format!("{} {}", l.place.line, l.text));
        let notes = report.0.iter().map(ToString::to_string);
        (lines.collect(), notes.collect())
    }

    fn of(text: &'static str) -> Vec<String> {
        let (lines, notes) = lines(&[("/k/main", text)]);
        assert_eq!(notes, [""; 0]);
        lines
    }

    #[test]
    fn comments_end_a_line_but_not_a_string() {
        assert_eq!(
            of("a # b\n! c\n\nd \"#1\" e!f\n  g \\# h"),
            ["1 a", "4 d \"#1\" e", "5 g \\# h"]
        );
    }

    #[test]
    fn conditions_name_the_machine() {
        assert_eq!(
            of("@high a\n@low b\n@^low c\n@^high d\n@high @low e"),
            ["1 a", "3 c"]
        );
    }

    #[test]
    fn parameters_are_replaced_where_they_are_used() {
        assert_eq!(
            of(
                "$BASE=10.2.${SUB}\n$SUB=0\n${BASE}.1\n$SUB=9\n${BASE}.1 $SUB $UNKNOWN ${UNKNOWN}x $SUBx"
            ),
            ["3 10.2.0.1", "5 10.2.9.1 9 $UNKNOWN ${UNKNOWN}x $SUBx"]
        );
        assert_eq!(of("$IF=@high\n$IF yes\n$IF=@low\n$IF no"), ["2 yes"]);
        assert_eq!(
            of("a ${_PWD}/x ${_INSTANCE} ${_HASH}1"),
            ["1 a /k/x high #1"]
        );
    }

    #[test]
    fn a_definition_may_have_several_lines_and_others_in_it() {
        let text = "$RS= \\\n  real 10.0.0.${N} { \\\n\n @low x \\\n y \\\n}\n\
                    $VS= \\\nvs ${V} { \\\n$N=1 \\\n$RS \\\n$N=2 \\\n$RS \\\n}\n$V=7\n$VS";
        assert_eq!(
            of(text),
            [
                "vs 7 {",
                "real 10.0.0.1 {",
                "y",
                "}",
                "real 10.0.0.2 {",
                "y",
                "}",
                "}"
            ]
            .map(|line| format!("15 {line}"))
        );
    }

    #[test]
    fn sequences_and_lists_repeat_the_rest_of_their_line() {
        assert_eq!(
            of(
                "~SEQ(A, 0, 2) a${A}\n~SEQ(B, 3) b${B}\n~SEQ(C, 5, -2, 1) c${C}\n~SEQx(D, 0x8, 8, 0x18) d${D}"
            ),
            [
                "1 a0", "1 a1", "1 a2", "2 b1", "2 b2", "2 b3", "3 c5", "3 c3", "3 c1", "4 d8",
                "4 d10", "4 d18"
            ]
        );
        assert_eq!(
            of("~LST({X, Y}, {10,1},{20, 4}) ~LST(Z, a, b) ${X}.${Y}${Z}"),
            ["1 10.1a", "1 10.1b", "1 20.4a", "1 20.4b"]
        );
    }

    #[test]
    fn files_include_others_beside_them() {
        let (lines, notes) = lines(&[
            ("/k/main", "include sub/*\ninclude none\nincludea must\nd"),
            ("/k/sub/1", "b ${_PWD}"),
            ("/k/sub/2", "c\ninclude ../main"),
        ]);
        assert_eq!(lines, ["1 b /k/sub", "1 c", "4 d"]);
        assert_eq!(
            notes,
            [
                "/k/sub/2:2: unused: include ../main: there is no such file",
                "/k/main:2: unused: include none: there is no such file",
                "/k/main:3: error: include: /k/must: no such file"
            ]
        );
    }

    #[test]
    fn braces_name_several_files() {
        let (lines, notes) = lines(&[
            ("/k/main", "include {b,a,c}\nincludea {d,e}"),
            ("/k/a", "in a"),
            ("/k/b", "in b"),
        ]);
        assert_eq!(lines, ["1 in b", "1 in a"]);
        assert_eq!(notes, ["/k/main:2: error: include: /k/{d,e}: no such file"]);
    }

    #[test]
    fn a_random_number_is_the_one_in_the_middle() {
        for (text, expected) in [
            ("a ${_RANDOM}", "1 a 16383"),
            ("a ${_RANDOM 10}x", "1 a 16388x"),
            (
                "a ${_RANDOM 10 20} ${_RANDOM 3 3} ${_RANDOMX}",
                "1 a 15 3 ${_RANDOMX}",
            ),
        ] {
            let (lines, notes) = lines(&[("/k/main", text)]);
            assert_eq!(lines, [expected]);
            assert!(
                notes[0].starts_with("/k/main:1: changed: _RANDOM: "),
                "{notes:?}"
            );
        }
        for text in [
            "a ${_RANDOM 2 1}",
            "${_RANDOM x}",
            "${_RANDOM 1 2 3}",
            "${_RANDOM 1",
        ] {
            let (_, notes) = lines(&[("/k/main", text)]);
            assert!(notes[0].contains("error"), "{text}: {notes:?}");
        }
    }

    #[test]
    fn what_never_ends_is_refused() {
        for text in [
            "$A=$A $A\n$A x",
            "$A=${B}\n$B=${A}\n$A",
            "~SEQ(A, 1, 99999999) x",
            "~SEQ(A, 1, 0, 5) x",
            "~SEQ(A) x",
            "~SEQ(A, b, c) x",
            "~LST(A) x",
            "include main",
        ] {
            let (_, notes) = lines(&[("/k/main", text)]);
            assert!(notes[0].contains("error"), "{text}: {notes:?}");
        }
    }
}
