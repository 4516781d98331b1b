//! What was invalidated last when, in bounded memory.
//!
//! | what | kept as | dropped |
//! |---|---|---|
//! | names | digest → position, hard and soft apart | the longest untouched sixteenth, when there are too many |
//! | prefixes | as names, and each length that occurs | with the names; lengths beyond a bound, oldest first |
//! | soft purges that are spread | see `spread.rs` | they turn into soft ones |
//! | namespace versions | text → position of the last hard bump | the oldest eighth, when there are too many |
//!
//! Whatever is dropped raises `forgotten` to its position: an entry from before it can no longer
//! be vouched for. Forgetting makes this process more suspicious, never less.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hash, Hasher};

use super::Position;
use super::name::{Belongs, Name, lineage, plain, prefix_digest};
use super::record::Mode;
use super::spread::{Spread, share};
use crate::semantics::time::Timestamp;

/// Most distinct lengths of prefixes that are looked for.
const PREFIX_LENGTHS: usize = 1024;

/// Name → position of its last invalidation.
#[derive(Clone, Debug)]
pub(super) struct Index {
    hard: Table,
    soft: Table,
    spread: Spread,
    /// Length in bytes of a prefix → last invalidation of any prefix of that length.
    prefixes: BTreeMap<usize, Position>,
    /// The highest position noted: an entry from after it needs no search.
    newest: Position,
    forgotten: Position,
}

impl Index {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            hard: Table::new(limit),
            soft: Table::new(limit),
            spread: Spread::default(),
            prefixes: BTreeMap::new(),
            newest: Position::ZERO,
            forgotten: Position::ZERO,
        }
    }

    /// `now`: when the record was applied, for one that is spread; if nobody knows, it counts at
    /// once.
    pub(super) fn note(
        &mut self,
        name: &Name,
        mode: Mode,
        position: Position,
        now: Option<Timestamp>,
    ) {
        if let Name::Prefix(text) = name {
            self.note_prefix(plain(text).len(), position);
        }
        let digest = name.digest();
        let dropped = match (mode, now) {
            (Mode::Hard, _) => self.hard.note(digest, position),
            (Mode::Spread(millis), Some(now)) => {
                let over = self.spread.note(digest, position, millis, now);
                let noted = over.into_iter().map(|(digest, at)| self.soft.note(digest, at));
                noted.max().unwrap_or_default()
            }
            (Mode::Soft | Mode::Spread(_), _) => self.soft.note(digest, position),
        };
        self.forgotten = self.forgotten.max(dropped);
        self.newest = self.newest.max(position);
    }

    /// The gravest invalidation after `as_of` of anything in `belongs`.
    pub(super) fn after(&self, as_of: Position, belongs: &Belongs, now: Timestamp) -> Option<Mode> {
        if as_of >= self.newest {
            return None;
        }
        let mut found = None;
        let share = if self.spread.is_empty() { None } else { Some(share(belongs)) };
        let turned =
            |digest| share.is_some_and(|share| self.spread.has_reached(digest, as_of, share, now));
        for digest in belongs.names.iter().copied().chain(self.prefixes_after(as_of, belongs)) {
            if self.hard.last(digest) > as_of {
                return Some(Mode::Hard);
            }
            if self.soft.last(digest) > as_of || turned(digest) {
                found = Some(Mode::Soft);
            }
        }
        found
    }

    /// The last hard invalidation of anything in `belongs`.
    pub(super) fn last(&self, belongs: &Belongs) -> Position {
        let prefixes = self.prefixes_after(Position::ZERO, belongs);
        let all = belongs.names.iter().copied().chain(prefixes);
        all.map(|digest| self.hard.last(digest)).max().unwrap_or_default()
    }

    /// The highest position that was dropped.
    pub(super) const fn forgotten(&self) -> Position {
        self.forgotten
    }

    /// Until then, what is after a position may change as time goes by.
    pub(super) const fn turning(&self) -> Timestamp {
        self.spread.until()
    }

    /// Names remembered.
    pub(super) fn len(&self) -> usize {
        self.hard.slots.len() + self.soft.slots.len()
    }

    pub(super) fn fingerprint(&self, into: &mut impl Hasher) {
        let Self { hard, soft, spread, prefixes, newest, forgotten } = self;
        (spread, prefixes, newest, forgotten).hash(into);
        hard.fingerprint(into);
        soft.fingerprint(into);
    }

    fn note_prefix(&mut self, length: usize, position: Position) {
        let last = self.prefixes.entry(length).or_default();
        *last = position.max(*last);
        if self.prefixes.len() > PREFIX_LENGTHS
            && let Some((&length, &last)) = self.prefixes.iter().min_by_key(|(_, last)| **last)
        {
            self.prefixes.remove(&length);
            self.forgotten = self.forgotten.max(last);
        }
    }

    /// Digests of the prefixes of an entry's place, with host and without, as far as a prefix of
    /// that length was invalidated after `as_of`.
    fn prefixes_after<'a>(
        &'a self,
        as_of: Position,
        belongs: &'a Belongs,
    ) -> impl Iterator<Item = u64> + 'a {
        let lengths = self.prefixes.range(..=belongs.place.len());
        lengths.filter(move |(_, last)| **last > as_of).flat_map(|(&length, _)| {
            let texts = [belongs.place.get(..length), belongs.path().get(..length)];
            texts.into_iter().flatten().map(prefix_digest)
        })
    }
}

