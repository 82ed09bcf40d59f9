//! `-R`: one command per line, as `-S` writes them and as scripts keep them.

use std::io;

use crate::execute::{End, Streams, complain, execute_one};
use crate::{Ipvs, Names, parse};

/// Does the commands of the input in order.
///
/// What the balancer refuses is said and passed over, and so is a line that cannot be read as options; any other mistake
/// ends the restore. The exit code is that of the last line with a command in it.
pub(crate) fn restore(
    ipvs: &mut dyn Ipvs,
    names: &dyn Names,
    streams: &mut Streams<'_>,
) -> io::Result<End> {
    let mut end = End::DONE;
    while let Some(line) = next_line(streams)? {
        // ipvsadm looks neither for quotes nor for comments; its own name may stand anywhere.
        let words: Vec<&str> = line
            .split([' ', '\t', '\r', '\n'])
            .filter(|word| !word.is_empty() && *word != "ipvsadm")
            .collect();
        if words.is_empty() {
            continue;
        }
        end = match parse(&words, names) {
            Ok(command) => execute_one(&command, ipvs, names, streams)?,
            Err(e) => complain(&e, streams)?,
        };
        if end.leaves {
            break;
        }
    }
    Ok(end)
}

fn next_line(streams: &mut Streams<'_>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let count = streams.input.read_until(b'\n', &mut line)?;
    Ok((count > 0).then(|| String::from_utf8_lossy(&line).into_owned()))
}
