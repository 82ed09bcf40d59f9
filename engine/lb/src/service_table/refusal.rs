//! Edits that cannot be.

use std::fmt;

/// Why an edit was refused; nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// A service of this name exists.
    ServiceExists,
    /// No service of this name.
    NoSuchService,
    /// The service has this server.
    ServerExists,
    /// The service does not have this server.
    NoSuchServer,
    /// No scheduler of this name.
    NoSuchScheduler,
    /// No mode of this name.
    NoSuchMode,
    /// The server is of another address family than the service, and its mode cannot change it; or a local address is.
    OtherFamily,
    /// The service has this local address.
    LocalAddressExists,
    /// The service does not have this local address.
    NoSuchLocalAddress,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::ServiceExists => "the service exists",
            Refusal::NoSuchService => "no such service",
            Refusal::ServerExists => "the service has this server",
            Refusal::NoSuchServer => "the service does not have this server",
            Refusal::NoSuchScheduler => "no such scheduler",
            Refusal::NoSuchMode => "no such mode",
            Refusal::OtherFamily => "the address is of another family than the service",
            Refusal::LocalAddressExists => "the service has this local address",
            Refusal::NoSuchLocalAddress => "the service does not have this local address",
        })
    }
}

impl std::error::Error for Refusal {}
