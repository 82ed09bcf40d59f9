//! What is written into the maps of a role's programs, and read from them.

use std::path::Path;

use lb_model::Addr;
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::{AgentError, Counter, Prefix};

/// Makes the keys of `map` those of `wanted`: first adds what is missing, then removes what is too much, so that at no
/// moment something is missing that was there before and shall stay.
pub(super) fn set_keys<K: AsRef<[u8]>>(
    name: &str,
    map: &MapHandle,
    wanted: impl Iterator<Item = K>,
) -> Result<(), AgentError> {
    let wanted: Vec<K> = wanted.collect();
    let before: Vec<Vec<u8>> = map.keys().collect();
    for key in &wanted {
        map.update(key.as_ref(), &[1], MapFlags::ANY)
            .map_err(AgentError::map(name))?;
    }
    for key in before {
        if !wanted.iter().any(|wanted| wanted.as_ref() == key) {
            map.delete(&key).map_err(AgentError::map(name))?;
        }
    }
    Ok(())
}

pub(super) fn open(pins: &Path, name: &str) -> Result<MapHandle, AgentError> {
    MapHandle::from_pinned_path(pins.join(name)).map_err(AgentError::map(name))
}

/// The prefixes in a pinned trie.
pub(super) fn prefixes(pins: &Path, name: &str) -> Result<Vec<Prefix>, AgentError> {
    let map = open(pins, name)?;
    let mut prefixes: Vec<Prefix> = map
        .keys()
        .filter_map(|key| Prefix::from_key(&key))
        .collect();
    prefixes.sort_unstable();
    Ok(prefixes)
}

/// The addresses that are the keys of a pinned map.
pub(super) fn addresses(pins: &Path, name: &str) -> Result<Vec<Addr>, AgentError> {
    let map = open(pins, name)?;
    let addr = |key: Vec<u8>| Some(Addr::v6(*key.first_chunk()?));
    let mut addresses: Vec<Addr> = map.keys().filter_map(addr).collect();
    addresses.sort_unstable();
    Ok(addresses)
}

/// The values of the pinned `counters`, over all CPUs.
pub(super) fn counters(
    pins: &Path,
    names: &[Counter],
) -> Result<Vec<(&'static str, u64)>, AgentError> {
    let map = open(pins, "counters")?;
    let sum = |index: u32| {
        let values = map
            .lookup_percpu(&index.to_ne_bytes(), MapFlags::ANY)
            .map_err(AgentError::map("counters"))?;
        let values = values.iter().flatten();
        Ok(values
            .filter_map(|value| Some(u64::from_ne_bytes(*value.first_chunk()?)))
            .sum())
    };
    let names = names.iter().zip(0u32..);
    names
        .map(|((name, _), index)| Ok((*name, sum(index)?)))
        .collect()
}
