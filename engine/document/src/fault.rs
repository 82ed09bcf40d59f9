//! One mistake in the file, and all of them.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Longer values are named by their place alone.
const LONGEST_QUOTE: usize = 60;

/// A mistake, where it stands, and what is allowed there.
#[derive(Debug)]
pub struct Fault {
    span: Range<usize>,
    title: String,
    label: Option<String>,
}

impl Fault {
    pub(crate) fn draw(&self, name: &str, text: &str, renderer: &Renderer) -> String {
        let mut mark = AnnotationKind::Primary.span(self.span.clone());
        if let Some(label) = &self.label {
            mark = mark.label(label);
        }
        let lines = Snippet::source(text).path(name).annotation(mark);
        renderer.render(&[Level::ERROR.primary_title(&self.title).element(lines)])
    }
}

/// The mistakes found in one file so far.
pub struct Faults<'t> {
    text: &'t str,
    found: Vec<Fault>,
}

impl<'t> Faults<'t> {
    pub(crate) fn new(text: &'t str) -> Faults<'t> {
        Faults {
            text,
            found: Vec::new(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// In the file's order.
    pub(crate) fn into_sorted(mut self) -> Vec<Fault> {
        self.found.sort_by_key(|fault| fault.span.start);
        self.found
    }

    /// The text is no TOML.
    pub(crate) fn syntax(&mut self, message: &str, span: Option<Range<usize>>) {
        self.add(span.unwrap_or_default(), message.to_owned(), None);
    }

    /// The value at `span` is none of the allowed ones.
    pub fn value(&mut self, path: &str, span: Range<usize>, allowed: &str) {
        let title = match self.text.get(span.clone()) {
            Some(quote) if quote.len() <= LONGEST_QUOTE && !quote.contains('\n') => {
                format!("{path}: {quote}, allowed: {allowed}")
            }
            _ => format!("{path}: allowed: {allowed}"),
        };
        self.add(span, title, None);
    }

    /// The table at `span` lacks a key.
    pub(crate) fn missing(&mut self, path: &str, span: Range<usize>, allowed: &str) {
        let title = format!("{path}: missing, allowed: {allowed}");
        self.add(span, title, None);
    }

    /// Nobody knows the key at `span`.
    pub(crate) fn unknown(&mut self, path: &str, span: Range<usize>, key: &str, known: &[&str]) {
        let nearest = known
            .iter()
            .map(|known| (strsim::jaro_winkler(key, known), known))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let label = match nearest {
            // Below this, strangers begin to look alike.
            Some((likeness, known)) if likeness > 0.75 => format!("did you mean `{known}`?"),
            _ => format!("allowed here: {}", known.join(", ")),
        };
        self.add(span, format!("{path}: unknown key"), Some(label));
    }

    /// The values are well-formed and make no sense.
    pub fn meaning(&mut self, error: &impl fmt::Display, span: Range<usize>) {
        self.add(span, error.to_string(), None);
    }

    fn add(&mut self, span: Range<usize>, title: String, label: Option<String>) {
        self.found.push(Fault { span, title, label });
    }
}
