//! Short pieces: the values of all pairs in one array on the stack, leftmost minimum, close the gap.

use super::{MergeTable, NO_MERGE, PairRanks, merged_id};

/// Longest piece this form takes, in bytes.
pub(super) const MAX_LENGTH: usize = 64;

/// Append the tokens of `piece` (at most `MAX_LENGTH` bytes) to `tokens`.
///
/// ```text
/// symbols   h  e  l  l  o        values[i] is that of the pair (i, i + 1)
/// values     7  4  9  5          lowest: 4, so "e" + "l" become one symbol,
/// symbols   h  el  l  o          and only its two neighbours are looked up again
/// ```
pub(super) fn merge(table: &MergeTable, piece: &[u8], tokens: &mut Vec<u32>) {
    let mut symbols = [0_u32; MAX_LENGTH];
    let mut values = [NO_MERGE; MAX_LENGTH];
    let mut count = piece.len();
    for (symbol, &byte) in symbols.iter_mut().zip(piece) {
        *symbol = table.byte_id(byte);
    }
    for i in 1..count {
        values[i - 1] = table.pair(symbols[i - 1], symbols[i]);
    }
    while count > 1 {
        let mut place = 0;
        let mut lowest = NO_MERGE;
        for (i, &value) in values[..count - 1].iter().enumerate() {
            if value < lowest {
                (place, lowest) = (i, value);
            }
        }
        if lowest == NO_MERGE {
            break;
        }
        symbols[place] = merged_id(lowest);
        symbols.copy_within(place + 2..count, place + 1);
        values.copy_within(place + 1..count - 1, place);
        count -= 1;
        if place > 0 {
            values[place - 1] = table.pair(symbols[place - 1], symbols[place]);
        }
        if place + 1 < count {
            values[place] = table.pair(symbols[place], symbols[place + 1]);
        }
    }
    tokens.extend_from_slice(&symbols[..count]);
}
