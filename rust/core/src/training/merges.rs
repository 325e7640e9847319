//! Stage 3 of training: the merges, one after the other, each the commonest pair of its moment.
//!
//! ```text
//! pop the top pair (a, b)
//!   │  its count fell since it was queued?  ──► back into the queue
//!   ▼
//! walk its positions in order, write the new token c into the arena
//!   ▼
//! count what now stands beside c: all new pairs contain c, so an array indexed by the neighbour does it
//!   ▼
//! one look-up for each distinct neighbour takes away from the old pairs what they lost
//!   ▼
//! new pairs that can still matter get a list of positions and a place in the queue
//! ```
//!
//! Most new pairs never matter: their count is far below that of the last merge. So only pairs with a count of at
//! least `bar` are kept; the bar is a guess. When no pair reaches it any more, all pairs are counted again from
//! the arena and the bar is lowered. The result does not depend on the guess.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Progress;
use super::arena::{Arena, DEAD, SENTINEL};
use super::budget::Budget;
use super::pair_map::{Pair, PairMap};
use super::position::Position;
use super::tokens::Tokens;
use crate::cancel::Cancel;
use crate::error::Result;

/// Positions between two looks at the caller's wish to stop: about a millisecond.
const CHECK_EVERY: usize = 1 << 16;
/// The first bar is the number of bytes over this and the number of merges to come. On 100 MB of code and of prose
/// the last merge's count is between 1/25 and 1/110 of bytes over merges; a bar below it saves the second guess,
/// and a list too many costs less.
const FIRST_BAR_DIVISOR: u64 = 120;
/// A bar that was too high is divided by this.
const BAR_STEP: u64 = 4;
/// In place of a list's number, for pairs that are not kept.
const NO_LIST: usize = usize::MAX;

/// When training ends, and what may be merged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Merging stops at this many tokens.
    pub(crate) vocab_size: usize,
    /// Merging stops when the top count is below this; at least 1.
    pub(crate) min_count: u64,
    /// A new pair is counted only if the symbols of its two tokens are together fewer than this, as in the
    /// reference (which makes the longest token one shorter than the name says). First pairs always are.
    pub(crate) max_token_length: usize,
}

/// A pair that waits for its merge. The order is that of merging: highest count, then smallest pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Queued {
    count: u64,
    pair: Reverse<Pair>,
    list: usize,
}

/// What stands beside some token, for one neighbour of it; or how often a pair occurs.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    /// Sum of the weights.
    weight: u64,
    /// Number of positions; later the number of their list.
    positions: usize,
}

/// The neighbours of a new token on one side.
#[derive(Debug, Default)]
struct Neighbours {
    tally_of_id: Vec<Tally>,
    /// The ids with a tally, in the order of first sight.
    ids: Vec<u32>,
}

/// A place where the new token was written, and what stands on its two sides.
#[derive(Debug, Clone, Copy)]
struct Merged<P> {
    position: P,
    left: u32,
    right: u32,
}

/// Everything between two merges.
pub(crate) struct Merger<'a, P> {
    arena: Arena,
    tokens: &'a mut Tokens,
    limits: Limits,
    budget: &'a Budget,
    cancel: &'a Cancel,
    bar: u64,
    /// Counts of the pairs that were kept. Others are not in here, so taking away from them does nothing.
    counts: PairMap<u64>,
    queue: BinaryHeap<Queued>,
    /// Positions of the left-hand token of a pair, ascending. Some may be out of date.
    lists: Vec<Vec<P>>,
    lefts: Neighbours,
    rights: Neighbours,
    merged: Vec<Merged<P>>,
}

impl<'a, P: Position> Merger<'a, P> {
    /// Count the first pairs.
    pub(crate) fn new(
        arena: Arena,
        tokens: &'a mut Tokens,
        limits: Limits,
        budget: &'a Budget,
        cancel: &'a Cancel,
    ) -> Result<Self> {
        let num_merges = limits.vocab_size.saturating_sub(tokens.len()).max(1) as u64;
        let bar = arena.weighted_places() / FIRST_BAR_DIVISOR / num_merges;
        Self::with_bar(arena, tokens, limits, bar, budget, cancel)
    }

    /// As `new`, with the first guess of the bar.
    pub(crate) fn with_bar(
        arena: Arena,
        tokens: &'a mut Tokens,
        limits: Limits,
        bar: u64,
        budget: &'a Budget,
        cancel: &'a Cancel,
    ) -> Result<Self> {
        let mut merger = Self {
            arena,
            tokens,
            limits,
            budget,
            cancel,
            bar: bar.max(limits.min_count),
            counts: PairMap::new(budget)?,
            queue: BinaryHeap::new(),
            lists: Vec::new(),
            lefts: Neighbours::default(),
            rights: Neighbours::default(),
            merged: Vec::new(),
        };
        merger.rebuild()?;
        // Lists of new pairs are no longer than the one they came from, so this is enough for good.
        let longest = merger.lists.iter().map(Vec::len).max().unwrap_or(0);
        budget.reserve::<Merged<P>>(longest)?;
        merger.merged.reserve_exact(longest);
        Ok(merger)
    }

