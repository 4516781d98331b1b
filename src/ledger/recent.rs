//! The records applied last, one by one: what the index, which keeps the last position of each name,
//! no longer tells apart.
//!
//! | what | kept as | dropped |
//! |---|---|---|
//! | names of a record | their digests, with its position | with the oldest records, when there are too many names |
//! | prefixes | as names, with their length | the same |
//!
//! What is dropped raises `forgotten`: nothing is claimed of the time before it.

use std::collections::VecDeque;

use super::Position;
use super::name::{Belongs, Name, prefix_digest};

/// Most names kept, whatever the index keeps: it is about the seconds that a write takes.
const NAMES: usize = 16_384;

/// Records in the order in which they were applied.
#[derive(Clone, Debug, Hash)]
pub(super) struct Recent {
    records: VecDeque<(Position, Box<[Mark]>)>,
    /// Names in all records.
    names: usize,
    limit: usize,
    /// The highest position that was dropped.
    forgotten: Position,
}

/// A name as a record of it is kept.
#[derive(Clone, Copy, Debug, Hash)]
enum Mark {
    /// Digest of a name that is no prefix.
    Name(u64),
    /// Digest and length in bytes of a prefix.
    Prefix(u64, usize),
}

impl Recent {
    /// Remembers up to `limit` names, and never more than [`NAMES`].
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.clamp(1, NAMES);
        Self { records: VecDeque::new(), names: 0, limit, forgotten: Position::ZERO }
    }

    /// A record was applied. One that is applied again counts again, which changes no answer.
    pub(super) fn note(&mut self, position: Position, names: &[Name]) {
        self.names += names.len();
        self.records.push_back((position, names.iter().map(Mark::of).collect()));
        while self.names > self.limit || self.records.len() > self.limit {
            let Some((position, marks)) = self.records.pop_front() else { break };
            self.names -= marks.len();
            self.forgotten = self.forgotten.max(position);
        }
    }

    /// Has no record after `since`, but for the one at `own`, reached anything in `belongs`? False
    /// if not all of them are remembered.
    pub(super) fn only(&self, since: Position, own: Position, belongs: &Belongs) -> bool {
        let others = self.records.iter().filter(|(at, _)| *at > since && *at != own);
        since >= self.forgotten
            && !others.flat_map(|(_, marks)| marks).any(|mark| mark.reaches(belongs))
    }
}

impl Mark {
    fn of(name: &Name) -> Self {
        match name {
            Name::Prefix(text) => Self::Prefix(prefix_digest(text), text.len()),
            name => Self::Name(name.digest()),
        }
    }

