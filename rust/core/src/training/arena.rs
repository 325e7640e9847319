//! Stage 2 of training: every distinct piece once, as token ids in one array.
//!
//! ```text
//! pieces "hug" ×10, "hugs" ×5          . is the sentinel, x a dead place
//!
//! at first             . h u g . h u g s .
//! after h+u = H        . H H g . H H g s .
//! after H+g = G        . G x G . G x G s .     weights: 10 up to here │ 5 up to here
//! ```
//!
//! A token of n bytes keeps its n places, and its id stands at the first and the last of them. So the neighbour on
//! the right begins at `place + n`, the one on the left ends at `place - 1`, and no links are needed. A position
//! that was noted earlier still holds the pair (a, b) if a stands there and b stands `len(a)` further on: tokens
//! only grow, so an id that has left a place never comes back to it, and a place where a token no longer begins
//! has been overwritten, by the id of the longer token or as dead.

use std::cmp::Reverse;

use super::budget::Budget;
use super::count::PieceCounts;
use crate::cancel::Cancel;
use crate::error::Result;

/// Stands between the pieces.
pub(crate) const SENTINEL: u32 = u32::MAX;
/// Stands where a right-hand token of two bytes or more began before it was merged.
pub(crate) const DEAD: u32 = u32::MAX - 1;

/// Places per entry of the index into the weights.
const BLOCK: usize = 64;

/// The pieces as ids, commonest first, and how often each occurs.
#[derive(Debug)]
pub(crate) struct Arena {
    pub(crate) places: Vec<u32>,
    /// Pieces of equal count lie side by side, so a count is stored once, with the place where they end.
    weights: Vec<WeightRun>,
    /// For each block of places the run that its first place belongs to.
    run_of_block: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct WeightRun {
    end: usize,
    weight: u64,
}

impl Arena {
    /// Lay out all pieces that have a pair, with `id_of_byte` for their bytes.
    pub(crate) fn new(
        counts: &PieceCounts,
        id_of_byte: &[u32; 256],
        budget: &Budget,
        cancel: &Cancel,
    ) -> Result<Self> {
        let long: Vec<&[u8]> = counts.long_pieces().collect();
        let order = commonest_first(counts, budget, cancel)?;
        let num_places =
            1 + order.iter().map(|&(_, piece)| counts.piece_len(&long, piece) + 1).sum::<usize>();
        budget.reserve::<u32>(num_places + num_places / BLOCK + 1)?;
        let mut arena = Self {
            places: Vec::with_capacity(num_places),
            weights: Vec::new(),
            run_of_block: Vec::with_capacity(num_places / BLOCK + 1),
        };
        arena.places.push(SENTINEL);
        for &(weight, piece) in &order {
            cancel.check()?;
            counts.with_piece(&long, piece, |bytes| {
                arena.places.extend(bytes.iter().map(|&byte| id_of_byte[usize::from(byte)]));
            });
            arena.places.push(SENTINEL);
            let end = arena.places.len();
            match arena.weights.last_mut() {
                Some(run) if run.weight == weight => run.end = end,
                _ => arena.weights.push(WeightRun { end, weight }),
            }
        }
        let mut run = 0;
        for first in (0..arena.places.len()).step_by(BLOCK) {
            while arena.weights.get(run).is_some_and(|weights| weights.end <= first) {
                run += 1;
            }
            // There are fewer runs than places, and fewer distinct counts than 2^32 in any corpus.
            arena.run_of_block.push(u32::try_from(run).unwrap_or(u32::MAX));
        }
        budget.release::<(u64, usize)>(order.len());
        Ok(arena)
    }

    /// How often the piece occurs that `place` belongs to.
    #[inline]
    pub(crate) fn weight(&self, place: usize) -> u64 {
        let mut run = self.run_of_block[place / BLOCK] as usize;
        while self.weights[run].end <= place {
            run += 1;
        }
        self.weights[run].weight
    }

    /// Places of the arena, each as often as its piece occurs: about the bytes of the corpus.
    pub(crate) fn weighted_places(&self) -> u64 {
        let mut start = 0;
        let mut sum = 0_u64;
        for run in &self.weights {
            sum = sum.saturating_add(run.weight.saturating_mul((run.end - start) as u64));
            start = run.end;
        }
        sum
    }
}

/// Count and number of each piece that has a pair, in the order of the arena.
///
/// Most pieces are rare, so their counts are small numbers and need no comparisons; and no step takes so long that
/// the caller could not stop it.
fn commonest_first(counts: &PieceCounts, budget: &Budget, cancel: &Cancel) -> Result<Vec<(u64, usize)>> {
    const SMALL: usize = 1 << 12;
    budget.reserve::<(u64, usize)>(counts.num_distinct())?;
    let small = |count: u64| usize::try_from(count).ok().filter(|&count| count < SMALL);
    let mut num_of_count = vec![0_usize; SMALL];
    let mut order = Vec::with_capacity(counts.num_distinct());
    for (count, piece) in counts.numbered() {
        cancel.check()?;
        match small(count) {
            Some(count) => num_of_count[count] += 1,
            None => order.push((count, piece)),
        }
    }
    order.sort_unstable_by_key(|&(count, piece)| (Reverse(count), piece));
    let mut next_of_count = num_of_count;
    let mut next = order.len();
    for start in next_of_count.iter_mut().rev() {
        next += std::mem::replace(start, next);
    }
    order.resize(next, (0, 0));
    for (count, piece) in counts.numbered() {
        cancel.check()?;
        if let Some(small) = small(count) {
            order[next_of_count[small]] = (count, piece);
            next_of_count[small] += 1;
        }
    }
    Ok(order)
}
