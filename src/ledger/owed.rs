//! Invalidations made here that this process's own tail has not passed yet.
//!
//! | state | means | leaves it |
//! |---|---|---|
//! | due | not handed to Valkey yet | when it is sent |
//! | sent | on its way | appended, or failed: then it is overdue |
//! | overdue | an append failed or its outcome is unknown; names are merged | when it is sent again; appending twice is harmless |
//! | appended | Valkey took it, at a position | when the tail reads it; back to due, if a fence shows that the stream lost it, or if the tail has read all there is and it is not there |
//! | kept | the tail has read it | pushed out by later ones; or, if the stream begins another life, back to due |
//!
//! What is here counts in this process all the while, see [`Ledger::announce`], but for what is
//! merely kept: the last ones that the tail has read. A primary that was deposed without knowing may
//! have taken them, and shown them to this process and to nobody else; so they are appended to the
//! life that follows, whether or not they were lost. Everything is bounded: too many names collapse
//! into `all`.
//!
//! [`Ledger::announce`]: super::Ledger::announce

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};

use super::Position;
use super::intent::Intent;
use super::name::Name;
use super::record::{Cause, Mode};

/// Most names kept one by one.
const NAMES: usize = 4096;

/// Most names kept of what the tail has read.
const KEPT: usize = 1024;

/// One invalidation, or one announced write; unique in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One invalidation to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debt {
    /// To say how it went.
    pub ticket: Ticket,
    /// What is meant.
    pub names: Vec<Name>,
    /// Gone, or stale.
    pub mode: Mode,
    /// Why.
    pub cause: Cause,
    /// The announced write that ends with it: to be taken back in the same step.
    pub closes: Option<Intent>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Owed {
    issued: u64,
    items: BTreeMap<Ticket, Item>,
    hard: HashSet<Name>,
    soft: HashSet<Name>,
    /// Read by the tail, the latest last.
    kept: VecDeque<Kept>,
    /// How often too many names became `all`.
    collapses: u64,
}

#[derive(Clone, Debug, Hash)]
struct Item {
    names: Vec<Name>,
    mode: Mode,
    cause: Cause,
    closes: Option<Intent>,
    /// It failed or was lost before.
    late: bool,
    state: State,
}

/// What the tail has read of our own.
#[derive(Clone, Debug, Hash)]
struct Kept {
    position: Position,
    names: Vec<Name>,
    mode: Mode,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Due,
    Sent,
    Appended(Position),
    /// The same, and the tail has read all there was since, by a request that may have been sent
    /// before it was.
    Missing(Position),
}

impl State {
    /// Where Valkey took it, if it did.
    const fn taken(self) -> Option<Position> {
        match self {
            Self::Appended(at) | Self::Missing(at) => Some(at),
            Self::Due | Self::Sent => None,
        }
    }
}