    fn reaches(self, belongs: &Belongs) -> bool {
        match self {
            Self::Name(digest) => belongs.names.contains(&digest),
            Self::Prefix(digest, length) => {
                let texts = [belongs.place.get(..length), belongs.path().get(..length)];
                texts.into_iter().flatten().any(|text| prefix_digest(text) == digest)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::{Cause, Kind, Ledger, Mode, Opening, Record, Standing};
    use super::*;
    use crate::semantics::time::Timestamp;

    const NAMES: [&str; 8] = [
        "all",
        "namespace:catalog",
        "tag:product:7",
        "path:/products/7",
        "prefix:/products/",
        "prefix://h.test/prod",
        "tag:product:8",
        "prefix:/products/8",
    ];

    /// Whether these reach the entry below.
    const REACHES: [bool; 8] = [true, true, true, true, true, true, false, false];

    fn entry() -> Belongs {
        Belongs::of("catalog/products", "//h.test/products/7", &["product:7"], &[""; 0])
    }

    fn at(millis: u64) -> Position {
        Position::of_entry(millis, 0)
    }

    fn record(millis: u64, names: &[&str]) -> Record {
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        let kind = Kind::Invalidation { names, mode: Mode::Hard };
        let writer = "".into();
        Record { position: at(millis), kind, writer, ticket: None, cause: Cause::Write }
    }

    fn ledger() -> Ledger {
        Ledger::new(100, None)
    }

    #[test]
    fn a_write_between_ours_being_sent_and_recorded_is_seen_behind_our_record() {
        let mut ledger = ledger();
        ledger.apply(&[record(1, &["path:/products/7"])]);
        let since = ledger.applied();
        ledger.apply(&[record(2, &["path:/products/8"]), record(3, &["path:/products/7"])]);
        assert!(ledger.is_undisturbed(since, at(3), &entry()), "only ours reached it");
        ledger.apply(&[record(4, &["tag:product:7"])]);
        assert!(!ledger.is_undisturbed(since, at(3), &entry()), "a later one did");
        ledger.apply(&[record(5, &["path:/products/7"])]);
        assert!(!ledger.is_undisturbed(since, at(5), &entry()), "an earlier one did");
        // To the index, which keeps the last one of each name, all would be well as of 5.
        assert_eq!(ledger.judge(at(5), Timestamp::ZERO, &entry(), Timestamp::ZERO), Standing::Good);
        assert!(ledger.is_undisturbed(at(4), at(5), &entry()));
    }

    #[test]
    fn nothing_is_claimed_of_what_is_not_known() {
        let mut ledger = Ledger::new(2, None);
        ledger.apply(&[record(1, &["tag:a"])]);
        assert!(!ledger.is_undisturbed(at(1), at(2), &entry()), "ours is not here yet");
        ledger.apply(&[record(2, &["tag:b"]), record(3, &["tag:c"])]);
        assert!(!ledger.is_undisturbed(Position::ZERO, at(3), &entry()), "the first is dropped");
        assert!(ledger.is_undisturbed(at(2), at(3), &entry()));

        let mut ledger = self::ledger();
        ledger.apply(&[record(5, &["tag:a"])]);
        ledger.forget_before(at(4));
        assert!(!ledger.is_undisturbed(at(3), at(5), &entry()), "what was trimmed is not known");
        assert!(ledger.is_undisturbed(at(4), at(5), &entry()));
        let opening = Opening { life: "other".into(), fence: at(6), trimmed: Position::ZERO };
        ledger.open(&opening, at(5));
        assert!(!ledger.is_undisturbed(at(4), at(5), &entry()), "a fence is no mere record");
    }

    #[test]
    fn a_write_of_this_process_that_the_stream_has_not_taken_yet_counts_by_its_step() {
        let mut ledger = Ledger::new(100, Some(Duration::from_secs(2))).named("me");
        ledger.heard(Timestamp::from_millis(1));
        ledger.announce(vec!["path:/products/7".parse().unwrap()], Mode::Hard, Cause::Write);
        ledger.apply(&[record(5, &["path:/products/7"])]);
        // Not in the records, but after them: judged, it is gone.
        let standing = ledger.judge(at(5), Timestamp::ZERO, &entry(), Timestamp::from_millis(1));
        assert_eq!(standing, Standing::Invalidated);
    }

    proptest! {
        #[test]
        fn it_says_what_a_list_of_all_records_says(
            named in proptest::collection::vec(
                proptest::collection::vec(0_usize..8, 1..3), 0..12),
            since in 0_u64..14,
            own in 0_u64..14,
            limit in 1_usize..30,
        ) {
            let mut ledger = Ledger::new(1000, None);
            let mut short = Recent::new(limit);
            let mut disturbed = false;
            for (millis, names) in (1..).zip(&named) {
                let texts: Vec<_> = names.iter().map(|name| NAMES[*name]).collect();
                let record = record(millis, &texts);
                ledger.apply([&record]);
                let Kind::Invalidation { names: parsed, .. } = &record.kind else { continue };
                short.note(record.position, parsed);
                disturbed |=
                    millis > since && millis != own && names.iter().any(|name| REACHES[*name]);
            }
            let known = own <= named.len() as u64;
            let told = ledger.is_undisturbed(at(since), at(own), &entry());
            prop_assert_eq!(told, known && !disturbed);
            // Whatever it forgets, it never claims more.
            prop_assert!(disturbed <= !short.only(at(since), at(own), &entry()));
        }
    }
}
