//! A command line into a [`Command`].

use crate::command::{Command, Listing, Timeouts};
use crate::draft::Draft;
use crate::listing::TableFormat;
use crate::option::Flag;
use crate::popt::Words;
use crate::value::timeout;
use crate::{Names, Role, UsageError};

/// Reads the words after the program's name. None at all is a listing.
pub fn parse(words: &[&str], names: &dyn Names) -> Result<Command, UsageError> {
    if words.is_empty() {
        return Ok(Command::List(Listing::Table(TableFormat::default())));
    }
    let mut words = Words::new(words);
    // Without a command, and that includes a first option that cannot be read, there is nothing to complain about.
    let Ok(Some((command, value))) = words.next_option(None) else {
        return Err(UsageError::no_command());
    };
    let mut draft = Draft::default();
    match command {
        Flag::Help => return Ok(Command::Help),
        Flag::Version => return Ok(Command::Version),
        Flag::StartDaemon => {
            draft.role = Some(role(value, "illegal start-daemon parameter specified")?)
        }
        Flag::StopDaemon => draft.role = Some(role(value, "illegal start_daemon specified")?),
        Flag::AddService
        | Flag::EditService
        | Flag::DeleteService
        | Flag::Flush
        | Flag::List
        | Flag::AddServer
        | Flag::DeleteServer
        | Flag::EditServer
        | Flag::Set
        | Flag::Restore
        | Flag::Save
        | Flag::Zero
        | Flag::AddLocalAddress
        | Flag::DeleteLocalAddress
        | Flag::ListLocalAddresses => {}
        _ => return Err(UsageError::no_command()),
    }
    loop {
        match words.next_option(Some(command)) {
            Ok(Some((flag, value))) => draft.option(flag, value, words.last(), names)?,
            Ok(None) => break,
            Err(e) => return Err(UsageError::unreadable(words.last(), e.text())),
        }
    }
    let mut arguments = words.into_arguments().into_iter();
    let timeouts = match command {
        Flag::Set => Some(set_arguments(&mut arguments)?),
        _ => None,
    };
    if let Some(extra) = arguments.next() {
        return Err(UsageError::mistake(format!("unexpected argument {extra}")));
    }
    draft.settle_flags()?;
    draft.given.check_command(command)?;
    draft.into_command(command, timeouts)
}

fn role(name: Option<&str>, mistake: &str) -> Result<Role, UsageError> {
    name.and_then(Role::from_name)
        .ok_or_else(|| UsageError::mistake(mistake))
}

fn set_arguments<'a>(
    arguments: &mut impl Iterator<Item = &'a str>,
) -> Result<Timeouts, UsageError> {
    let (Some(tcp), Some(tcp_fin), Some(udp)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err(UsageError::mistake(
            "--set option requires 3 timeout values",
        ));
    };
    Ok(Timeouts {
        tcp_s: timeout(tcp, 0)?,
        tcp_fin_s: timeout(tcp_fin, 0)?,
        udp_s: timeout(udp, 0)?,
    })
}
