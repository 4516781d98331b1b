//! What can be seen of the ledger from outside.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::ledger::{Cause, Position};

/// A snapshot of everything that is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Records applied, in the order of [`Cause::ALL`].
    pub invalidations: [u64; Cause::ALL.len()],
    /// Records, or names in them, that could not be read.
    pub malformed: u64,
    /// Batches that Valkey took.
    pub appends: Took,
    /// Batches that it did not.
    pub failed_appends: u64,
    /// Batches that Valkey took and no replica acknowledged in time, where one was asked to.
    pub unreplicated: u64,
    /// From Valkey's answer until our own tail had passed the record.
    pub passes: Took,
    /// Writes whose record our own tail did not pass in time.
    pub late_passes: u64,
    /// How often the tail lost its connection, or could not get one.
    pub reconnects: u64,
    /// Everything up to here is known.
    pub applied: Position,
    /// Everything from before is suspect: the last fence.
    pub fence: Position,
    /// Everything from before is suspect: forgotten.
    pub horizon: Position,
    /// Names remembered.
    pub names: usize,
    /// Names that Valkey has not taken yet.
    pub owed: usize,
    /// How often too many owed names became `all`.
    pub collapses: u64,
    /// Writes announced here whose outcome is not known yet.
    pub intents: usize,
}

/// How many times something was done, and how long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// Times.
    pub count: u64,
    /// All together.
    pub total: Duration,
    /// The longest.
    pub longest: Duration,
}

/// Another process on the same ledger, or this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its [`LedgerHandle::instance`](super::LedgerHandle::instance).
    pub instance: Box<str>,
    /// How far it was.
    pub applied: Position,
    /// When it said so.
    pub silent: Duration,
}

#[derive(Debug, Default)]
pub(in crate::store) struct Counters {
    invalidations: [AtomicU64; Cause::ALL.len()],
    malformed: AtomicU64,
    appends: Timer,
    failed_appends: AtomicU64,
    unreplicated: AtomicU64,
    passes: Timer,
    late_passes: AtomicU64,
    reconnects: AtomicU64,
}

impl Counters {
    pub(in crate::store) fn applied(&self, cause: Cause) {
        if let Some(counter) = self.invalidations.get(cause.index()) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(in crate::store) fn malformed(&self, count: usize) {
        self.malformed.fetch_add(count as u64, Relaxed);
    }

    pub(in crate::store) fn append(&self, took: Duration, worked: bool) {
        if worked {
            self.appends.add(took);
        } else {
            self.failed_appends.fetch_add(1, Relaxed);
        }
    }

    pub(in crate::store) fn replicated(&self, replicated: bool) {
        self.unreplicated.fetch_add(u64::from(!replicated), Relaxed);
    }

    pub(in crate::store) fn pass(&self, took: Duration, passed: bool) {
        if passed {
            self.passes.add(took);
        } else {
            self.late_passes.fetch_add(1, Relaxed);
        }
    }

    pub(in crate::store) fn reconnect(&self) {
        self.reconnects.fetch_add(1, Relaxed);
    }

    /// With everything that is counted here; the rest is the ledger's own.
    pub(super) fn snapshot(&self, ledger: &crate::ledger::Ledger) -> Observed {
        Observed {
            invalidations: self.invalidations.each_ref().map(|c| c.load(Relaxed)),
            malformed: self.malformed.load(Relaxed),
            appends: self.appends.read(),
            failed_appends: self.failed_appends.load(Relaxed),
            unreplicated: self.unreplicated.load(Relaxed),
            passes: self.passes.read(),
            late_passes: self.late_passes.load(Relaxed),
            reconnects: self.reconnects.load(Relaxed),
            applied: ledger.applied(),
            fence: ledger.fence(),
            horizon: ledger.horizon(),
            names: ledger.names(),
            owed: ledger.owed().names(),
            collapses: ledger.owed().collapses(),
            intents: ledger.intents().len(),
        }
    }
}

#[derive(Debug, Default)]
struct Timer {
    count: AtomicU64,
    micros: AtomicU64,
    longest: AtomicU64,
}

impl Timer {
    fn add(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
        self.longest.fetch_max(micros, Relaxed);
    }

    fn read(&self) -> Took {
        Took {
            count: self.count.load(Relaxed),
            total: Duration::from_micros(self.micros.load(Relaxed)),
            longest: Duration::from_micros(self.longest.load(Relaxed)),
        }
    }
}
