//! What the store counts about itself: plain atomics, read as a snapshot. Names, labels and units
//! of metrics are made elsewhere.
//!
//! | counted | where |
//! |---|---|
//! | calls, timeouts, not asked, failed, latency | [`Operation`], one for each kind of call |
//! | hits, misses, bytes in and out, damaged, foreign | [`Tier`], the one that processes share |
//! | entries, bytes, evictions, refused | `MemoryStore`, read as a [`MemorySnapshot`] |

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::StoreError;

/// Upper bounds of the latency buckets, in microseconds; one more bucket holds the rest.
pub const LATENCY_BOUNDS: [u64; 12] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000];

const BUCKETS: usize = LATENCY_BOUNDS.len() + 1;

/// Everything counted about a shared tier.
#[derive(Debug, Default)]
pub struct Tier {
    /// Reads of records.
    pub get: Operation,
    /// Writes of records.
    pub put: Operation,
    /// Removals of records.
    pub remove: Operation,
    /// Leases taken, prolonged and given back.
    pub lease: Operation,
    /// Scripts and commands of the ledger.
    pub ledger: Operation,
    /// Reads that found the record.
    pub hits: Counter,
    /// Reads that found nothing, or nothing usable.
    pub misses: Counter,
    /// Bytes read.
    pub bytes_read: Counter,
    /// Bytes written.
    pub bytes_written: Counter,
    /// Records whose checksum or content was wrong.
    pub damaged: Counter,
    /// Records in the format of another version.
    pub foreign: Counter,
    /// Connections opened.
    pub connects: Counter,
}

impl Tier {
    /// What was counted so far.
    pub fn snapshot(&self) -> TierSnapshot {
        TierSnapshot {
            get: self.get.snapshot(),
            put: self.put.snapshot(),
            remove: self.remove.snapshot(),
            lease: self.lease.snapshot(),
            ledger: self.ledger.snapshot(),
            hits: self.hits.read(),
            misses: self.misses.read(),
            bytes_read: self.bytes_read.read(),
            bytes_written: self.bytes_written.read(),
            damaged: self.damaged.read(),
            foreign: self.foreign.read(),
            connects: self.connects.read(),
        }
    }
}

/// One kind of call.
#[derive(Debug, Default)]
pub struct Operation {
    timeouts: Counter,
    away: Counter,
    failed: Counter,
    latency: Histogram,
}

impl Operation {
    /// Counts a call that took this long and ended so.
    pub fn record<T>(&self, took: Duration, outcome: &Result<T, StoreError>) {
        match outcome {
            Ok(_) => {}
            Err(StoreError::Timeout) => self.timeouts.add(1),
            Err(StoreError::Away) => self.away.add(1),
            Err(StoreError::Failed(_)) => self.failed.add(1),
        }
        self.latency.record(took);
    }

    fn snapshot(&self) -> OperationSnapshot {
        OperationSnapshot {
            timeouts: self.timeouts.read(),
            away: self.away.read(),
            failed: self.failed.read(),
            latency: self.latency.snapshot(),
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// What it stands at.
    pub fn read(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How long calls took, in fixed buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    micros: AtomicU64,
}

impl Histogram {
    /// Counts one call.
    pub fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Relaxed);
        }
        self.micros.fetch_add(micros, Relaxed);
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            counts: std::array::from_fn(|at| {
                self.buckets.get(at).map_or(0, |bucket| bucket.load(Relaxed))
            }),
            sum: Duration::from_micros(self.micros.load(Relaxed)),
        }
    }
}

/// A [`Tier`] as it stood at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TierSnapshot {
    /// Reads of records.
    pub get: OperationSnapshot,
    /// Writes of records.
    pub put: OperationSnapshot,
    /// Removals of records.
    pub remove: OperationSnapshot,
    /// Leases taken, prolonged and given back.
    pub lease: OperationSnapshot,
    /// Scripts and commands of the ledger.
    pub ledger: OperationSnapshot,
    /// Reads that found the record.
    pub hits: u64,
    /// Reads that found nothing, or nothing usable.
    pub misses: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Records whose checksum or content was wrong.
    pub damaged: u64,
    /// Records in the format of another version.
    pub foreign: u64,
    /// Connections opened.
    pub connects: u64,
}

/// An [`Operation`] as it stood at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperationSnapshot {
    /// Calls without an answer within their budget.
    pub timeouts: u64,
    /// Calls that were not even made: no connection, or the breaker was open.
    pub away: u64,
    /// Calls that were answered with an error, or whose connection broke.
    pub failed: u64,
    /// How long they took, the unsuccessful ones too.
    pub latency: HistogramSnapshot,
}

impl OperationSnapshot {
    /// All calls, however they ended.
    pub fn calls(&self) -> u64 {
        self.latency.counts.iter().sum()
    }
}

/// A [`Histogram`] as it stood at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// How many calls fell into each bucket of [`LATENCY_BOUNDS`], and behind the last; not
    /// cumulative.
    pub counts: [u64; BUCKETS],
    /// All durations together.
    pub sum: Duration,
}

/// The memory tier as it stood at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemorySnapshot {
    /// Records held.
    pub entries: u64,
    /// What they weigh, in bytes.
    pub bytes: u64,
    /// What they may weigh, in bytes.
    pub capacity: u64,
    /// Looks that found the record.
    pub hits: u64,
    /// Looks that found nothing, or nothing usable.
    pub misses: u64,
    /// Records taken in.
    pub inserted: u64,
    /// Records that made room for others.
    pub evicted: u64,
    /// Records dropped because their time had passed.
    pub expired: u64,
    /// Records too heavy to be taken in.
    pub refused: u64,
}

/// All tiers as they stood at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// This process's memory, if it is used.
    pub memory: Option<MemorySnapshot>,
    /// Valkey, if it is used.
    pub valkey: Option<TierSnapshot>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        for (micros, bucket) in
            [(0, 0), (50, 0), (51, 1), (1_000, 4), (1_001, 5), (1_000_000, 11), (1_000_001, 12)]
        {
            let histogram = Histogram::default();
            histogram.record(Duration::from_micros(micros));
            let counts = histogram.snapshot().counts;
            assert_eq!(counts.iter().position(|n| *n == 1), Some(bucket), "{micros} µs");
        }
    }

    #[test]
    fn calls_are_counted_by_how_they_ended() {
        let operation = Operation::default();
        operation.record(Duration::from_micros(7), &Ok(()));
        operation.record::<()>(Duration::ZERO, &Err(StoreError::Away));
        operation.record::<()>(Duration::from_millis(50), &Err(StoreError::Timeout));
        let seen = operation.snapshot();
        assert_eq!((seen.calls(), seen.timeouts, seen.away, seen.failed), (3, 1, 1, 0));
        assert_eq!(seen.latency.sum, Duration::from_micros(50_007));
    }
}
