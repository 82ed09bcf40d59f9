//! `$NAME=value`, `~SEQ` and `~LST`: what a line's text is replaced with.

use std::collections::HashMap;
use std::path::PathBuf;

/// The definitions in force.
pub struct Parameters {
    values: HashMap<String, String>,
}

/// What a line turned out to be.
pub enum Step {
    /// A definition.
    Defined,
    /// The rest of it is to be read once for each of these, as definitions.
    Repeat {
        values: Vec<Vec<(String, String)>>,
        rest: String,
    },
    /// Something else, maybe several lines, to be looked at again.
    Replaced(String),
    /// What it is.
    Plain,
}

/// A sequence of more is a slip of the pen.
const LONGEST_SEQUENCE: usize = 100_000;

impl Parameters {
    pub fn new(config_id: &str) -> Parameters {
        let predefined = [("_INSTANCE", config_id), ("_HASH", "#"), ("_BANG", "!")];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Parameters {
            values: predefined.into_iter().map(owned).collect(),
        }
    }

    pub fn set_folder(&mut self, folder: PathBuf) {
        self.define("_PWD", folder.display().to_string());
    }

    pub fn define(&mut self, name: &str, value: String) {
        self.values.insert(name.to_owned(), value);
    }

    /// Takes the first thing out of `text` that is not plain.
    pub fn step(&mut self, text: &str) -> Result<Step, String> {
        if let Some((name, value)) = definition(text) {
            self.define(name, value.trim().to_owned());
            return Ok(Step::Defined);
        }
        for (word, shown) in [("~SEQ(", decimal as Shown), ("~SEQx(", hexadecimal)] {
            if let Some(rest) = text.strip_prefix(word) {
                let (arguments, rest) = call(rest)?;
                let values = sequence(&self.replaced(arguments), shown)?;
                return Ok(repeat(values, rest));
            }
        }
        if let Some(rest) = text.strip_prefix("~LST(") {
            let (arguments, rest) = call(rest)?;
            return Ok(repeat(list(&self.replaced(arguments))?, rest));
        }
        Ok(match self.first(text) {
            Some((start, end, value)) => {
                Step::Replaced([&text[..start], value, &text[end..]].concat())
            }
            None => Step::Plain,
        })
    }

    /// All parameters of one line replaced once.
    fn replaced(&self, text: &str) -> String {
        let (mut done, mut rest) = (String::new(), text);
        while let Some((start, end, value)) = self.first(rest) {
            done.push_str(&rest[..start]);
            done.push_str(value);
            rest = &rest[end..];
        }
        done + rest
    }

    /// The first parameter in `text` that is defined: where it is, and its value.
    fn first(&self, text: &str) -> Option<(usize, usize, &str)> {
        text.match_indices('$').find_map(|(start, _)| {
            let rest = &text[start + 1..];
            let (name, len) = match rest.strip_prefix('{') {
                Some(braced) => braced
                    .split_once('}')
                    .map(|(name, _)| (name, name.len() + 2))?,
                None => {
                    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                    (&rest[..end], end)
                }
            };
            let value = self.values.get(name)?;
            Some((start, start + 1 + len, value.as_str()))
        })
    }
}

/// `text` with its first `${_RANDOM [MIN [MAX]]}` replaced by the number in the middle, and that number; `None`: it has none.
/// What was translated once is the same each time it is read.
pub fn random(text: &str) -> Option<Result<(String, u32), &'static str>> {
    /// keepalived's `RAND_MAX` for this.
    const MOST: u32 = 32767;
    const WORD: &str = "${_RANDOM";
    const ALLOWED: &str = "allowed: ${_RANDOM [MIN [MAX]]}, MIN not above MAX";
    let ends = |rest: &str| rest.starts_with(|c: char| c == '}' || c.is_whitespace());
    let mut found = text.match_indices(WORD);
    let (start, _) = found.find(|(at, _)| ends(&text[at + WORD.len()..]))?;
    let rest = &text[start + WORD.len()..];
    let limits = rest.split_once('}').and_then(|(limits, rest)| {
        let numbers: Option<Vec<u32>> = limits
            .split_whitespace()
            .map(|number| number.parse().ok())
            .collect();
        Some((numbers?, rest))
    });
    let (min, max, rest) = match limits {
        Some((numbers, rest)) => match numbers[..] {
            [] => (0, MOST, rest),
            [min] => (min, MOST.max(min), rest),
            [min, max] if min <= max => (min, max, rest),
            _ => return Some(Err(ALLOWED)),
        },
        None => return Some(Err(ALLOWED)),
    };
    let number = min + (max - min) / 2;
    Some(Ok((format!("{}{number}{rest}", &text[..start]), number)))
}

