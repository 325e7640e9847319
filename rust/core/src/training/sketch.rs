//! Which pairs may be common: a first pass that spares the exact table all the others.
//!
//! ```text
//! all pairs ──► sketch: sums by hash, several pairs in one     ──► bound below the bar: the pair cannot matter
//! all pairs ──► sums of those that are left, in an exact table ──► at least the bar: kept
//! ```
//!
//! Of the pairs of an arena nearly all are rare. A table of all of them would be the largest thing in training.

use super::budget::Budget;
use super::pair_map::Pair;
use crate::error::Result;
use crate::huge_pages;

/// Upper bounds of the weights of pairs.
#[derive(Debug)]
pub(crate) struct Sketch {
    sums: Vec<u32>,
    shift: u32,
}

impl Sketch {
    /// For the pairs of `num_places` places.
    pub(crate) fn new(num_places: usize, budget: &Budget) -> Result<Self> {
        // Half as many sums as places: about one rare pair in each. More than 64 MB would miss every cache anyway.
        let bits = (num_places / 2).next_power_of_two().ilog2().clamp(8, 24);
        budget.reserve::<u32>(1 << bits)?;
        let mut sums = Vec::new();
        huge_pages::reserve(&mut sums, 1 << bits);
        sums.resize(1 << bits, 0);
        Ok(Self { sums, shift: u64::BITS - bits })
    }

    /// Count one place of the pair.
    #[inline]
    pub(crate) fn add(&mut self, pair: Pair, weight: u64) {
        let sum = &mut self.sums[pair.hash(self.shift)];
        *sum = sum.saturating_add(u32::try_from(weight).unwrap_or(u32::MAX));
    }

    /// Whether the weight of the pair may be that large; `false` is certain.
    #[inline]
    pub(crate) fn may_reach(&self, pair: Pair, bar: u64) -> bool {
        let sum = self.sums[pair.hash(self.shift)];
        sum == u32::MAX || u64::from(sum) >= bar
    }

    /// Drop it and tell the budget.
    pub(crate) fn free(self, budget: &Budget) {
        budget.release::<u32>(self.sums.len());
    }
}
