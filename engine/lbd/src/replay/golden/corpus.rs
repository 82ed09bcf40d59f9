//! The recordings, unpacked.

use std::path::Path;

use serde::de::DeserializeOwned;

/// The text of one of the files in `tests/golden`, without its ending.
pub fn text(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let packed = std::fs::read(folder.join(name).with_extension("xz")).expect("it is there");
    let mut text = Vec::new();
    lzma_rs::xz_decompress(&mut &packed[..], &mut text).expect("it is whole");
    String::from_utf8(text).expect("it is text")
}

/// A file that holds JSON, a value to a line.
pub fn lines<T: DeserializeOwned>(text: &str) -> Vec<T> {
    let line = |line| serde_json::from_str(line).expect("a line as convert.py writes it");
    text.lines().map(line).collect()
}
