//! Programs of this workspace, for tests of other crates than their own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

/// Set by who has built all programs just now.
const BUILT_ALREADY: &str = "LB_PROGRAMS_BUILT";

/// The program of this name, built as the calling test is. That may take minutes: a test whose connections must not be idle
/// for so long asks before it makes them.
///
/// # Panics
///
/// If it cannot be built.
pub fn program(name: &str) -> PathBuf {
    /// Tests of one process ask at the same time; one build is enough.
    static BUILT: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut built = BUILT
        .lock()
        .expect("a build that failed has ended the test");
    // The test itself is in `deps`.
    let test = std::env::current_exe().expect("a process has a file");
    let folder = test
        .ancestors()
        .nth(2)
        .expect("cargo puts tests in a folder");
    let ready = std::env::var_os(BUILT_ALREADY).is_some();
    if !ready && !built.iter().any(|other| other == name) {
        let mut cargo = Command::new(env!("CARGO"));
        // Of the whole workspace: one package by itself asks for other features, and would be built from the ground up.
        cargo.args(["build", "--quiet", "--workspace", "--bin", name]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
        cargo.args(["--manifest-path", manifest]);
        let status = cargo.status().expect("cargo runs");
        assert!(status.success(), "{name} cannot be built");
        built.push(name.to_owned());
    }
    folder.join(name)
}
