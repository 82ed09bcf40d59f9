//! The machine's own addresses, as far as packets of ours may come from them.

use lb_model::Addr;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};

use crate::address::{OURS, own};

/// The kernel's index of an interface and an address on it that packets of ours may come from.
///
/// `None` for addresses that are not good beyond their link, are not confirmed to be ours alone, or are to fall out of
/// use; and for VIPs, which are ours to answer for, not to speak from.
pub(crate) fn read(message: &AddressMessage) -> Option<(u32, Addr)> {
    let header = &message.header;
    let reaches = match (header.family, header.scope) {
        (_, AddressScope::Universe | AddressScope::Site) => true,
        // 169.254.0.0/16 is all that some IPv4 links have; an IPv6 link has more or is not in use.
        (AddressFamily::Inet, AddressScope::Link) => true,
        _ => false,
    };
    let unfit = AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Deprecated;
    let is_unfit = message.attributes.iter().any(|attribute| match attribute {
        AddressAttribute::Flags(flags) => flags.intersects(unfit),
        AddressAttribute::Protocol(protocol) => *protocol == OURS,
        _ => false,
    }) || header
        .flags
        .intersects(AddressHeaderFlags::from_bits_retain(unfit.bits() as u8));
    let addr = own(message)?.into();
    (reaches && !is_unfit).then_some((header.index, addr))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::IpAddr;

    use super::*;

    /// An address of universal scope, as the kernel would tell it.
    pub(crate) fn message(index: u32, address: &str) -> AddressMessage {
        let address: IpAddr = address.parse().expect("an address");
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.header.family = match address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        message.attributes = vec![AddressAttribute::Address(address)];
        message
    }

    #[test]
    fn packets_come_from_settled_addresses_of_universal_scope_that_are_not_vips() {
        let good = message(3, "2001:db8::1");
        assert_eq!(read(&good).map(|(index, _)| index), Some(3));
        let mut link = good.clone();
        link.header.scope = AddressScope::Link;
        let mut vip = good.clone();
        vip.attributes.push(AddressAttribute::Protocol(OURS));
        let mut tentative = good.clone();
        tentative
            .attributes
            .push(AddressAttribute::Flags(AddressFlags::Tentative));
        let mut deprecated = good;
        deprecated.header.flags = AddressHeaderFlags::Deprecated;
        for unfit in [link, vip, tentative, deprecated] {
            assert_eq!(read(&unfit), None, "{unfit:?}");
        }
        let mut v4_link = message(3, "169.254.0.1");
        v4_link.header.scope = AddressScope::Link;
        assert!(read(&v4_link).is_some());
    }
}
