//! Real servers.

use std::any::Any;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use crate::conn_count::ConnCount;
use crate::{Endpoint, SchedulerKind, Slot, Tunnel};

/// A real server in one service: RIP:rport with its weight, its thresholds and its conns, shared by all workers.
///
/// Its numbers are touched when a conn opens, changes between active and inactive, or ends, and when the server is
/// edited: never per packet. What changes them does what the kernel's `ip_vs_bind_dest`, `ip_vs_unbind_dest` and
/// `__ip_vs_update_dest` do.
#[derive(Debug)]
pub struct Dest {
    rip: Endpoint,
    weight: AtomicU32,
    last_weight: AtomicU32,
    upper: AtomicU32,
    lower: AtomicU32,
    conns: ConnCount,
    persistent: AtomicU32,
    leased: AtomicU32,
    turn: AtomicU32,
    mode: AtomicU8,
    tunnel: AtomicU32,
    removed: AtomicBool,
    slot: Option<Slot>,
}

/// How many conns a server may have (ipvsadm's `-x` and `-y`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Thresholds {
    /// With so many conns the server is overloaded and gets no new ones; 0: any number.
    pub upper: u32,
    /// With fewer conns than this it is not overloaded any more; 0: three quarters of `upper`.
    pub lower: u32,
}

impl Dest {
    /// A server without conns and without thresholds.
    pub fn new(rip: Endpoint, weight: u32) -> Dest {
        Dest {
            rip,
            weight: AtomicU32::new(weight),
            last_weight: AtomicU32::new(weight),
            upper: AtomicU32::new(0),
            lower: AtomicU32::new(0),
            conns: ConnCount::default(),
            persistent: AtomicU32::new(0),
            leased: AtomicU32::new(0),
            turn: AtomicU32::new(0),
            mode: AtomicU8::new(0),
            tunnel: AtomicU32::new(Tunnel::Ipip.to_word()),
            removed: AtomicBool::new(false),
            slot: None,
        }
    }

    /// The server with this mode, by its number in the engine's registry.
    #[must_use]
    pub fn with_mode(self, mode: u8) -> Dest {
        self.set_mode(mode);
        self
    }

    /// The server with a place where workers count what its conns carry.
    #[must_use]
    pub fn with_slot(mut self, slot: Slot) -> Dest {
        self.slot = Some(slot);
        self
    }

    /// The number of its [`Slot`]; 0 if it has none.
    #[inline]
    pub fn slot(&self) -> u32 {
        self.slot.as_ref().map_or(0, Slot::number)
    }

    /// The mode that new conns to it get.
    #[inline]
    pub fn mode(&self) -> u8 {
        self.mode.load(Ordering::Relaxed)
    }

    /// Changes the mode that new conns to it get.
    pub fn set_mode(&self, mode: u8) {
        self.mode.store(mode, Ordering::Relaxed);
    }

    /// What its packets are wrapped in, if they are tunnelled.
    #[inline]
    pub fn tunnel(&self) -> Tunnel {
        Tunnel::from_word(self.tunnel.load(Ordering::Relaxed))
    }

    /// Changes what its packets are wrapped in, those of conns it has too.
    pub fn set_tunnel(&self, tunnel: Tunnel) {
        self.tunnel.store(tunnel.to_word(), Ordering::Relaxed);
    }

    /// Whether it is one of its service's servers, and not removed with conns left.
    #[inline]
    pub fn is_available(&self) -> bool {
        !self.removed.load(Ordering::Relaxed)
    }

    /// It is removed from its service; its conns remain.
    pub fn removed(&self) {
        self.removed.store(true, Ordering::Relaxed);
    }

    /// RIP:rport.
    pub fn rip(&self) -> Endpoint {
        self.rip
    }

    /// Its weight; 0 quiesces it: no new conns, old ones live on.
    #[inline]
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// The weight it had before it was quiesced, and otherwise its weight; 0 if it was quiesced when it was added.
    pub fn last_weight(&self) -> u32 {
        self.last_weight.load(Ordering::Relaxed)
    }

    /// How many conns it may have.
    pub fn thresholds(&self) -> Thresholds {
        Thresholds {
            upper: self.upper.load(Ordering::Relaxed),
            lower: self.lower.load(Ordering::Relaxed),
        }
    }

