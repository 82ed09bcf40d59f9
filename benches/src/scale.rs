//! How many conns there are while something is measured, and which of them packets are for.

use std::env;

/// Set to anything, it has the benches measure 10 million conns, too: some 4 GB of memory, and minutes to open them all.
const LARGE: &str = "LBD_BENCH_10M";

/// Numbers of live conns, with the words for them in the ids of benches.
pub fn live_conns() -> impl Iterator<Item = (&'static str, u32)> {
    let sizes = [("1k", 1_000), ("100k", 100_000), ("1m", 1_000_000)];
    let large = env::var_os(LARGE).map(|_| ("10m", 10_000_000));
    sizes.into_iter().chain(large)
}

/// Numbers below `limit` in a fixed pseudo-random order (xorshift), so that a table's memory is visited at random.
pub fn random(limit: u32) -> impl Iterator<Item = u32> {
    let mut x = 0x9e37_79b9u32;
    std::iter::repeat_with(move || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        ((u64::from(x) * u64::from(limit)) >> 32) as u32
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn random_numbers_are_below_their_limit_and_most_of_them_come() {
        let seen: BTreeSet<u32> = random(1000).take(16_384).collect();
        assert!(seen.last() < Some(&1000) && seen.len() > 990);
    }
}
