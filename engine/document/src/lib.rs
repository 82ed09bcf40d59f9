//! A configuration file as a document: strict TOML, and every mistake in it drawn where it stands.
//!
//! Who reads one takes the keys out of its tables one by one ([`Section`](section::Section)), each with what it
//! allows ([`Kind`](section::Kind)); what nobody took is unknown. Nothing here knows what the keys mean.

pub mod fault;
pub mod locate;
mod refusal;
pub mod section;

use std::path::Path;

use toml::Spanned;
use toml::de::DeTable;

use fault::Faults;
pub use refusal::Refusal;

/// A parsed file, with the place of everything in it.
pub type Document<'d> = Spanned<DeTable<'d>>;

/// Reads the file at `path` as [`parse`] does.
///
/// # Errors
///
/// If it cannot be read, or has mistakes.
pub fn load<T>(
    path: &Path,
    read: impl FnOnce(&Document<'_>, &mut Faults<'_>) -> T,
) -> Result<T, Refusal> {
    let name = path.display().to_string();
    match refusal::text_of(path) {
        Ok(text) => parse(name, text, read),
        Err(why) => Err(Refusal::unreadable(name, why)),
    }
}

/// What `read` makes of `text`, which errors call `name`, if it finds no fault with it.
///
/// # Errors
///
/// All that is wrong with it.
pub fn parse<T>(
    name: String,
    text: String,
    read: impl FnOnce(&Document<'_>, &mut Faults<'_>) -> T,
) -> Result<T, Refusal> {
    let mut faults = Faults::new(&text);
    match DeTable::parse(&text) {
        Err(error) => faults.syntax(error.message(), error.span()),
        Ok(document) => {
            let value = read(&document, &mut faults);
            if faults.is_empty() {
                return Ok(value);
            }
        }
    }
    let faults = faults.into_sorted();
    Err(Refusal::faulty(name, text, faults))
}
