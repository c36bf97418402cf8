//! Numbers by chance that a seed makes again. `POWER_SEED` gives one; it is always printed.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

/// `SplitMix64`: small, and good enough to choose moments by.
pub(crate) struct Chance(AtomicU64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// By a seed from the environment, or by one that nobody chose.
    #[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
    pub(crate) fn told(what: &str) -> Self {
        let seed = match std::env::var("POWER_SEED") {
            Ok(seed) => seed.parse().unwrap(),
            Err(_) => RandomState::new().hash_one(what),
        };
        eprintln!("{what}: POWER_SEED={seed}");
        Self::new(seed)
    }

    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Anything below `end`.
    pub(crate) fn below(&self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }

    /// Once in so many.
    pub(crate) fn once_in(&self, many: usize) -> bool {
        self.below(many) == 0
    }

    /// A seed for somebody else's.
    pub(crate) fn split(&self) -> Self {
        Self::new(self.next())
    }
}
