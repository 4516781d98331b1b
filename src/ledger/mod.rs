//! The ordered record of all invalidations, and what one process knows of it: a state machine
//! without I/O (no await, no clock, no socket).
//!
//! | standing of an entry | means | what follows |
//! |---|---|---|
//! | [`Standing::Good`] | nothing it belongs to was invalidated after its `as_of` | use it |
//! | [`Standing::Softened`] | a soft purge came after it | stale from now on |
//! | [`Standing::Invalidated`] | a hard invalidation came after it | it does not exist |
//! | [`Standing::Suspect`] | this process cannot vouch for it | ask the origin first |
//!
//! Where several apply: invalidated, else suspect, else softened. The invariant behind it all:
//! *whatever is applied later stands after every position handed out before.* So a fill notes
//! [`Ledger::applied`] before the origin is asked, and one comparison decides.
//!
//! Two things bend the invariant, and this is what keeps it:
//! - **Invalidations made here** count before Valkey has given them a position. They get a local
//!   step between two stream entries (`position.rs`), so nothing that the stream issues later can
//!   fall below it. Until the tail has passed the real record, the step is taken anew whenever the
//!   stream moves on, and an entry by somebody who knows more of the stream than this process is
//!   suspect: it may be from before our invalidation all the same.
//! - **A stream that lost records** (restart, failover, flush) continues below positions already
//!   handed out. It then begins with a fence above all of them.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::semantics::time::Timestamp;

pub mod floor;
pub mod intent;
pub mod name;
pub mod owed;
pub mod position;
pub mod reading;
pub mod record;

mod index;
mod recent;
mod spread;
#[cfg(test)]
mod tests;

pub use floor::Floor;
pub use intent::{Intent, Intents};
pub use owed::{Debt, Owed, Ticket};
pub use position::{NotAPosition, Position};
pub use reading::Reading;
pub use record::{Cause, Kind, Malformed, Mode, Record};

use index::{Index, Versions};
use name::{Belongs, Name};
use recent::Recent;

/// What this process makes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing it belongs to was invalidated after its `as_of`.
    Good,
    /// A soft purge came after it: stale from now on.
    Softened,
    /// A hard invalidation came after it: as if it were not there.
    Invalidated,
    /// This process cannot vouch for it.
    Suspect(Doubt),
}

/// Why an entry is suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It is older than what the index still remembers.
    Forgotten,
    /// It is from before a fence: the store was restarted, failed over or flushed since.
    Fenced,
    /// Nothing was heard from the ledger for longer than the lease.
    Unheard,
    /// Its route is strict, and where the ledger ends could not be found out in time.
    Unconfirmed,
    /// Its request shows a position that this process has not reached in time.
    Behind,
}

impl Doubt {
    /// For logs and `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forgotten => "doubt-forgotten",
            Self::Fenced => "doubt-fenced",
            Self::Unheard => "doubt-unheard",
            Self::Unconfirmed => "doubt-unconfirmed",
            Self::Behind => "doubt-behind",
        }
    }
}

/// How long the others may take, when the ledger is there again, to append what they owe it.
const DEBTS: Duration = Duration::from_millis(1500);

/// What one process knows of the ledger.
#[derive(Clone, Debug)]
pub struct Ledger {
    index: Index,
    recent: Recent,
    versions: Versions,
    applied: Position,
    fence: Position,
    horizon: Position,
    /// `None`: the ledger lives in this process, which always hears it.
    lease: Option<Duration>,
    heard: Timestamp,
    /// When it was heard again after a silence longer than the lease.
    back_at: Timestamp,
    opening: Box<str>,
    /// See [`Ledger::crossed`].
    crossed: Box<str>,
    /// Whose tickets those in the records are; empty: nobody's.
    instance: Box<str>,
    owed: Owed,
    intents: Intents,
}

/// How the stream was found when it was last looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Which life of which server this is: its epoch, and the fence that opened it.
    pub life: Box<str>,
    /// Position of that fence.
    pub fence: Position,
    /// Nothing up to here can be read any more.
    pub trimmed: Position,
}

