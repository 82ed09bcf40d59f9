//! The whole of ipvsadm, from the words of a command line to its output, over a kernel in memory.

mod additions;
mod kernel;
mod properties;
mod transcripts;

use lb_ipvsadm::{NoNames, Streams, run};

use kernel::Kernel;

/// Runs a command line written with single blanks; its output, its errors, its exit code.
fn ipvsadm(kernel: &mut Kernel, line: &str, input: &str) -> (String, String, u8) {
    let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut streams = Streams {
        input: &mut input.as_bytes(),
        output: &mut output,
        errors: &mut errors,
    };
    let code = run(&words, kernel, &NoNames, &mut streams).expect("memory takes everything");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (text(output), text(errors), code)
}

/// Runs command lines that must succeed without a word.
fn do_all(kernel: &mut Kernel, lines: &[&str]) {
    for line in lines {
        let end = ipvsadm(kernel, line, "");
        assert_eq!(end, (String::new(), String::new(), 0), "{line}");
    }
}

/// What a command line that must succeed prints.
fn output(kernel: &mut Kernel, line: &str) -> String {
    let (output, errors, code) = ipvsadm(kernel, line, "");
    assert_eq!((errors.as_str(), code), ("", 0), "{line}");
    output
}

/// What a command line that must fail says, and its exit code.
fn complaint(kernel: &mut Kernel, line: &str) -> (String, u8) {
    let (output, errors, code) = ipvsadm(kernel, line, "");
    assert_eq!(output, "", "{line}");
    (errors, code)
}
