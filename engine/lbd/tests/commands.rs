//! The program as it is called: what it prints where, and how it ends.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use lb_testkit::netns::{End, Namespace, Scratch, available, veth};
use nix::sys::signal::Signal;

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
fn keepalived_s_configuration_is_imported_with_a_word_about_what_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (source, target) = (path("keepalived.conf"), path("lbd.toml"));
    let text = "virtual_server 192.0.2.1 80 {\n  lvs_method NAT\n@a  snmp_name x\n  real_server 10.0.0.1 80\n}\n";
    fs::write(&source, text).expect("a file");
    let base = ["import", &source, "-i", "a", "--interface", "eth0"];
    let (code, toml, stderr) = ended(&lbd(&base));
    assert_eq!(code, Some(0), "{stderr}");
    let unused = format!("{source}:3: unused: snmp_name x:");
    assert!(stderr.starts_with(&unused), "{stderr}");
    fs::write(&target, &toml).expect("a file");
    assert_eq!(ended(&lbd(&["check", &target])).0, Some(0), "{toml}");

    let more = [&base[..], &["-j", "-o", &target]].concat();
    let (code, stdout, stderr) = ended(&lbd(&more));
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    assert_eq!(fs::read_to_string(&target).expect("written"), toml);
    let notes: serde_json::Value = serde_json::from_str(&stderr).expect("JSON");
    assert_eq!(notes[0]["line"], 3);
    assert_eq!(
        (&notes[0]["kind"], &notes[1]),
        (&"unused".into(), &().into())
    );

    fs::write(&source, "virtual_server 192.0.2.1 port {\n}\n").expect("a file");
    let (code, stdout, stderr) = ended(&lbd(&base));
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("keepalived.conf:1: error: "), "{stderr}");
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
    let lbd = env!("CARGO_BIN_EXE_lbd");
    let mut command = Command::new(lbd);
    if rustix::process::geteuid().is_root() {
        command = Command::new("setpriv");
        command.args(["--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]);
        command.arg(lbd);
    }
    command.args(["run", "-c"]).arg(&file);
    let (code, _, stderr) = ended(&command.output().expect("setpriv starts"));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("lacks CAP_NET_ADMIN"), "{stderr}");
}

/// Bounds a failure only.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_hang_up_reloads_and_an_interrupt_ends_it_well() {
    if !available() {
        return;
    }
    let namespace = Namespace::new("lonely").expect("a namespace");
    let ends = ["eth0", "peer"].map(|name| End::new(&namespace, name));
    veth(ends[0], ends[1], 1).expect("a veth pair");
    let scratch = Scratch::new().expect("a folder");
    let file = scratch.write("lbd.toml", GOOD).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lbd"));
    command.args(["run", "-c"]).arg(file);
    command.env("LBD_SOCKET", scratch.path().join("socket"));
    let mut process = namespace.spawn(command).expect("lbd starts");
    process
        .wait_for("balancing 0 services on eth0", LIMIT)
        .expect("it balances");
    process.signal(Signal::SIGHUP).expect("it lives");
    process
        .wait_for("SIGHUP: reload", LIMIT)
        .expect("it says so");
    process.signal(Signal::SIGINT).expect("it lives");
    let status = process.wait(LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", process.log());
    assert!(
        process.log().contains("frames conserved"),
        "{}",
        process.log()
    );
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    if !available() {
        return;
    }
    let namespace = Namespace::new("empty").expect("a namespace");
    let scratch = Scratch::new().expect("a folder");
    let file = scratch.write("lbd.toml", GOOD).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lbd"));
    command.args(["run", "-c"]).arg(file);
    command.env("LBD_SOCKET", scratch.path().join("socket"));
    let (code, _, stderr) = ended(&namespace.output(command).expect("lbd starts"));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("interface eth0 does not exist; there are: lo"),
        "{stderr}"
    );
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
