//! `ipvsadm`, and `lbctl ipvsadm`: the words go to the daemon as they are, and its answer comes out as ipvsadm's would.

use std::io::{self, Read, Write};
use std::path::Path;

use lb_control::{IpvsadmLine, IpvsadmRequest};
use lb_ipvsadm::{Command, NoNames};

use crate::client::{Client, Error};

/// What ipvsadm ends with where there is no IPVS to speak to.
const NO_IPVS: u8 = 2;

/// Does a command line; the exit code.
pub fn run(socket: &Path, arguments: Vec<String>) -> io::Result<u8> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut input = Vec::new();
    // ipvsadm reads its input only here; anywhere else it may be a terminal that nobody types at.
    if matches!(lb_ipvsadm::parse(&words, &NoNames), Ok(Command::Restore)) {
        io::stdin().lock().read_to_end(&mut input)?;
    }
    let request = IpvsadmRequest {
        input: String::from_utf8_lossy(&input).into_owned(),
        arguments,
    };
    let mut end = None;
    let (mut stdout, mut stderr) = (io::stdout().lock(), io::stderr().lock());
    let mut gone = false;
    let answered = Client::new(socket)?.post_for_lines("/v1/ipvsadm", &request, &mut |line| {
        let written = match line {
            IpvsadmLine::Output(text) => stdout
                .write_all(text.as_bytes())
                .and_then(|()| stdout.flush()),
            IpvsadmLine::Errors(text) => stderr.write_all(text.as_bytes()),
            IpvsadmLine::Exit(code) => {
                end = Some(code);
                Ok(())
            }
        };
        gone |= written.is_err();
        written
    });
    match (answered, end) {
        (Ok(()), Some(code)) => Ok(code),
        // Whoever read our output has seen enough, as `ipvsadm -Ln | head` does.
        (Ok(()), None) if gone => Ok(0),
        (Ok(()), None) => {
            writeln!(stderr, "lbd stopped in the middle of its answer")?;
            Ok(NO_IPVS)
        }
        (Err(Error::Forbidden(_)), _) => {
            writeln!(
                stderr,
                "Can't initialize ipvs: Permission denied (you must be root)"
            )?;
            Ok(NO_IPVS)
        }
        (Err(error), _) => {
            writeln!(stderr, "Can't initialize ipvs: {error}")?;
            Ok(NO_IPVS)
        }
    }
}
