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
use super::count::{Piece, PieceCounts};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::huge_pages;

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
    ///
    /// Most pieces are rare, so their counts are small numbers: a first pass finds how many places each count needs,
    /// a second one writes every piece to where its count has come. Only the common pieces are sorted. No step takes
    /// so long that the caller could not stop it.
    pub(crate) fn new(
        counts: &PieceCounts,
        id_of_byte: &[u32; 256],
        budget: &Budget,
        cancel: &Cancel,
    ) -> Result<Self> {
        const RARE: usize = 1 << 12;
        let rare = |count: u64| usize::try_from(count).ok().filter(|&count| count < RARE);
        let mut num_places_of_count = vec![0_usize; RARE];
        let mut common = Vec::new();
        for (count, piece) in counts.pieces().filter(|(_, piece)| piece.len() > 1) {
            cancel.check()?;
            match rare(count) {
                Some(count) => num_places_of_count[count] += piece.len() + 1,
                None => budget.push(&mut common, (count, piece))?,
            }
        }
        common.sort_unstable_by_key(|&(count, _)| Reverse(count));
        let num_places = 1
            + num_places_of_count.iter().sum::<usize>()
            + common.iter().map(|(_, piece)| piece.len() + 1).sum::<usize>();
        budget.reserve::<u32>(num_places + num_places.div_ceil(BLOCK))?;
        let mut places = Vec::new();
        huge_pages::reserve(&mut places, num_places);
        let mut arena = Self { places, weights: Vec::new(), run_of_block: Vec::new() };
        arena.places.resize(num_places, SENTINEL);

        let mut next = 1;
        for &(weight, piece) in &common {
            arena.write(next, piece, id_of_byte);
            next += piece.len() + 1;
            arena.end_run(next, weight, budget)?;
        }
        budget.release::<(u64, Piece<'_>)>(common.capacity());
        drop(common);
        let mut next_of_count = num_places_of_count;
        for (count, num_places) in
            next_of_count.iter_mut().enumerate().rev().filter(|(_, places)| **places > 0)
        {
            let start = next;
            next += std::mem::replace(num_places, start);
            arena.end_run(next, count as u64, budget)?;
        }
        for (count, piece) in counts.pieces().filter(|(_, piece)| piece.len() > 1) {
            cancel.check()?;
            if let Some(count) = rare(count) {
                arena.write(next_of_count[count], piece, id_of_byte);
                next_of_count[count] += piece.len() + 1;
            }
        }
        let mut run = 0;
        arena.run_of_block.reserve_exact(num_places.div_ceil(BLOCK));
        for first in (0..num_places).step_by(BLOCK) {
            while arena.weights.get(run).is_some_and(|weights| weights.end <= first) {
                run += 1;
            }
            // There are fewer runs than places, and fewer distinct counts than 2^32 in any corpus.
            arena.run_of_block.push(u32::try_from(run).unwrap_or(u32::MAX));
        }
        Ok(arena)
    }

    /// Write a piece; the sentinel behind it is there already.
    #[inline]
    fn write(&mut self, start: usize, piece: Piece<'_>, id_of_byte: &[u32; 256]) {
        piece.with_bytes(|bytes| {
            for (place, &byte) in self.places[start..].iter_mut().zip(bytes) {
                *place = id_of_byte[usize::from(byte)];
            }
        });
    }

    /// The places up to `end` have this weight.
    fn end_run(&mut self, end: usize, weight: u64, budget: &Budget) -> Result<()> {
        match self.weights.last_mut() {
            Some(run) if run.weight == weight => run.end = end,
            _ => budget.push(&mut self.weights, WeightRun { end, weight })?,
        }
        Ok(())
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

    /// The runs of places whose pieces are equally common: where they end, and how common they are.
    pub(crate) fn weight_runs(&self) -> impl Iterator<Item = (usize, u64)> {
        self.weights.iter().map(|run| (run.end, run.weight))
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
