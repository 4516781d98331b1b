//! Keys drawn as Zipf would: the n-th most popular is asked for 1/n as often as the first.

/// A small generator of numbers that look random (xorshift64*), seeded, so that every server gets
/// the same sequence.
pub struct Numbers(u64);

impl Numbers {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next one.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// The next one, in [0, 1).
    pub fn share(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The next one, below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.share() * bound as f64) as usize
    }
}

/// How keys are chosen.
pub struct Keys {
    /// Cumulated shares; empty: all are equally likely.
    cumulated: Vec<f64>,
    count: usize,
}

impl Keys {
    /// Zipf with exponent 1 over `count` keys.
    pub fn zipf(count: usize) -> Self {
        let mut sum = 0.0;
        let sums: Vec<f64> = (1..=count)
            .map(|rank| {
                sum += 1.0 / rank as f64;
                sum
            })
            .collect();
        Self { cumulated: sums.iter().map(|part| part / sum).collect(), count }
    }

    /// Every key as likely as the next.
    pub fn uniform(count: usize) -> Self {
        Self { cumulated: Vec::new(), count }
    }

    /// One of them.
    pub fn draw(&self, numbers: &mut Numbers) -> usize {
        if self.cumulated.is_empty() {
            return numbers.below(self.count);
        }
        let share = numbers.share();
        self.cumulated.partition_point(|sum| *sum <= share).min(self.count - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_drawn_ten_times_as_often_as_the_tenth() {
        let (keys, mut numbers) = (Keys::zipf(1000), Numbers::new(7));
        let mut counts = [0_u32; 1000];
        (0..400_000).for_each(|_| counts[keys.draw(&mut numbers)] += 1);
        let ratio = f64::from(counts[0]) / f64::from(counts[9]);
        assert!((9.0..11.0).contains(&ratio), "{ratio}");
        assert!(counts.iter().filter(|count| **count > 0).count() > 990);
    }
}
