//! A table of the file from which keys are taken one by one; those that nobody took are unknown.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Document;
use crate::fault::Faults;

/// What values a key takes.
pub struct Kind<T> {
    /// In words, for whoever wrote another.
    pub allowed: &'static str,
    /// The value, if it is one of them.
    pub parse: fn(&DeValue) -> Option<T>,
}

/// An interface's name.
pub const NAME: Kind<String> = Kind {
    allowed: "an interface's name, like \"eth0\"",
    parse: |value| value.as_str().filter(|s| !s.is_empty()).map(str::to_owned),
};

/// The number that `value` is, if it is one from 0 to 4294967295.
pub fn number(value: &DeValue<'_>) -> Option<u32> {
    let integer = value.as_integer()?;
    u32::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A table being read.
pub struct Section<'d> {
    path: String,
    span: Range<usize>,
    table: &'d DeTable<'d>,
    known: Vec<&'static str>,
}

impl<'d> Section<'d> {
    /// The whole file.
    pub fn root(document: &'d Document<'d>) -> Section<'d> {
        Section {
            path: String::new(),
            span: document.span(),
            table: document.get_ref(),
            known: Vec::new(),
        }
    }

    /// The value of `key`, if it is there and one of the allowed ones.
    pub fn value<T>(
        &mut self,
        key: &'static str,
        kind: &Kind<T>,
        faults: &mut Faults<'_>,
    ) -> Option<T> {
        let value = self.take(key)?;
        one(&self.path_of(key), value, kind, faults)
    }

    /// The value of `key`, which must be there.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        kind: &Kind<T>,
        faults: &mut Faults<'_>,
    ) -> Option<T> {
        if !self.table.contains_key(key) {
            faults.missing(&self.path_of(key), self.span.clone(), kind.allowed);
        }
        self.value(key, kind, faults)
    }

    /// The values of the list `key`, which must be there.
    pub fn required_list<T>(
        &mut self,
        key: &'static str,
        kind: &Kind<T>,
        faults: &mut Faults<'_>,
    ) -> Vec<T> {
        let path = self.path_of(key);
        let Some(value) = self.take(key) else {
            faults.missing(&path, self.span.clone(), kind.allowed);
            return Vec::new();
        };
        match value.get_ref().as_array() {
            Some(items) => {
                let items = items.iter().enumerate();
                let read = |(at, item)| one(&format!("{path}[{at}]"), item, kind, faults);
                items.filter_map(read).collect()
            }
            None => {
                let allowed = format!("a list of: {}", kind.allowed);
                faults.value(&path, value.span(), &allowed);
                Vec::new()
            }
        }
    }

    /// The values of the list `key`, which must be there and have some.
    pub fn at_least_one<T>(
        &mut self,
        key: &'static str,
        kind: &Kind<T>,
        faults: &mut Faults<'_>,
    ) -> Vec<T> {
        let values = self.required_list(key, kind, faults);
        let list = self.table.get(key).and_then(|v| v.get_ref().as_array());
        if list.is_some_and(|items| items.is_empty()) {
            let allowed = format!("at least one of: {}", kind.allowed);
            self.reproach(key, &allowed, faults);
        }
        values
    }

    /// Whether `key` is there.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Further keys that could stand here, for whoever misspells one.
    pub fn knows(&mut self, keys: &[&'static str]) {
        self.known.extend(keys);
    }

    /// `key` must not be here.
    pub fn refuse(&mut self, key: &'static str, allowed: &str, faults: &mut Faults<'_>) {
        if self.take(key).is_some() {
            self.reproach(key, allowed, faults);
        }
    }

    /// The value of `key` does not go with others.
    pub fn reproach(&self, key: &str, allowed: &str, faults: &mut Faults<'_>) {
        if let Some(value) = self.table.get(key) {
            faults.value(&self.path_of(key), value.span(), allowed);
        }
    }

    /// `key` is not here, and something else asks for it.
    pub fn miss(&self, key: &str, allowed: &str, faults: &mut Faults<'_>) {
        faults.missing(&self.path_of(key), self.span.clone(), allowed);
    }

    /// The table `[key]`, if it is there.
    pub fn table(&mut self, key: &'static str, faults: &mut Faults<'_>) -> Option<Section<'d>> {
        let value = self.take(key)?;
        self.section(self.path_of(key), value, faults)
    }

    /// The values of the list `key`; none if it is not there.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        kind: &Kind<T>,
        faults: &mut Faults<'_>,
    ) -> Vec<T> {
        if self.table.contains_key(key) {
            return self.required_list(key, kind, faults);
        }
        self.known.push(key);
        Vec::new()
    }

    /// The table `[key]`, which must be there.
    pub fn required_table(
        &mut self,
        key: &'static str,
        faults: &mut Faults<'_>,
    ) -> Option<Section<'d>> {
        let path = self.path_of(key);
        let Some(value) = self.take(key) else {
            faults.missing(&path, self.span.clone(), &format!("a table [{path}]"));
            return None;
        };
        self.section(path, value, faults)
    }

    /// The tables `[[key]]`, in the file's order.
    pub fn tables(&mut self, key: &'static str, faults: &mut Faults<'_>) -> Vec<Section<'d>> {
        let path = self.path_of(key);
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            faults.value(&path, value.span(), &format!("[[{key}]] for each one"));
            return Vec::new();
        };
        let items = items.iter().enumerate();
        let read = |(at, item)| self.section(format!("{path}[{at}]"), item, faults);
        items.filter_map(read).collect()
    }

    /// The table `[key]` or the tables `[[key]]`, whichever is there.
    pub fn table_or_tables(
        &mut self,
        key: &'static str,
        faults: &mut Faults<'_>,
    ) -> Vec<Section<'d>> {
        let value = self.table.get(key).map(Spanned::get_ref);
        match value.is_some_and(|value| value.is_array()) {
            true => self.tables(key, faults),
            false => self.table(key, faults).into_iter().collect(),
        }
    }

    /// Nothing more will be asked for: whatever is left is unknown.
    pub fn end(self, faults: &mut Faults<'_>) {
        for (key, _) in self.table {
            let name = key.get_ref();
            if !self.known.contains(&name.as_ref()) {
                faults.unknown(&self.path_of(name), key.span(), name, &self.known);
            }
        }
    }

    fn take(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.known.push(key);
        self.table.get(key)
    }

    fn section(
        &self,
        path: String,
        value: &'d Spanned<DeValue<'d>>,
        faults: &mut Faults<'_>,
    ) -> Option<Section<'d>> {
        let Some(table) = value.get_ref().as_table() else {
            faults.value(&path, value.span(), "a table");
            return None;
        };
        Some(Section {
            path,
            span: value.span(),
            table,
            known: Vec::new(),
        })
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

fn one<T>(
    path: &str,
    value: &Spanned<DeValue<'_>>,
    kind: &Kind<T>,
    faults: &mut Faults<'_>,
) -> Option<T> {
    let parsed = (kind.parse)(value.get_ref());
    if parsed.is_none() {
        faults.value(path, value.span(), kind.allowed);
    }
    parsed
}
