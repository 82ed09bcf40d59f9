//! `lbd`: the load balancer as a daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    lbd::main()
}