    /// Merge until a limit is reached; returns the pairs in order.
    pub(crate) fn run(mut self, progress: &Progress) -> Result<Vec<(u32, u32)>> {
        let mut merges = Vec::new();
        while self.tokens.len() < self.limits.vocab_size {
            self.cancel.check()?;
            let Some(top) = self.pop()? else { break };
            let (left, right) = top.pair.0.ids();
            let token = self.tokens.merge(left, right);
            merges.push((left, right));
            self.merge(top, token)?;
            progress.set_num_merges(merges.len());
        }
        Ok(merges)
    }

    /// The next pair to merge, `None` when no pair is common enough.
    fn pop(&mut self) -> Result<Option<Queued>> {
        loop {
            while let Some(top) = self.queue.pop() {
                let count = self.counts.get_mut(top.pair.0).map_or(0, |count| *count);
                if count == top.count {
                    return Ok(Some(top));
                }
                if count >= self.bar {
                    self.queue.push(Queued { count, ..top });
                } else {
                    // Below the bar the other pairs are not known, so this one is forgotten, too.
                    self.take_list(top.list);
                }
            }
            if self.bar <= self.limits.min_count {
                return Ok(None);
            }
            self.bar = (self.bar / BAR_STEP).max(self.limits.min_count);
            self.rebuild()?;
        }
    }

    /// Count all pairs of the arena; keep those that reach the bar, with their positions. The queue is empty here.
    fn rebuild(&mut self) -> Result<()> {
        let fresh = PairMap::new(self.budget)?;
        std::mem::replace(&mut self.counts, fresh).free(self.budget);
        self.lists.clear();
        let mut found: PairMap<Tally> = PairMap::new(self.budget)?;
        for_each_pair(&self.arena, self.tokens, self.cancel, |place, pair| {
            let tally = found.entry(pair, self.budget)?;
            tally.weight += self.arena.weight(place);
            tally.positions += 1;
            Ok(())
        })?;
        for (pair, tally) in found.iter_mut() {
            let (left, right) = pair.ids();
            let num_symbols = self.tokens.num_symbols(left) + self.tokens.num_symbols(right);
            let is_first = num_symbols == 2;
            if tally.weight < self.bar || !(is_first || num_symbols < self.limits.max_token_length) {
                tally.positions = NO_LIST;
                continue;
            }
            keep(pair, tally, &mut self.counts, &mut self.queue, &mut self.lists, self.budget)?;
        }
        for_each_pair(&self.arena, self.tokens, self.cancel, |place, pair| {
            if let Some(tally) = found.get_mut(pair)
                && tally.positions != NO_LIST
            {
                self.lists[tally.positions].push(P::new(place));
            }
            Ok(())
        })?;
        found.free(self.budget);
        Ok(())
    }

    /// Write the new token over all places of its pair, and bring counts, lists and queue up to date.
    fn merge(&mut self, top: Queued, token: u32) -> Result<()> {
        let pair = top.pair.0;
        let positions = self.take_list(top.list);
        for some in positions.chunks(CHECK_EVERY) {
            self.cancel.check()?;
            self.write(some, pair, token);
        }
        drop(positions);
        self.look_beside(token)?;
        self.take_away(pair, token);
        if self.keep_new_pairs(token)? {
            self.list_positions()?;
        }
        self.lefts.clear();
        self.rights.clear();
        self.merged.clear();
        Ok(())
    }

    /// Merge in place, from the left: of "aaa" the first two.
    fn write(&mut self, positions: &[P], pair: Pair, token: u32) {
        let (left, right) = pair.ids();
        let (left_len, right_len) = (self.tokens.num_symbols(left), self.tokens.num_symbols(right));
        let places = &mut self.arena.places;
        for &position in positions {
            let first = position.get();
            let middle = first + left_len;
            if places[first] == left && places[middle] == right {
                places[middle] = DEAD;
                places[first] = token;
                // After the line above the last: a token of one byte has its first place there.
                places[middle + right_len - 1] = token;
                self.merged.push(Merged { position, left: SENTINEL, right: SENTINEL });
            }
        }
    }

    /// Add up weights and positions for each neighbour of the merged places.
    fn look_beside(&mut self, token: u32) -> Result<()> {
        self.lefts.tally_of_id.resize(self.tokens.len(), Tally::default());
        self.rights.tally_of_id.resize(self.tokens.len(), Tally::default());
        let len = self.tokens.num_symbols(token);
        for some in self.merged.chunks_mut(CHECK_EVERY) {
            self.cancel.check()?;
            for merged in some {
                let place = merged.position.get();
                let weight = self.arena.weight(place);
                let left = self.arena.places[place - 1];
                // Two new tokens side by side are one pair: it is counted from its left-hand one.
                if left != SENTINEL && left != token {
                    merged.left = left;
                    self.lefts.add(left, weight);
                }
                merged.right = self.arena.places[place + len];
                if merged.right != SENTINEL {
                    self.rights.add(merged.right, weight);
                }
            }
        }
        Ok(())
    }

