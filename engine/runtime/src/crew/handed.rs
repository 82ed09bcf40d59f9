//! A packet on its way from one worker to another.

use lb_model::{FlowHash, FlowKey, Frame, Headers, InterfaceId, Packet, Reassembled};

/// A packet, and what the worker that hands it has found out about what is in it.
pub struct Handed {
    frame: Frame,
    ingress: InterfaceId,
    reassembled: Option<Reassembled>,
    headers: Headers,
    flow: FlowKey,
    flow_hash: Option<FlowHash>,
    plain: bool,
    /// Whether its frame makes good for one that was taken.
    pub pays: bool,
}

impl Handed {
    /// What there is to hand of a packet, which stays behind without a frame.
    #[inline(always)]
    pub fn from(packet: &mut Packet, pays: bool) -> Handed {
        let mut handed = Handed {
            frame: packet.frame.take(),
            ingress: packet.ingress,
            reassembled: packet.reassembled,
            headers: packet.headers,
            flow: packet.flow,
            flow_hash: packet.flow_hash,
            plain: packet.plain,
            pays,
        };
        if packet.related.is_some() {
            // An ICMP error may be about one flow or another: it is read again, by who finds out which.
            (handed.headers, handed.flow_hash) = Default::default();
        }
        handed
    }

    /// Whether it is a datagram that was put together from fragments, whose frame is not the port's.
    #[inline(always)]
    pub fn is_reassembled(&self) -> bool {
        self.reassembled.is_some()
    }

    /// Its frame.
    #[inline(always)]
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The packet, for who has got it.
    #[inline(always)]
    pub fn into_packet(self) -> Packet {
        Packet {
            handed: true,
            reassembled: self.reassembled,
            headers: self.headers,
            flow: self.flow,
            flow_hash: self.flow_hash,
            plain: self.plain,
            ..Packet::received(self.frame, self.ingress)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::parse;
    use lb_testkit::pkt;

    fn packet(bytes: Vec<u8>) -> Packet {
        let len = bytes.len();
        let frame = Frame::new(bytes.leak(), len, 7);
        let mut packet = Packet::received(frame, InterfaceId(3));
        parse::read(&mut packet);
        packet.flow_hash = Some(FlowHash(5));
        packet
    }

    fn request() -> lb_testkit::PacketBuilder {
        let [client, vip] = ["192.0.2.1", "10.0.0.100"].map(|addr| addr.parse().expect("valid"));
        pkt().ipv4(client, vip).udp(4000, 80).payload(b"request")
    }

    #[test]
    fn who_gets_a_packet_knows_what_was_found_in_it() {
        let mut sent = packet(request().bytes());
        let (headers, flow, bytes) = (sent.headers, sent.flow, sent.frame.bytes().to_vec());
        let got = Handed::from(&mut sent, false).into_packet();
        assert!(got.handed && got.is_open() && got.is_parsed() && got.plain);
        assert_eq!((got.headers, got.flow), (headers, flow));
        assert_eq!(
            (got.flow_hash, got.ingress),
            (Some(FlowHash(5)), InterfaceId(3))
        );
        assert_eq!((got.frame.id(), got.frame.bytes()), (7, &bytes[..]));
        assert_eq!(sent.frame.len(), 0, "what stays behind has no frame");
    }

    #[test]
    fn an_icmp_error_is_read_again_by_who_gets_it() {
        let router = "198.51.100.9".parse().expect("valid");
        let vip = "10.0.0.100".parse().expect("valid");
        let error = pkt()
            .ipv4(router, vip)
            .icmp_error((3, 1, 0), &request(), 548);
        let mut sent = packet(error.bytes());
        assert!(sent.related.is_some());
        let got = Handed::from(&mut sent, false).into_packet();
        assert!(got.handed && !got.is_parsed());
        assert_eq!((got.related, got.flow_hash), (None, None));
    }
}