fn repeat(values: Vec<Vec<(String, String)>>, rest: &str) -> Step {
    Step::Repeat {
        values,
        rest: rest.to_owned(),
    }
}

/// `$NAME=value`, the value maybe several lines.
fn definition(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.strip_prefix('$')?.split_once('=')?;
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    is_name(name).then_some((name, value))
}

/// What stands before the closing parenthesis, and after it.
fn call(text: &str) -> Result<(&str, &str), String> {
    text.split_once(')')
        .ok_or_else(|| "a parenthesis is not closed".to_owned())
}

type Shown = fn(i64) -> String;

fn decimal(number: i64) -> String {
    number.to_string()
}

fn hexadecimal(number: i64) -> String {
    format!("{number:x}")
}

/// `name, [start, [step,]] end`
fn sequence(arguments: &str, shown: Shown) -> Result<Vec<Vec<(String, String)>>, String> {
    let mut parts = arguments.split(',').map(str::trim);
    let name = parts.next().unwrap_or_default().to_owned();
    let numbers: Vec<i64> = parts
        .map(number)
        .collect::<Option<_>>()
        .ok_or("allowed: whole numbers")?;
    let (start, step, end) = match numbers[..] {
        [end] => (end.signum(), end.signum(), end),
        [start, end] => (start, if end < start { -1 } else { 1 }, end),
        [start, step, end] => (start, step, end),
        _ => {
            return Err("allowed: (name, start, step, end), start and step may be left out".into());
        }
    };
    let misses = step == 0 || (end - start).signum() * step.signum() < 0;
    let count = if step == 0 { 0 } else { (end - start) / step };
    if misses || usize::try_from(count).map_or(true, |count| count >= LONGEST_SEQUENCE) {
        return Err(format!(
            "allowed: a step that leads from {start} to {end}, in less than 100000 steps"
        ));
    }
    let numbers = (0..=count).map(|at| start + at * step);
    Ok(numbers.map(|n| vec![(name.clone(), shown(n))]).collect())
}

fn number(text: &str) -> Option<i64> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok()?,
        None => text.parse().ok()?,
    };
    // Their difference is one, too.
    (-1 << 40..1 << 40).contains(&number).then_some(number)
}

/// `name, value, ...` or `{names}, {values}, ...`
fn list(arguments: &str) -> Result<Vec<Vec<(String, String)>>, String> {
    let mut groups = groups(arguments).into_iter();
    let names = groups.next().unwrap_or_default();
    let values: Vec<Vec<String>> = groups.collect();
    let fits = !values.is_empty() && values.iter().all(|group| group.len() == names.len());
    if !fits {
        return Err(
            "allowed: (name, value, ...) or ({names}, {values}, ...), a value for each name".into(),
        );
    }
    let pairs = |group: Vec<String>| names.iter().cloned().zip(group).collect();
    Ok(values.into_iter().map(pairs).collect())
}

/// Splits at commas outside braces, and within braces again.
fn groups(text: &str) -> Vec<Vec<String>> {
    let split = |text: &str| text.split(',').map(|part| part.trim().to_owned()).collect();
    let (mut groups, mut rest) = (Vec::new(), text.trim());
    while !rest.is_empty() {
        let (group, after) = match rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((inside, after)) => (split(inside), after),
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (vec![rest[..end].trim().to_owned()], &rest[end..])
            }
        };
        groups.push(group);
        let after = after.trim_start();
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
        if rest == after && !rest.is_empty() {
            // Neither a comma nor the end follows a brace; what it is will not fit its names.
            groups.push(Vec::new());
            break;
        }
    }
    groups
}
