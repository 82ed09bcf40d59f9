//! The switches of schedulers.

/// The three switches that a scheduler may give a meaning to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SchedulerFlags(u8);

impl SchedulerFlags {
    /// `flag-1`; `sh-fallback` and `mh-fallback`.
    pub const FIRST: SchedulerFlags = SchedulerFlags(1);
    /// `flag-2`; `sh-port` and `mh-port`.
    pub const SECOND: SchedulerFlags = SchedulerFlags(2);
    /// `flag-3`.
    pub const THIRD: SchedulerFlags = SchedulerFlags(4);

    /// Names as ipvsadm's `-b` takes them, with the scheduler that alone takes it.
    pub const NAMES: [(&'static str, Option<&'static str>, SchedulerFlags); 7] = [
        ("sh-fallback", Some("sh"), SchedulerFlags::FIRST),
        ("sh-port", Some("sh"), SchedulerFlags::SECOND),
        ("mh-fallback", Some("mh"), SchedulerFlags::FIRST),
        ("mh-port", Some("mh"), SchedulerFlags::SECOND),
        ("flag-1", None, SchedulerFlags::FIRST),
        ("flag-2", None, SchedulerFlags::SECOND),
        ("flag-3", None, SchedulerFlags::THIRD),
    ];

    /// Whether none is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` are set.
    pub const fn contains(self, other: SchedulerFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and those.
    pub const fn union(self, other: SchedulerFlags) -> SchedulerFlags {
        SchedulerFlags(self.0 | other.0)
    }

    /// These but for those.
    pub const fn without(self, other: SchedulerFlags) -> SchedulerFlags {
        SchedulerFlags(self.0 & !other.0)
    }

    /// The flags by name, comma-separated, as ipvsadm lists them: of `sh` and `mh` it knows no third.
    pub fn shown(self, scheduler: &str) -> String {
        let owner = SchedulerFlags::NAMES
            .iter()
            .find_map(|(_, owner, _)| owner.filter(|owner| *owner == scheduler));
        let names = SchedulerFlags::NAMES
            .iter()
            .filter(|(_, of, flag)| *of == owner && self.contains(*flag));
        names.map(|(name, ..)| *name).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_the_names_of_their_scheduler() {
        let all = SchedulerFlags::FIRST
            .union(SchedulerFlags::SECOND)
            .union(SchedulerFlags::THIRD);
        assert_eq!(all.shown("sh"), "sh-fallback,sh-port");
        assert_eq!(all.shown("rr"), "flag-1,flag-2,flag-3");
        assert_eq!(SchedulerFlags::SECOND.shown("mh"), "mh-port");
        assert_eq!(SchedulerFlags::THIRD.shown("mh"), "");
    }
}