impl Opening {
    /// From what was found: the life as it is written down (`<epoch> <fence>`), the last ID of the
    /// stream, and, if entries are missing from it, the first that is left, if one is, and the
    /// highest that was deleted by hand, if one was. `None` if the life cannot be read.
    pub fn of(
        life: &str,
        last: Position,
        missing: Option<(Option<Position>, Option<Position>)>,
    ) -> Option<Self> {
        let fence = life.split_once(' ')?.1.parse().ok()?;
        let trimmed = missing.map_or(Position::ZERO, |(first, deleted)| {
            first.map_or(last, Position::before_entry).max(deleted.unwrap_or_default())
        });
        Some(Self { life: life.into(), fence, trimmed })
    }
}

impl Ledger {
    /// That nobody has told anything yet. It remembers up to `names` names (hard and soft ones,
    /// and namespaces, each), and vouches for `lease` after it was last heard; without a lease, for
    /// ever: it is the only ledger there is.
    pub fn new(names: usize, lease: Option<Duration>) -> Self {
        Self {
            index: Index::new(names),
            recent: Recent::new(names),
            versions: Versions::new(names),
            applied: Position::ZERO,
            fence: Position::ZERO,
            horizon: Position::ZERO,
            lease,
            heard: Timestamp::ZERO,
            back_at: Timestamp::ZERO,
            opening: "".into(),
            crossed: "".into(),
            instance: "".into(),
            owed: Owed::default(),
            intents: Intents::default(),
        }
    }

    /// That starts in the middle: nothing up to `trimmed` can be read any more, but for the last
    /// bumps of these namespaces.
    pub fn starting<'a>(
        names: usize,
        lease: Option<Duration>,
        trimmed: Position,
        namespaces: impl IntoIterator<Item = (&'a str, Position)>,
    ) -> Self {
        let mut ledger = Self::new(names, lease);
        ledger.forget_before(trimmed);
        namespaces.into_iter().for_each(|(n, v)| ledger.note_version(n, v));
        ledger
    }

    /// The same, for the process that writes under this name.
    pub fn named(self, instance: &str) -> Self {
        Self { instance: instance.into(), ..self }
    }

    // --- what is asked of it ---

    /// Everything up to here is known. What a fill notes before it asks the origin.
    pub const fn applied(&self) -> Position {
        self.applied
    }

    /// Part of the key of every entry under `namespace`: the last hard bump of it or an ancestor,
    /// as the stream has it. Bumps that the stream has not taken yet are left to [`Self::judge`],
    /// or processes would disagree on keys.
    pub fn version(&self, namespace: &str) -> Position {
        self.versions.of(namespace)
    }

    /// Moves whenever a version may have changed.
    pub const fn bumps(&self) -> u64 {
        self.versions.changes()
    }

    /// What an entry is worth that was filled at `as_of`, and for which this process last had the
    /// origin's word at `vouched`.
    pub fn judge(
        &self,
        as_of: Position,
        vouched: Timestamp,
        belongs: &Belongs,
        now: Timestamp,
    ) -> Standing {
        let after = self.index.after(as_of, belongs, now);
        if after == Some(Mode::Hard) {
            return Standing::Invalidated;
        }
        match (self.doubt(as_of, vouched, now), after) {
            (Some(doubt), _) => Standing::Suspect(doubt),
            (None, Some(_)) => Standing::Softened,
            (None, None) => Standing::Good,
        }
    }

    /// Position of the last hard invalidation of anything in `belongs`, as far as it is remembered.
    pub fn last(&self, belongs: &Belongs) -> Position {
        self.index.last(belongs)
    }

    /// Between `since` and now: was the record at `own` the only one that reached anything in
    /// `belongs`? False too where that is no longer, or not yet, known.
    ///
    /// [`Self::judge`] cannot tell: it remembers the last invalidation of a name, and behind the
    /// one at `own` an earlier one is hidden. For the answer to a write, which was asked for at
    /// `since` and is as of its own record: what another write replaced in between would be newer.
    pub fn is_undisturbed(&self, since: Position, own: Position, belongs: &Belongs) -> bool {
        own <= self.applied
            && since >= self.fence
            && since >= self.horizon()
            && self.recent.only(since, own, belongs)
    }

    /// When all there was to hear had been heard, last.
    pub const fn heard_at(&self) -> Timestamp {
        self.heard
    }

    /// When it was last heard again after a silence longer than the lease; a standing may have
    /// changed then.
    pub const fn back_at(&self) -> Timestamp {
        self.back_at
    }

    /// Everything from before is suspect: the last fence.
    pub const fn fence(&self) -> Position {
        self.fence
    }

