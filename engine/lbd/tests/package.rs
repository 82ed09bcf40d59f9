//! The Debian package, made of what was built for tests: that everything is in it, and works from where it is put.

use std::fs;
use std::path::Path;
use std::process::Command;

use lb_testkit::program;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dist/debian/build");

#[track_caller]
fn done(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_package_has_all_of_it_and_its_configuration_is_accepted() {
    if Command::new("dpkg-shlibdeps")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("SKIPPED: no dpkg-shlibdeps");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let lbd = Path::new(env!("CARGO_BIN_EXE_lbd"));
    let binaries = lbd.parent().expect("a folder");
    for name in ["lbctl", "lbrs"] {
        program(name);
    }
    let mut build = Command::new(SCRIPT);
    build.arg(binaries).arg(folder).env("COMPRESSION", "none");
    let package = done(&mut build);
    let package = package.trim();
    let root = folder.join("root");
    done(Command::new("dpkg-deb").arg("-x").arg(package).arg(&root));
    let file = |place: &str| root.join(place);
    for place in [
        "lib/systemd/system/lbd.service",
        "lib/systemd/system/lbrs.service",
        "usr/share/man/man8/lbd.8.gz",
        "usr/share/man/man8/lbd-doctor.8.gz",
        "usr/share/man/man8/lbctl-why.8.gz",
        "usr/share/man/man8/lbrs.8.gz",
        "usr/share/bash-completion/completions/lbctl",
        "usr/share/zsh/vendor-completions/_lbd",
        "usr/share/fish/vendor_completions.d/lbrs.fish",
        "usr/share/lbd/grafana/lbd.json",
        "usr/share/doc/lbd/copyright",
    ] {
        assert!(file(place).is_file(), "{place}");
    }
    assert!(
        !file("usr/sbin/ipvsadm").exists(),
        "Debian's ipvsadm has that name"
    );
    let check = |program: &str, words: &[&str]| {
        done(Command::new(file(program)).args(words));
    };
    let path = |place| file(place).display().to_string();
    check("usr/sbin/lbd", &["check", &path("etc/lbd/lbd.toml")]);
    let example = path("usr/share/doc/lbd/examples/lbrs.toml");
    check("usr/sbin/lbrs", &["check", "--config", &example]);
    // Under that name it is ipvsadm, which asks the director before anything else.
    let ipvsadm = Command::new(file("usr/lib/lbd/ipvsadm"))
        .arg("--version")
        .env("LBD_SOCKET", folder.join("nobody"))
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&ipvsadm.stderr);
    assert!(said.contains("Can't initialize ipvs"), "{said}");
    let broken = broken_links(&file("usr/share/doc/lbd"));
    assert!(broken.is_empty(), "{broken:#?}");
    let control =
        done(Command::new("dpkg-deb").args(["-f", package, "Package", "Depends", "Conffiles"]));
    assert!(
        control.contains("Package: lbd\n") && control.contains("libc6"),
        "{control}"
    );
}

/// Links from pages in this folder and below to pages that are not there; what points at the source is for who has it.
fn broken_links(folder: &Path) -> Vec<String> {
    let mut broken = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            broken.extend(broken_links(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&path).expect("text");
            let targets = text.split("](").skip(1);
            let targets = targets.filter_map(|rest| rest.split([')', '#']).next());
            let is_page = |to: &&str| to.ends_with(".md") && !to.starts_with("http");
            let targets = targets.filter(is_page);
            let missing = targets.filter(|to| !folder.join(to).exists());
            broken.extend(missing.map(|to| format!("{}: {to}", path.display())));
        }
    }
    broken
}
