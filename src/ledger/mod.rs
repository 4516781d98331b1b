//! The ordered record of all invalidations, and what one process knows of it: a state machine
//! without I/O (no await, no clock, no socket).
//!
//! | standing of an entry | means | what follows |
//! |---|---|---|
//! | [`Standing::Good`] | nothing it belongs to was invalidated after its `as_of` | use it |
//! | [`Standing::Softened`] | a soft purge came after it | stale from now on |
//! | [`Standing::Invalidated`] | a hard invalidation came after it | it does not exist |
//! | [`Standing::Suspect`] | this process cannot vouch for it | ask the origin first |

use std::fmt;

pub mod name;

/// A place in the ledger: the ID of a stream entry, `milliseconds-sequence`. Totally ordered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Milliseconds part.
    pub millis: u64,
    /// Sequence part.
    pub sequence: u64,
}

impl Position {
    /// Before everything.
    pub const ZERO: Self = Self { millis: 0, sequence: 0 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.sequence)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

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
}
