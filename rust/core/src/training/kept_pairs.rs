//! The pairs that may still be merged: how often each occurs, where, and which one is next.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::budget::{Budget, allocation};
use super::pair_map::{Pair, PairMap};
use super::position::Position;
use crate::error::Result;

/// In place of a list's number, for pairs that are not kept.
pub(crate) const NO_LIST: usize = usize::MAX;

/// What stands beside some token, for one neighbour of it; or how often a pair occurs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Sum of the weights.
    pub(crate) weight: u64,
    /// Number of positions; later the number of their list.
    pub(crate) positions: usize,
}

/// A pair that waits for its merge. The order is that of merging: highest count, then smallest pair.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queued {
    count: u64,
    pair: Pair,
    pub(crate) list: usize,
}

impl Queued {
    /// The pair.
    pub(crate) fn pair(self) -> Pair {
        self.pair
    }

    /// One number to compare: a branch less than two, in the loop that sifts the queue.
    #[inline]
    fn rank(self) -> u128 {
        u128::from(self.count) << 64 | u128::from(!self.pair.number())
    }
}

impl Ord for Queued {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Queued {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Queued {}

/// Pairs with counts, lists of positions, and their queue.
#[derive(Debug)]
pub(crate) struct KeptPairs<P> {
    /// Pairs that are not kept are not in here, so taking away from their counts does nothing.
    counts: PairMap<u64>,
    queue: BinaryHeap<Queued>,
    /// Positions of the left-hand token of a pair, ascending. Some may be out of date.
    lists: Vec<Vec<P>>,
    /// Lists that were taken: their numbers are given again.
    free: Vec<usize>,
}

impl<P: Position> KeptPairs<P> {
    /// None.
    pub(crate) fn new(budget: &Budget) -> Result<Self> {
        Ok(Self {
            counts: PairMap::new(budget)?,
            queue: BinaryHeap::new(),
            lists: Vec::new(),
            free: Vec::new(),
        })
    }

    /// Forget all counts. The queue is empty, and so all lists were taken.
    pub(crate) fn clear(&mut self, budget: &Budget) -> Result<()> {
        let fresh = PairMap::new(budget)?;
        std::mem::replace(&mut self.counts, fresh).free(budget);
        Ok(())
    }

    /// The count of a pair, if it is kept.
    #[inline]
    pub(crate) fn count_mut(&mut self, pair: Pair) -> Option<&mut u64> {
        self.counts.get_mut(pair)
    }

    /// Give a pair its count, an empty list of the right size and a place in the queue.
    pub(crate) fn keep(&mut self, pair: Pair, tally: &mut Tally, budget: &Budget) -> Result<()> {
        budget.reserve::<u8>(allocation(tally.positions * size_of::<P>()))?;
        let positions = Vec::with_capacity(tally.positions);
        let list = if let Some(list) = self.free.pop() {
            self.lists[list] = positions;
            list
        } else {
            budget.push(&mut self.lists, positions)?;
            self.lists.len() - 1
        };
        *self.counts.entry(pair, budget)? = tally.weight;
        budget.queue(&mut self.queue, Queued { count: tally.weight, pair, list })?;
        tally.positions = list;
        Ok(())
    }

    /// Append a position to a list, which has room for it.
    #[inline]
    pub(crate) fn note(&mut self, list: usize, place: usize) {
        self.lists[list].push(P::new(place));
    }

    /// The next pair to merge; `None` when no pair reaches the bar. Counts may have fallen since they were queued.
    pub(crate) fn pop(&mut self, bar: u64, budget: &Budget) -> Result<Option<Queued>> {
        while let Some(top) = self.queue.pop() {
            let count = self.counts.get_mut(top.pair).map_or(0, |count| *count);
            if count == top.count {
                return Ok(Some(top));
            }
            if count >= bar {
                budget.queue(&mut self.queue, Queued { count, ..top })?;
            } else {
                // Below the bar the other pairs are not known, so this one is forgotten, too.
                self.take_list(top.list, budget)?;
            }
        }
        Ok(None)
    }

    /// The positions of a pair, which is kept no longer.
    pub(crate) fn take_list(&mut self, list: usize, budget: &Budget) -> Result<Vec<P>> {
        let positions = std::mem::take(&mut self.lists[list]);
        budget.push(&mut self.free, list)?;
        budget.release::<u8>(allocation(positions.capacity() * size_of::<P>()));
        Ok(positions)
    }
}
