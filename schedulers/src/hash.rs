//! What the hashing schedulers share.

use lb_model::{Addr, Dests, FlowKey};

/// 2^32 divided by the square of the golden ratio (kernel `include/linux/hash.h`, `GOLDEN_RATIO_32`).
const MULTIPLIER: u32 = 0x61c8_8647;

/// `value` hashed to `bits` bits, as the kernel's `hash_32` does it.
pub fn hash_32(value: u32, bits: u32) -> usize {
    (value.wrapping_mul(MULTIPLIER) >> (u32::BITS - bits)) as usize
}

/// An address as 32 bits: the words of an IPv6 address xored.
pub fn fold(addr: &Addr) -> u32 {
    match addr.as_v4() {
        Some(octets) => u32::from_be_bytes(octets),
        None => addr
            .octets()
            .chunks_exact(4)
            .map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
            .fold(0, |folded, word| folded ^ word),
    }
}

/// The client of `flow` as 32 bits, with its port if that counts.
pub fn client(flow: &FlowKey, with_port: bool) -> u32 {
    let port = if with_port { flow.source.port } else { 0 };
    fold(&flow.source.addr).wrapping_add(port.into())
}

/// The server in the first of the table's `slots` slots that takes conns, among those that the client's hash leads to.
///
/// `slot` hashes the client with an offset. The kernel starts at the offset that is the client's slot, so that
/// clients of one lost server spread over the others, and tries as many offsets as there are slots.
pub fn fall_back(
    slots: usize,
    slot: impl Fn(usize) -> usize,
    server: impl Fn(usize) -> usize,
    dests: &Dests,
) -> Option<usize> {
    let first = slot(0);
    let takes_conns = |at: &usize| dests.get(*at).is_some_and(|dest| dest.takes_conns());
    Some(server(first)).filter(takes_conns).or_else(|| {
        // Not one of the kernel's steps: with no server left, all its steps would be in vain.
        dests.iter().find(|dest| dest.takes_conns())?;
        (0..slots)
            .map(|offset| server(slot((offset + first) % slots)))
            .find(takes_conns)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_folds_to_the_xor_of_its_words() {
        assert_eq!(fold(&Addr::v4([10, 0, 0, 1])), 0x0a00_0001);
        let mut octets = [0; 16];
        octets[3] = 1;
        octets[7] = 2;
        octets[15] = 4;
        assert_eq!(fold(&Addr::v6(octets)), 7);
    }
}
