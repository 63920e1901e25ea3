//! Chance that is the same for the same seed, so that a run can be repeated.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// A stream of chance.
#[derive(Clone, Debug)]
pub struct Chance(pub(crate) Pcg64Mcg);

impl Chance {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed))
    }

    /// A stream of its own for somebody else, whose draws shift none of ours.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::new(self.0.random())
    }

    /// A number below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: u32) -> u32 {
        self.0.random_range(0..limit.max(1))
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        self.0.random_range(low..=high.max(low))
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, of: u32) -> bool {
        self.below(100) < of
    }
}
