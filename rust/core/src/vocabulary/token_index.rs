//! From the bytes of a piece to the token that has just these: for models that take such a piece as a whole
//! (`ignore_merges`).

use std::hash::Hasher;
use std::sync::Arc;

use rustc_hash::FxHasher;

use super::token_table::TokenTable;

/// No token.
const EMPTY: u32 = u32::MAX;

/// A hash table with open addressing; it holds ids, the bytes lie in the table of tokens.
#[derive(Debug, Clone)]
pub(crate) struct TokenIndex {
    tokens: Arc<TokenTable>,
    slots: Box<[u32]>,
    /// Bytes of the longest token.
    longest: usize,
}

impl TokenIndex {
    /// Index some tokens, all of different bytes.
    pub(crate) fn new(tokens: Arc<TokenTable>, ids: &[u32]) -> Self {
        let slots = vec![EMPTY; (2 * ids.len()).next_power_of_two().max(2)].into_boxed_slice();
        let mut index = Self { tokens, slots, longest: 0 };
        for &id in ids {
            let bytes = index.tokens.get(id).unwrap_or_default();
            index.longest = index.longest.max(bytes.len());
            let slot = index.slot_of(bytes);
            index.slots[slot] = id;
        }
        index
    }

    /// The token of these bytes.
    pub(crate) fn get(&self, bytes: &[u8]) -> Option<u32> {
        if bytes.len() > self.longest {
            return None;
        }
        Some(self.slots[self.slot_of(bytes)]).filter(|&id| id != EMPTY)
    }

    /// Where these bytes are, or would be.
    #[allow(clippy::cast_possible_truncation)] // a hash
    fn slot_of(&self, bytes: &[u8]) -> usize {
        let mut hasher = FxHasher::default();
        hasher.write(bytes);
        let mask = self.slots.len() - 1;
        let mut slot = hasher.finish() as usize & mask;
        // At most half full, so there is an end.
        while self.slots[slot] != EMPTY && self.tokens.get(self.slots[slot]) != Some(bytes) {
            slot = (slot + 1) & mask;
        }
        slot
    }
}
