//! Stage 3: merge the bytes of one piece into tokens.
//!
//! The meaning, in one sentence: while some adjacent pair has a rank, merge the pair of lowest rank, the
//! leftmost of equals (`naive` below is just that). Three forms of it, chosen by the length of the piece:
//!
//! ```text
//! up to 64 bytes    short     one array of ranks, leftmost minimum, O(n²) with a tiny constant
//! up to 4,096       queue     linked symbols and a priority queue, O(n log n)
//! longer            windows   chunks merged alone, then mended at the seams, O(n) in time
//! ```
//!
//! These three take any list of merges, and say what merging means. Nearly all vocabularies allow more: ids that
//! are ranks (`pair_table`), on which `ranked` does the same several times faster. `Merger` chooses.

pub(crate) mod cuts;
pub(crate) mod pair_table;
mod queue;
pub(crate) mod ranked;
mod seams;
mod short;
#[cfg(target_arch = "x86_64")]
mod side_by_side;
mod windows;

use std::sync::Arc;

use rustc_hash::FxHashMap;

use self::pair_table::PairTable;
use self::ranked::SHORT;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::id::TokenId;
use crate::instructions::Instructions;
use crate::vocabulary::{TokenIndex, Vocabulary};

/// Rank and product of each pair that merges.
#[derive(Debug, Clone)]
pub struct MergeTable {
    byte_ids: [u32; 256],
    /// `left << 32 | right` to `rank << 32 | merged`: comparing two values compares their ranks.
    pairs: FxHashMap<u64, u64>,
    /// Length in bytes by id, 0 where there is no token.
    lengths: Vec<u32>,
}

/// No rank: larger than every value in the table.
const NO_MERGE: u64 = u64::MAX;

/// Working memory of the merges, kept between pieces.
#[derive(Debug, Default)]
pub struct MergeScratch {
    queue: queue::QueueScratch,
    tokens: Vec<u32>,
    window: Vec<u32>,
    recent: Vec<u32>,
}

impl MergeTable {
    /// Index the merges of a vocabulary.
    #[must_use]
    pub fn new(vocabulary: &Vocabulary) -> Self {
        let ranked = vocabulary.merges().iter().zip(0_u64..);
        // A pair that stands twice in the list keeps its last rank, as in `tokenizers`.
        let pairs = ranked
            .map(|(merge, rank)| (pair_key(merge.left, merge.right), rank << 32 | u64::from(merge.merged)))
            .collect();
        let length =
            |id| u32::try_from(vocabulary.token_bytes(id).map_or(0, <[u8]>::len)).unwrap_or(u32::MAX);
        Self {
            byte_ids: *vocabulary.byte_ids(),
            pairs,
            lengths: (0..=vocabulary.max_token_id()).map(length).collect(),
        }
    }

    /// Append the tokens of `piece` to `ids`. A long piece looks at `cancel` on its way.
    pub fn merge_into<I: TokenId>(
        &self,
        piece: &[u8],
        scratch: &mut MergeScratch,
        ids: &mut Vec<I>,
        cancel: &Cancel,
    ) -> Result<()> {
        if piece.len() > windows::CHUNK {
            return windows::merge(self, piece, windows::CHUNK, scratch, ids, cancel);
        }
        let MergeScratch { queue, tokens, .. } = scratch;
        tokens.clear();
        self.merge_whole(piece, queue, tokens);
        ids.extend(tokens.iter().map(|&id| I::from_u32(id)));
        Ok(())
    }

    /// Merge at one go, in memory proportional to the piece.
    fn merge_whole(&self, piece: &[u8], scratch: &mut queue::QueueScratch, tokens: &mut Vec<u32>) {
        if piece.len() <= short::MAX_LENGTH {
            short::merge(self, piece, tokens);
        } else {
            queue::merge(self, piece, scratch, tokens);
        }
    }

    #[inline]
    fn length(&self, id: u32) -> usize {
        self.lengths.get(id as usize).map_or(0, |&length| length as usize)
    }
}

/// Ids of bytes and ranks of pairs, as merging needs them.
pub(crate) trait PairRanks {
    /// `rank << 32 | merged` of a pair, or `NO_MERGE`.
    fn pair(&self, left: u32, right: u32) -> u64;
    /// The token of one byte.
    fn byte_id(&self, byte: u8) -> u32;
}

impl PairRanks for MergeTable {
    #[inline]
    fn pair(&self, left: u32, right: u32) -> u64 {
        self.pairs.get(&pair_key(left, right)).copied().unwrap_or(NO_MERGE)
    }

    #[inline]
    fn byte_id(&self, byte: u8) -> u32 {
        self.byte_ids[usize::from(byte)]
    }
}

/// Pieces to external ids, by the fastest form of merging that a vocabulary allows.
#[derive(Debug)]
pub(crate) struct Merger {
    rule: Rule,
    /// Pieces that are tokens as a whole, where the model takes them so before it merges anything.
    whole: Option<Arc<TokenIndex>>,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // there is one to an encoder
enum Rule {
    /// Internal ids are ranks.
    Ranked(PairTable),
    /// Any list of merges.
    General(MergeTable),
}

/// A piece of 1 to `SHORT` bytes, in registers of 16; what lies behind its end is anything.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ShortPiece {
    words: [[u8; 16]; 2],
    num_bytes: usize,
}

