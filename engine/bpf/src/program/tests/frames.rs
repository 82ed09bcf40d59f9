//! Frames by hand, byte by byte: what the program reads is not to be made by what it shares code with.

use lb_model::{Addr, Mac};

pub const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub const VIP: [u8; 4] = [10, 0, 0, 100];
pub const RIP: [u8; 4] = [10, 1, 0, 7];
pub const CIP: [u8; 4] = [192, 0, 2, 1];
pub const DIP: [u8; 4] = [10, 1, 0, 1];
pub const LIP: [u8; 4] = [10, 1, 0, 2];
pub const TCP: u8 = 6;
/// The last byte of another balancer's MAC.
pub const PEER: u8 = 9;
pub const UDP: u8 = 17;
pub const ICMP: u8 = 1;

/// An Ethernet frame to `OWN` with an IPv4 header of `header_len` bytes and two ports.
pub fn frame(from: ([u8; 4], u16), to: ([u8; 4], u16), protocol: u8, header_len: u8) -> Vec<u8> {
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
pub fn frame_v6(
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

pub fn v6(last: u8) -> [u8; 16] {
    [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

pub fn mapped(v4: [u8; 4]) -> [u8; 16] {
    *Addr::v4(v4).octets()
}

/// An ICMP error of this kind from one host to another about a packet.
pub fn error(from: [u8; 4], to: [u8; 4], kind: u16, about: &[u8]) -> Vec<u8> {
    let mut error = frame((from, kind << 8), (to, 0), ICMP, 20);
    error.truncate(14 + 20 + 8);
    error.extend(&about[14..]);
    error
}

pub fn error_v6(kind: u16, about: &[u8]) -> Vec<u8> {
    let mut error = frame_v6((v6(9), kind << 8), (v6(100), 0), &[], 58);
    error.truncate(14 + 40 + 8);
    error.extend(&about[14..]);
    error
}

/// The packet within another, from this machine to a server.
pub fn tunnelled(packet: &[u8]) -> Vec<u8> {
    wrapped(4, &[], packet)
}

/// The packet behind an IPv4 header of this protocol and whatever stands between.
pub fn wrapped(protocol: u8, between: &[u8], packet: &[u8]) -> Vec<u8> {
    let mut outer = frame((DIP, 0), (RIP, 0), protocol, 20);
    outer.truncate(14 + 20);
    outer.extend(between);
    outer.extend(&packet[14..]);
    outer
}

pub fn wrapped_v6(protocol: u8, between: &[u8], packet: &[u8]) -> Vec<u8> {
    let mut outer = frame_v6((v6(1), 0), (v6(7), 0), &[], protocol);
    outer.truncate(14 + 40);
    outer.extend(between);
    outer.extend(&packet[14..]);
    outer
}

pub fn with(mut frame: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut frame);
    frame
}
