//! One line in the log for what may happen thousands of times.

use std::time::Duration;

use tokio::time::Instant;

/// Between two lines.
const EVERY: Duration = Duration::from_secs(10);

/// Lets the first through at once, and then one every ten seconds that stands for all since.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    last: Option<Instant>,
    held_back: u64,
}

impl Throttle {
    /// It happened so many times more. How many the line stands for, if one is due.
    pub(super) fn happened(&mut self, times: u64, now: Instant) -> Option<u64> {
        self.held_back += times;
        if self.last.is_some_and(|last| now.duration_since(last) < EVERY) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_together() {
        let start = Instant::now();
        let mut throttle = Throttle::default();
        let told = [(0, 1), (1, 2), (9, 3), (10, 4), (11, 5), (30, 6)]
            .map(|(at, times)| throttle.happened(times, start + Duration::from_secs(at)));
        assert_eq!(told, [Some(1), None, None, Some(9), None, Some(11)]);
    }
}
