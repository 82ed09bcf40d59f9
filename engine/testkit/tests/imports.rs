//! Who imports whom: the direction in which the workspace's crates may know each other.
//!
//! What is absent matters most: the runtime names no mode, no scheduler and no AF_XDP; schedulers see no bytes,
//! modes no socket. Tests may also use the testkit, and what they compare with.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// What each crate may import of this workspace when it is built for use.
const ALLOWED: &[(&str, &[&str])] = &[
    ("lb-wire", &[]),
    ("lb-model", &["lb-wire"]),
    ("lb-conn", &["lb-wire", "lb-model"]),
    ("lb-bpf", &["lb-model"]),
    ("lb-xsk", &["lb-bpf", "lb-model", "lb-wire"]),
    ("lb-netlink", &["lb-model", "lb-wire"]),
    ("lb-capture", &["lb-model"]),
    ("lb-ipvsadm", &["lb-model"]),
    ("lb-sync", &["lb-model"]),
    ("lb-runtime", &["lb-wire", "lb-model", "lb-conn"]),
    ("lb-schedulers", &["lb-model"]),
    ("lb-modes", &["lb-wire", "lb-model"]),
    (
        "lb",
        &[
            "lb-wire",
            "lb-model",
            "lb-conn",
            "lb-runtime",
            "lb-xsk",
            "lb-bpf",
            "lb-netlink",
            "lb-schedulers",
            "lb-modes",
        ],
    ),
    ("lb-document", &[]),
    ("lb-config", &["lb", "lb-checks", "lb-document"]),
    ("lb-keepalived", &["lb", "lb-checks", "lb-config"]),
    ("lb-control", &[]),
    ("lb-manual", &[]),
    ("lb-checks", &["lb-model", "lb-wire"]),
    (
        "lbd",
        &[
            "lb",
            "lb-checks",
            "lb-config",
            "lb-keepalived",
            "lb-capture",
            "lb-control",
            "lb-ipvsadm",
            "lb-manual",
            "lb-sync",
        ],
    ),
    ("lbctl", &["lb-control", "lb-ipvsadm", "lb-manual"]),
    (
        "lbrs",
        &[
            "lb-bpf",
            "lb-document",
            "lb-manual",
            "lb-model",
            "lb-netlink",
        ],
    ),
    ("lb-testkit", &["lb-wire", "lb-model"]),
    // Stages are measured one by one, next to bare sockets, so the benches see every layer.
    (
        "lb-benches",
        &[
            "lb",
            "lb-wire",
            "lb-model",
            "lb-conn",
            "lb-runtime",
            "lb-xsk",
            "lb-bpf",
            "lb-schedulers",
            "lb-modes",
            "lb-testkit",
        ],
    ),
    (
        "lb-fuzz",
        &[
            "lb",
            "lb-capture",
            "lb-checks",
            "lb-config",
            "lb-keepalived",
            "lb-ipvsadm",
            "lb-sync",
            "lb-wire",
            "lb-model",
            "lb-runtime",
            "lb-testkit",
            "lbrs",
            "lbd",
        ],
    ),
];

/// Imports in tests, examples and benches that are not allowed otherwise.
const ALLOWED_IN_TESTS: &[&str] = &["lb-testkit", "lb-schedulers", "lb-modes", "lb", "lb-wire"];

#[test]
fn crates_import_only_what_lies_below_them() {
    let imports = workspace_imports();
    for (name, imports) in &imports {
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| known == name) else {
            panic!("{name} is new: say in ALLOWED what it may import");
        };
        for Import { of, in_tests } in imports {
            let fine = allowed.contains(&of.as_str())
                || *in_tests && ALLOWED_IN_TESTS.contains(&of.as_str());
            assert!(fine, "{name} may not import {of}");
        }
    }
}

#[test]
fn every_allowed_crate_exists() {
    let imports = workspace_imports();
    for (name, allowed) in ALLOWED {
        for name in [name].into_iter().chain(*allowed) {
            assert!(
                imports.contains_key(*name),
                "{name} is not in the workspace any more"
            );
        }
    }
}

struct Import {
    of: String,
    in_tests: bool,
}

/// For every crate of the workspace, those of its imports that are in the workspace too.
fn workspace_imports() -> BTreeMap<String, Vec<Import>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
            "--manifest-path",
        ])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let imports = packages
        .iter()
        .map(|package| (text(&package["name"]), imports_of(package)));
    imports.collect()
}

fn imports_of(package: &Value) -> Vec<Import> {
    let dependencies = package["dependencies"]
        .as_array()
        .expect("a list of dependencies");
    // Those of the workspace are the ones that lie in a folder.
    let ours = dependencies
        .iter()
        .filter(|dependency| !dependency["path"].is_null());
    let import = |dependency: &Value| Import {
        of: text(&dependency["name"]),
        in_tests: dependency["kind"] == "dev",
    };
    ours.map(import).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}
