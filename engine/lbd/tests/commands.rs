//! The program as it is called: what it prints where, and how it ends.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const GOOD: &str = "[engine]\ninterfaces = [\"eth0\"]\n";

fn lbd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lbd"))
        .args(arguments)
        .output()
        .expect("lbd starts")
}

fn ended(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn a_good_file_is_called_ok_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lbd.toml");
    fs::write(&file, GOOD).expect("a file");
    let name = file.to_str().expect("a plain name");
    for arguments in [&["check", name][..], &["-t", "-c", name]] {
        let (code, stdout, stderr) = ended(&lbd(arguments));
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        assert_eq!(stdout, format!("configuration {name} is OK\n"));
    }
}

#[test]
fn a_bad_file_ends_with_1_and_is_drawn_on_stderr_without_colours() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lbd.toml");
    fs::write(&file, GOOD.replace("interfaces", "interface")).expect("a file");
    let name = file.to_str().expect("a plain name");
    for arguments in [
        &["check", name][..],
        &["-t", "-c", name],
        &["run", "-c", name],
    ] {
        let (code, stdout, stderr) = ended(&lbd(arguments));
        assert_eq!((code, stdout.as_str()), (Some(1), ""));
        assert!(stderr.contains("did you mean `interfaces`?"), "{stderr}");
        assert!(stderr.contains(&format!("{name}:2:1")), "{stderr}");
        assert!(!stderr.contains('\x1b'), "{stderr}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for arguments in [&[][..], &["rnu"], &["check", "a", "b"], &["-c", "f"]] {
        let (code, ..) = ended(&lbd(arguments));
        assert_eq!(code, Some(2), "{arguments:?}");
    }
}

#[test]
fn running_without_rights_says_which_are_lacking() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lbd.toml");
    fs::write(&file, GOOD).expect("a file");
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]);
    command
        .arg(env!("CARGO_BIN_EXE_lbd"))
        .args(["run", "-c"])
        .arg(&file);
    let (code, _, stderr) = ended(&command.output().expect("setpriv starts"));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("lacks CAP_NET_ADMIN"), "{stderr}");
}

#[test]
fn the_example_in_the_documentation_is_accepted() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = fs::read_to_string(page).expect("the page");
    let example = page
        .split_once("```toml\n")
        .and_then(|(_, rest)| rest.split_once("```"))
        .expect("an example")
        .0;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lbd.toml");
    fs::write(&file, example).expect("a file");
    let (code, _, stderr) = ended(&lbd(&["check", file.to_str().expect("a plain name")]));
    assert_eq!(code, Some(0), "{stderr}");
}
