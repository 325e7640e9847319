//! Tokens counted by id, several at a time; in the same pass it is marked where each starts.

#![allow(clippy::inline_always)] // what is called for each token

use crate::id::TokenId;

/// How often each token occurred and how long it is, side by side: a table that is small enough to stay near the
/// processor.
pub(super) struct CountedTokens {
    /// Of each id the count, times `ONCE`, and the length in bytes, or `LONG` where it is that or more.
    entries: Vec<u32>,
}

const ONCE: u32 = 1 << 8;
const LONG: u32 = ONCE - 1;
const NARROW_IDS: usize = 1 << 16;
/// Tokens after which the counts are added up, for they have 24 bits. (In tests so few that it happens.)
pub(super) const ADD_UP_AFTER: usize = if cfg!(test) { 10 } else { (1 << 24) - 1 };

impl CountedTokens {
    pub(super) fn new(lengths: &[u32]) -> Self {
        let mut entries: Vec<u32> = lengths.iter().map(|&length| length.min(LONG)).collect();
        entries.resize(entries.len().max(NARROW_IDS), 0);
        Self { entries }
    }

    /// Count tokens, no more than `ADD_UP_AFTER` in all, and mark where they start, the first one at `start`; gives
    /// where the last one ends. Their lengths are in `lengths`.
    pub(super) fn count<I: TokenId>(
        &mut self,
        ids: &[I],
        lengths: &[u32],
        marks: &mut [u8],
        start: usize,
    ) -> usize {
        match self.entries.first_chunk_mut::<NARROW_IDS>() {
            // No 16 bits lie outside of this table, which the compiler sees.
            Some(entries) if std::mem::size_of::<I>() == 2 => {
                count_and_mark(ids, entries, lengths, marks, start)
            }
            _ => count_and_mark(ids, &mut self.entries, lengths, marks, start),
        }
    }

    #[inline(always)]
    pub(super) fn length(&self, id: usize, lengths: &[u32]) -> usize {
        length_of(self.entries[id], id, lengths)
    }

    /// Add the counts to those of 64 bits, and begin anew.
    pub(super) fn add_up(&mut self, token_counts: &mut [u64]) {
        for (sum, entry) in token_counts.iter_mut().zip(&mut self.entries) {
            *sum += u64::from(*entry / ONCE);
            *entry %= ONCE;
        }
    }
}

/// Tokens a step.
const STEP: usize = 4;

/// Several tokens a step: their entries are all read before the first one is written, for a processor lets each reading
/// wait for the writing before it once it has seen both at the same place. The same token again is added to what was read.
#[inline(always)]
fn count_and_mark<I: TokenId>(
    ids: &[I],
    entries: &mut [u32],
    lengths: &[u32],
    marks: &mut [u8],
    start: usize,
) -> usize {
    let mut place = start;
    let mut mark = |entry, id| {
        marks[place] = 1;
        place += length_of(entry, id, lengths);
    };
    let (steps, rest) = ids.as_chunks::<STEP>();
    for step in steps {
        let ids = step.map(|id| id.to_u32() as usize);
        let found = ids.map(|id| entries[id]);
        for (number, (&id, entry)) in ids.iter().zip(found).enumerate() {
            let again: u32 = ids[..number].iter().map(|&other| u32::from(other == id)).sum();
            entries[id] = entry + ONCE + ONCE * again;
        }
        for (id, entry) in ids.into_iter().zip(found) {
            mark(entry, id);
        }
    }
    for id in rest {
        let id = id.to_u32() as usize;
        mark(entries[id], id);
        entries[id] += ONCE;
    }
    place
}

#[inline(always)]
fn length_of(entry: u32, id: usize, lengths: &[u32]) -> usize {
    match entry % ONCE {
        LONG => lengths[id] as usize,
        length => length as usize,
    }
}
