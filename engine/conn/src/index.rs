//! Where in the slab the entry of a flow is: buckets of one cache line, two for each key.
//!
//! A key lies in its home bucket or, where that was full, in its other bucket. Both follow from the key's hash, and
//! either from the other and the key's tag alone, so that a key can be moved without being looked at (partial-key
//! cuckoo hashing: Fan et al., "Cuckoo Filter", CoNEXT 2014). A bucket counts the keys that live away from it: as long
//! as there are none, and up to some 60 % load there hardly are, a miss costs one cache line.
//!
//! ```text
//!  home  = hash scaled to the number of buckets       bucket, 64 bytes
//!  other = spread(tag) - home, modulo the same        | 10 tags of 16 bits | away | 10 places of 32 bits |
//! ```
//!
//! Ten slots of 6.4 bytes: at 80 % load a key costs 8 bytes. No memory is taken after the start and nothing is ever
//! rehashed. A key that finds both its buckets full has another one move aside, if need be after a third: so all find room
//! at that load, and far beyond it.

use lb_model::FlowHash;
use zerocopy::{FromZeros, Immutable, IntoBytes};

use crate::looks;
use crate::mem::{equal_words, populate, prefetch, zeroed_in_huge_pages};

/// Slots in a bucket: as many as a cache line holds.
const SLOTS: usize = 10;

/// The share of slots that may be taken, in percent.
const LOAD: u64 = 80;

/// Buckets beyond that. Where there are few, chance makes some much fuller than others.
const SPARE: u64 = 16;

/// A tag that no key has; memory that was never used holds nothing else.
const EMPTY: u16 = 0;

/// Marks the place of a key that lives in its other bucket.
const AWAY: u32 = 1 << 31;

#[derive(Clone, Copy, FromZeros, IntoBytes, Immutable)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u16; SLOTS],
    /// How many keys have their home here and live in their other bucket.
    away: u32,
    places: [u32; SLOTS],
}

/// A keyed hash, cut into what the index needs of it.
#[derive(Clone, Copy, Debug)]
pub struct Hash {
    home: u32,
    tag: u16,
    /// As it was, uncut.
    pub(crate) whole: u64,
}

impl Hash {
    /// Of no flow.
    pub const NONE: Hash = Hash {
        home: 0,
        tag: 0,
        whole: 0,
    };

    /// The hash of the flow, of which this is what one table makes.
    #[inline]
    pub fn of_flow(self) -> FlowHash {
        FlowHash(self.whole)
    }
}

/// Places below 2^31 under the hashes of their keys.
pub struct Index {
    buckets: Box<[Bucket]>,
}

impl Index {
    /// An index with room for `keys`.
    pub fn new(keys: u64) -> Index {
        let buckets = (keys * 100).div_ceil(SLOTS as u64 * LOAD) + SPARE;
        Index {
            buckets: zeroed_in_huge_pages(buckets as usize),
        }
    }

    /// Takes all of its memory.
    pub fn populate(&self) {
        populate(&self.buckets);
    }

    /// What `hash` means here.
    #[inline(always)]
    pub fn hash(&self, hash: u64) -> Hash {
        // The upper half chooses the bucket, the lower the tag. Scaling instead of a remainder: Lemire, "Fast random
        // integer generation in an interval", 2019.
        let home = ((hash >> 32) * self.buckets.len() as u64) >> 32;
        Hash {
            home: home as u32,
            tag: (hash as u16).max(EMPTY + 1),
            whole: hash,
        }
    }

    /// Asks for the cache line where a key will most likely be found.
    #[inline(always)]
    pub fn prefetch(&self, hash: Hash) {
        prefetch(&self.buckets[hash.home as usize]);
    }

    /// Asks for the cache line where a key is that does not live at home.
    #[inline]
    pub fn prefetch_other(&self, hash: Hash) {
        prefetch(&self.buckets[self.other(hash.home, hash.tag)]);
    }

    /// The first place whose key may have this hash, if its home bucket has one: for asking for its cache line.
    #[inline(always)]
    pub fn guess(&self, hash: Hash) -> Option<u32> {
        self.buckets[hash.home as usize].guess(hash.tag)
    }

    /// [`guess`](Index::guess) for a key that does not live at home.
    #[inline]
    pub fn guess_other(&self, hash: Hash) -> Option<u32> {
        self.buckets[self.other(hash.home, hash.tag)].guess(hash.tag)
    }

    /// Whether no key with this home lives elsewhere.
    #[inline]
    pub fn is_all_at_home(&self, hash: Hash) -> bool {
        self.buckets[hash.home as usize].away == 0
    }

