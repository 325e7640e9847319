//! One worker's road from a text to its ids: boundaries, look-up, merging, 2 KB of text at a time.

use std::sync::Arc;

use crate::cancel::Cancel;
use crate::error::Result;
use crate::id::TokenId;
use crate::instructions::Instructions;
use crate::merge::Merger;
use crate::merge::cuts::Cuts;
use crate::piece_table::{BATCH, PieceTable};
use crate::split::Splitting;
use crate::split::boundaries::{Boundaries, SEGMENT};
use crate::split::starts::Starts;
use crate::unicode::ClassTable;

/// Positions have 32 bits. Longer texts are cut by the encoder.
pub(crate) const MAX_TEXT: usize = 1 << 31;

/// What one thread needs between documents: its tables and working memory.
#[derive(Debug)]
pub struct Worker<I> {
    instructions: Instructions,
    boundaries: Boundaries,
    starts: Starts,
    table: PieceTable<I>,
    /// What a call with a short text writes into.
    pub(crate) short_ids: Vec<I>,
    /// For texts that no pattern cuts.
    cuts: Option<Arc<Cuts>>,
}

impl<I: TokenId> Worker<I> {
    /// A worker with tables of at most `capacity_bytes`. `cuts` are for texts that no pattern cuts.
    pub(crate) fn new(
        splitting: Splitting,
        cuts: Option<Arc<Cuts>>,
        instructions: Instructions,
        capacity_bytes: usize,
    ) -> Self {
        Self {
            instructions,
            boundaries: Boundaries::new(splitting),
            starts: Starts::default(),
            table: PieceTable::with_capacity_bytes(instructions, capacity_bytes),
            short_ids: Vec::new(),
            cuts,
        }
    }

    /// Append the ids of `text`, of at most `MAX_TEXT` bytes. On an error `ids` holds a part of them.
    pub(crate) fn encode_into(
        &mut self,
        merger: &Merger,
        classes: &ClassTable,
        text: &str,
        ids: &mut Vec<I>,
        cancel: &Cancel,
    ) -> Result<()> {
        self.encode_before(merger, classes, text, text.len(), ids, cancel)
    }

    /// As `encode_into`, of the pieces before `end` alone, where a piece starts or the text ends. What lies behind
    /// matters: pieces look ahead.
    pub(crate) fn encode_before(
        &mut self,
        merger: &Merger,
        classes: &ClassTable,
        text: &str,
        end: usize,
        ids: &mut Vec<I>,
        cancel: &Cancel,
    ) -> Result<()> {
        let text = text.as_bytes();
        assert!(text.len() <= MAX_TEXT, "positions have 32 bits");
        if end == 0 {
            return Ok(());
        }
        self.starts.clear();
        if let Some(cuts) = self.cuts.clone() {
            // One piece: what lies behind it does not matter.
            let text = &text[..end];
            for first in (0..end).step_by(SEGMENT) {
                let range = first..end.min(first + SEGMENT);
                cuts.append_to(self.instructions, &mut self.starts, text, range);
                self.encode_pieces(merger, text, ids, cancel)?;
            }
            self.starts.push(end);
            return self.encode_pieces(merger, text, ids, cancel);
        }
        self.boundaries.restart(self.instructions, text, classes)?;
        while self.boundaries.next_starts(self.instructions, text, classes, &mut self.starts)? {
            if end < text.len() && self.starts.end_at(end) {
                return self.encode_pieces(merger, text, ids, cancel);
            }
            self.encode_pieces(merger, text, ids, cancel)?;
        }
        self.starts.push(text.len());
        self.encode_pieces(merger, text, ids, cancel)
    }

    /// Append the ids of a part of a piece, merged alone.
    pub(crate) fn merge_part(
        &mut self,
        merger: &Merger,
        part: &[u8],
        ids: &mut Vec<I>,
        cancel: &Cancel,
    ) -> Result<()> {
        self.table.encode_part(merger, part, ids, cancel)
    }

    /// Append the ids of all pieces whose end is known.
    fn encode_pieces(
        &mut self,
        merger: &Merger,
        text: &[u8],
        ids: &mut Vec<I>,
        cancel: &Cancel,
    ) -> Result<()> {
        cancel.check()?;
        let mut starts = self.starts.as_slice();
        // Only the first can be longer than a segment. It does not go through the batch: its ids lie in memory once.
        if let [first, second, ..] = *starts
            && (second - first) as usize > SEGMENT
        {
            self.table.encode_huge(merger, &text[first as usize..second as usize], ids, cancel)?;
            starts = &starts[1..];
        }
        let num_pieces = starts.len().saturating_sub(1);
        for first in (0..num_pieces).step_by(BATCH) {
            let last = (first + BATCH).min(num_pieces);
            self.table.encode_batch(merger, text, &starts[first..=last], ids, cancel)?;
        }
        self.starts.keep_last();
        Ok(())
    }
}
