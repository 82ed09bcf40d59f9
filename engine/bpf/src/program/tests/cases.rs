//! What comes in, and whether it goes to a socket.

use super::frames::*;

/// What it is, the frame, and whether it leaves the kernel.
pub type Case = (&'static str, Vec<u8>, bool);

/// With the rules of the test.
pub fn cases() -> Vec<Case> {
    let request = || frame((CIP, 4000), (VIP, 80), TCP, 20);
    let request_v6 =
        |extensions: &[u8], last| frame_v6((v6(9), 4000), (v6(100), 80), extensions, last);
    let reply = || frame((RIP, 8080), (CIP, 4000), TCP, 20);
    let to_marked =
        |last, port, protocol| frame((CIP, 4000), ([198, 51, 100, last], port), protocol, 20);
    let from_peer = |frame| with(frame, |f| f[11] = PEER);
    vec![
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
    ]
}