    /// The place of the key with this hash for which `is_it` holds.
    #[inline(always)]
    pub fn find(&self, hash: Hash, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let home = &self.buckets[hash.home as usize];
        let found = home.find(hash.tag, &mut is_it);
        if found.is_some() || home.away == 0 {
            return found.map(|slot| home.places[slot] & !AWAY);
        }
        let other = &self.buckets[self.other(hash.home, hash.tag)];
        let found = other.find(hash.tag, &mut is_it);
        found.map(|slot| other.places[slot] & !AWAY)
    }

    /// Adds a key that is not in the index; false if there is no room for it, which there is for as many keys as it was
    /// made for. It looks at two cache lines, seldom at some twenty, and never at more than 222.
    #[must_use]
    pub fn insert(&mut self, hash: Hash, place: u32) -> bool {
        debug_assert!(place & AWAY == 0, "places are below 2^31");
        let home = hash.home as usize;
        if self.buckets[home].put(hash.tag, place) {
            return true;
        }
        let other = self.other(hash.home, hash.tag);
        let into_other = self.buckets[other].put(hash.tag, place | AWAY);
        if into_other {
            self.buckets[home].away += 1;
            return true;
        }
        for make_room in [Index::move_one, Index::move_two] {
            if make_room(self, home) {
                return self.buckets[home].put(hash.tag, place);
            }
            if make_room(self, other) {
                self.buckets[home].away += 1;
                return self.buckets[other].put(hash.tag, place | AWAY);
            }
        }
        false
    }

    /// Removes the key with this hash and place; false if it is not there.
    pub fn remove(&mut self, hash: Hash, place: u32) -> bool {
        let home = hash.home as usize;
        if self.buckets[home].take(hash.tag, place) {
            return true;
        }
        let other = self.other(hash.home, hash.tag);
        let removed = self.buckets[other].take(hash.tag, place | AWAY);
        if removed {
            self.buckets[home].away -= 1;
        }
        removed
    }

    /// The memory it takes.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    /// Moves one key of a full bucket to where else it may be.
    fn move_one(&mut self, full: usize) -> bool {
        (0..SLOTS).any(|slot| {
            let to = self.elsewhere(full, slot);
            to != full && self.move_key(full, slot, to)
        })
    }

    /// Moves one key of a full bucket to where one has moved away from.
    #[cold]
    fn move_two(&mut self, full: usize) -> bool {
        (0..SLOTS).any(|slot| {
            let to = self.elsewhere(full, slot);
            to != full && self.move_one(to) && self.move_key(full, slot, to)
        })
    }

    /// Where else the key in this slot may be.
    fn elsewhere(&self, bucket: usize, slot: usize) -> usize {
        looks::count();
        self.other(bucket as u32, self.buckets[bucket].tags[slot])
    }

    fn move_key(&mut self, from: usize, slot: usize, to: usize) -> bool {
        let Bucket { tags, places, .. } = self.buckets[from];
        let (tag, place) = (tags[slot], places[slot]);
        let moved = self.buckets[to].put(tag, place ^ AWAY);
        if moved {
            if place & AWAY == 0 {
                self.buckets[from].away += 1;
            } else {
                // It comes home.
                self.buckets[to].away -= 1;
            }
            self.buckets[from].tags[slot] = EMPTY;
        }
        moved
    }

    /// The other bucket of a key with this tag.
    #[inline(always)]
    fn other(&self, bucket: u32, tag: u16) -> usize {
        let buckets = self.buckets.len() as u64;
        // 2^32 divided by the golden ratio spreads the tags over all buckets (Knuth, TAOCP 3, section 6.4).
        let spread = (u64::from(u32::from(tag).wrapping_mul(0x9e37_79b9)) * buckets) >> 32;
        let bucket = u64::from(bucket);
        (if spread >= bucket {
            spread - bucket
        } else {
            spread + buckets - bucket
        }) as usize
    }
}

impl Bucket {
    /// Which slots have this tag, as a bit set.
    #[inline(always)]
    fn slots_of(&self, tag: u16) -> u32 {
        looks::count();
        let (head, _) = self
            .as_bytes()
            .split_first_chunk()
            .expect("a bucket is larger");
        equal_words(head, tag) & ((1 << SLOTS) - 1)
    }

    #[inline(always)]
    fn guess(&self, tag: u16) -> Option<u32> {
        let found = self.slots_of(tag);
        (found != 0).then(|| self.places[found.trailing_zeros() as usize] & !AWAY)
    }

