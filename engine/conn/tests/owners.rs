//! What workers tell each other about the conns that they have.

use std::collections::BTreeMap;

use lb_conn::{MAX_WORKERS, Owners};
use proptest::prelude::*;

/// Keys that differ in all bits that count.
fn hash(key: u64) -> u64 {
    (key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[test]
fn others_find_the_owner_until_it_gives_up_and_the_owner_finds_nobody() {
    let owners = Owners::new(8);
    for worker in [0, 1, MAX_WORKERS - 1] {
        assert_eq!(owners.find(hash(1), 2), None);
        assert!(owners.claim(hash(1), worker));
        assert_eq!(owners.find(hash(1), 2), Some(worker));
        assert_eq!(owners.find(hash(1), worker), None);
        assert_eq!(owners.find(hash(2), 2), None);
        owners.give_up(hash(1), worker);
    }
    assert_eq!(owners.find(hash(1), 2), None);
}

#[test]
fn as_many_keys_as_were_asked_for_find_room() {
    const KEYS: u64 = 200_000;
    let owners = Owners::new(KEYS);
    let without_room = (0..KEYS).filter(|key| !owners.claim(hash(*key), (key % 32) as u16));
    assert_eq!(without_room.count(), 0);
    let wrong = (0..KEYS).filter(|key| owners.find(hash(*key), 32) != Some((key % 32) as u16));
    // Two keys that look the same: 15 words of 20 bits.
    assert!(wrong.count() < 20);
    let strangers = (KEYS..2 * KEYS).filter(|key| owners.find(hash(*key), 32).is_some());
    assert!(strangers.count() < 20);
    (0..KEYS).for_each(|key| owners.give_up(hash(key), (key % 32) as u16));
    let left = (0..KEYS).filter(|key| owners.find(hash(*key), 32).is_some());
    assert_eq!(left.count(), 0);
}

#[test]
fn what_finds_no_room_is_said_to_and_takes_none() {
    let owners = Owners::new(1);
    let claimed: Vec<u64> = (0..1000)
        .filter(|key| owners.claim(hash(*key), 0))
        .collect();
    assert!((15..=75).contains(&claimed.len()), "{}", claimed.len());
    claimed.iter().for_each(|key| owners.give_up(hash(*key), 0));
    assert!(owners.claim(hash(1000), 0));
}

proptest! {
    /// Whatever order keys come and go in, those that are there are found and the others are not. There are so few
    /// lines that many keys live away from home.
    #[test]
    fn keys_that_come_and_go_leave_nothing_behind(
        steps in prop::collection::vec((0_u64..80, 0_u16..3), 1..400),
    ) {
        let owners = Owners::new(24);
        let mut claimed = BTreeMap::new();
        for (key, worker) in steps {
            match claimed.remove(&key) {
                Some(owner) => owners.give_up(hash(key), owner),
                None => {
                    if owners.claim(hash(key), worker) {
                        claimed.insert(key, worker);
                    }
                }
            }
            for key in 0..80 {
                prop_assert_eq!(owners.find(hash(key), 9), claimed.get(&key).copied());
            }
        }
    }
}
