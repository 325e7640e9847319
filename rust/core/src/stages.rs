//! Stages of the encoder alone, for the benches: what lies between is private. No part of the interface.

use crate::cancel::Cancel;
use crate::encoder::DEFAULT_CACHE_BYTES;
use crate::error::Result;
use crate::instructions::Instructions;
use crate::merge::Merger;
use crate::piece_table::{BATCH, PieceTable};
use crate::split::boundaries::{Boundaries, Starts};
use crate::split::classify::{BLOCK, classify_block};
use crate::unicode::ClassTable;
use crate::vocabulary::Vocabulary;

/// Stage 1a: classify all blocks of a text; gives the number of its letters in bytes.
#[must_use]
pub fn classify(instructions: Instructions, text: &str, classes: &ClassTable) -> u32 {
    let mut unassigned = None;
    (0..text.len())
        .step_by(BLOCK)
        .map(|start| {
            classify_block(instructions, text.as_bytes(), start, classes, &mut unassigned).letter.count_ones()
        })
        .sum()
}

/// Stages 1a and 1b: where the pieces of a text start, and its end.
///
/// # Errors
/// As the encoder: a code point without a class.
pub fn boundaries(instructions: Instructions, text: &str, classes: &ClassTable) -> Result<Vec<u32>> {
    let (mut boundaries, mut starts) = (Boundaries::default(), Starts::default());
    let mut all = Vec::with_capacity(text.len());
    boundaries.restart(instructions, text.as_bytes(), classes)?;
    while boundaries.next_starts(instructions, text.as_bytes(), classes, &mut starts)? {
        all.extend_from_slice(starts.as_slice());
        starts.clear();
    }
    starts.push(text.len());
    all.extend_from_slice(starts.as_slice());
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