    #[inline(always)]
    fn find(&self, tag: u16, is_it: &mut impl FnMut(u32) -> bool) -> Option<usize> {
        let mut found = self.slots_of(tag);
        while found != 0 {
            let slot = found.trailing_zeros() as usize;
            if is_it(self.places[slot] & !AWAY) {
                return Some(slot);
            }
            found &= found - 1;
        }
        None
    }

    fn put(&mut self, tag: u16, place: u32) -> bool {
        let free = self.slots_of(EMPTY);
        if free == 0 {
            return false;
        }
        let slot = free.trailing_zeros() as usize;
        (self.tags[slot], self.places[slot]) = (tag, place);
        true
    }

    fn take(&mut self, tag: u16, place: u32) -> bool {
        looks::count();
        let slot = (0..SLOTS).find(|&slot| self.tags[slot] == tag && self.places[slot] == place);
        if let Some(slot) = slot {
            self.tags[slot] = EMPTY;
        }
        slot.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    use proptest::prelude::*;

    fn hash(key: u32) -> u64 {
        hash_of(0, key)
    }

    /// Any one-to-one function will do, as long as it spreads (splitmix64's).
    fn hash_of(seed: u32, key: u32) -> u64 {
        let number = u64::from(seed) << 32 | u64::from(key);
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn find(index: &Index, key: u32) -> Option<u32> {
        index.find(index.hash(hash(key)), |place| place == key)
    }

    #[test]
    fn a_bucket_is_one_cache_line() {
        assert_eq!((size_of::<Bucket>(), align_of::<Bucket>()), (64, 64));
    }

    #[test]
    fn it_holds_all_it_was_made_for_in_8_bytes_each() {
        for keys in [1, 7, 1_000, 100_000] {
            let mut index = Index::new(u64::from(keys));
            for key in 0..keys {
                assert!(index.insert(index.hash(hash(key)), key), "{key} of {keys}");
            }
            assert!((0..keys).all(|key| find(&index, key) == Some(key)));
            assert_eq!(find(&index, keys), None);
            if keys >= 1_000 {
                assert!(index.bytes() <= 8 * keys as usize + 64 * (SPARE as usize + 1));
            }
        }
    }

    #[test]
    fn no_key_is_refused_at_the_promised_load_whatever_the_hash() {
        for (keys, fills) in [(2, 2_000), (32, 2_000), (150, 800), (700, 200), (5_000, 20)] {
            let mut refused = 0;
            for fill in 0..fills {
                let hash = |key: u32| hash_of(fill, key);
                let mut index = Index::new(u64::from(keys));
                // All that it was made for, and then others in their places, until twice as many have gone.
                for key in 0..3 * keys {
                    if key >= keys {
                        index.remove(index.hash(hash(key - keys)), key - keys);
                    }
                    refused += u32::from(!index.insert(index.hash(hash(key)), key));
                }
            }
            assert_eq!(refused, 0, "{fills} times {keys} keys");
        }
    }

    #[test]
    fn keys_find_room_far_beyond_the_load_it_is_made_for() {
        let mut index = Index::new(80_000);
        let slots = index.buckets.len() * SLOTS;
        let mut keys = 0;
        while index.insert(index.hash(hash(keys)), keys) {
            keys += 1;
        }
        assert!(keys as usize > slots * 93 / 100, "{keys} of {slots}");
        assert!((0..keys).all(|key| find(&index, key) == Some(key)));
    }

    #[test]
    fn the_other_of_the_other_is_the_first() {
        for buckets in [2, 3, 10, 4_097] {
            let index = Index::new(buckets * 8);
            for bucket in 0..index.buckets.len() as u32 {
                for tag in [1, 2, 0x8000, 0xffff] {
                    let other = index.other(bucket, tag);
                    assert_eq!(index.other(other as u32, tag), bucket as usize);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_map(steps in prop::collection::vec((any::<bool>(), 0u32..200), 0..2_000)) {
            let mut index = Index::new(100);
            let mut model = HashMap::new();
            for (add, key) in steps {
                let at = index.hash(hash(key));
                if !add {
                    prop_assert_eq!(index.remove(at, key), model.remove(&key).is_some());
                } else if !model.contains_key(&key) && index.insert(at, key) {
                    model.insert(key, ());
                }
                prop_assert_eq!(find(&index, key), model.contains_key(&key).then_some(key));
            }
            prop_assert!(model.len() >= 100 || (0..200).all(|key| find(&index, key).is_some() == model.contains_key(&key)));
            for key in 0..200 {
                index.remove(index.hash(hash(key)), key);
            }
            prop_assert!(index.buckets.iter().all(|bucket| bucket.away == 0 && bucket.tags == [EMPTY; SLOTS]));
        }
    }
}
