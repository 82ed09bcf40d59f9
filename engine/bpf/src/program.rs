//! The steering program in the kernel: loaded, with its maps, attached to nothing yet.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use lb_model::Mac;
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use crate::rules::Rule;

crate::skeleton::skeleton!("steer");

/// Sent to a socket: `enum counter` of `include/steer.h`.
pub(crate) const COUNTER_REDIRECTED: u32 = 0;
/// Left to the kernel.
pub(crate) const COUNTER_PASSED: u32 = 1;

/// The first byte of a frame with room in front, as `include/steer.h` has it; the second says how much.
pub const ROOM_MARK: u8 = 0xff;

/// Handles of the program's maps, which live as long as these or the attached program.
pub(crate) struct Maps {
    xsks: MapHandle,
    services: MapHandle,
    servers: MapHandle,
    local_addresses: MapHandle,
    marked: MapHandle,
    locals: MapHandle,
    peers: MapHandle,
    peering: MapHandle,
    own_mac: MapHandle,
    counters: MapHandle,
}

impl Maps {
    pub(crate) fn add(&self, rule: &Rule) -> libbpf_rs::Result<()> {
        if let Rule::Peer(_) = rule {
            let yes = 1u32.to_ne_bytes();
            self.peering
                .update(&0u32.to_ne_bytes(), &yes, MapFlags::ANY)?;
        }
        self.of(rule)
            .update(&rule.key(), &rule.value(), MapFlags::ANY)
    }

    pub(crate) fn remove(&self, rule: &Rule) -> libbpf_rs::Result<()> {
        self.of(rule).delete(&rule.key())
    }

    pub(crate) fn set_socket(&self, queue: u32, socket: BorrowedFd<'_>) -> libbpf_rs::Result<()> {
        let fd = socket.as_raw_fd();
        self.xsks
            .update(&queue.to_ne_bytes(), &fd.to_ne_bytes(), MapFlags::ANY)
    }

    pub(crate) fn set_own_mac(&self, mac: Mac) -> libbpf_rs::Result<()> {
        let mut value = [0; 8];
        value[..6].copy_from_slice(&mac.0);
        self.own_mac
            .update(&0u32.to_ne_bytes(), &value, MapFlags::ANY)
    }

    pub(crate) fn sum(&self, counter: u32) -> libbpf_rs::Result<u64> {
        let values = self
            .counters
            .lookup_percpu(&counter.to_ne_bytes(), MapFlags::ANY)?;
        Ok(values
            .iter()
            .flatten()
            .filter_map(|value| value.as_slice().try_into().ok())
            .map(u64::from_ne_bytes)
            .sum())
    }

    fn of(&self, rule: &Rule) -> &MapHandle {
        match rule {
            Rule::Service(..) | Rule::FragmentsTo(_) => &self.services,
            Rule::Server(..) | Rule::FragmentsFrom(_) => &self.servers,
            Rule::LocalAddress(..) => &self.local_addresses,
            Rule::Marked(..) => &self.marked,
            Rule::Local(_) => &self.locals,
            Rule::Peer(_) => &self.peers,
        }
    }
}

