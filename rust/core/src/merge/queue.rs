//! Middle-sized pieces: linked symbols and a priority queue of (rank, place), whose stale entries are known
//! by looking again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{NO_MERGE, PairRanks, merged_id};

/// End of the links.
const NONE: u32 = u32::MAX;
/// A scratch that grew past this many symbols is not kept: one odd piece must not cost memory for ever.
const MAX_KEPT: usize = 1 << 16;

#[derive(Debug, Clone, Copy)]
struct Symbol {
    /// `NONE` once it was merged into its left neighbour.
    id: u32,
    previous: u32,
    next: u32,
}

#[derive(Debug, Default)]
pub(super) struct QueueScratch {
    symbols: Vec<Symbol>,
    /// `rank << 32 | place`: lowest rank first, leftmost of equals.
    queue: BinaryHeap<Reverse<u64>>,
}

/// Append the tokens of `piece` (less than 2^32 bytes) to `tokens`.
pub(super) fn merge(table: &impl PairRanks, piece: &[u8], scratch: &mut QueueScratch, tokens: &mut Vec<u32>) {
    let QueueScratch { symbols, queue } = scratch;
    symbols.clear();
    symbols.extend(piece.iter().zip(0_u32..).map(|(&byte, place)| Symbol {
        id: table.byte_id(byte),
        previous: place.wrapping_sub(1),
        next: place + 1,
    }));
    if let Some(last) = symbols.last_mut() {
        last.next = NONE;
    }
    // Made from a vector at once: O(n), where pushing one by one is O(n log n).
    let mut entries = std::mem::take(queue).into_vec();
    entries.clear();
    entries.extend(
        symbols
            .windows(2)
            .zip(0_u32..)
            .filter_map(|(pair, place)| entry(table.pair(pair[0].id, pair[1].id), place)),
    );
    *queue = BinaryHeap::from(entries);

    while let Some(Reverse(top)) = queue.pop() {
        let place = merged_id(top); // the low half
        let Symbol { id, previous, next } = symbols[place as usize];
        if id == NONE || next == NONE {
            continue;
        }
        let right = symbols[next as usize];
        let value = table.pair(id, right.id);
        if value == NO_MERGE || value >> 32 != top >> 32 {
            continue; // stale: a neighbour has changed since
        }
        let merged = merged_id(value);
        symbols[place as usize] = Symbol { id: merged, previous, next: right.next };
        symbols[next as usize].id = NONE;
        if right.next != NONE {
            symbols[right.next as usize].previous = place;
            queue.extend(entry(table.pair(merged, symbols[right.next as usize].id), place));
        }
        if previous != NONE {
            queue.extend(entry(table.pair(symbols[previous as usize].id, merged), previous));
        }
    }
    tokens.extend(symbols.iter().map(|symbol| symbol.id).filter(|&id| id != NONE));
    if symbols.len() > MAX_KEPT {
        *scratch = QueueScratch::default();
    }
}

#[inline]
fn entry(value: u64, place: u32) -> Option<Reverse<u64>> {
    (value != NO_MERGE).then_some(Reverse(value >> 32 << 32 | u64::from(place)))
}
