//! Manual pages and completions for shells, from the same definitions as a program's command line.

use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

/// Where manuals have programs for administrators.
const SECTION: &str = "8";

/// Writes those of `command` into `folder`, under the names that shells and man look for.
pub fn write(command: Command, folder: &Path) -> io::Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let name = command.get_name().to_owned();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, &name, folder)?;
    }
    pages(command, folder)
}

fn pages(command: Command, folder: &Path) -> io::Result<()> {
    let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    for subcommand in shown.cloned() {
        pages(subcommand, folder)?;
    }
    Man::new(command).section(SECTION).generate_to(folder)?;
    Ok(())
}
