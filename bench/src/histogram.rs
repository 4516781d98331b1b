//! Latencies in buckets: 128 per power of two, so what is read out is within 1 % of what was put in.

/// Counts of microseconds.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

/// Buckets per power of two.
const FINE: u64 = 128;

impl Histogram {
    /// Without a value.
    pub fn new() -> Self {
        Self { counts: vec![0; index(u64::MAX) + 1], total: 0, max: 0 }
    }

    /// Counts one latency, in microseconds.
    pub fn record(&mut self, microseconds: u64) {
        if let Some(count) = self.counts.get_mut(index(microseconds)) {
            *count += 1;
        }
        self.total += 1;
        self.max = self.max.max(microseconds);
    }

    /// How many were counted.
    pub fn len(&self) -> u64 {
        self.total
    }

    /// Whether none was counted.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The largest, exactly.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The value that `share` (0 to 1) of all do not exceed; 0 if there is none.
    pub fn percentile(&self, share: f64) -> u64 {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper(bucket).min(self.max);
            }
        }
        self.max
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

fn index(value: u64) -> usize {
    let shift = (64 - (value | 1).leading_zeros() as u64).saturating_sub(FINE.ilog2() as u64 + 1);
    (shift * FINE + (value >> shift)) as usize
}

/// The largest value that falls into a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * FINE {
        return bucket;
    }
    let shift = bucket / FINE - 1;
    (((bucket - shift * FINE) + 1) << shift).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_within_a_hundredth_of_what_was_counted() {
        for value in
            (0..40).flat_map(|power| [1_u64 << power, (1 << power) + 1, (3_u64 << power) - 1])
        {
            let mut histogram = Histogram::new();
            histogram.record(value);
            histogram.record(u64::MAX >> 8);
            let read = histogram.percentile(0.5);
            assert!(read >= value, "{read} for {value}");
            assert!((read - value) as f64 <= value as f64 * 0.01, "{read} for {value}");
        }
    }

    #[test]
    fn percentiles_are_of_all_that_was_counted() {
        let mut histogram = Histogram::new();
        (1..=100).for_each(|value| histogram.record(value));
        assert_eq!(histogram.percentile(0.5), 50);
        assert_eq!(histogram.percentile(0.99), 99);
        assert_eq!(histogram.percentile(1.0), 100);
    }
}