    /// The merged pair is gone, and its two tokens no longer stand beside their neighbours.
    fn take_away(&mut self, pair: Pair, token: u32) {
        let (left, right) = pair.ids();
        if let Some(count) = self.counts.get_mut(pair) {
            *count = 0;
        }
        for (id, tally) in self.lefts.iter() {
            if let Some(count) = self.counts.get_mut(Pair::new(id, left)) {
                *count -= tally.weight;
            }
        }
        for (id, tally) in self.rights.iter() {
            // Where a new token stands now, there stood the left-hand one of its pair.
            let gone = Pair::new(right, if id == token { left } else { id });
            if gone != pair
                && let Some(count) = self.counts.get_mut(gone)
            {
                *count -= tally.weight;
            }
        }
    }

    /// Keep the new pairs that reach the bar; `false` if there is none.
    fn keep_new_pairs(&mut self, token: u32) -> Result<bool> {
        let num_lists = self.lists.len();
        let len = self.tokens.num_symbols(token);
        for (neighbours, is_left) in [(&mut self.lefts, true), (&mut self.rights, false)] {
            for &id in &neighbours.ids {
                let tally = &mut neighbours.tally_of_id[id as usize];
                let fits = self.tokens.num_symbols(id) + len < self.limits.max_token_length;
                if tally.weight < self.bar || !fits {
                    tally.positions = NO_LIST;
                    continue;
                }
                let pair = if is_left { Pair::new(id, token) } else { Pair::new(token, id) };
                keep(pair, tally, &mut self.counts, &mut self.queue, &mut self.lists, self.budget)?;
            }
        }
        Ok(self.lists.len() > num_lists)
    }

    /// Note the positions of the pairs that were kept. The merged places ascend, so the lists do, too.
    fn list_positions(&mut self) -> Result<()> {
        for some in self.merged.chunks(CHECK_EVERY) {
            self.cancel.check()?;
            for merged in some {
                if merged.left != SENTINEL {
                    let list = self.lefts.tally_of_id[merged.left as usize].positions;
                    if list != NO_LIST {
                        let place = merged.position.get() - self.tokens.num_symbols(merged.left);
                        self.lists[list].push(P::new(place));
                    }
                }
                if merged.right != SENTINEL {
                    let list = self.rights.tally_of_id[merged.right as usize].positions;
                    if list != NO_LIST {
                        self.lists[list].push(merged.position);
                    }
                }
            }
        }
        Ok(())
    }

    fn take_list(&mut self, list: usize) -> Vec<P> {
        let positions = std::mem::take(&mut self.lists[list]);
        self.budget.release::<P>(positions.capacity());
        self.budget.release::<u8>(KEPT_PAIR_BYTES);
        positions
    }
}

impl Neighbours {
    #[inline]
    fn add(&mut self, id: u32, weight: u64) {
        let tally = &mut self.tally_of_id[id as usize];
        if tally.positions == 0 {
            self.ids.push(id);
        }
        tally.weight += weight;
        tally.positions += 1;
    }

    fn iter(&self) -> impl Iterator<Item = (u32, Tally)> {
        self.ids.iter().map(|&id| (id, self.tally_of_id[id as usize]))
    }

    fn clear(&mut self) {
        for id in self.ids.drain(..) {
            self.tally_of_id[id as usize] = Tally::default();
        }
    }
}

/// What a kept pair holds besides its positions and its count.
const KEPT_PAIR_BYTES: usize = size_of::<Queued>() + size_of::<Vec<u32>>() + 16;

/// Give a pair its count, an empty list of the right size and a place in the queue.
fn keep<P>(
    pair: Pair,
    tally: &mut Tally,
    counts: &mut PairMap<u64>,
    queue: &mut BinaryHeap<Queued>,
    lists: &mut Vec<Vec<P>>,
    budget: &Budget,
) -> Result<()> {
    budget.reserve::<P>(tally.positions)?;
    budget.reserve::<u8>(KEPT_PAIR_BYTES)?;
    *counts.entry(pair, budget)? = tally.weight;
    let list = lists.len();
    lists.push(Vec::with_capacity(tally.positions));
    queue.push(Queued { count: tally.weight, pair: Reverse(pair), list });
    tally.positions = list;
    Ok(())
}

/// Visit all pairs of neighbours in the arena, with the place of the left-hand token.
fn for_each_pair(
    arena: &Arena,
    tokens: &Tokens,
    cancel: &Cancel,
    mut visit: impl FnMut(usize, Pair) -> Result<()>,
) -> Result<()> {
    let mut place = 1;
    let mut next_check = CHECK_EVERY;
    while place < arena.places.len() {
        let left = arena.places[place];
        if left == SENTINEL {
            place += 1;
            if place >= next_check {
                cancel.check()?;
                next_check = place + CHECK_EVERY;
            }
            continue;
        }
        let next = place + tokens.num_symbols(left);
        let right = arena.places[next];
        if right != SENTINEL {
            visit(place, Pair::new(left, right))?;
        }
        place = next;
    }
    Ok(())
}