impl ShortPiece {
    pub(crate) fn new(piece: &[u8]) -> Self {
        let mut words = [[0; 16]; 2];
        words.as_flattened_mut()[..piece.len()].copy_from_slice(piece);
        Self { words, num_bytes: piece.len() }
    }

    /// The piece is the first `num_bytes` of the words.
    #[inline]
    pub(crate) fn from_words(words: [[u8; 16]; 2], num_bytes: usize) -> Self {
        Self { words, num_bytes }
    }

    fn bytes(&self) -> &[u8] {
        &self.words.as_flattened()[..self.num_bytes]
    }
}

/// The tokens of a short piece: the first `count`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ShortTokens {
    pub(crate) tokens: [u32; SHORT],
    pub(crate) count: usize,
}

/// Working memory of a `Merger`.
#[derive(Debug, Default)]
pub(crate) struct MergerScratch {
    general: MergeScratch,
    ranked: ranked::LongScratch,
}

impl Merger {
    pub(crate) fn new(vocabulary: &Vocabulary) -> Self {
        let rule = match PairTable::new(vocabulary) {
            Some(pairs) => Rule::Ranked(pairs),
            None => Rule::General(MergeTable::new(vocabulary)),
        };
        Self { rule, whole: vocabulary.whole_tokens().cloned() }
    }

    /// Merge pieces of 1 to `SHORT` bytes, each into the place of the same number in `merged`.
    pub(crate) fn merge_short(
        &self,
        instructions: Instructions,
        pieces: &[ShortPiece],
        scratch: &mut MergerScratch,
        merged: &mut [ShortTokens],
    ) {
        match &self.rule {
            Rule::Ranked(pairs) => {
                ranked::merge_all(instructions, pairs, pieces, merged);
                for merged in &mut merged[..pieces.len()] {
                    for token in &mut merged.tokens[..merged.count] {
                        *token = pairs.external(*token);
                    }
                }
            }
            Rule::General(table) => {
                let MergeScratch { queue, tokens, .. } = &mut scratch.general;
                for (piece, merged) in pieces.iter().zip(&mut *merged) {
                    tokens.clear();
                    table.merge_whole(piece.bytes(), queue, tokens);
                    merged.count = tokens.len();
                    merged.tokens[..tokens.len()].copy_from_slice(tokens);
                }
            }
        }
        let Some(whole) = &self.whole else { return };
        for (piece, merged) in pieces.iter().zip(merged) {
            // If merging gives one token, it is that of the whole piece.
            if merged.count > 1
                && let Some(id) = whole.get(piece.bytes())
            {
                (merged.tokens[0], merged.count) = (id, 1);
            }
        }
    }

    /// Append the tokens of a piece of any length to `ids`. A long one looks at `cancel` on its way.
    pub(crate) fn merge_long<I: TokenId>(
        &self,
        instructions: Instructions,
        piece: &[u8],
        scratch: &mut MergerScratch,
        ids: &mut Vec<I>,
        cancel: &Cancel,
    ) -> Result<()> {
        if let Some(id) = self.whole.as_ref().and_then(|whole| whole.get(piece)) {
            ids.push(I::from_u32(id));
            return Ok(());
        }
        self.merge_part(instructions, piece, scratch, ids, cancel)
    }

    /// As `merge_long`, of a part of a piece, which is no token as a whole.
    pub(crate) fn merge_part<I: TokenId>(
        &self,
        instructions: Instructions,
        part: &[u8],
        scratch: &mut MergerScratch,
        ids: &mut Vec<I>,
        cancel: &Cancel,
    ) -> Result<()> {
        match &self.rule {
            Rule::Ranked(pairs) => {
                ranked::merge_long(instructions, pairs, part, &mut scratch.ranked, ids, cancel)
            }
            Rule::General(table) => table.merge_into(part, &mut scratch.general, ids, cancel),
        }
    }

    /// Append the ids of a part of a piece that was merged alone. All of the piece before byte `seam`, where the part
    /// starts, is in `ids[base..]`. `piece` goes at least to the end of the part.
    #[allow(clippy::too_many_arguments)] // where from, where to, and with what
    pub(crate) fn join<I: TokenId>(
        &self,
        instructions: Instructions,
        piece: &[u8],
        seam: usize,
        ids: &mut Vec<I>,
        base: usize,
        part: &[I],
    ) {
        let queue = &mut queue::QueueScratch::default();
        match &self.rule {
            Rule::Ranked(pairs) => {
                let mut form = ranked::Form { instructions, pairs, queue };
                seams::join_ids(&mut form, piece, seam, ids, base, part);
            }
            Rule::General(table) => {
                seams::join_ids(&mut windows::Form { table, queue }, piece, seam, ids, base, part);
            }
        }
    }
}

#[inline]
fn pair_key(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}

/// The product of a merge, from its value in the table.
#[inline]
#[allow(clippy::cast_possible_truncation)] // the low half, by construction
fn merged_id(value: u64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests;