/// Digest → position, for a bounded number of digests. About 33 bytes per slot of a table that is
/// between 7/16 and 7/8 full, and 8 to 16 bytes for the list: less than 100 per name.
#[derive(Clone, Debug)]
struct Table {
    slots: HashMap<u64, Slot, BuildHasherDefault<AlreadyHashed>>,
    /// In the order in which the names were noted, for dropping. The last one is being filled.
    batches: VecDeque<Batch>,
    /// Names in all batches. More than slots: a name noted again stays in its older batches too.
    listed: usize,
    limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Slot {
    position: Position,
    /// The latest batch that lists the name.
    batch: u32,
}

#[derive(Clone, Debug, Hash)]
struct Batch {
    number: u32,
    digests: Vec<u64>,
}

impl Table {
    fn new(limit: usize) -> Self {
        let first = Batch { number: 0, digests: Vec::new() };
        let batches = VecDeque::from([first]);
        Self { slots: HashMap::default(), batches, listed: 0, limit: limit.max(1) }
    }

    fn last(&self, digest: u64) -> Position {
        self.slots.get(&digest).map_or(Position::ZERO, |s| s.position)
    }

    /// Returns the highest position that had to be dropped for it.
    fn note(&mut self, digest: u64, position: Position) -> Position {
        let batch = self.open_batch();
        let known = self.slots.get(&digest);
        let listed = known.is_some_and(|slot| slot.batch == batch);
        let position = known.map_or(position, |slot| slot.position.max(position));
        self.slots.insert(digest, Slot { position, batch });
        if !listed && let Some(last) = self.batches.back_mut() {
            last.digests.push(digest);
            self.listed += 1;
        }
        self.shrink()
    }

    fn fingerprint(&self, into: &mut impl Hasher) {
        let Self { slots, batches, listed, limit } = self;
        let mut slots: Vec<_> = slots.iter().collect();
        slots.sort_unstable_by_key(|(digest, _)| **digest);
        (slots, batches, listed, limit).hash(into);
    }

    /// The number of the batch being filled; of a new one if that is full.
    fn open_batch(&mut self) -> u32 {
        let size = self.limit.div_ceil(16);
        match self.batches.back() {
            Some(batch) if batch.digests.len() < size => batch.number,
            last => {
                let number = last.map_or(0, |b| b.number.wrapping_add(1));
                self.batches.push_back(Batch { number, digests: Vec::new() });
                number
            }
        }
    }

    fn shrink(&mut self) -> Position {
        let mut dropped = Position::ZERO;
        while self.slots.len() > self.limit || self.listed > 2 * self.limit + 16 {
            let Some(batch) = self.batches.pop_front() else { break };
            self.listed -= batch.digests.len();
            for digest in batch.digests {
                if self.slots.get(&digest).is_some_and(|s| s.batch == batch.number)
                    && let Some(slot) = self.slots.remove(&digest)
                {
                    dropped = dropped.max(slot.position);
                }
            }
        }
        dropped
    }
}

/// The digests are good hashes already.
#[derive(Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }
}

/// Namespace → position of its last hard bump, as the stream has it.
#[derive(Clone, Debug)]
pub(super) struct Versions {
    bumps: HashMap<Box<str>, Position>,
    limit: usize,
    /// Moves with every change.
    changes: u64,
}

impl Versions {
    pub(super) fn new(limit: usize) -> Self {
        Self { bumps: HashMap::new(), limit: limit.max(8), changes: 0 }
    }

    /// Position of the last bump of `namespace` or an ancestor.
    pub(super) fn of(&self, namespace: &str) -> Position {
        lineage(namespace).filter_map(|n| self.bumps.get(n)).max().copied().unwrap_or_default()
    }

