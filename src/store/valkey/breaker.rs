//! When to stop asking: a state machine that is told what time it is.
//!
//! | state | a call | success | failure |
//! |---|---|---|---|
//! | closed | is let through | forgets the failures before it | the n-th in a row opens |
//! | open | is refused until the pause is over, then it is the probe | changes nothing | changes nothing |
//! | probing | is refused, unless the probe has not reported for a whole pause | closes | opens |
//!
//! While it is open only calls from before it opened can still report; they say nothing new.

use std::time::Duration;

use crate::semantics::time::Timestamp;

/// A circuit breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    threshold: u32,
    pause: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Timestamp,
    },
    /// One call is on its way. It may have been abandoned: past `until` another may try.
    Probing {
        until: Timestamp,
    },
}

impl Breaker {
    /// Closed; opens after `threshold` failures in a row, for `pause`.
    pub const fn new(threshold: u32, pause: Duration) -> Self {
        Self { threshold, pause, state: State::Closed { failures: 0 } }
    }

    /// May a call be made at `now`? Who makes it reports how it went.
    pub fn admit(&mut self, now: Timestamp) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until } | State::Probing { until } if now < until => false,
            State::Open { .. } | State::Probing { .. } => {
                self.state = State::Probing { until: now + self.pause };
                true
            }
        }
    }

    /// A call was answered.
    pub fn succeeded(&mut self) {
        match self.state {
            State::Closed { .. } | State::Probing { .. } => self.reset(),
            State::Open { .. } => {}
        }
    }

    /// A call was not answered. True if this opened the breaker.
    pub fn failed(&mut self, now: Timestamp) -> bool {
        let failures = match self.state {
            State::Closed { failures } => failures + 1,
            State::Probing { .. } => self.threshold,
            State::Open { .. } => return false,
        };
        let opens = failures >= self.threshold;
        self.state = if opens {
            State::Open { until: now + self.pause }
        } else {
            State::Closed { failures }
        };
        opens
    }

    /// A new connection was made and answers: nothing that came before counts.
    pub fn reset(&mut self) {
        self.state = State::Closed { failures: 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(500);

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// Open since the moment 0.
    fn opened() -> Breaker {
        let mut breaker = Breaker::new(3, PAUSE);
        assert_eq!([(); 3].map(|()| breaker.failed(at(0))), [false, false, true]);
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let mut breaker = Breaker::new(3, PAUSE);
        for _ in 0..10 {
            assert!(!breaker.failed(at(0)));
            assert!(!breaker.failed(at(0)));
            breaker.succeeded();
        }
        assert!(breaker.admit(at(0)));
    }

    #[test]
    fn while_open_nobody_gets_through_and_then_exactly_one() {
        let mut breaker = opened();
        assert!(!breaker.admit(at(0)));
        assert!(!breaker.admit(at(499)));
        assert!(breaker.admit(at(500)));
        assert!(!breaker.admit(at(500)));
        assert!(!breaker.admit(at(999)));
    }

    #[test]
    fn a_probe_that_succeeds_closes_it() {
        let mut breaker = opened();
        assert!(breaker.admit(at(500)));
        breaker.succeeded();
        assert!(breaker.admit(at(501)));
        assert!(breaker.admit(at(501)));
    }

    #[test]
    fn a_probe_that_fails_opens_it_again_for_a_whole_pause() {
        let mut breaker = opened();
        assert!(breaker.admit(at(500)));
        assert!(breaker.failed(at(550)));
        assert!(!breaker.admit(at(1_049)));
        assert!(breaker.admit(at(1_050)));
    }

    #[test]
    fn a_probe_that_never_reports_does_not_block_it_for_ever() {
        let mut breaker = opened();
        assert!(breaker.admit(at(500)));
        assert!(breaker.admit(at(1_000)));
    }

    #[test]
    fn stragglers_do_not_prolong_the_pause_nor_end_it() {
        let mut breaker = opened();
        assert!(!breaker.failed(at(400)));
        breaker.succeeded();
        assert!(!breaker.admit(at(499)));
        assert!(breaker.admit(at(500)));
    }

    #[test]
    fn a_new_connection_closes_it() {
        let mut breaker = opened();
        breaker.reset();
        assert!(breaker.admit(at(1)));
    }
}
