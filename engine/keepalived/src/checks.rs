//! Checkers, as far as lbd has them.

use crate::report::{Kind, Report};
use crate::virtual_server::VirtualServer;

/// Says of every check of `service` that it is not carried over.
pub fn unlike(service: &VirtualServer, report: &mut Report) {
    const REASON: &str = "lbd does not check servers yet";
    for server in &service.servers {
        for checker in &server.checkers {
            report.add(Kind::Unused, &checker.place, checker.kind.name(), REASON);
        }
    }
    let keys = [
        ("quorum", service.quorum.is_some()),
        ("sorry_server", service.sorry_server.is_some()),
    ];
    for (key, _) in keys.into_iter().filter(|(_, is_there)| *is_there) {
        report.add(Kind::Unused, &service.place, key, REASON);
    }
}
