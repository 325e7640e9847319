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

use super::Progress;
use super::arena::{Arena, DEAD, SENTINEL};
use super::budget::Budget;
use super::first_pairs::keep_first_pairs;
use super::kept_pairs::{KeptPairs, NO_LIST, Queued, Tally};
use super::pair_map::{Pair, PairMap};
use super::position::Position;
use super::sketch::Sketch;
use super::tokens::Tokens;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::huge_pages::prefetch;

/// Positions between two looks at the caller's wish to stop: about a millisecond.
const CHECK_EVERY: usize = 1 << 16;
/// The first bar is the number of bytes over this and the number of merges to come. On 100 MB of code and of prose
/// the last merge's count is between 1/25 and 1/130 of bytes over merges. A bar above it costs a second count of all
/// pairs, a bar at half of it lists that nobody asks for: about the same.
const FIRST_BAR_DIVISOR: u64 = 200;
/// A bar that was too high is divided by this.
const BAR_STEP: u64 = 4;
/// Positions that are on their way from memory while one is looked at.
const AHEAD: usize = 16;

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
    kept: KeptPairs<P>,
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
            kept: KeptPairs::new(budget)?,
            lefts: Neighbours::default(),
            rights: Neighbours::default(),
            merged: Vec::new(),
        };
        let Self { arena, tokens, bar, kept, .. } = &mut merger;
        let longest = keep_first_pairs(arena, tokens.id_of_byte(), *bar, kept, budget, cancel)?;
        merger.make_room(longest)?;
        Ok(merger)
    }

    /// Merge until a limit is reached; returns the pairs in order.
    pub(crate) fn run(mut self, progress: &Progress) -> Result<Vec<(u32, u32)>> {
        let mut merges = Vec::new();
        while self.tokens.len() < self.limits.vocab_size {
            self.cancel.check()?;
            let Some(top) = self.pop()? else { break };
            let (left, right) = top.pair().ids();
            let token = self.tokens.merge(left, right, self.budget)?;
            self.budget.push(&mut merges, (left, right))?;
            self.merge(top, token)?;
            progress.set_num_merges(merges.len());
        }
        Ok(merges)
    }

    /// The next pair to merge, `None` when no pair is common enough.
    fn pop(&mut self) -> Result<Option<Queued>> {
        loop {
            if let Some(top) = self.kept.pop(self.bar, self.budget)? {
                return Ok(Some(top));
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
        let Self { arena, tokens, limits, budget, cancel, bar, kept, .. } = self;
        kept.clear(budget)?;
        let mut sketch = Sketch::new(arena.places.len(), budget)?;
        for_each_pair(arena, tokens, cancel, |_, pair, weight| {
            sketch.add(pair, weight);
            Ok(())
        })?;
        let mut found: PairMap<Tally> = PairMap::new(budget)?;
        let mut places: Vec<P> = Vec::new();
        for_each_pair(arena, tokens, cancel, |place, pair, weight| {
            if sketch.may_reach(pair, *bar) {
                let tally = found.entry(pair, budget)?;
                tally.weight += weight;
                tally.positions += 1;
                budget.push(&mut places, P::new(place))?;
            }
            Ok(())
        })?;
        sketch.free(budget);
        let mut longest = 0;
        for (pair, tally) in found.iter_mut() {
            cancel.check()?;
            let (left, right) = pair.ids();
            let num_symbols = tokens.num_symbols(left) + tokens.num_symbols(right);
            let is_first = num_symbols == 2;
            if tally.weight < *bar || !(is_first || num_symbols < limits.max_token_length) {
                tally.positions = NO_LIST;
                continue;
            }
            longest = longest.max(tally.positions);
            kept.keep(pair, tally, budget)?;
        }
        for some in places.chunks(CHECK_EVERY) {
            cancel.check()?;
            for place in some.iter().map(|place| place.get()) {
                let left = arena.places[place];
                let right = arena.places[place + tokens.num_symbols(left)];
                if let Some(tally) = found.get_mut(Pair::new(left, right))
                    && tally.positions != NO_LIST
                {
                    kept.note(tally.positions, place);
                }
            }
        }
        budget.release::<P>(places.capacity());
        found.free(budget);
        self.make_room(longest)
    }

    /// Room for what one merge may write: lists of new pairs are no longer than the one they came from.
    fn make_room(&mut self, longest: usize) -> Result<()> {
        let room = self.merged.capacity();
        if longest > room {
            self.budget.reserve::<Merged<P>>(longest)?;
            self.merged.reserve_exact(longest);
            self.budget.release::<Merged<P>>(room);
        }
        Ok(())
    }

    /// Write the new token over all places of its pair, and bring counts, lists and queue up to date.
    fn merge(&mut self, top: Queued, token: u32) -> Result<()> {
        let pair = top.pair();
        let positions = self.kept.take_list(top.list, self.budget)?;
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
        for (index, &position) in positions.iter().enumerate() {
            if let Some(ahead) = positions.get(index + AHEAD) {
                prefetch(&places[ahead.get()]);
            }
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
        self.lefts.make_room(self.tokens.len(), self.budget)?;
        self.rights.make_room(self.tokens.len(), self.budget)?;
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
        if let Some(count) = self.kept.count_mut(pair) {
            *count = 0;
        }
        for (id, tally) in self.lefts.iter() {
            if let Some(count) = self.kept.count_mut(Pair::new(id, left)) {
                *count -= tally.weight;
            }
        }
        for (id, tally) in self.rights.iter() {
            // Where a new token stands now, there stood the left-hand one of its pair.
            let gone = Pair::new(right, if id == token { left } else { id });
            if gone != pair
                && let Some(count) = self.kept.count_mut(gone)
            {
                *count -= tally.weight;
            }
        }
    }

    /// Keep the new pairs that reach the bar; `false` if there is none.
    fn keep_new_pairs(&mut self, token: u32) -> Result<bool> {
        let mut is_any_kept = false;
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
                self.kept.keep(pair, tally, self.budget)?;
                is_any_kept = true;
            }
        }
        Ok(is_any_kept)
    }

    /// Note the positions of the pairs that were kept. The merged places ascend, so the lists do, too.
    fn list_positions(&mut self) -> Result<()> {
        for some in self.merged.chunks(CHECK_EVERY) {
            self.cancel.check()?;
            for merged in some {
                let place = merged.position.get();
                if merged.left != SENTINEL {
                    let list = self.lefts.tally_of_id[merged.left as usize].positions;
                    if list != NO_LIST {
                        self.kept.note(list, place - self.tokens.num_symbols(merged.left));
                    }
                }
                if merged.right != SENTINEL {
                    let list = self.rights.tally_of_id[merged.right as usize].positions;
                    if list != NO_LIST {
                        self.kept.note(list, place);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Neighbours {
    /// A tally for every token.
    fn make_room(&mut self, num_tokens: usize, budget: &Budget) -> Result<()> {
        while self.tally_of_id.len() < num_tokens {
            budget.push(&mut self.tally_of_id, Tally::default())?;
        }
        let (room, wanted) = (self.ids.capacity(), self.tally_of_id.capacity());
        if room < wanted {
            budget.reserve::<u32>(wanted)?;
            self.ids.reserve_exact(wanted);
            budget.release::<u32>(room);
        }
        Ok(())
    }

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

/// Visit all pairs of neighbours in the arena: the place of the left-hand token, the pair, how often its piece occurs.
fn for_each_pair(
    arena: &Arena,
    tokens: &Tokens,
    cancel: &Cancel,
    mut visit: impl FnMut(usize, Pair, u64) -> Result<()>,
) -> Result<()> {
    let mut place = 1;
    for (end, weight) in arena.weight_runs() {
        while place < end {
            cancel.check()?;
            let stop = end.min(place + CHECK_EVERY);
            while place < stop {
                let left = arena.places[place];
                if left == SENTINEL {
                    place += 1;
                    continue;
                }
                let next = place + tokens.num_symbols(left);
                let right = arena.places[next];
                if right != SENTINEL {
                    visit(place, Pair::new(left, right), weight)?;
                }
                place = next;
            }
        }
    }
    Ok(())
}
