//! From single answers to a server's state: rise, fall, and patience with those that come and go.
//!
//! ```text
//! up:   every bad answer counts, a good one starts anew; `fall` of them: down
//! down: every good answer counts, a bad one starts anew; `rise` of them: up
//! ```
//!
//! With damping, a server that goes down again soon after it came up needs twice as many good answers as the time
//! before, up to 16 times `rise`.

use std::time::Duration;

use crate::Check;

/// How often `rise` can double.
const MOST_DOUBLINGS: u32 = 4;

/// What a server is taken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It serves.
    Up,
    /// It does not.
    Down,
}

/// What is known of one server.
#[derive(Clone, Debug)]
pub struct Judge {
    state: State,
    /// Answers in a row that speak against the state.
    streak: u32,
    came_up: Option<Duration>,
    doublings: u32,
}

impl Judge {
    /// Knows nothing yet but what to take the server for.
    pub fn new(initial: State) -> Judge {
        Judge {
            state: initial,
            streak: 0,
            came_up: None,
            doublings: 0,
        }
    }

    /// What the server is taken for.
    pub fn state(&self) -> State {
        self.state
    }

    /// How many good answers in a row bring it up.
    pub fn rise(&self, check: &Check) -> u32 {
        check.rise.saturating_mul(1 << self.doublings)
    }

    /// Answers in a row that speak against the state.
    pub fn streak(&self) -> u32 {
        self.streak
    }

    /// Another answer, at `now` by a clock that never goes back; the new state, if it changes.
    pub fn answered(&mut self, good: bool, now: Duration, check: &Check) -> Option<State> {
        if good == (self.state == State::Up) {
            self.streak = 0;
            return None;
        }
        self.streak += 1;
        match self.state {
            State::Up if self.streak >= check.fall => {
                let soon = |up: Duration| now.saturating_sub(up) < check.damping;
                self.doublings = match self.came_up.is_some_and(soon) {
                    true => MOST_DOUBLINGS.min(self.doublings + 1),
                    false => 0,
                };
                self.become_state(State::Down)
            }
            State::Down if self.streak >= self.rise(check) => {
                self.came_up = Some(now);
                self.become_state(State::Up)
            }
            State::Up | State::Down => None,
        }
    }

    fn become_state(&mut self, state: State) -> Option<State> {
        (self.state, self.streak) = (state, 0);
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Probe;

    /// A check a second: `.` answers well, `x` does not; `U` and `D` are the same where the state changes.
    fn history(check: &Check, initial: State, answers: &str) -> String {
        let mut judge = Judge::new(initial);
        let answers = answers.chars().enumerate();
        let one = |(second, answer)| {
            let now = Duration::from_secs(second as u64);
            match judge.answered(answer == '.', now, check) {
                Some(State::Up) => 'U',
                Some(State::Down) => 'D',
                None => answer,
            }
        };
        answers.map(one).collect()
    }

    #[test]
    fn histories_of_answers_and_states() {
        use State::{Down, Up};
        // rise, fall, damping in seconds, initial state, what happens.
        for (rise, fall, damping, initial, expected) in [
            (1, 1, 0, Up, "..DxxU.D"),
            (2, 3, 0, Up, ".xx.xxDx.x.U"),
            (2, 3, 0, Down, "x.x.Uxx.xxD"),
            (1, 1, 0, Down, "xxU"),
            (3, 1, 0, Up, "D..x..U"),
            // Twice as patient with each time, but for one that lasted.
            (1, 1, 10, Up, "DUD.UD...UD.......U"),
            (1, 1, 2, Up, "DUD.U..DU"),
            (2, 1, 9, Up, "D.U.D...U........D.U"),
        ] {
            let check = Check {
                rise,
                fall,
                damping: Duration::from_secs(damping),
                ..Check::new(Probe::Tcp)
            };
            let answers = expected.replace('U', ".").replace('D', "x");
            let told = history(&check, initial, &answers);
            assert_eq!(
                told, expected,
                "rise {rise}, fall {fall}, damping {damping}"
            );
        }
    }

    #[test]
    fn patience_has_a_limit() {
        let check = Check {
            rise: 1,
            fall: 1,
            damping: Duration::from_secs(1000),
            ..Check::new(Probe::Tcp)
        };
        let mut judge = Judge::new(State::Up);
        for _ in 0..10 {
            judge.answered(false, Duration::from_secs(1), &check);
            while judge
                .answered(true, Duration::from_secs(1), &check)
                .is_none()
            {}
        }
        assert_eq!(judge.rise(&check), 16);
    }
}