    /// Moves whenever a version may have changed.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn fingerprint(&self, into: &mut impl Hasher) {
        // How often it changed matters only to who has kept an earlier count.
        let Self { bumps, limit, changes: _ } = self;
        let mut bumps: Vec<_> = bumps.iter().collect();
        bumps.sort_unstable();
        (bumps, limit).hash(into);
    }

    /// Returns the highest position that had to be dropped for it.
    pub(super) fn note(&mut self, namespace: &str, position: Position) -> Position {
        self.changes += 1;
        match self.bumps.get_mut(namespace) {
            Some(bump) => *bump = position.max(*bump),
            None => drop(self.bumps.insert(namespace.into(), position)),
        }
        if self.bumps.len() <= self.limit {
            return Position::ZERO;
        }
        let mut positions: Vec<_> = self.bumps.values().copied().collect();
        let (_, &mut dropped, _) = positions.select_nth_unstable(self.limit / 8);
        self.bumps.retain(|_, bump| *bump > dropped);
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64) -> Position {
        Position::of_entry(n, 0)
    }

    fn tag(n: u64) -> Name {
        Name::Tag(n.to_string().into())
    }

    #[test]
    fn the_index_stays_within_its_bound() {
        let mut index = Index::new(1000);
        for n in 0..10_000 {
            index.note(&tag(n), Mode::Hard, at(n), None);
            assert!(index.len() <= 1000);
        }
        assert!(index.len() > 900, "drops a sixteenth, not more: {}", index.len());
        assert!(index.forgotten() < at(9_100), "{}", index.forgotten());
    }

    #[test]
    fn names_that_keep_coming_are_not_dropped_nor_pile_up() {
        let mut index = Index::new(100);
        for n in 0..100_000 {
            index.note(&tag(n % 20), Mode::Hard, at(n), None);
        }
        assert_eq!((index.len(), index.forgotten()), (20, Position::ZERO));
        assert!(index.hard.listed <= 216 && index.hard.batches.len() <= 40);
    }

    #[test]
    fn the_smallest_bound_works() {
        let mut index = Index::new(0);
        index.note(&tag(1), Mode::Hard, at(1), None);
        index.note(&tag(2), Mode::Hard, at(2), None);
        assert_eq!((index.len(), index.forgotten()), (1, at(1)));
    }

    #[test]
    fn a_prefix_is_found_with_and_without_its_host() {
        let belongs = Belongs::of("", "//h.test/grün/7?a=1", &[""], &[""; 0]);
        for (prefix, reached) in [
            ("/", true),
            ("/gr", true),
            ("/grün/", true),
            ("/grün/7", true),
            ("/grün/7?a=1", false),
            ("//h.test/", true),
            ("//h.test/grün/7", true),
            ("//other/", false),
            ("/gru", false),
        ] {
            let mut index = Index::new(10);
            index.note(&Name::Prefix(prefix.into()), Mode::Soft, at(5), None);
            let found = index.after(at(4), &belongs, Timestamp::ZERO);
            assert_eq!(found, reached.then_some(Mode::Soft), "{prefix}");
            assert_eq!(index.after(at(5), &belongs, Timestamp::ZERO), None, "{prefix}");
        }
    }

    #[test]
    fn too_many_lengths_of_prefixes_are_forgotten_oldest_first() {
        let mut index = Index::new(10_000);
        for n in 1..=2_000 {
            let text = format!("/{}", "x".repeat(n));
            index.note(&Name::Prefix(text.into()), Mode::Hard, at(n as u64), None);
        }
        assert_eq!(index.prefixes.len(), PREFIX_LENGTHS);
        assert_eq!(index.forgotten(), at(2_000 - PREFIX_LENGTHS as u64));
    }

    #[test]
    fn a_namespace_has_the_version_of_its_last_bumped_ancestor() {
        let mut versions = Versions::new(100);
        versions.note("a/b", at(3));
        versions.note("a", at(2));
        versions.note("a/b/c/d", at(9));
        assert_eq!(versions.of("a/b/c"), at(3));
        versions.note("a", at(5));
        versions.note("a", at(4));
        assert_eq!(versions.of("a/b/c"), at(5));
        assert_eq!(versions.of("ab"), Position::ZERO);
    }

    #[test]
    fn versions_stay_within_their_bound_and_say_what_they_dropped() {
        let mut versions = Versions::new(80);
        let dropped = (1..=81).map(|n| versions.note(&n.to_string(), at(n))).max().unwrap();
        assert_eq!(dropped, at(11));
        assert_eq!((versions.of("11"), versions.of("12")), (Position::ZERO, at(12)));
    }
}
