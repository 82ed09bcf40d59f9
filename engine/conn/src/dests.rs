//! The servers of a table's conns by number: a conn has no room for a pointer, nor may it count references per packet.

use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashMap;
use lb_model::Dest;

/// Servers that conns name by number, each as long as one does.
pub struct ConnDests {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    /// By the address at which a server lies, which is its own as long as somebody holds it.
    numbers: HashMap<usize, u32, RandomState>,
    /// The numbers that were last asked for, by their servers' slots, which differ: servers get one conn after the other.
    recent: [u32; RECENT],
}

/// More than most services have servers.
const RECENT: usize = 256;

struct Slot {
    dest: Arc<Dest>,
    conns: u32,
}

impl ConnDests {
    /// No servers yet.
    pub fn new() -> ConnDests {
        ConnDests {
            slots: Vec::new(),
            free: Vec::new(),
            numbers: HashMap::default(),
            recent: [0; RECENT],
        }
    }

    /// The number of `dest`, for one more conn.
    #[inline]
    pub fn hold(&mut self, dest: &Arc<Dest>) -> u32 {
        let recent = self.recent[place(dest)];
        if let Some(Some(slot)) = self.slots.get_mut(recent as usize)
            && Arc::ptr_eq(&slot.dest, dest)
        {
            slot.conns += 1;
            return recent;
        }
        self.hold_another(dest)
    }

    #[cold]
    fn hold_another(&mut self, dest: &Arc<Dest>) -> u32 {
        let address = Arc::as_ptr(dest).addr();
        let number = *self.numbers.entry(address).or_insert_with(|| {
            let slot = Slot {
                dest: Arc::clone(dest),
                conns: 0,
            };
            match self.free.pop() {
                Some(number) => {
                    self.slots[number as usize] = Some(slot);
                    number
                }
                None => {
                    self.slots.push(Some(slot));
                    (self.slots.len() - 1) as u32
                }
            }
        });
        self.slots[number as usize].as_mut().expect(HELD).conns += 1;
        self.recent[place(dest)] = number;
        number
    }

    /// The server with this number. Panics if no conn holds it.
    #[inline(always)]
    pub fn get(&self, number: u32) -> &Arc<Dest> {
        &self.slots[number as usize].as_ref().expect(HELD).dest
    }

    /// One conn less holds the server with this number.
    pub fn let_go(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        let held = slot.as_mut().expect(HELD);
        held.conns -= 1;
        if held.conns == 0 {
            self.numbers.remove(&Arc::as_ptr(&held.dest).addr());
            *slot = None;
            self.free.push(number);
        }
    }
}

/// Where the number of `dest` is remembered.
#[inline(always)]
fn place(dest: &Dest) -> usize {
    dest.slot() as usize % RECENT
}

const HELD: &str = "a number that a conn holds names a server";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_servers_as_long_as_a_conn_holds_it() {
        let new = || Arc::new(Dest::new("10.1.0.11:80".parse().expect("valid"), 1));
        let (one, other) = (new(), new());
        let mut dests = ConnDests::new();
        let numbers = [&one, &other, &one].map(|dest| dests.hold(dest));
        assert_eq!(numbers, [0, 1, 0]);
        assert!(Arc::ptr_eq(dests.get(0), &one));
        dests.let_go(0);
        assert_eq!(Arc::strong_count(&one), 2);
        dests.let_go(0);
        assert_eq!(Arc::strong_count(&one), 1);
        assert_eq!(dests.hold(&new()), 0);
        assert!(Arc::ptr_eq(dests.get(1), &other));
    }
}
