//! Chance that is the same each time: streams of numbers from a seed.
//!
//! Each part of the world draws from a stream of its own, so that what the disks
//! do does not shift what the network does when a plan is made smaller.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Which part of the world draws.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// What a run is going to be.
    Plan = 1,
    /// Delays, losses and doubles.
    Network,
    /// How long disks take, and what crashes leave on them.
    Disk,
    /// Who is first of several at the same time.
    Order,
    /// What clients do when they are not answered.
    Clients,
    /// Identities and seeds of nodes.
    Nodes,
    /// What streams do.
    Frames,
    /// What a crowd wants.
    Crowd,
}

/// A stream of chance.
#[derive(Clone, Debug)]
pub struct Chance(Pcg64Mcg);

impl Chance {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64, stream: Stream) -> Self {
        // Seeds are small neighbours; the generator's own seeding spreads them.
        Self(Pcg64Mcg::seed_from_u64(
            seed.wrapping_mul(64).wrapping_add(stream as u64),
        ))
    }

    /// A number below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0.random_range(0..limit.max(1))
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.random_range(low..=high.max(low))
    }

    /// True this many times in a thousand.
    pub fn permille(&mut self, of: u64) -> bool {
        self.below(1_000) < of
    }

    /// True one time in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A place in something of this length.
    pub fn place(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.random()
    }

    /// Mostly small, sometimes as large as `high`: the power of two is drawn
    /// first, then the number below it.
    pub fn skewed(&mut self, high: u64) -> u64 {
        let bits = u64::from(64 - high.leading_zeros());
        let bound = 1_u64 << self.below(bits + 1);
        self.below(bound.min(high.saturating_add(1)))
    }

    /// Half of the time as [`Chance::skewed`], else any number up to `high`.
    pub fn spread(&mut self, high: u64) -> u64 {
        if self.one_in(2) {
            self.skewed(high)
        } else {
            self.between(0, high)
        }
    }
}
