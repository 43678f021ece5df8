//! A small seeded generator for choices that need no secrecy: balancing, jitter, generated names.
//!
//! Not for keys or tokens: those come from `aws-lc-rs`.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// `SplitMix64` behind an atomic, so that one generator serves many tasks without a lock.
#[derive(Debug)]
pub struct Rng(AtomicU64);

impl Rng {
    /// A generator whose sequence follows from `seed`.
    pub const fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A generator with a seed of the process's own.
    pub fn from_entropy() -> Self {
        Self::seeded(RandomState::new().build_hasher().finish())
    }

    /// The next 64 bits.
    pub fn next(&self) -> u64 {
        const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.0.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; 0 where `bound` is 0.
    pub fn below(&self, bound: usize) -> usize {
        let wide = u128::from(self.next()) * (bound as u128);
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// `length` characters of the alphabet that Kubernetes uses for generated names.
    pub fn suffix(&self, length: usize) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..length).filter_map(|_| ALPHABET.get(self.below(ALPHABET.len()))).map(|&b| char::from(b)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_one_sequence() {
        let (a, b) = (Rng::seeded(7), Rng::seeded(7));
        assert!((0..100).all(|_| a.next() == b.next()));
        assert_eq!(a.suffix(5).len(), 5);
    }

    #[test]
    fn stays_below_its_bound() {
        let rng = Rng::seeded(1);
        assert!((1..1000).all(|bound| rng.below(bound) < bound));
        assert_eq!(rng.below(0), 0);
    }
}
