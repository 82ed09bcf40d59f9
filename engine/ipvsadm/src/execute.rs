//! Has a command done, and says how it went.

use std::io::{self, BufRead, Write};

use crate::command::{Command, Listing};
use crate::ipvs::{About, Ipvs, Next, Refusal};
use crate::{HELP, Names, UsageError, VERSION, listing, parse, restore, save};

/// What a process has open.
pub struct Streams<'a> {
    /// Where `-R` reads.
    pub input: &'a mut dyn BufRead,
    /// Where listings go.
    pub output: &'a mut dyn Write,
    /// Where complaints go.
    pub errors: &'a mut dyn Write,
}

/// Does what a command line asks for: the words after the program's name, and then ipvsadm's exit code.
///
/// The error is that of a stream; ipvsadm's own failures are exit codes.
pub fn run(
    words: &[&str],
    ipvs: &mut dyn Ipvs,
    names: &dyn Names,
    streams: &mut Streams<'_>,
) -> io::Result<u8> {
    match parse(words, names) {
        Ok(command) => execute(&command, ipvs, names, streams),
        Err(e) => Ok(complain(&e, streams)?.code),
    }
}

/// Does a command; its exit code.
pub fn execute(
    command: &Command,
    ipvs: &mut dyn Ipvs,
    names: &dyn Names,
    streams: &mut Streams<'_>,
) -> io::Result<u8> {
    let end = match command {
        Command::Restore => restore::restore(ipvs, names, streams)?,
        _ => execute_one(command, ipvs, names, streams)?,
    };
    Ok(end.code)
}

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct End {
    pub(crate) code: u8,
    /// ipvsadm leaves on the spot, be it in the middle of a restore.
    pub(crate) leaves: bool,
}

impl End {
    pub(crate) const DONE: End = End {
        code: 0,
        leaves: false,
    };
    /// The kernel refused a change.
    const REFUSED: End = End {
        code: 255,
        leaves: false,
    };
    /// The kernel refused to tell.
    const NOTHING_TO_LIST: End = End {
        code: 1,
        leaves: true,
    };
}

/// Does any command but a restore.
pub(crate) fn execute_one(
    command: &Command,
    ipvs: &mut dyn Ipvs,
    names: &dyn Names,
    streams: &mut Streams<'_>,
) -> io::Result<End> {
    let (done, about) = match command {
        Command::AddService(id, settings) => (ipvs.add_service(id, settings), About::Service),
        Command::EditService(id, settings) => (ipvs.edit_service(id, settings), About::Service),
        Command::DeleteService(id) => (ipvs.delete_service(id), About::Service),
        Command::Flush => (ipvs.flush(), About::Service),
        Command::Zero(id) => (ipvs.zero(id.as_ref()), About::Service),
        Command::AddServer(id, server) => (ipvs.add_server(id, server), About::PartOfService),
        Command::EditServer(id, server) => (ipvs.edit_server(id, server), About::PartOfService),
        Command::DeleteServer(id, server) => {
            (ipvs.delete_server(id, *server), About::PartOfService)
        }
        Command::AddLocalAddress {
            service,
            address,
            interface,
        } => (
            ipvs.add_local_address(service, *address, interface.as_deref()),
            About::PartOfService,
        ),
        Command::DeleteLocalAddress { service, address } => (
            ipvs.delete_local_address(service, *address),
            About::PartOfService,
        ),
        Command::SetTimeouts(timeouts) => (ipvs.set_timeouts(timeouts), About::Service),
        Command::StartDaemon(daemon) => (ipvs.start_daemon(daemon), About::Service),
        Command::StopDaemon { role, sync_id } => {
            (ipvs.stop_daemon(*role, *sync_id), About::Service)
        }
        Command::List(wanted) => return list(wanted, ipvs, names, streams),
        Command::Save(wanted) => {
            return match ipvs.services() {
                Ok(services) => {
                    save::rules(services, wanted, names, streams.output).map(|()| End::DONE)
                }
                Err(e) => nothing_to_list(&e, streams),
            };
        }
        Command::ListLocalAddresses(None) => {
            return match ipvs.services() {
                Ok(services) => {
                    listing::local_addresses(services, streams.output).map(|()| End::DONE)
                }
                Err(e) => nothing_to_list(&e, streams),
            };
        }
        Command::ListLocalAddresses(Some(id)) => match ipvs.service(id) {
            Ok(service) => {
                return listing::local_addresses(vec![service], streams.output).map(|()| End::DONE);
            }
            Err(e) => (Err(e), About::PartOfService),
        },
        Command::Help => {
            write!(streams.output, "{VERSION}{HELP}")?;
            return Ok(End {
                code: 0,
                leaves: true,
            });
        }
        Command::Version => {
            write!(streams.output, "{VERSION}")?;
            return Ok(End {
                code: 0,
                leaves: true,
            });
        }
        // A restore within a restore.
        Command::Restore => return complain(&UsageError::no_command(), streams),
    };
    match done {
        Ok(()) => Ok(End::DONE),
        Err(e) => {
            writeln!(streams.errors, "{}", e.text(about))?;
            Ok(End::REFUSED)
        }
    }
}

/// Says what is wrong with a command line.
pub(crate) fn complain(error: &UsageError, streams: &mut Streams<'_>) -> io::Result<End> {
    writeln!(streams.errors, "{error}")?;
    Ok(End {
        code: error.exit_code(),
        leaves: error.ends_restore(),
    })
}

fn list(
    wanted: &Listing,
    ipvs: &mut dyn Ipvs,
    names: &dyn Names,
    streams: &mut Streams<'_>,
) -> io::Result<End> {
    let listed = match wanted {
        Listing::Table(format) => ipvs
            .table_size()
            .and_then(|size| Ok((size, ipvs.services()?)))
            .map(|(size, services)| {
                listing::version_line(size, streams.output)?;
                listing::table(services, format, names, streams.output)
            }),
        Listing::Service(id, format) => ipvs
            .service(id)
            .map(|service| listing::table(vec![service], format, names, streams.output)),
        Listing::Conns { numeric, engine } => {
            listing::conns_title(*engine, streams.output)?;
            let mut written = Ok(());
            ipvs.conns(&mut |row| {
                written = listing::conn(row, *numeric, *engine, names, streams.output);
                if written.is_ok() {
                    Next::More
                } else {
                    Next::Stop
                }
            })
            .map(|()| written)
        }
        Listing::Timeouts => ipvs
            .timeouts()
            .map(|timeouts| listing::timeouts(&timeouts, streams.output)),
        Listing::Daemons => ipvs.daemons().map(|daemons| {
            daemons
                .iter()
                .try_for_each(|daemon| listing::daemon(daemon, streams.output))
        }),
    };
    match listed {
        Ok(written) => written.map(|()| End::DONE),
        Err(e) => nothing_to_list(&e, streams),
    }
}

fn nothing_to_list(refusal: &Refusal, streams: &mut Streams<'_>) -> io::Result<End> {
    writeln!(streams.errors, "{}", refusal.text(About::Service))?;
    Ok(End::NOTHING_TO_LIST)
}
