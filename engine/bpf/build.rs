//! Compiles the eBPF programs and generates their skeletons.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libbpf_cargo::SkeletonBuilder;

const PROGRAMS: [&str; 8] = [
    "steer",
    "generate",
    "count",
    "redirect",
    "decap",
    "toa",
    "listeners",
    "enat",
];

fn main() {
    println!("cargo:rerun-if-changed=include");
    println!("cargo:rerun-if-env-changed=CLANG");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let clang = env::var_os("CLANG").unwrap_or_else(|| "clang".into());
    let includes = system_includes(&clang);
    for program in PROGRAMS {
        let source = Path::new("src").join(format!("{program}.bpf.c"));
        println!("cargo:rerun-if-changed={}", source.display());
        let arguments = ["-Iinclude", "-Wall", "-Werror"]
            .map(OsString::from)
            .into_iter()
            .chain(
                includes
                    .iter()
                    .flat_map(|dir| ["-idirafter".into(), OsString::from(dir)]),
            );
        let built = SkeletonBuilder::new()
            .source(&source)
            .clang(&clang)
            .clang_args(arguments)
            .build_and_generate(out.join(format!("{program}.skel.rs")));
        if let Err(error) = built {
            panic!("{}: {error:?}", source.display());
        }
    }
}

/// Where the compiler finds user-space headers when it compiles for this machine.
///
/// With `-target bpf` it no longer looks there, and `linux/types.h` includes `asm/types.h`, which distributions keep
/// in a directory named after the architecture.
fn system_includes(clang: &OsString) -> Vec<PathBuf> {
    let output = Command::new(clang)
        .args(["-v", "-E", "-x", "c", "-"])
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error} (the eBPF programs are compiled with clang 11 or later)",
                clang.display()
            )
        });
    String::from_utf8_lossy(&output.stderr)
        .lines()
        .skip_while(|line| !line.starts_with("#include <...> search starts here"))
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .map(|line| PathBuf::from(line.trim()))
        .collect()
}
