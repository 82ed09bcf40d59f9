//! The interfaces that there are, asked once.

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkLayerType, LinkMessage};

use crate::NetlinkError;
use crate::conversation::Conversation;

/// An interface of the calling thread's network namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// The kernel's number for it, which no other gets while it exists.
    pub index: u32,
    /// What it is called at the moment.
    pub name: String,
    /// Whether its packets begin with an Ethernet header; loopback's do too and it is not meant.
    pub is_ethernet: bool,
    /// The bridge, bond or VRF that has what it receives.
    pub master: Option<u32>,
}

/// All interfaces.
///
/// # Errors
///
/// If the kernel cannot be asked.
pub fn links() -> Result<Vec<Link>, NetlinkError> {
    let open = NetlinkError::refused("open a netlink socket");
    let listed = Conversation::open()
        .map_err(open)?
        .list(RouteNetlinkMessage::GetLink(LinkMessage::default()))
        .map_err(NetlinkError::refused("list interfaces"))?;
    Ok(listed.into_iter().filter_map(link).collect())
}

fn link(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else {
        return None;
    };
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        is_ethernet: message.header.link_layer_type == LinkLayerType::Ether,
        master: None,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Controller(index) => link.master = Some(index),
            _ => {}
        }
    }
    Some(link)
}
