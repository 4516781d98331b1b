//! Soft purges that are spread: what they name turns stale bit by bit, so that the origin sees no
//! wave of refreshes.
//!
//! | a mark | counts for an entry from before it |
//! |---|---|
//! | its window is open | once the entry's share of the window has passed |
//! | its window is over | always; it then goes to where soft purges are |
//! | there are too many | at once: all of them go there |
//!
//! The share depends on the entry alone, so that every process has it turn stale at about the same
//! moment. The window begins when the record was written, as far as this process's own clock can
//! tell: never later than when it was applied here, and never earlier than would have it end then.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Position;
use super::name::Belongs;
use crate::semantics::time::Timestamp;

/// Most names with an open window.
const MARKS: usize = 4096;

/// All of them.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Spread {
    /// Digest of the name and position of the record → when.
    marks: BTreeMap<(u64, Position), Window>,
    /// When the last window ends.
    until: Timestamp,
}

#[derive(Clone, Copy, Debug, Hash)]
struct Window {
    from: Timestamp,
    millis: u32,
}

impl Spread {
    /// A record at `position`, applied `now`, has names turn stale within so many milliseconds.
    /// Returns the marks that count from now on: whatever is over, and everything if this is too
    /// much.
    pub(super) fn note(
        &mut self,
        digest: u64,
        position: Position,
        millis: u32,
        now: Timestamp,
    ) -> Vec<(u64, Position)> {
        let window = Window::of(position, millis, now);
        self.marks.entry((digest, position)).or_insert(window);
        self.until = self.until.max(window.end());
        let all = self.marks.len() > MARKS;
        self.marks
            .extract_if(.., |_, window| all || window.end() <= now)
            .map(|(at, _)| at)
            .collect()
    }

    /// Has a window after `as_of`, of this name, come to this share?
    pub(super) fn has_reached(
        &self,
        digest: u64,
        as_of: Position,
        share: u32,
        now: Timestamp,
    ) -> bool {
        let after = self.marks.range((digest, as_of)..).take_while(|((d, _), _)| *d == digest);
        after.filter(|((_, at), _)| *at > as_of).any(|(_, window)| window.at(share) <= now)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Until then, what an entry is worth may change without a word from the stream.
    pub(super) const fn until(&self) -> Timestamp {
        self.until
    }
}

impl Window {
    /// The position tells when it was written, by the clock of Valkey; ours need not agree.
    fn of(position: Position, millis: u32, now: Timestamp) -> Self {
        let written = Timestamp::from_millis(position.millis);
        let earliest = now - Duration::from_millis(millis.into());
        Self { from: written.clamp(earliest, now), millis }
    }

    fn end(self) -> Timestamp {
        self.from + Duration::from_millis(self.millis.into())
    }

    fn at(self, share: u32) -> Timestamp {
        let passed = (u64::from(self.millis) * u64::from(share)) >> 32;
        self.from + Duration::from_millis(passed)
    }
}

/// Which part of a window an entry stays as it was, in 2⁻³² of it: evenly distributed, and the same
/// in every process.
pub(super) fn share(belongs: &Belongs) -> u32 {
    /// The golden ratio in 2⁻⁶⁴: spreads neighbours far apart.
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let folded = belongs.names.iter().fold(0_u64, |all, name| all.rotate_left(7) ^ name);
    let mixed = (folded ^ (folded >> 32)).wrapping_mul(GOLDEN) >> 32;
    u32::try_from(mixed).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Cause, Kind, Ledger, Mode, Record, Standing};
    use super::*;

    const WINDOW: u32 = 30_000;

    fn at(millis: u64) -> Position {
        Position::of_entry(millis, 0)
    }

