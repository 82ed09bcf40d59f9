//! Every order in which workers can meet in a line of [`Owners`](lb_conn::Owners): the model checker goes through all of
//! them, on the same source with its own atomics.

#![allow(dead_code, reason = "the source has more than is tried here")]

mod sync {
    pub use loom::sync::atomic::{AtomicU32, Ordering};

    pub const WORDS: usize = 4;

    pub struct Line(pub [AtomicU32; WORDS]);

    impl Line {
        pub fn alike(&self, word: u32, bits: u32) -> u32 {
            let is_alike = |at: usize| (self.0[at].load(Ordering::Relaxed) ^ word) & bits == 0;
            (0..WORDS).fold(0, |found, at| found | u32::from(is_alike(at)) << at)
        }
    }

    pub fn lines(count: usize) -> Box<[Line]> {
        let line = |_| Line(std::array::from_fn(|_| AtomicU32::new(0)));
        (0..count).map(line).collect()
    }
}

#[path = "../src/owners.rs"]
mod owners;

use loom::sync::Arc;
use loom::thread;
use owners::Owners;

/// One line's hashes: they differ in their tags.
fn hash(key: u64) -> u64 {
    key + 1
}

#[test]
fn two_that_claim_at_once_are_both_found_and_both_can_give_up() {
    loom::model(|| {
        let owners = Arc::new(Owners::new(2));
        let claim = |worker: u16| {
            let owners = Arc::clone(&owners);
            thread::spawn(move || assert!(owners.claim(hash(worker.into()), worker)))
        };
        let other = claim(1);
        assert!(owners.claim(hash(0), 0));
        other.join().expect("no panic");
        for worker in 0..2 {
            assert_eq!(owners.find(hash(worker.into()), 7), Some(worker));
            owners.give_up(hash(worker.into()), worker);
            assert_eq!(owners.find(hash(worker.into()), 7), None);
        }
    });
}

#[test]
fn one_that_gives_up_takes_nothing_from_one_that_claims_the_same_or_asks() {
    loom::model(|| {
        let owners = Arc::new(Owners::new(2));
        assert!(owners.claim(hash(0), 0));
        assert!(owners.claim(hash(1), 1));
        let other = {
            let owners = Arc::clone(&owners);
            thread::spawn(move || {
                owners.give_up(hash(1), 1);
                assert!(owners.claim(hash(0), 1));
            })
        };
        // It is there all the while; whose word is met first is not said.
        assert!(matches!(owners.find(hash(0), 7), Some(0 | 1)));
        owners.give_up(hash(0), 0);
        other.join().expect("no panic");
        assert_eq!(owners.find(hash(0), 7), Some(1));
        assert_eq!(owners.find(hash(1), 7), None);
    });
}

#[test]
fn a_key_away_from_home_is_found_while_others_come_and_go() {
    loom::model(|| {
        let owners = Arc::new(Owners::new(1));
        for key in 0..4 {
            assert!(owners.claim(hash(key), 0));
        }
        let other = {
            let owners = Arc::clone(&owners);
            thread::spawn(move || owners.give_up(hash(0), 0))
        };
        assert_eq!(owners.find(hash(3), 7), Some(0));
        other.join().expect("no panic");
        assert_eq!(owners.find(hash(3), 7), Some(0));
        owners.give_up(hash(3), 0);
        assert_eq!(owners.find(hash(3), 7), None);
    });
}
