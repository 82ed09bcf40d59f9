//! The least loaded server, as most schedulers want it.

use std::sync::Arc;

use lb_model::Dest;

/// Of the servers that take conns, the one with the least `load` for its weight; of equals the first.
///
/// Fractions are compared as the kernel does, by products.
pub fn least_loaded<'a>(
    dests: impl IntoIterator<Item = (usize, &'a Arc<Dest>)>,
    load: impl Fn(&Dest) -> u64,
) -> Option<usize> {
    let mut least: Option<(usize, u64, u64)> = None;
    for (at, dest) in dests {
        if dest.takes_conns() {
            let (load, weight) = (load(dest), u64::from(dest.weight()));
            if least.is_none_or(|(_, least, of)| least * weight > load * of) {
                least = Some((at, load, weight));
            }
        }
    }
    least.map(|(at, ..)| at)
}
