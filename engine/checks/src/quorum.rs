//! Whether a service has enough good servers (keepalived's `update_quorum_state`).

/// Whether the sum of the weights of a service's good servers is enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quorum {
    is_met: bool,
}

impl Quorum {
    /// Of a service of which nothing is known yet.
    pub fn new() -> Quorum {
        Quorum { is_met: true }
    }

    /// Whether it is met.
    pub fn is_met(self) -> bool {
        self.is_met
    }

    /// The good servers' weights sum up to `weight`; whether the quorum is met now, if that changes.
    ///
    /// It is lost below `quorum - hysteresis`, and always without any weight; it is regained at `quorum + hysteresis`.
    pub fn weigh(&mut self, weight: u64, quorum: u32, hysteresis: u32) -> Option<bool> {
        let (quorum, hysteresis) = (u64::from(quorum), u64::from(hysteresis));
        let is_met = match self.is_met {
            true => weight > 0 && weight >= quorum.saturating_sub(hysteresis),
            false => weight > 0 && weight >= quorum + hysteresis,
        };
        let changes = is_met != self.is_met;
        self.is_met = is_met;
        changes.then_some(is_met)
    }
}

impl Default for Quorum {
    fn default() -> Quorum {
        Quorum::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_is_lost_and_regained_with_hysteresis() {
        // quorum, hysteresis, weights one after the other, whether it is met with each.
        let cases: [(u32, u32, &[u64], &str); 5] = [
            (1, 0, &[3, 1, 0, 0, 1], "yynny"),
            (2, 0, &[2, 1, 2], "yny"),
            (4, 1, &[4, 3, 2, 3, 4, 5, 4], "yynnnyy"),
            (2, 5, &[1, 0, 6, 7], "ynny"),
            (0, 0, &[0, 1], "ny"),
        ];
        for (needed, hysteresis, weights, expected) in cases {
            let mut quorum = Quorum::new();
            let mut told = String::new();
            for weight in weights {
                let before = quorum.is_met();
                let change = quorum.weigh(*weight, needed, hysteresis);
                assert_eq!(change.is_some(), before != quorum.is_met());
                told.push(if quorum.is_met() { 'y' } else { 'n' });
            }
            assert_eq!(told, expected, "{needed} with {hysteresis}");
        }
    }
}
