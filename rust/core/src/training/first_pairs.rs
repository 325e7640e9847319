//! The pairs of an arena in which nothing was merged yet: all of them are pairs of bytes, so a matrix counts them.

use super::arena::{Arena, SENTINEL};
use super::budget::Budget;
use super::kept_pairs::{KeptPairs, NO_LIST, Tally};
use super::pair_map::Pair;
use super::position::Position;
use crate::cancel::Cancel;
use crate::error::Result;

/// Places between two looks at the caller's wish to stop.
const CHECK_EVERY: usize = 1 << 16;
/// 256 bytes and the sentinel.
const SYMBOLS: usize = 257;
const SENTINEL_SYMBOL: u16 = 256;

/// Keep the pairs with a count of at least `bar`; returns the length of the longest list.
pub(crate) fn keep_first_pairs<P: Position>(
    arena: &Arena,
    id_of_byte: &[u32; 256],
    bar: u64,
    kept: &mut KeptPairs<P>,
    budget: &Budget,
    cancel: &Cancel,
) -> Result<usize> {
    let symbol_of_id = symbols(id_of_byte);
    let symbol = |id: u32| if id == SENTINEL { SENTINEL_SYMBOL } else { symbol_of_id[id as usize] };
    budget.reserve::<Tally>(SYMBOLS * SYMBOLS)?;
    let mut tallies = vec![Tally::default(); SYMBOLS * SYMBOLS];
    for_each_pair_of_symbols(arena, cancel, symbol, |_, index, weight| {
        let tally = &mut tallies[index];
        tally.weight += weight;
        tally.positions += 1;
    })?;
    let mut longest = 0;
    for (left, &left_id) in id_of_byte.iter().enumerate() {
        for (right, &right_id) in id_of_byte.iter().enumerate() {
            let tally = &mut tallies[left * SYMBOLS + right];
            if tally.weight >= bar {
                longest = longest.max(tally.positions);
                kept.keep(Pair::new(left_id, right_id), tally, budget)?;
            } else {
                tally.positions = NO_LIST;
            }
        }
    }
    // Pairs with a sentinel are none.
    for edge in 0..SYMBOLS {
        tallies[edge * SYMBOLS + SYMBOLS - 1].positions = NO_LIST;
        tallies[(SYMBOLS - 1) * SYMBOLS + edge].positions = NO_LIST;
    }
    for_each_pair_of_symbols(arena, cancel, symbol, |place, index, _| {
        let list = tallies[index].positions;
        if list != NO_LIST {
            kept.note(list, place);
        }
    })?;
    budget.release::<Tally>(SYMBOLS * SYMBOLS);
    Ok(longest)
}

/// The byte of each id, as far as ids of bytes go.
fn symbols(id_of_byte: &[u32; 256]) -> Vec<u16> {
    let known = || (0_u16..).zip(id_of_byte).filter(|&(_, &id)| id != u32::MAX);
    let num_ids = known().map(|(_, &id)| id as usize + 1).max().unwrap_or(0);
    let mut symbol_of_id = vec![0; num_ids];
    for (symbol, &id) in known() {
        symbol_of_id[id as usize] = symbol;
    }
    symbol_of_id
}

/// Visit each place with the index of its pair, sentinels included, and its weight.
fn for_each_pair_of_symbols(
    arena: &Arena,
    cancel: &Cancel,
    symbol: impl Fn(u32) -> u16,
    mut visit: impl FnMut(usize, usize, u64),
) -> Result<()> {
    let mut place = 0;
    let mut left = SENTINEL_SYMBOL;
    for (end, weight) in arena.weight_runs() {
        for some in arena.places[place + 1..end].chunks(CHECK_EVERY) {
            cancel.check()?;
            for &id in some {
                let right = symbol(id);
                visit(place, usize::from(left) * SYMBOLS + usize::from(right), weight);
                left = right;
                place += 1;
            }
        }
    }
    Ok(())
}
