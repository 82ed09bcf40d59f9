//! Links between namespaces.

use super::{Error, Namespace};

/// One end of a veth pair: the interface `name` in `namespace`.
#[derive(Clone, Copy)]
pub struct End<'a> {
    /// Where the end is.
    pub namespace: &'a Namespace,
    /// What it is called there.
    pub name: &'a str,
}

impl<'a> End<'a> {
    /// The interface `name` in `namespace`.
    pub fn new(namespace: &'a Namespace, name: &'a str) -> End<'a> {
        End { namespace, name }
    }
}

/// Connects two namespaces by a veth pair, both ends up, MAC addresses and offloads as the kernel gives them.
///
/// Both ends get `queues` receive and as many transmit queues: native XDP wants no fewer on its end than the
/// other end sends from.
///
/// # Errors
///
/// If a name is taken or the kernel has no veth.
pub fn veth(a: End<'_>, b: End<'_>, queues: u32) -> Result<(), Error> {
    let queues = format!("numtxqueues {queues} numrxqueues {queues}");
    a.namespace.ip(&format!(
        "link add {} {queues} type veth peer name {} {queues} netns {}",
        a.name,
        b.name,
        b.namespace.path()
    ))?;
    for end in [a, b] {
        end.namespace.ip(&format!("link set {} up", end.name))?;
    }
    Ok(())
}

/// Makes a learning switch named `name` of the interfaces `ports` of a namespace.
///
/// # Errors
///
/// If a port does not exist or the kernel has no bridge.
pub fn bridge(namespace: &Namespace, name: &str, ports: &[&str]) -> Result<(), Error> {
    namespace.ip(&format!("link add {name} up type bridge"))?;
    for port in ports {
        namespace.ip(&format!("link set {port} master {name}"))?;
    }
    Ok(())
}
