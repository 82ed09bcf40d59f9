//! Completions and manual pages, from the same definitions as the command line.

use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::arguments::Arguments;

/// Writes them into `folder`, under the names that shells and man look for.
pub fn write(folder: &Path) -> io::Result<()> {
    let mut command = Arguments::command();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "lbctl", folder)?;
    }
    clap_mangen::generate_to(command, folder)
}
