//! Where something stands in the ledger.
//!
//! A position is the ID of a stream entry, and what this process did by itself after it:
//!
//! | text | fields | means |
//! |---|---|---|
//! | `1700000000000-2` | `millis`, `sequence = 2` | the stream entry of this ID |
//! | `1700000000000-2+3` | `millis`, `sequence = 2 + (3 << 32)` | the third invalidation made here, after that entry and before any later one |
//!
//! Why there is room between two entries: an invalidation that Valkey has not taken yet must count
//! here at once, and a fill that begins after it must be usable. Whatever the stream issues next
//! comes after `1700000000000-2`, and must come after all that was handed out here meanwhile. A
//! number of our own that the stream could issue too would put somebody's later write *before* a
//! fill that never saw it.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A place in the ledger: the ID of a stream entry, `milliseconds-sequence`. Totally ordered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Position {
    /// Milliseconds part.
    pub millis: u64,
    /// Sequence part: the stream's own in the lower 32 bits, the count of local steps after it in
    /// the upper 32.
    pub sequence: u64,
}

/// A text that is not a [`Position`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a position: milliseconds-sequence")]
pub struct NotAPosition;

const LOW: u64 = u32::MAX as u64;

impl Position {
    /// Before everything.
    pub const ZERO: Self = Self { millis: 0, sequence: 0 };

    /// The stream entry `millis-sequence`. A sequence beyond 32 bits (four thousand million
    /// entries in one millisecond) is taken as the largest.
    pub fn of_entry(millis: u64, sequence: u64) -> Self {
        Self { millis, sequence: sequence.min(LOW) }
    }

    /// The lowest stream entry after this position.
    pub fn next(self) -> Self {
        match self.sequence & LOW {
            LOW => Self { millis: self.millis.saturating_add(1), sequence: 0 },
            sequence => Self { millis: self.millis, sequence: sequence + 1 },
        }
    }

    /// The next local step after this position; `None` after four thousand million of them.
    pub fn step(self) -> Option<Self> {
        Some(Self { sequence: self.sequence.checked_add(LOW + 1)?, ..self })
    }

    /// The highest position before this stream entry.
    pub fn before_entry(self) -> Self {
        match (self.millis, self.sequence & LOW) {
            (0, 0) => Self::ZERO,
            (millis, 0) => Self { millis: millis - 1, sequence: u64::MAX },
            (millis, sequence) => Self { millis, sequence: (sequence - 1) | (LOW << 32) },
        }
    }

    /// The stream entry it stands at or after: what other processes can make sense of. Always a
    /// safe `as_of` for an entry that leaves this process.
    pub const fn shared(self) -> Self {
        Self { millis: self.millis, sequence: self.sequence & LOW }
    }

    /// How many local steps after its stream entry.
    pub const fn steps(self) -> u64 {
        self.sequence >> 32
    }

    /// Milliseconds, then the stream's sequence, then local steps.
    const fn rank(self) -> (u64, u64) {
        (self.millis, self.sequence.rotate_left(32))
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.sequence & LOW)?;
        match self.steps() {
            0 => Ok(()),
            steps => write!(f, "+{steps}"),
        }
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let (entry, steps) = text.split_once('+').map_or((text, 0), |(e, s)| (e, number(s)));
        let (millis, sequence) = entry.split_once('-').ok_or(NotAPosition)?;
        let steps = u64::from(u32::try_from(steps).map_err(|_| NotAPosition)?);
        let at = Self::of_entry(digits(millis)?, digits(sequence)?);
        Ok(Self { sequence: at.sequence | (steps << 32), ..at })
    }
}

/// Digits and nothing else: `u64::from_str` would take a sign.
fn digits(text: &str) -> Result<u64, NotAPosition> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| plain).ok_or(NotAPosition)
}

/// As [`digits`]; what is no number is larger than any.
fn number(text: &str) -> u64 {
    digits(text).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Position {
        text.parse().unwrap()
    }

    #[test]
    fn local_steps_stand_between_two_entries() {
        let order = ["0-0", "0-0+1", "0-1", "5-0", "5-0+7", "5-1", "5-1+1", "5-2", "6-0"];
        assert!(order.windows(2).all(|w| at(w[0]) < at(w[1])), "{order:?}");
    }

    #[test]
    fn what_is_not_a_position_is_refused() {
        for text in ["", "-", "5", "5-", "-5", "a-b", "5-1+", "5-1+x", "+5-1", "5-+1", "5-1-1"] {
            assert_eq!(text.parse::<Position>(), Err(NotAPosition), "{text:?}");
        }
    }

    #[test]
    fn the_next_entry_is_after_every_local_step() {
        let steps = Position { millis: 5, sequence: u64::MAX << 32 | 1 };
        assert_eq!(steps.step(), None);
        assert!(steps < at("5-1").next());
        assert_eq!(steps.next(), at("5-2"));
        assert_eq!(at("5-4294967295").next(), at("6-0"));
    }

    proptest! {
        #[test]
        fn positions_survive_being_written_and_read(millis: u64, sequence: u64) {
            let position = Position { millis, sequence };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn neighbours_are_in_order(millis in 1..u64::MAX, sequence: u64) {
            let position = Position { millis, sequence };
            prop_assert!(position.shared() <= position && position < position.next());
            prop_assert!(position.shared().before_entry() < position.shared());
            prop_assert_eq!(position.shared().before_entry().next(), position.shared());
            if let Some(step) = position.step() {
                prop_assert!(position < step && step < position.next());
            }
        }
    }
}
