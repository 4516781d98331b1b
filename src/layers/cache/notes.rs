//! What is remembered for a moment about a key: that its answers cannot be shared (hit-for-miss),
//! that the origin failed for it (back-off). Bounded; forgetting a note costs one wait or one probe.

use std::time::Duration;

use quick_cache::sync::Cache;

use crate::key::Digest;
use crate::semantics::time::Timestamp;

/// How many keys are noted at most.
const NOTES: usize = 16_384;

/// Keys with something to remember until a moment.
#[derive(Debug)]
pub struct Notes {
    until: Cache<Digest, Timestamp>,
}

impl Default for Notes {
    fn default() -> Self {
        Self { until: Cache::new(NOTES) }
    }
}

impl Notes {
    /// Remembers `digest` for `lasting`.
    pub fn note(&self, digest: Digest, now: Timestamp, lasting: Duration) {
        self.until.insert(digest, now + lasting);
    }

    /// Is it still remembered?
    pub fn is_noted(&self, digest: Digest, now: Timestamp) -> bool {
        self.until.get(&digest).is_some_and(|until| now < until)
    }

    /// Forgets it.
    pub fn forget(&self, digest: Digest) {
        self.until.remove(&digest);
    }
}

/// How long a key's answer is taken to be unshareable, unless one proves otherwise.
///
/// By key alone: what is true of one path of a route says nothing of the others, and to stop
/// collapsing on all of them would open them to a stampede.
pub const UNSHAREABLE_FOR: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Digest = Digest([1; 16]);
    const OTHER: Digest = Digest([2; 16]);

    #[test]
    fn a_key_is_remembered_until_its_time_is_over_or_it_proves_otherwise() {
        let notes = Notes::default();
        let now = Timestamp::from_millis(1_000);
        notes.note(KEY, now, UNSHAREABLE_FOR);
        assert!(notes.is_noted(KEY, now));
        assert!(!notes.is_noted(OTHER, now));
        assert!(!notes.is_noted(KEY, now + UNSHAREABLE_FOR));
        notes.forget(KEY);
        assert!(!notes.is_noted(KEY, now));
    }
}