impl Owed {
    /// Nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.hard.is_empty() && self.soft.is_empty()
    }

    /// Valkey did not take something that it should have: what it says is not to be trusted before
    /// it has.
    pub fn is_overdue(&self) -> bool {
        let late = |i: &Item| i.late && i.state.taken().is_none();
        !self.hard.is_empty() || !self.soft.is_empty() || self.items.values().any(late)
    }

    /// Is it still under way, not passed by the tail?
    pub fn is_open(&self, ticket: Ticket) -> bool {
        self.items.contains_key(&ticket)
    }

    /// Names that Valkey has not taken yet.
    pub fn names(&self) -> usize {
        let late = self.items.values().filter(|i| i.state.taken().is_none());
        self.hard.len() + self.soft.len() + late.map(|i| i.names.len()).sum::<usize>()
    }

    /// How often too many names became `all`.
    pub const fn collapses(&self) -> u64 {
        self.collapses
    }

    /// What to append now, late ones first. Each must be answered with [`Owed::failed`] or
    /// [`Owed::appended`].
    pub fn take_due(&mut self) -> Vec<Debt> {
        for (mode, names) in
            [(Mode::Hard, take(&mut self.hard)), (Mode::Soft, take(&mut self.soft))]
        {
            if !names.is_empty() {
                self.add_late(names, mode, Cause::Write);
            }
        }
        let mut debts: Vec<_> = self.items.iter_mut().filter_map(|(t, i)| i.send(*t)).collect();
        debts.reverse();
        debts
    }

    /// Everything that is due is overdue: Valkey is known to be away. Returns their tickets.
    pub fn give_up_due(&mut self) -> Vec<Ticket> {
        let due = self.items.iter().filter(|(_, i)| i.state == State::Due);
        let tickets: Vec<_> = due.map(|(t, _)| *t).collect();
        tickets.iter().for_each(|t| self.failed(*t));
        tickets
    }

    /// It was not appended, or nobody knows.
    pub fn failed(&mut self, ticket: Ticket) {
        let Some(item) = self.items.remove(&ticket) else { return };
        match item.mode {
            Mode::Hard => self.hard.extend(item.names),
            // Late as it is, it is not spread any more.
            Mode::Soft | Mode::Spread(_) => self.soft.extend(item.names),
        }
        self.bound();
    }

    /// One that nothing else in this process has.
    pub(super) const fn issue(&mut self) -> Ticket {
        self.issued += 1;
        Ticket(self.issued)
    }

    pub(super) fn add(
        &mut self,
        names: Vec<Name>,
        mode: Mode,
        cause: Cause,
        closes: Option<Intent>,
    ) -> Ticket {
        let ticket = self.issue();
        let item = Item { names, mode, cause, closes, late: false, state: State::Due };
        self.items.insert(ticket, item);
        ticket
    }

    fn add_late(&mut self, names: Vec<Name>, mode: Mode, cause: Cause) {
        let ticket = self.add(names, mode, cause, None);
        self.items.entry(ticket).and_modify(|item| item.late = true);
    }

    /// Valkey took it.
    pub fn appended(&mut self, ticket: Ticket, position: Position) {
        if let Some(item) = self.items.get_mut(&ticket) {
            item.state = State::Appended(position);
            self.bound();
        }
    }

    /// The tail has read it at `position`, maybe before Valkey's answer to the append came.
    pub(super) fn passed(&mut self, ticket: Ticket, position: Position) {
        let Some(Item { names, mode, cause, .. }) = self.items.remove(&ticket) else { return };
        self.kept.push_back(Kept { position, names, mode, cause });
        let mut count: usize = self.kept.iter().map(|kept| kept.names.len()).sum();
        while count > KEPT
            && let Some(oldest) = self.kept.pop_front()
        {
            count -= oldest.names.len();
        }
    }

    /// The tail has read all there was. What was appended before its last request was sent, and is
    /// not among that, is where the tail does not read: a primary that was deposed took it.
    pub(super) fn missed(&mut self) {
        for item in self.items.values_mut() {
            match item.state {
                State::Appended(at) => item.state = State::Missing(at),
                State::Missing(_) => (item.state, item.late) = (State::Due, true),
                State::Due | State::Sent => {}
            }
        }
    }

    /// What was appended before `fence` and not read by now is lost; what was read may be unknown
    /// to others.
    pub(super) fn lost_before(&mut self, fence: Position) {
        for item in self.items.values_mut() {
            if item.state.taken().is_some_and(|at| at < fence) {
                (item.state, item.late) = (State::Due, true);
            }
        }
        let (lost, kept) =
            std::mem::take(&mut self.kept).into_iter().partition(|kept| kept.position < fence);
        self.kept = kept;
        let lost: VecDeque<Kept> = lost;
        for Kept { names, mode, cause, .. } in lost {
            self.add_late(names, mode, cause);
        }
    }

    /// All names under way.
    pub(super) fn each(&self) -> impl Iterator<Item = (&Name, Mode)> {
        let items = self.items.values().flat_map(|i| i.names.iter().map(|n| (n, i.mode)));
        let hard = self.hard.iter().map(|n| (n, Mode::Hard));
        items.chain(hard).chain(self.soft.iter().map(|n| (n, Mode::Soft)))
    }

    pub(super) fn fingerprint(&self, into: &mut impl Hasher) {
        // How often it collapsed is only told.
        let Self { items, hard, soft, issued, kept, collapses: _ } = self;
        (issued, items, kept).hash(into);
        for names in [hard, soft] {
            let mut digests: Vec<_> = names.iter().map(Name::digest).collect();
            digests.sort_unstable();
            digests.hash(into);
        }
    }

    /// Too many become `all`, which is then overdue; what is on its way right now stays so.
    fn bound(&mut self) {
        let waiting = |i: &Item| i.state.taken().is_some();
        let appended = self.items.values().filter(|i| waiting(i)).map(|i| i.names.len());
        if self.hard.len() + self.soft.len() + appended.sum::<usize>() <= NAMES {
            return;
        }
        let any_hard = !self.hard.is_empty()
            || self.items.values().any(|i| waiting(i) && i.mode == Mode::Hard);
        self.items.retain(|_, i| !waiting(i));
        let (hard, soft) = if any_hard { (Some(Name::All), None) } else { (None, Some(Name::All)) };
        self.hard = hard.into_iter().collect();
        self.soft = soft.into_iter().collect();
        self.collapses += 1;
    }
}

impl Item {
    fn send(&mut self, ticket: Ticket) -> Option<Debt> {
        if self.state != State::Due {
            return None;
        }
        self.state = State::Sent;
        let (names, closes) = (self.names.clone(), self.closes.clone());
        Some(Debt { ticket, names, mode: self.mode, cause: self.cause, closes })
    }
}

