//! Where the text comes from.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Nobody writes that much; a device named by mistake never ends.
const LARGEST: u64 = 16 << 20;

/// Files by their names.
pub trait Files {
    /// The text of one.
    ///
    /// # Errors
    ///
    /// If there is none, or it is not to be read.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// Those that a pattern names, in order.
    ///
    /// # Errors
    ///
    /// If it is none.
    fn matching(&self, pattern: &Path) -> io::Result<Vec<PathBuf>>;
}

/// Those of this machine.
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        let mut bytes = Vec::new();
        let mut file = File::open(path)?.take(LARGEST + 1);
        file.read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST {
            return Err(io::Error::other("it is larger than 16 MiB"));
        }
        // Comments may be in any encoding; keys and values are ASCII.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn matching(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let pattern = pattern.to_string_lossy();
        let found = glob::glob(&pattern)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
        found.map(|path| path.map_err(Into::into)).collect()
    }
}