    fn time(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn record(millis: u64, name: &str, mode: Mode) -> Record {
        let names = vec![name.parse().unwrap()];
        let kind = Kind::Invalidation { names, mode };
        let (writer, cause) = ("".into(), Cause::Purge);
        Record { position: at(millis), kind, writer, ticket: None, cause }
    }

    fn entry(number: usize) -> Belongs {
        let url = format!("//h.test/products/{number}");
        Belongs::of("catalog", &url, &["all-products"], &[""; 0])
    }

    fn softened(ledger: &Ledger, as_of: u64, now: u64) -> usize {
        let judge = |n| ledger.judge(at(as_of), time(now), &entry(n), time(now));
        (0..1000).filter(|n| judge(*n) == Standing::Softened).count()
    }

    #[test]
    fn entries_turn_stale_evenly_over_the_window_and_are_all_stale_at_its_end() {
        for name in ["tag:all-products", "all", "prefix:/products/", "namespace:catalog"] {
            let mut ledger = Ledger::new(100, None);
            ledger.apply_at(&[record(100_000, name, Mode::Spread(WINDOW))], time(100_000));
            for tenth in 0_usize..=10 {
                let now = 100_000 + u64::from(WINDOW) / 10 * tenth as u64;
                let found = softened(&ledger, 99_999, now);
                assert!(found.abs_diff(tenth * 100) < 50, "{name}: {found} after {tenth} tenths");
            }
            assert_eq!(softened(&ledger, 99_999, 130_000), 1000, "{name}");
            assert_eq!(softened(&ledger, 100_000, 200_000), 0, "{name}: filled after it");
        }
    }

    #[test]
    fn the_window_is_where_this_process_can_place_it() {
        for (what, applied, begins) in [
            ("at once", 100_000, 100_000),
            ("a little later", 110_000, 100_000),
            ("long after: it is over", 500_000, 470_000),
            ("our clock is behind", 40_000, 40_000),
        ] {
            let window = Window::of(at(100_000), WINDOW, time(applied));
            assert_eq!(window.from, time(begins), "{what}");
            assert!(window.from <= time(applied) && window.end() >= time(applied), "{what}");
        }
    }

    #[test]
    fn an_immediate_purge_counts_at_once_whatever_is_spread_besides() {
        for first in [true, false] {
            let spread = record(100_000 - u64::from(first), "all", Mode::Spread(WINDOW));
            let soft = record(100_000 - u64::from(!first), "all", Mode::Soft);
            let mut ledger = Ledger::new(100, None);
            let both = if first { [&spread, &soft] } else { [&soft, &spread] };
            ledger.apply_at(both, time(100_000));
            assert_eq!(softened(&ledger, 99_998, 100_000), 1000);
            // Filled after the first of the two.
            let open = softened(&ledger, 99_999, 101_000);
            assert_eq!(open == 1000, first, "{open}");
        }
    }

    #[test]
    fn what_is_applied_at_no_known_time_or_again_later_is_stale_no_later() {
        let mut ledger = Ledger::new(100, None);
        let record = record(100_000, "all", Mode::Spread(WINDOW));
        ledger.apply([&record]);
        assert_eq!(softened(&ledger, 99_999, 0), 1000);
        let mut ledger = Ledger::new(100, None);
        ledger.apply_at([&record], time(100_000));
        ledger.apply_at([&record], time(129_000));
        assert_eq!(softened(&ledger, 99_999, 130_000), 1000);
    }

    #[test]
    fn too_many_are_stale_at_once_and_what_is_over_is_kept_no_longer() {
        let mut spread = Spread::default();
        for digest in 0..MARKS as u64 {
            assert!(spread.note(digest, at(5), WINDOW, time(5)).is_empty());
        }
        assert_eq!(spread.note(u64::MAX, at(6), WINDOW, time(6)).len(), MARKS + 1);
        assert!(spread.is_empty());
        spread.note(1, at(7), 10, time(7));
        assert_eq!(spread.note(2, at(8), 10, time(17)), [(1, at(7)), (2, at(8))].split_at(1).0);
        assert_eq!(spread.until(), time(6) + Duration::from_millis(WINDOW.into()));
    }

    proptest! {
        #[test]
        fn nobody_is_fresh_after_the_window_and_nobody_turns_fresh_again(
            number in 0_usize..1000, written in 0_u64..100, applied in 0_u64..200,
            millis in 0_u32..50, now in 0_u64..300,
        ) {
            let share = share(&entry(number));
            let mut spread = Spread::default();
            let applied = time(applied);
            let over = spread.note(1, at(written), millis, applied);
            let stale = |now| !over.is_empty() || spread.has_reached(1, Position::ZERO, share, now);
            prop_assume!(written > 0);
            prop_assert!(stale(applied + Duration::from_millis(millis.into())));
            prop_assert!(!stale(time(now)) || stale(time(now + 1)));
        }
    }
}