fn take(names: &mut HashSet<Name>) -> Vec<Name> {
    std::mem::take(names).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(n: usize) -> Name {
        Name::Tag(n.to_string().into())
    }

    fn at(n: u64) -> Position {
        Position::of_entry(n, 0)
    }

    #[test]
    fn an_append_that_works_leaves_nothing_behind() {
        let mut owed = Owed::default();
        let ticket = owed.add(vec![tag(1)], Mode::Hard, Cause::Write, None);
        let due = owed.take_due();
        assert_eq!((due.len(), due[0].ticket), (1, ticket));
        assert!(owed.take_due().is_empty() && !owed.is_overdue());
        owed.appended(ticket, at(5));
        assert!(owed.is_open(ticket));
        owed.passed(ticket, at(5));
        assert!(owed.is_empty());
        owed.failed(ticket);
        assert!(owed.is_empty(), "what was read is known to be there");
    }

    #[test]
    fn what_failed_is_merged_and_sent_again() {
        let mut owed = Owed::default();
        for n in [1, 2, 1] {
            owed.add(vec![tag(n)], Mode::Hard, Cause::Purge, None);
        }
        let first = owed.take_due();
        first.iter().for_each(|d| owed.failed(d.ticket));
        assert!(owed.is_overdue());
        let again = owed.take_due();
        assert_eq!((again.len(), again[0].names.len()), (1, 2));
        assert!(owed.is_overdue(), "until it is appended");
        owed.appended(again[0].ticket, at(1));
        assert!(!owed.is_overdue() && !owed.is_empty());
    }

    #[test]
    fn a_fence_makes_what_it_overtook_due_again() {
        let mut owed = Owed::default();
        let ticket = owed.add(vec![tag(1)], Mode::Soft, Cause::Write, None);
        owed.take_due();
        owed.appended(ticket, at(5));
        owed.lost_before(at(5));
        assert!(owed.take_due().is_empty());
        owed.lost_before(at(6));
        assert!(owed.is_overdue());
        assert_eq!(owed.take_due()[0].ticket, ticket);
    }

    #[test]
    fn what_the_tail_does_not_find_is_appended_again() {
        let mut owed = Owed::default();
        let ticket = owed.add(vec![tag(1)], Mode::Hard, Cause::Write, None);
        owed.take_due();
        owed.missed();
        owed.appended(ticket, at(5));
        owed.missed();
        assert!(owed.take_due().is_empty(), "it was appended after that page was asked for");
        owed.missed();
        assert!(owed.is_overdue(), "nothing is to be trusted before");
        assert_eq!(owed.take_due()[0].ticket, ticket);
        owed.appended(ticket, at(7));
        owed.missed();
        owed.passed(ticket, at(7));
        owed.missed();
        assert!(owed.is_empty());
    }

    #[test]
    fn what_the_tail_has_read_is_appended_to_the_life_that_follows() {
        let mut owed = Owed::default();
        for n in 1..=3 {
            let ticket = owed.add(vec![tag(n)], Mode::Soft, Cause::Purge, None);
            owed.take_due();
            owed.appended(ticket, at(n as u64));
            owed.passed(ticket, at(n as u64));
        }
        assert!(owed.is_empty());
        owed.lost_before(at(3));
        assert!(owed.is_overdue(), "nothing is to be trusted before");
        let again = owed.take_due();
        let told: Vec<_> = again.iter().map(|d| (&*d.names, d.mode, d.cause)).collect();
        let expected = [[tag(2)], [tag(1)]];
        assert_eq!(told, expected.each_ref().map(|n| (&n[..], Mode::Soft, Cause::Purge)));
        owed.lost_before(at(3));
        assert!(owed.take_due().is_empty(), "once");
    }

    #[test]
    fn what_the_tail_has_read_is_kept_within_a_bound() {
        let mut owed = Owed::default();
        for n in 0..KEPT + 10 {
            let ticket = owed.add(vec![tag(n)], Mode::Hard, Cause::Write, None);
            owed.take_due();
            owed.passed(ticket, at(1));
        }
        owed.lost_before(at(2));
        assert_eq!(owed.take_due().len(), KEPT);
    }

    #[test]
    fn too_many_names_become_all() {
        for mode in [Mode::Hard, Mode::Soft] {
            let mut owed = Owed::default();
            for n in 0..=NAMES {
                owed.add(vec![tag(n)], mode, Cause::Write, None);
            }
            assert_eq!(owed.give_up_due().len(), NAMES + 1);
            assert_eq!(owed.collapses(), 1);
            let due = owed.take_due();
            assert_eq!((due.len(), due[0].mode), (1, mode));
            assert_eq!(due[0].names, [Name::All]);
        }
    }

    #[test]
    fn too_many_names_that_the_tail_does_not_pass_become_all() {
        let mut owed = Owed::default();
        let ticket = owed.add((0..=NAMES).map(tag).collect(), Mode::Hard, Cause::Write, None);
        owed.take_due();
        owed.appended(ticket, at(5));
        assert_eq!(owed.take_due()[0].names, [Name::All]);
    }
}
