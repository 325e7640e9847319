//! Stages of the encoder alone, for the benches: what lies between is private. No part of the interface.

use crate::cancel::Cancel;
use crate::encoder::DEFAULT_CACHE_BYTES;
use crate::error::Result;
use crate::instructions::Instructions;
use crate::merge::Merger;
use crate::piece_table::{BATCH, PieceTable};
use crate::split::classify::{BLOCK, classify};
use crate::split::gpt2::Gpt2Masks;
use crate::split::rows::{Rows, SLOTS};
use crate::split::{Splitting, fast_starts};
use crate::unicode::ClassTable;
use crate::vocabulary::Vocabulary;

/// Stage 1a: classify all blocks of a text; gives the number of its letters in bytes.
///
/// # Errors
/// As the encoder: a code point without a class.
pub fn classify_text(instructions: Instructions, text: &str, classes: &ClassTable) -> Result<u32> {
    let mut rows = Rows::default();
    let mut num_letters = 0;
    for block in (0..text.len().div_ceil(BLOCK)).step_by(SLOTS) {
        classify::<Gpt2Masks>(instructions, text.as_bytes(), classes, block, 0..SLOTS, &mut rows)?;
        num_letters += rows.letter.iter().map(|letters| letters.count_ones()).sum::<u32>();
    }
    Ok(num_letters)
}

/// Stages 1a and 1b: where the pieces of a text start, and its end.
///
/// # Errors
/// As the encoder: a code point without a class.
pub fn boundaries(instructions: Instructions, text: &str, classes: &ClassTable) -> Result<Vec<u32>> {
    let mut all = fast_starts(Splitting::Gpt2, instructions, text, classes)?;
    all.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
    Ok(all)
}

/// Stage 2: pieces to ids through the table, which is warm after the first time.
#[derive(Debug)]
pub struct Lookup {
    table: PieceTable<u16>,
    merger: Merger,
}

impl Lookup {
    /// A table of the default size.
    #[must_use]
    pub fn new(instructions: Instructions, vocabulary: &Vocabulary) -> Self {
        let table = PieceTable::with_capacity_bytes(instructions, DEFAULT_CACHE_BYTES);
        Self { table, merger: Merger::new(vocabulary) }
    }

    /// Append the ids of the pieces that `starts` (of `boundaries`) cuts the text into.
    ///
    /// # Errors
    /// Cancelled.
    pub fn encode(&mut self, text: &str, starts: &[u32], ids: &mut Vec<u16>, cancel: &Cancel) -> Result<()> {
        let num_pieces = starts.len().saturating_sub(1);
        for first in (0..num_pieces).step_by(BATCH) {
            let last = (first + BATCH).min(num_pieces);
            self.table.encode_batch(&self.merger, text.as_bytes(), &starts[first..=last], ids, cancel)?;
        }
        Ok(())
    }
}
