//! Digests of states, by which those that were seen already are told.

use std::hash::{Hash, Hasher};

use crate::server::Server;

/// Something with a digest that is made once.
#[derive(Clone, Debug)]
pub(crate) struct Sealed<T> {
    pub(crate) value: T,
    pub(crate) digest: u128,
}

/// What makes one state another than the next.
pub(crate) trait Told {
    fn tell(&self, into: &mut Twofold);
}

impl Told for Server {
    fn tell(&self, into: &mut Twofold) {
        self.hash(into);
    }
}

pub(crate) fn seal<T>(value: T) -> Sealed<T> {
    Sealed { value, digest: 0 }
}

pub(crate) fn digest(tell: impl Fn(&mut Twofold)) -> u128 {
    let mut hasher = Twofold::default();
    tell(&mut hasher);
    u128::from(hasher.0) << 64 | u128::from(hasher.1)
}

/// Two hashes at once, by folded multiplication with different factors.
#[derive(Default)]
pub(crate) struct Twofold(u64, u64);

impl Hasher for Twofold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        const FACTORS: (u64, u64) = (0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f);
        let (a, b) = (self.0 ^ word ^ FACTORS.1, self.1.rotate_left(23) ^ word);
        let (a, b) = (
            u128::from(a) * u128::from(FACTORS.0),
            u128::from(b ^ FACTORS.0) * u128::from(FACTORS.1),
        );
        self.0 = (a as u64) ^ ((a >> 64) as u64).rotate_left(7);
        self.1 = (b as u64) ^ (b >> 64) as u64;
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }
}