/// Loads the program and makes its maps, room for `queues` sockets among them.
pub(crate) fn load(
    storage: &mut MaybeUninit<libbpf_rs::OpenObject>,
    queues: u32,
) -> libbpf_rs::Result<(Maps, skeleton::SteerSkel<'_>)> {
    let mut open = skeleton::SteerSkelBuilder::default().open(storage)?;
    open.maps.xsks.set_max_entries(queues.max(1))?;
    let program = open.load()?;
    let maps = Maps {
        xsks: MapHandle::try_from(&program.maps.xsks)?,
        services: MapHandle::try_from(&program.maps.services)?,
        servers: MapHandle::try_from(&program.maps.servers)?,
        local_addresses: MapHandle::try_from(&program.maps.local_addresses)?,
        marked: MapHandle::try_from(&program.maps.marked)?,
        locals: MapHandle::try_from(&program.maps.locals)?,
        peers: MapHandle::try_from(&program.maps.peers)?,
        peering: MapHandle::try_from(&program.maps.peering)?,
        own_mac: MapHandle::try_from(&program.maps.own_mac)?,
        counters: MapHandle::try_from(&program.maps.counters)?,
    };
    Ok((maps, program))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};

    use lb_model::{Addr, Endpoint, MarkRule, Prefix, Protocol, ServiceKey};
    use libbpf_rs::libbpf_sys::{XDP_PASS, XDP_REDIRECT};
    use libbpf_rs::{ErrorKind, ProgramInput};

    use super::*;
    use crate::marked;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const VIP: [u8; 4] = [10, 0, 0, 100];
    const RIP: [u8; 4] = [10, 1, 0, 7];
    const CIP: [u8; 4] = [192, 0, 2, 1];
    const DIP: [u8; 4] = [10, 1, 0, 1];
    const LIP: [u8; 4] = [10, 1, 0, 2];
    const TCP: u8 = 6;
    /// The last byte of another balancer's MAC.
    const PEER: u8 = 9;
    const UDP: u8 = 17;
    const ICMP: u8 = 1;

    /// An Ethernet frame to `OWN` with an IPv4 header of `header_len` bytes and two ports.
    fn frame(from: ([u8; 4], u16), to: ([u8; 4], u16), protocol: u8, header_len: u8) -> Vec<u8> {
        let mut frame = OWN.0.to_vec();
        frame.extend([2, 0, 0, 0, 0, 2, 0x08, 0x00]);
        frame.extend([
            0x40 | (header_len / 4),
            0,
            0,
            header_len + 8,
            0,
            0,
            0,
            0,
            64,
            protocol,
            0,
            0,
        ]);
        frame.extend(from.0);
        frame.extend(to.0);
        frame.resize(14 + usize::from(header_len), 0);
        frame.extend(from.1.to_be_bytes());
        frame.extend(to.1.to_be_bytes());
        frame.resize(frame.len() + 16, 0);
        frame
    }

    /// An Ethernet frame to `OWN` with an IPv6 header, extension headers of these numbers, eight bytes each and zero, and
    /// two ports.
    fn frame_v6(
        from: ([u8; 16], u16),
        to: ([u8; 16], u16),
        extensions: &[u8],
        last: u8,
    ) -> Vec<u8> {
        let mut next = extensions.iter().copied().chain([last]);
        let mut frame = OWN.0.to_vec();
        frame.extend([2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60, 0, 0, 0, 0]);
        frame.push((8 * extensions.len() + 20) as u8);
        frame.extend([next.next().expect("the last at least"), 64]);
        frame.extend(from.0);
        frame.extend(to.0);
        for number in next {
            frame.extend([number, 0, 0, 0, 0, 0, 0, 0]);
        }
        frame.extend(from.1.to_be_bytes());
        frame.extend(to.1.to_be_bytes());
        frame.resize(frame.len() + 16, 0);
        frame
    }

    fn v6(last: u8) -> [u8; 16] {
        [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
    }

    fn mapped(v4: [u8; 4]) -> [u8; 16] {
        *Addr::v4(v4).octets()
    }

    /// An ICMP error of this kind from one host to another about a packet.
    fn error(from: [u8; 4], to: [u8; 4], kind: u16, about: &[u8]) -> Vec<u8> {
        let mut error = frame((from, kind << 8), (to, 0), ICMP, 20);
        error.truncate(14 + 20 + 8);
        error.extend(&about[14..]);
        error
    }

    fn error_v6(kind: u16, about: &[u8]) -> Vec<u8> {
        let mut error = frame_v6((v6(9), kind << 8), (v6(100), 0), &[], 58);
        error.truncate(14 + 40 + 8);
        error.extend(&about[14..]);
        error
    }

    /// The packet within another, from this machine to a server.
    fn tunnelled(packet: &[u8]) -> Vec<u8> {
        wrapped(4, &[], packet)
    }

    /// The packet behind an IPv4 header of this protocol and whatever stands between.
    fn wrapped(protocol: u8, between: &[u8], packet: &[u8]) -> Vec<u8> {
        let mut outer = frame((DIP, 0), (RIP, 0), protocol, 20);
        outer.truncate(14 + 20);
        outer.extend(between);
        outer.extend(&packet[14..]);
        outer
    }

    fn wrapped_v6(protocol: u8, between: &[u8], packet: &[u8]) -> Vec<u8> {
        let mut outer = frame_v6((v6(1), 0), (v6(7), 0), &[], protocol);
        outer.truncate(14 + 40);
        outer.extend(between);
        outer.extend(&packet[14..]);
        outer
    }

    fn with(mut frame: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        change(&mut frame);
        frame
    }

    /// An AF_XDP socket that is bound to nothing: enough for the program to redirect to in a test run.
    fn unbound_socket() -> io::Result<OwnedFd> {
        use std::os::fd::FromRawFd;
        // SAFETY: plain socket(2); the descriptor is checked, and ours alone.
        #[allow(unsafe_code)]
        unsafe {
            match libc::socket(libc::AF_XDP, libc::SOCK_RAW, 0) {
                fd if fd < 0 => Err(io::Error::last_os_error()),
                fd => Ok(OwnedFd::from_raw_fd(fd)),
            }
        }
    }

    #[test]
    fn only_packets_to_services_and_replies_of_servers_leave_the_kernel() {
        let mut storage = MaybeUninit::uninit();
        let (maps, program) = match load(&mut storage, 1) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let required = std::env::var_os("LB_REQUIRE_NETNS").is_some();
                assert!(!required, "eBPF needs root: {error}");
                println!("SKIPPED: eBPF needs root: {error}");
                return;
            }
            loaded => loaded.expect("the kernel takes the program"),
        };
        let socket = unbound_socket().expect("a socket");
        maps.set_socket(0, socket.as_fd()).expect("a queue 0");
        maps.set_own_mac(OWN).expect("a MAC");
        let vip = ServiceKey {
            vip: Endpoint::new(Addr::v4(VIP), 80),
            protocol: Protocol::Tcp,
        };
        let rip = Endpoint::new(Addr::v4(RIP), 8080);
        let vip6 = ServiceKey {
            vip: Endpoint::new(Addr::v6(v6(100)), 80),
            protocol: Protocol::Tcp,
        };
        let every_port = ServiceKey {
            vip: Endpoint::new(Addr::v4([10, 0, 0, 101]), 0),
            protocol: Protocol::Udp,
        };
        let mark = |addr, len, protocol, ports| MarkRule {
            mark: 7,
            destination: Prefix::new(addr, len),
            protocol: Some(protocol),
            ports: Some(ports),
        };
        let net = Addr::v4([198, 51, 100, 7]);
        let marks = [
            mark(net, 24, Protocol::Tcp, 80..=90),
            mark(net, 32, Protocol::Udp, 53..=53),
            mark(Addr::v6([0; 16]), 0, Protocol::Udp, 8..=8),
        ];
        let rip6 = Endpoint::new(Addr::v6(v6(7)), 8080);
        for rule in [
            Rule::Service(vip6, 0),
            Rule::Server(rip6, Protocol::Tcp),
            Rule::Local(Addr::v6(v6(1))),
            Rule::Service(vip, 0),
            Rule::Server(rip, Protocol::Tcp),
            Rule::Local(Addr::v4(DIP)),
            Rule::LocalAddress(Addr::v4(LIP), 1024..=2000),
            Rule::Local(Addr::v4(LIP)),
            Rule::Service(every_port, 0),
            Rule::FragmentsTo(Addr::v4(VIP)),
            Rule::FragmentsTo(Addr::v6(v6(100))),
            Rule::FragmentsFrom(Addr::v4(RIP)),
            Rule::Server(Endpoint::new(Addr::v4([10, 1, 0, 8]), 0), Protocol::Tcp),
            Rule::Peer(Mac([2, 0, 0, 0, 0, PEER])),
        ]
        .into_iter()
        .chain(
            marked(marks.iter())
                .into_iter()
                .map(|(prefix, ports)| Rule::Marked(prefix, ports)),
        ) {
            maps.add(&rule).expect("room for a rule");
        }

        let request = || frame((CIP, 4000), (VIP, 80), TCP, 20);
        let request_v6 =
            |extensions: &[u8], last| frame_v6((v6(9), 4000), (v6(100), 80), extensions, last);
        let reply = || frame((RIP, 8080), (CIP, 4000), TCP, 20);
        let to_marked =
            |last, port, protocol| frame((CIP, 4000), ([198, 51, 100, last], port), protocol, 20);
        let from_peer = |frame| with(frame, |f| f[11] = PEER);
        let cases = [
            ("balanced by a peer", from_peer(request()), false),
            (
                "marked, and balanced by a peer",
                from_peer(to_marked(1, 80, TCP)),
                false,
            ),
            (
                "a fragment of what a peer balanced",
                from_peer(with(request(), |f| f[20] = 0x20)),
                false,
            ),
            (
                "the reply of a peer that is a server",
                from_peer(reply()),
                true,
            ),
            ("marked, the first port", to_marked(1, 80, TCP), true),
            ("marked, the last port", to_marked(1, 90, TCP), true),
            ("marked, one port too far", to_marked(1, 91, TCP), false),
            ("marked, other protocol", to_marked(1, 80, UDP), false),
            ("marked by a longer prefix", to_marked(7, 53, UDP), true),
            ("marked by a shorter one too", to_marked(7, 85, TCP), true),
            (
                "IPv4 is not marked by a rule of all IPv6",
                frame((CIP, 4000), ([198, 51, 101, 1], 80), TCP, 20),
                false,
            ),
            (
                "all IPv6 is marked",
                frame_v6((v6(9), 4000), (v6(77), 8), &[], UDP),
                true,
            ),
            (
                "to a service for every port",
                frame((CIP, 4000), ([10, 0, 0, 101], 12345), UDP, 20),
                true,
            ),
            (
                "to a service for every port, other protocol",
                frame((CIP, 4000), ([10, 0, 0, 101], 12345), TCP, 20),
                false,
            ),
            (
                "reply of a server for every port",
                frame(([10, 1, 0, 8], 777), (CIP, 4000), TCP, 20),
                true,
            ),
            (
                "answer of a server for every port to this machine",
                frame(([10, 1, 0, 8], 777), (DIP, 4000), TCP, 20),
                false,
            ),
            ("to the service", request(), true),
            (
                "to the service, with IP options",
                frame((CIP, 4000), (VIP, 80), TCP, 60),
                true,
            ),
            (
                "don't-fragment is no fragment",
                with(request(), |f| f[20] = 0x40),
                true,
            ),
            ("reply of a server", reply(), true),
            (
                "to a local address's first port",
                frame((RIP, 80), (LIP, 1024), TCP, 20),
                true,
            ),
            (
                "to a local address's last port, from anybody",
                frame((CIP, 9), (LIP, 2000), UDP, 20),
                true,
            ),
            (
                "to another port of a local address",
                frame((CIP, 9), (LIP, 2001), TCP, 20),
                false,
            ),
            (
                "to ssh on a local address",
                frame((RIP, 9), (LIP, 22), TCP, 20),
                false,
            ),
            (
                "to another port",
                frame((CIP, 4000), (VIP, 22), TCP, 20),
                false,
            ),
            (
                "by another protocol",
                frame((CIP, 4000), (VIP, 80), UDP, 20),
                false,
            ),
            (
                "ping to the VIP",
                frame((CIP, 0x0800), (VIP, 80), 1, 20),
                false,
            ),
            (
                "to another address",
                frame((CIP, 4000), (DIP, 80), TCP, 20),
                false,
            ),
            (
                "from another port of a server",
                frame((RIP, 22), (CIP, 4000), TCP, 20),
                false,
            ),
            (
                "answer to our own connection",
                frame((RIP, 8080), (DIP, 4000), TCP, 20),
                false,
            ),
            ("first fragment", with(request(), |f| f[20] = 0x20), true),
            ("later fragment", with(request(), |f| f[21] = 1), true),
            (
                "fragment to a marked prefix",
                with(to_marked(1, 0, TCP), |f| f[21] = 1),
                true,
            ),
            (
                "fragment to a marked prefix, other protocol",
                with(to_marked(1, 0, UDP), |f| f[21] = 1),
                false,
            ),
            (
                "fragment to another address",
                with(frame((CIP, 4000), (DIP, 80), TCP, 20), |f| f[21] = 1),
                false,
            ),
            (
                "fragment of a ping to the VIP",
                with(frame((CIP, 0x0800), (VIP, 80), ICMP, 20), |f| f[21] = 1),
                false,
            ),
            ("fragment of a server's", with(reply(), |f| f[21] = 1), true),
            (
                "fragment of a server's to this machine",
                with(frame((RIP, 0), (DIP, 0), UDP, 20), |f| f[21] = 1),
                false,
            ),
            (
                "fragment for another machine",
                with(request(), |f| (f[5], f[21]) = (9, 1)),
                false,
            ),
            (
                "error about a packet to a client",
                error(CIP, VIP, 11, &frame((VIP, 80), (CIP, 4000), TCP, 20)),
                true,
            ),
            (
                "error about a packet from a local address",
                error(CIP, LIP, 3, &frame((LIP, 1024), (RIP, 8080), TCP, 20)),
                true,
            ),
            (
                "error about the machine's own packet",
                error(CIP, VIP, 3, &frame((VIP, 22), (CIP, 4000), TCP, 20)),
                false,
            ),
            (
                "error of a kind that is not followed",
                error(CIP, VIP, 12, &frame((VIP, 80), (CIP, 4000), TCP, 20)),
                false,
            ),
            (
                "error about a packet to a server",
                error(RIP, CIP, 3, &frame((CIP, 4000), (RIP, 8080), TCP, 20)),
                true,
            ),
            (
                "error about our own connection to a server",
                error(RIP, DIP, 3, &frame((DIP, 4000), (RIP, 8080), TCP, 20)),
                false,
            ),
            (
                "error about a tunnel's packet",
                error(CIP, DIP, 3, &tunnelled(&request())),
                true,
            ),
            (
                "error about IPv6 within IPv4",
                error(CIP, DIP, 3, &wrapped(41, &[], &request_v6(&[60], TCP))),
                true,
            ),
            (
                "ICMPv6 error about IPv6 within IPv6",
                error_v6(2, &wrapped_v6(41, &[], &request_v6(&[], TCP))),
                true,
            ),
            (
                "ICMPv6 error about IPv4 within IPv6",
                error_v6(2, &wrapped_v6(4, &[], &request())),
                true,
            ),
            (
                "error about GRE",
                error(CIP, DIP, 3, &wrapped(47, &[0, 0, 8, 0], &request())),
                true,
            ),
            (
                "ICMPv6 error about GRE with a checksum",
                error_v6(
                    2,
                    &wrapped_v6(
                        47,
                        &[0x80, 0, 0x86, 0xdd, 1, 2, 0, 0],
                        &request_v6(&[], TCP),
                    ),
                ),
                true,
            ),
            (
                "error about GRE with a key",
                error(
                    CIP,
                    DIP,
                    3,
                    &wrapped(47, &[0x20, 0, 8, 0, 0, 0, 0, 0], &request()),
                ),
                false,
            ),
            (
                "error about GUE",
                error(
                    CIP,
                    DIP,
                    3,
                    &wrapped(UDP, &[128, 0, 23, 192, 0, 9, 0, 0, 0, 4, 0, 0], &request()),
                ),
                true,
            ),
            (
                "ICMPv6 error about GUE with IPv4 inside",
                error_v6(
                    2,
                    &wrapped_v6(UDP, &[128, 0, 23, 192, 0, 9, 0, 0, 0, 4, 0, 0], &request()),
                ),
                true,
            ),
            (
                "error about a datagram that is not GUE",
                error(
                    CIP,
                    DIP,
                    3,
                    &wrapped(UDP, &[128, 0, 23, 192, 0, 9, 0, 0, 1, 4, 0, 0], &request()),
                ),
                false,
            ),
            (
                "error about another tunnel's packet",
                error(
                    CIP,
                    DIP,
                    3,
                    &tunnelled(&frame((CIP, 1), (DIP, 80), TCP, 20)),
                ),
                false,
            ),
            (
                "error cut before the quoted ports",
                with(
                    error(CIP, VIP, 3, &frame((VIP, 80), (CIP, 4000), TCP, 20)),
                    |f| f.truncate(14 + 20 + 8 + 20 + 3),
                ),
                false,
            ),
            (
                "ICMPv6 error about a packet to a client",
                error_v6(2, &frame_v6((v6(100), 80), (v6(9), 4000), &[], TCP)),
                true,
            ),
            (
                "ICMPv6 parameter problem",
                error_v6(4, &frame_v6((v6(100), 80), (v6(9), 4000), &[], TCP)),
                false,
            ),
            ("for another machine", with(request(), |f| f[5] = 9), false),
            ("broadcast", with(request(), |f| f[..6].fill(0xff)), false),
            (
                "VLAN-tagged",
                with(request(), |f| f[12..14].copy_from_slice(&[0x81, 0])),
                false,
            ),
            (
                "IP version 4 in an IPv6 frame",
                with(request(), |f| f[12..14].copy_from_slice(&[0x86, 0xdd])),
                false,
            ),
            ("IPv6 to the service", request_v6(&[], TCP), true),
            (
                "IPv6 reply of a server",
                frame_v6((v6(7), 8080), (v6(9), 4000), &[], TCP),
                true,
            ),
            (
                "extension headers, as many as are skipped",
                request_v6(&[0, 43, 60, 60, 60, 60, 60, 60], TCP),
                true,
            ),
            (
                "a long extension header",
                with(request_v6(&[60, 0, 0], TCP), |f| (f[54], f[55]) = (TCP, 2)),
                true,
            ),
            (
                "an extension header too many",
                request_v6(&[60; 9], TCP),
                false,
            ),
            (
                "an extension header beyond the end",
                with(request_v6(&[60], TCP), |f| f[55] = 255),
                false,
            ),
            (
                "cut within an extension header",
                with(request_v6(&[60], TCP), |f| f.truncate(57)),
                false,
            ),
            (
                "a hop of its source route left",
                with(request_v6(&[43], TCP), |f| f[57] = 1),
                false,
            ),
            ("IPv6 fragment", request_v6(&[44], TCP), true),
            ("IPv6 fragment of a ping", request_v6(&[44], 58), false),
            ("authenticated", request_v6(&[51], TCP), false),
            ("ICMPv6 to the VIP", request_v6(&[], 58), false),
            ("IPv6 by another protocol", request_v6(&[], UDP), false),
            (
                "IPv6 to another port",
                frame_v6((v6(9), 4000), (v6(100), 22), &[], TCP),
                false,
            ),
            (
                "IPv6 answer to our own connection",
                frame_v6((v6(7), 8080), (v6(1), 4000), &[], TCP),
                false,
            ),
            (
                "IPv4-mapped destination in an IPv6 header",
                frame_v6((v6(9), 4000), (mapped(VIP), 80), &[], TCP),
                false,
            ),
            (
                "IPv4-mapped source in an IPv6 header",
                frame_v6((mapped(RIP), 8080), (v6(9), 4000), &[], TCP),
                false,
            ),
            (
                "IPv6 for another machine",
                with(request_v6(&[], TCP), |f| f[5] = 9),
                false,
            ),
            (
                "cut before the ports, IPv6",
                with(request_v6(&[], TCP), |f| f.truncate(14 + 40 + 3)),
                false,
            ),
            (
                "IP version 6 in an IPv4 frame",
                with(request(), |f| f[14] = 0x65),
                false,
            ),
            (
                "header shorter than allowed",
                with(request(), |f| f[14] = 0x44),
                false,
            ),
            (
                "cut before the ports",
                with(request(), |f| f.truncate(14 + 20 + 3)),
                false,
            ),
            (
                "options beyond the end",
                with(request(), |f| f[14] = 0x4f),
                false,
            ),
        ];
        let (mut redirected, total) = (0, cases.len() as u64);
        for (name, bytes, ours) in cases {
            let input = ProgramInput {
                data_in: Some(&bytes),
                ..ProgramInput::default()
            };
            let output = program.progs.steer.test_run(input).expect("a test run");
            let expected = if ours { XDP_REDIRECT } else { XDP_PASS };
            assert_eq!(output.return_value, expected, "{name}");
            redirected += u64::from(ours);
        }
        assert_eq!(maps.sum(COUNTER_REDIRECTED).ok(), Some(redirected));
        assert_eq!(maps.sum(COUNTER_PASSED).ok(), Some(total - redirected));

        maps.remove(&Rule::Service(vip, 0)).expect("it was there");
        let bytes = request();
        let input = ProgramInput {
            data_in: Some(&bytes),
            ..ProgramInput::default()
        };
        let output = program.progs.steer.test_run(input).expect("a test run");
        assert_eq!(output.return_value, XDP_PASS, "service removed");
    }

    #[test]
    fn frames_of_a_service_that_wants_room_get_it_marked_and_the_kernel_gets_them_whole() {
        let mut storage = MaybeUninit::uninit();
        let (maps, program) = match load(&mut storage, 1) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                println!("SKIPPED: eBPF needs root: {error}");
                return;
            }
            loaded => loaded.expect("the kernel takes the program"),
        };
        maps.set_own_mac(OWN).expect("a MAC");
        let key = ServiceKey {
            vip: Endpoint::new(Addr::v4(VIP), 80),
            protocol: Protocol::Tcp,
        };
        maps.add(&Rule::Service(key, 32)).expect("room for a rule");
        let request = frame((CIP, 4000), (VIP, 80), TCP, 20);
        let run = || {
            let mut out = vec![0; 256];
            let output = program
                .progs
                .steer
                .test_run(ProgramInput {
                    data_in: Some(&request),
                    data_out: Some(&mut out),
                    ..ProgramInput::default()
                })
                .expect("it runs");
            let len = output.data.expect("data").len();
            (output.return_value, out[..len].to_vec())
        };
        assert_eq!(run(), (XDP_PASS, request.clone()), "no socket yet");

        let socket = unbound_socket().expect("a socket");
        maps.set_socket(0, socket.as_fd()).expect("a queue 0");
        let (action, out) = run();
        assert_eq!((action, out.len()), (XDP_REDIRECT, 32 + request.len()));
        assert_eq!(out[..2], [ROOM_MARK, 32]);
        assert_eq!(out[32..], request);
    }
}