    /// Whether it has reached its upper threshold and not yet fallen below the lower one: no new conns till then.
    #[inline]
    pub fn is_overloaded(&self) -> bool {
        self.conns.is_overloaded()
    }

    /// Whether it takes new conns: neither quiesced nor overloaded.
    #[inline]
    pub fn takes_conns(&self) -> bool {
        self.weight() > 0 && !self.is_overloaded()
    }

    /// Changes the weight, from the next scheduling decision on.
    pub fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Ordering::Relaxed);
        if weight != 0 {
            self.last_weight.store(weight, Ordering::Relaxed);
        }
    }

    /// Changes the thresholds. An overload ends if the upper one is raised or taken away; it does not begin here.
    pub fn set_thresholds(&self, thresholds: Thresholds) {
        if thresholds.upper == 0 || thresholds.upper > self.upper.load(Ordering::Relaxed) {
            self.conns.end_overload();
        }
        self.upper.store(thresholds.upper, Ordering::Relaxed);
        self.lower.store(thresholds.lower, Ordering::Relaxed);
    }

    /// A removed server is added again and takes up the conns it still has. Unlike an edit, this forgets the weight
    /// from before it was quiesced.
    pub fn added_again(&self, weight: u32, thresholds: Thresholds) {
        self.last_weight.store(weight, Ordering::Relaxed);
        self.set_weight(weight);
        self.set_thresholds(thresholds);
        self.removed.store(false, Ordering::Relaxed);
    }

    /// Conns in an active state (ipvsadm's ActiveConn).
    #[inline]
    pub fn active(&self) -> u32 {
        self.conns.active_and_inactive().0
    }

    /// All other conns (ipvsadm's InActConn).
    #[inline]
    pub fn inactive(&self) -> u32 {
        self.conns.active_and_inactive().1
    }

    /// Persistence templates that name it (ipvsadm's PersistConn).
    pub fn persistent(&self) -> u32 {
        self.persistent.load(Ordering::Relaxed)
    }

    /// Local ports that its conns of this service have leased.
    pub fn leased(&self) -> u32 {
        self.leased.load(Ordering::Relaxed)
    }

    /// One of its conns has leased a local port.
    pub fn port_leased(&self) {
        self.leased.fetch_add(1, Ordering::Relaxed);
    }

    /// One of its conns has given its local port back.
    pub fn port_returned(&self) {
        self.leased.fetch_sub(1, Ordering::Relaxed);
    }

    /// A number that is one more each time, but for workers that ask at once: which local address is next for it. Every
    /// server takes turns by itself, so that round robin over servers does not pair each of them with some addresses only.
    pub fn next_turn(&self) -> u32 {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn.wrapping_add(1), Ordering::Relaxed);
        turn
    }

    /// What the thresholds count: active and inactive conns, not templates (kernel `ip_vs_dest_totalconns`).
    pub fn total(&self) -> u32 {
        let (active, inactive) = self.conns.active_and_inactive();
        active + inactive
    }

    /// Its load as schedulers weigh it: an active conn is as much as 256 inactive ones (kernel
    /// `ip_vs_dest_conn_overhead`).
    #[inline]
    pub fn overhead(&self) -> u64 {
        let (active, inactive) = self.conns.active_and_inactive();
        (u64::from(active) << 8) + u64::from(inactive)
    }

    /// A conn opened, in an active state or not.
    #[inline]
    pub fn conn_opened(&self, active: bool) {
        self.conns.opened(active, self.thresholds());
    }

    /// A conn changed between active and inactive; `active` is what it is now.
    pub fn conn_became(&self, active: bool) {
        self.conns.became(active);
    }

    /// A conn ended that was counted as `active` says.
    pub fn conn_ended(&self, active: bool) {
        self.conns.ended(active, self.thresholds());
    }

    /// A persistence template was made for the server.
    pub fn template_opened(&self) {
        self.persistent.fetch_add(1, Ordering::Relaxed);
        self.conns.judge_beginning(self.thresholds());
    }

    /// A persistence template for the server ended.
    pub fn template_ended(&self) {
        self.persistent.fetch_sub(1, Ordering::Relaxed);
        self.conns.judge_end(self.thresholds());
    }
}

