//! Counters that many cores may touch at once without taking turns.
//!
//! A hit is counted in a *lane*: every thread has one of its own (until there are more threads
//! than lanes), on cache lines of its own. A reader adds the lanes up. A sum may be read while it
//! is being made, so two numbers on one page may be one request apart; no count is ever lost.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread::available_parallelism;
use std::time::Duration;

use super::scrape::Value;

/// Most lanes there are: what they cost grows with the number of routes.
const MAX_LANES: usize = 16;

/// One `T` per lane.
#[derive(Debug)]
pub(super) struct Lanes<T>(Box<[Lane<T>]>);

/// Two cache lines apart, since processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane<T>(T);

impl<T: Default> Default for Lanes<T> {
    fn default() -> Self {
        Self((0..lanes()).map(|_| Lane::default()).collect())
    }
}

impl<T> Lanes<T> {
    /// The calling thread's own.
    pub(super) fn mine(&self) -> &T {
        // Their number is a power of two, and there is at least one.
        &self.0[my_lane() & (self.0.len() - 1)].0
    }

    /// The sum over all lanes, modulo 2⁶⁴.
    pub(super) fn sum(&self, of: impl Fn(&T) -> u64) -> u64 {
        self.iter().fold(0, |sum, lane| sum.wrapping_add(of(lane)))
    }

    /// All lanes, one after the other.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|lane| &lane.0)
    }
}

fn lanes() -> usize {
    static LANES: OnceLock<usize> = OnceLock::new();
    *LANES.get_or_init(|| {
        available_parallelism().map_or(4, usize::from).next_power_of_two().min(MAX_LANES)
    })
}

fn my_lane() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    MINE.with(|mine| {
        if mine.get() == usize::MAX {
            mine.set(NEXT.fetch_add(1, Relaxed) % MAX_LANES);
        }
        mine.get()
    })
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// Upper bounds, in seconds, of the buckets for answers of the cache and of Valkey: a hit takes
/// microseconds, a store that is asked over the network a millisecond.
pub const FINE: &[f64] = &[
    0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Upper bounds, in seconds, of the buckets for exchanges with the origin.
pub const COARSE: &[f64] =
    &[0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Durations counted by size, without a lock.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One more than bounds: the last takes whatever is larger.
    counts: Box<[AtomicU64]>,
    nanos: AtomicU64,
}

impl Histogram {
    /// Empty. `bounds` are upper bounds in seconds, ascending ([`FINE`] or [`COARSE`]).
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, nanos: AtomicU64::new(0) }
    }

    /// Counts one duration. Two additions, no lock.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let at = self.bounds.partition_point(|bound| *bound < seconds);
        count(&self.counts[at]);
        self.nanos.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// What was counted so far, for a [`super::scrape::Sample`].
    pub fn read(&self) -> Value {
        Self::read_all([self])
    }

    /// What was counted in all of these, which have the same bounds.
    pub(super) fn read_all<'a>(all: impl IntoIterator<Item = &'a Self>) -> Value {
        let mut buckets: Vec<(f64, u64)> = Vec::new();
        let mut nanos = 0u64;
        for one in all {
            let bounds = one.bounds.iter().copied().chain([f64::INFINITY]);
            buckets.resize(one.counts.len(), (0.0, 0));
            for ((bucket, bound), count) in buckets.iter_mut().zip(bounds).zip(&one.counts) {
                *bucket = (bound, bucket.1 + count.load(Relaxed));
            }
            nanos = nanos.wrapping_add(one.nanos.load(Relaxed));
        }
        Value::Buckets { sum: Duration::from_nanos(nanos).as_secs_f64(), buckets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_count_adds_up() {
        let lanes = Lanes::<AtomicU64>::default();
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| (0..1000).for_each(|_| count(lanes.mine())));
            }
        });
        assert_eq!(lanes.sum(|c| c.load(Relaxed)), 40_000);
    }

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::new(&[0.001, 0.01]);
        for millis in [0, 1, 2, 10, 11, 3_600_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let Value::Buckets { sum, buckets } = histogram.read() else { panic!("not buckets") };
        assert_eq!(buckets, [(0.001, 2), (0.01, 2), (f64::INFINITY, 2)]);
        assert!((sum - 3600.024).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn bounds_ascend() {
        for bounds in [FINE, COARSE] {
            assert!(bounds.is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn no_duration_is_too_long_to_be_counted() {
        Histogram::new(COARSE).observe(Duration::MAX);
    }
}
