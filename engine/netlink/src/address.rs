//! VIPs on interfaces for as long as the balancer runs.

use std::net::IpAddr;

use lb_model::Addr;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::NetlinkError;
use crate::conversation::Conversation;

/// Marks an address as put there by lbd (`IFA_PROTO`, which `ip address` shows as `proto 0x6c`), so that it is
/// known again after a crash. The kernel's own values are 1 to 3; this is `l`.
pub(crate) const OURS: AddressProtocol = AddressProtocol::Other(b'l');

/// The mark of the real-server agent's addresses: `r`, shown as `proto 0x72`.
pub const AGENT: AddressProtocol = AddressProtocol::Other(b'r');

/// Who put an address on its interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// We did, just now.
    Added,
    /// A balancer that could not clean up; we take its place.
    Adopted,
    /// Somebody else: it is left where it is.
    Foreign,
}

/// A host address on an interface, taken off again when dropped, unless somebody else had put it there.
pub struct AddedAddress {
    interface: String,
    index: u32,
    addr: Addr,
    origin: Origin,
    mark: AddressProtocol,
    conversation: Conversation,
}

impl AddedAddress {
    /// Puts `addr` on `interface` as a /32 or /128. IPv6 addresses skip duplicate address detection: the VIP is
    /// ours by configuration, and is to answer at once. The kernel does not choose them for what it sends by itself.
    ///
    /// # Errors
    ///
    /// If there is no such interface, or without the right to change it.
    pub fn new(interface: &str, addr: Addr) -> Result<AddedAddress, NetlinkError> {
        AddedAddress::with_mark(interface, addr, OURS)
    }

    /// The same for another program, which knows its addresses by another `mark`.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn with_mark(
        interface: &str,
        addr: Addr,
        mark: AddressProtocol,
    ) -> Result<AddedAddress, NetlinkError> {
        let open = NetlinkError::refused("open a netlink socket");
        let mut conversation = Conversation::open().map_err(open)?;
        let index = index_of(&mut conversation, interface)?;
        let mut added = AddedAddress {
            interface: interface.to_owned(),
            index,
            addr,
            origin: Origin::Foreign,
            mark,
            conversation,
        };
        added.origin = match added.existing()? {
            Some(address)
                if address
                    .attributes
                    .contains(&AddressAttribute::Protocol(mark)) =>
            {
                Origin::Adopted
            }
            Some(_) => Origin::Foreign,
            None => {
                let message = RouteNetlinkMessage::NewAddress(added.message());
                let what = format!("add {addr} to {interface}");
                added
                    .conversation
                    .tell(message, NLM_F_CREATE | NLM_F_EXCL)
                    .map_err(NetlinkError::refused(what))?;
                Origin::Added
            }
        };
        Ok(added)
    }

    /// Leaves it where it is; who asks for it with the same mark adopts it.
    pub fn leave(mut self) {
        self.origin = Origin::Foreign;
    }

    /// The address.
    pub fn addr(&self) -> Addr {
        self.addr
    }

    /// The interface it is on.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Who put it there.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    fn existing(&mut self) -> Result<Option<AddressMessage>, NetlinkError> {
        let mut all = AddressMessage::default();
        all.header.family = family(self.addr);
        let listed = self
            .conversation
            .list(RouteNetlinkMessage::GetAddress(all))
            .map_err(NetlinkError::refused("list addresses"))?;
        Ok(listed.into_iter().find_map(|message| match message {
            RouteNetlinkMessage::NewAddress(address)
                if address.header.index == self.index
                    && own(&address) == Some(self.addr.into()) =>
            {
                Some(address)
            }
            _ => None,
        }))
    }

    fn message(&self) -> AddressMessage {
        let ip = IpAddr::from(self.addr);
        let mut message = AddressMessage::default();
        message.header.family = family(self.addr);
        message.header.index = self.index;
        message.header.prefix_len = self.addr.bits();
        message.attributes = vec![
            AddressAttribute::Address(ip),
            AddressAttribute::Local(ip),
            AddressAttribute::Protocol(self.mark),
        ];
        if ip.is_ipv6() {
            // Valid for good and preferred never. Otherwise RFC 6724's rule 8 would have the kernel speak to the servers of
            // its network in the name of the VIP: as a /128 it may match a server's address in more bits than the
            // machine's own. Servers that hold the VIP keep their answers to themselves then.
            let mut lifetimes = CacheInfo::default();
            lifetimes.ifa_valid = u32::MAX;
            message.attributes.extend([
                AddressAttribute::Flags(AddressFlags::Nodad),
                AddressAttribute::CacheInfo(lifetimes),
            ]);
        }
        message
    }
}

impl Drop for AddedAddress {
    fn drop(&mut self) {
        if self.origin == Origin::Foreign {
            return;
        }
        let message = RouteNetlinkMessage::DelAddress(self.message());
        if let Err(error) = self.conversation.tell(message, 0) {
            let (addr, interface) = (self.addr, &self.interface);
            tracing::warn!("cannot take {addr} off {interface}: {error}");
        }
    }
}

/// The machine's own address in `message`; on a point-to-point link the other attribute is the peer's.
pub(crate) fn own(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Local(addr) => Some(*addr),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Address(addr) => Some(*addr),
            _ => None,
        })
    })
}

fn family(addr: Addr) -> AddressFamily {
    if addr.is_v4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}

fn index_of(conversation: &mut Conversation, name: &str) -> Result<u32, NetlinkError> {
    let listed = conversation
        .list(RouteNetlinkMessage::GetLink(LinkMessage::default()))
        .map_err(NetlinkError::refused("list interfaces"))?;
    let mut existing = Vec::new();
    for message in listed {
        let RouteNetlinkMessage::NewLink(link) = message else {
            continue;
        };
        for attribute in link.attributes {
            match attribute {
                LinkAttribute::IfName(found) if found == name => return Ok(link.header.index),
                LinkAttribute::IfName(other) => existing.push(other),
                _ => {}
            }
        }
    }
    Err(NetlinkError::NoSuchInterface {
        name: name.to_owned(),
        existing,
    })
}