    /// Everything from before is suspect: what is no longer remembered.
    pub fn horizon(&self) -> Position {
        self.horizon.max(self.index.forgotten())
    }

    /// The last life whose fence was read here, and stood above all that was known by then; empty
    /// before the first. It needs no other fence on behalf of this process, though that is no longer
    /// below it.
    pub fn crossed(&self) -> &str {
        &self.crossed
    }

    /// Has everything been applied up to `last` in this life of the stream?
    pub fn has_reached(&self, life: &str, last: Position) -> bool {
        *self.opening == *life && self.applied >= last
    }

    /// Until then, a standing may change as time goes by, without a word from the stream.
    pub const fn turning(&self) -> Timestamp {
        self.index.turning()
    }

    /// Names remembered.
    pub fn names(&self) -> usize {
        self.index.len()
    }

    /// Invalidations made here that the tail has not passed.
    pub const fn owed(&self) -> &Owed {
        &self.owed
    }

    /// Writes that were announced here, or are to be.
    pub const fn intents(&self) -> &Intents {
        &self.intents
    }

    /// Valkey is known not to take what it is given: nobody need wait for it.
    pub fn is_store_away(&self) -> bool {
        self.owed.is_overdue() || self.intents.is_late()
    }

    // --- what it is told ---

    /// The next records of the stream, in its order. Applying one twice changes nothing.
    pub fn apply<'a>(&mut self, records: impl IntoIterator<Item = &'a Record>) {
        self.apply_all(records, None);
    }

    /// The same when it is known what time it is: what is to be spread over a time is.
    pub fn apply_at<'a>(&mut self, records: impl IntoIterator<Item = &'a Record>, now: Timestamp) {
        self.apply_all(records, Some(now));
    }

    fn apply_all<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a Record>,
        now: Option<Timestamp>,
    ) {
        for record in records {
            self.apply_one(record, now);
        }
        if self.applied.steps() == 0 {
            self.step_owed();
        }
    }

    /// All there was to read was read, by a request sent `at`. Renews the lease, unless Valkey has
    /// not taken all it is owed: then others may not know what they should.
    ///
    /// After a silence longer than the lease the others get a moment to say what they owe: until
    /// then, what was there before stays suspect.
    pub fn heard(&mut self, at: Timestamp) {
        self.owed.missed();
        if self.owed.is_overdue() {
            return;
        }
        let silent = self.lease.is_some_and(|lease| at.since(self.heard) > lease);
        if silent && self.heard != Timestamp::ZERO {
            self.back_at = at;
        }
        self.heard = self.heard.max(at);
    }

    /// The stream was looked at. True if it is another one than before: it must then be read from
    /// its beginning. `read` is how far it was read.
    pub fn open(&mut self, opening: &Opening, read: Position) -> bool {
        let other = self.opening != opening.life;
        if other {
            self.opening.clone_from(&opening.life);
            self.owed.lost_before(opening.fence);
            self.intents.lost();
        }
        self.fence = self.fence.max(opening.fence);
        if other || opening.trimmed > read {
            self.forget_before(opening.trimmed);
        }
        other
    }

    /// Nothing is remembered up to `position`.
    pub fn forget_before(&mut self, position: Position) {
        self.horizon = self.horizon.max(position);
    }

    /// The last hard bump of a namespace, from elsewhere than the stream.
    pub fn note_version(&mut self, namespace: &str, position: Position) {
        let dropped = self.versions.note(namespace, position);
        self.forget_before(dropped);
    }

    /// An invalidation made here, which counts from now on and is owed to the stream. An entry
    /// whose fill begins after this is usable, until the real record comes: one more miss.
    pub fn announce(&mut self, names: Vec<Name>, mode: Mode, cause: Cause) -> (Ticket, Position) {
        let position = self.step(names.iter().map(|n| (n, mode)).collect());
        (self.owed.add(names, mode, cause, None), position)
    }

    /// A write that is about to be sent to the origin, and may change these names. It is to be
    /// announced to the stream; nothing counts yet. It must be ended with [`Self::conclude`] or
    /// [`Intents::withdraw`]; if this process dies before, its names are invalidated, for that
    /// `cause`, once it has not been announced anew for `span`.
    pub fn intend(&mut self, names: Vec<Name>, cause: Cause, span: Duration) -> Ticket {
        let ticket = self.owed.issue();
        self.intents.add(Intent { ticket, names: names.into(), cause, span });
        ticket
    }

    /// The write that was intended as `intent` has, or may have, changed these names: an
    /// invalidation as in [`Self::announce`], whose record ends the intent.
    pub fn conclude(
        &mut self,
        intent: Ticket,
        names: Vec<Name>,
        mode: Mode,
        cause: Cause,
    ) -> (Ticket, Position) {
        let position = self.step(names.iter().map(|n| (n, mode)).collect());
        let closes = self.intents.close(intent);
        (self.owed.add(names, mode, cause, closes), position)
    }

    /// For taking what is due, and for saying how that went.
    pub const fn intents_mut(&mut self) -> &mut Intents {
        &mut self.intents
    }

    /// For taking what is due, and for saying how that went.
    pub const fn owed_mut(&mut self) -> &mut Owed {
        &mut self.owed
    }

    /// What its future depends on, in an order of its own: of two that write the same, nobody can
    /// tell which is which. For exploring what it does (`tests/model.rs`), and of no other use.
    #[doc(hidden)]
    pub fn fingerprint(&self, into: &mut impl Hasher) {
        // Without `..`, here and below: whoever adds a field says whether the future depends on it.
        let Self {
            index,
            recent,
            versions,
            applied,
            fence,
            horizon,
            lease,
            heard,
            back_at,
            opening,
            crossed,
            instance,
            owed,
            intents,
        } = self;
        (applied, fence, horizon, lease, heard, back_at).hash(into);
        (opening, crossed, instance, intents, recent).hash(into);
        index.fingerprint(into);
        versions.fingerprint(into);
        owed.fingerprint(into);
    }

    fn doubt(&self, as_of: Position, vouched: Timestamp, now: Timestamp) -> Option<Doubt> {
        if as_of < self.fence {
            return Some(Doubt::Fenced);
        }
        if as_of < self.horizon() {
            return Some(Doubt::Forgotten);
        }
        let unheard = self.lease.is_some_and(|l| now.since(self.heard.max(vouched)) > l);
        // Somebody else filled it, at a position that is not known here: nor is what came before that,
        // or it is one of another server's, which says nothing of what this one took.
        let ahead = self.lease.is_some() && as_of > self.applied;
        let debts_may_come = vouched < self.back_at && now < self.back_at + DEBTS;
        (unheard || ahead || debts_may_come).then_some(Doubt::Unheard)
    }

    fn apply_one(&mut self, record: &Record, now: Option<Timestamp>) {
        match &record.kind {
            Kind::Invalidation { names, mode } => {
                for name in names {
                    self.note(name, *mode, record.position, now);
                }
                self.recent.note(record.position, names);
            }
            Kind::Fence { epoch } => {
                if record.position > self.applied {
                    self.crossed = format!("{epoch} {}", record.position).into();
                }
                self.fence = self.fence.max(record.position);
                self.owed.lost_before(record.position);
            }
        }
        if let Some(ticket) = record.ticket.filter(|_| record.writer == self.instance) {
            self.owed.passed(ticket, record.position);
        }
        self.applied = self.applied.max(record.position);
    }

    fn note(&mut self, name: &Name, mode: Mode, position: Position, now: Option<Timestamp>) {
        self.index.note(name, mode, position, now);
        if let (Name::Namespace(namespace), Mode::Hard) = (name, mode) {
            self.note_version(namespace, position);
        }
    }

    /// The stream has moved on, and what it does not hold yet must still come after.
    fn step_owed(&mut self) {
        let Some(position) = self.applied.step().filter(|_| !self.owed.is_empty()) else { return };
        for (name, mode) in self.owed.each().filter(|(_, mode)| counts_at_once(*mode)) {
            self.index.note(name, mode, position, None);
        }
        self.applied = position;
    }

    /// Notes names one local step on. When there are no steps left (four thousand million of them
    /// without a word from the stream), fills from here on stand before it: never usable, but safe.
    fn step(&mut self, names: Vec<(&Name, Mode)>) -> Position {
        let step = self.applied.step();
        let position = step.unwrap_or_else(|| self.applied.next());
        for (name, mode) in names.into_iter().filter(|(_, mode)| counts_at_once(*mode)) {
            self.index.note(name, mode, position, None);
        }
        self.applied = step.unwrap_or(self.applied);
        position
    }
}

/// Here, before its record is read? What is spread promises nobody anything for now.
const fn counts_at_once(mode: Mode) -> bool {
    !matches!(mode, Mode::Spread(_))
}
