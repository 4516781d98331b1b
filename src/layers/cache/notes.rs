//! What is remembered for a moment about a key: that its answers cannot be shared (hit-for-miss),
//! that the origin failed for it (back-off). Bounded; forgetting a note costs one wait or one probe.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use quick_cache::sync::Cache;

use crate::key::Digest;
use crate::semantics::time::Timestamp;

/// How many keys are noted at most.
const NOTES: usize = 16_384;

/// After this many unshareable answers in a row a route's misses are no longer collapsed.
const STREAK: u32 = 16;

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

/// Which misses are not worth collapsing, since their answers turned out not to be shareable.
#[derive(Debug)]
pub struct HitForMiss {
    keys: Notes,
    /// Unshareable answers in a row, by route.
    streaks: Box<[AtomicU32]>,
}

/// How long a key's answer is taken to be unshareable, unless one proves otherwise.
pub const UNSHAREABLE_FOR: Duration = Duration::from_secs(10);

impl HitForMiss {
    /// For this many routes, the fallback included.
    pub fn new(routes: usize) -> Self {
        Self { keys: Notes::default(), streaks: (0..routes).map(|_| AtomicU32::new(0)).collect() }
    }

    /// Are misses for this key to be fetched each for itself?
    pub fn applies(&self, route: usize, digest: Digest, now: Timestamp) -> bool {
        let streak = self.streaks.get(route).map_or(0, |s| s.load(Ordering::Relaxed));
        streak >= STREAK || self.keys.is_noted(digest, now)
    }

    /// An answer could not be shared. `route`: if that is likely to hold for the whole route.
    pub fn unshareable(&self, route: Option<usize>, digest: Digest, now: Timestamp) {
        self.keys.note(digest, now, UNSHAREABLE_FOR);
        if let Some(streak) = route.and_then(|route| self.streaks.get(route)) {
            let _ = streak.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |s| {
                (s < STREAK).then_some(s + 1)
            });
        }
    }

    /// An answer was shared.
    pub fn shared(&self, route: usize, digest: Digest) {
        self.keys.forget(digest);
        if let Some(streak) = self.streaks.get(route)
            && streak.load(Ordering::Relaxed) != 0
        {
            streak.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Digest = Digest([1; 16]);
    const OTHER: Digest = Digest([2; 16]);

    #[test]
    fn a_key_is_remembered_until_its_time_is_over_or_it_proves_otherwise() {
        let seen = HitForMiss::new(1);
        let now = Timestamp::from_millis(1_000);
        seen.unshareable(None, KEY, now);
        assert!(seen.applies(0, KEY, now));
        assert!(!seen.applies(0, OTHER, now));
        assert!(!seen.applies(0, KEY, now + UNSHAREABLE_FOR));
        seen.shared(0, KEY);
        assert!(!seen.applies(0, KEY, now));
    }

    #[test]
    fn a_route_that_keeps_answering_for_one_is_remembered_as_a_whole() {
        let seen = HitForMiss::new(2);
        let now = Timestamp::from_millis(1_000);
        for n in 0..STREAK {
            seen.unshareable(Some(0), Digest([u8::try_from(n).unwrap(); 16]), now);
        }
        assert!(seen.applies(0, Digest([99; 16]), now));
        assert!(!seen.applies(1, Digest([99; 16]), now));
        seen.shared(0, OTHER);
        assert!(!seen.applies(0, Digest([99; 16]), now));
    }
}