/// The real servers of a service at one moment, in IPVS's list order: the server added last comes first (kernel
/// `ip_vs_add_dest` puts it at the head of the list).
///
/// Never changed, only replaced: any server added, removed or edited makes a new one.
pub struct Dests {
    list: Arc<[Arc<Dest>]>,
    prepared: Option<Prepared>,
}

/// What a [`SchedulerKind`] worked out from the dests before any packet needs it.
pub type Prepared = Arc<dyn Any + Send + Sync>;

impl Dests {
    /// The dests of a service that is scheduled by `scheduler`, which prepares itself here.
    pub fn new(list: Vec<Arc<Dest>>, scheduler: &dyn SchedulerKind) -> Dests {
        let prepared = scheduler.prepare(&list);
        let list = list.into();
        Dests { list, prepared }
    }

    /// The same dests for a scheduler of the same name that was told something else.
    #[must_use]
    pub fn prepared_by(&self, scheduler: &dyn SchedulerKind) -> Dests {
        Dests {
            list: Arc::clone(&self.list),
            prepared: scheduler.prepare(&self.list),
        }
    }

    /// Whether no server was added, removed or edited between these and `other`.
    pub fn are_those_of(&self, other: &Dests) -> bool {
        Arc::ptr_eq(&self.list, &other.list)
    }

    /// What the service's [`SchedulerKind::prepare`] made, if it made a `T`.
    #[inline]
    pub fn prepared<T: 'static>(&self) -> Option<&T> {
        self.prepared.as_deref()?.downcast_ref()
    }
}

impl Deref for Dests {
    type Target = [Arc<Dest>];

    #[inline]
    fn deref(&self) -> &[Arc<Dest>] {
        &self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dest(upper: u32, lower: u32) -> Dest {
        let dest = Dest::new("10.0.0.1:80".parse().expect("valid"), 1);
        dest.set_thresholds(Thresholds { upper, lower });
        dest
    }

    fn conns(dest: &Dest, count: usize) {
        (0..count).for_each(|_| dest.conn_opened(false));
    }

    #[test]
    fn counts_follow_conns_between_active_and_inactive() {
        let dest = dest(0, 0);
        dest.conn_opened(true);
        dest.conn_opened(false);
        dest.conn_became(false);
        assert_eq!((dest.active(), dest.inactive()), (0, 2));
        dest.conn_became(true);
        dest.conn_ended(false);
        assert_eq!((dest.active(), dest.inactive()), (1, 0));
        assert_eq!(dest.overhead(), 256);
    }

    #[test]
    fn overload_begins_at_the_upper_threshold_and_ends_below_three_quarters_of_it() {
        let dest = dest(8, 0);
        conns(&dest, 7);
        assert!(!dest.is_overloaded());
        conns(&dest, 1);
        assert!(dest.is_overloaded());
        dest.conn_ended(false);
        dest.conn_ended(false);
        assert!(dest.is_overloaded(), "six of eight are three quarters");
        dest.conn_ended(false);
        assert!(!dest.is_overloaded());
    }

    #[test]
    fn overload_ends_below_the_lower_threshold_when_there_is_one() {
        let dest = dest(8, 3);
        conns(&dest, 8);
        (0..5).for_each(|_| dest.conn_ended(false));
        assert!(dest.is_overloaded());
        dest.conn_ended(false);
        assert!(!dest.is_overloaded());
    }

    #[test]
    fn an_edit_ends_overload_only_by_raising_or_taking_away_the_upper_threshold() {
        let dest = dest(4, 0);
        conns(&dest, 4);
        dest.set_thresholds(Thresholds { upper: 4, lower: 4 });
        assert!(dest.is_overloaded());
        dest.set_thresholds(Thresholds { upper: 5, lower: 0 });
        assert!(!dest.is_overloaded());
        dest.set_thresholds(Thresholds { upper: 2, lower: 0 });
        assert!(!dest.is_overloaded(), "until the next conn");
        dest.template_opened();
        assert!(dest.is_overloaded());
        dest.set_thresholds(Thresholds::default());
        assert!(!dest.is_overloaded());
    }

    #[test]
    fn the_last_weight_outlives_a_quiesce_but_not_a_removal() {
        let dest = dest(0, 0);
        dest.set_weight(7);
        dest.set_weight(0);
        assert_eq!((dest.weight(), dest.last_weight()), (0, 7));
        dest.added_again(0, Thresholds::default());
        assert_eq!(dest.last_weight(), 0);
    }
}
