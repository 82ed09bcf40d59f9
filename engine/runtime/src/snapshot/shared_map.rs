//! A map whose copies share what neither of them has changed since.

use std::array;
use std::hash::Hash;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// A part is copied whole when something in it changes: of ten thousand keys, forty.
const PARTS: usize = 256;

type Part<K, V> = HashTable<(K, V)>;

/// A map for many lookups and few changes, of a map that others hold copies of.
///
/// A trie would copy less for a change, and take several dependent loads for a lookup, which packets of new conns wait
/// for; this takes one more than a plain map.
#[derive(Clone)]
pub(super) struct SharedMap<K, V> {
    hasher: RandomState,
    parts: Arc<[Arc<Part<K, V>>; PARTS]>,
}

impl<K: Copy + Eq + Hash, V: Copy> SharedMap<K, V> {
    #[inline]
    pub fn get(&self, key: &K) -> Option<V> {
        let hash = self.hasher.hash_one(key);
        let part = &self.parts[part_of(hash)];
        part.find(hash, |(other, _)| other == key)
            .map(|(_, value)| *value)
    }

    pub fn insert(&mut self, key: K, value: V) {
        let hash = self.hasher.hash_one(key);
        let hasher = &self.hasher;
        let part = Arc::make_mut(&mut Arc::make_mut(&mut self.parts)[part_of(hash)]);
        let is_key = |(other, _): &(K, V)| *other == key;
        match part.entry(hash, is_key, |(key, _)| hasher.hash_one(key)) {
            Entry::Occupied(mut entry) => entry.get_mut().1 = value,
            Entry::Vacant(entry) => {
                entry.insert((key, value));
            }
        }
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        // Nothing is copied if there is nothing to remove.
        let value = self.get(key)?;
        let hash = self.hasher.hash_one(key);
        let part = Arc::make_mut(&mut Arc::make_mut(&mut self.parts)[part_of(hash)]);
        if let Ok(entry) = part.find_entry(hash, |(other, _)| other == key) {
            entry.remove();
        }
        Some(value)
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> SharedMap<K, V> {
        let empty = Arc::new(HashTable::new());
        SharedMap {
            hasher: RandomState::new(),
            parts: Arc::new(array::from_fn(|_| Arc::clone(&empty))),
        }
    }
}

/// By bits of the hash that a part does not look at while it is smaller than 2^32.
#[inline]
fn part_of(hash: u64) -> usize {
    (hash >> 32) as usize % PARTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(one: &SharedMap<u32, u32>, other: &SharedMap<u32, u32>) -> usize {
        let parts = one.parts.iter().zip(other.parts.iter());
        parts.filter(|(one, other)| Arc::ptr_eq(one, other)).count()
    }

    #[test]
    fn a_copy_keeps_what_it_had_and_shares_all_but_the_part_that_changed() {
        let mut map = SharedMap::default();
        for key in 0..10_000 {
            map.insert(key, key + 1);
        }
        let before = map.clone();
        map.insert(5, 500);
        assert_eq!(shared(&before, &map), PARTS - 1);
        assert_eq!((before.get(&5), map.get(&5)), (Some(6), Some(500)));

        let before = map.clone();
        assert_eq!(map.remove(&7), Some(8));
        assert_eq!(shared(&before, &map), PARTS - 1);
        assert_eq!((before.get(&7), map.get(&7)), (Some(8), None));

        let before = map.clone();
        assert_eq!(map.remove(&7), None);
        assert_eq!(shared(&before, &map), PARTS);
        let others = (0..10_000).filter(|key| ![5, 7].contains(key));
        others.for_each(|key| assert_eq!(map.get(&key), Some(key + 1)));
    }
}
