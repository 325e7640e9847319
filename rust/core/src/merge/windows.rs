//! Long pieces: merge chunks alone, then mend the seams.
//!
//! Why this is exact, for any list of merges. A merge run takes the pair of lowest rank, the leftmost of equals.
//! As long as no merge crosses the ends of a part of the text, the run does in that part just what it would do
//! on the part alone. Two statements follow:
//!
//! 1. If a sequence of tokens is such that each adjacent two are *valid* (their joined bytes, merged alone, give
//!    just these two), then it is the result of the run on the whole text: look at the first merge that would
//!    cross a boundary between two tokens; the run on these two alone would be in the same state and do it too.
//! 2. In a result, all adjacent tokens are valid.
//!
//! So the tokens of two neighbouring chunks may be joined where the two at the seam are valid. Where they are
//! not, a window of some tokens around the seam is merged again, and widened until both of its ends are valid.
//! The idea of valid pairs is that of the Rust crate `bpe` (github.com/github/rust-gems).

use super::{MergeScratch, MergeTable, queue::QueueScratch};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::id::TokenId;

/// Bytes merged alone. Small enough to stay in the nearest cache, long enough that seams are rare.
pub(super) const CHUNK: usize = 4096;

/// Append the tokens of `piece` to `ids`, made from chunks of `chunk_length` bytes.
pub(super) fn merge<I: TokenId>(
    table: &MergeTable,
    piece: &[u8],
    chunk_length: usize,
    scratch: &mut MergeScratch,
    ids: &mut Vec<I>,
    cancel: &Cancel,
) -> Result<()> {
    let base = ids.len();
    let MergeScratch { queue, tokens, window } = scratch;
    for (number, chunk) in piece.chunks(chunk_length).enumerate() {
        cancel.check()?;
        tokens.clear();
        table.merge_whole(chunk, queue, tokens);
        Seam { table, piece, at: number * chunk_length, base, queue: &mut *queue, window: &mut *window }
            .join(ids, tokens);
    }
    Ok(())
}

/// The place where the tokens so far (`ids[base..]`) meet those of the next chunk.
struct Seam<'a> {
    table: &'a MergeTable,
    piece: &'a [u8],
    /// Byte of the piece where the next chunk starts.
    at: usize,
    base: usize,
    queue: &'a mut QueueScratch,
    window: &'a mut Vec<u32>,
}

impl Seam<'_> {
    fn join<I: TokenId>(&mut self, ids: &mut Vec<I>, right: &[u32]) {
        let available = ids.len() - self.base;
        // Nothing to mend while the window is empty: then only the seam itself has to be valid.
        let (mut num_left, mut num_right) = (0, 0);
        loop {
            let left = &ids[ids.len() - num_left..];
            let start = self.at - left.iter().map(|id| self.table.length(id.to_u32())).sum::<usize>();
            let end = self.at + right[..num_right].iter().map(|&id| self.table.length(id)).sum::<usize>();
            let mut window = std::mem::take(self.window);
            window.clear();
            self.table.merge_whole(&self.piece[start..end], self.queue, &mut window);

            let before = (num_left < available).then(|| ids[ids.len() - num_left - 1].to_u32());
            let after = right.get(num_right).copied();
            let left_valid = self.valid(before, window.first().copied().or(after), start);
            // An empty window has one seam, which was just looked at.
            let right_valid =
                if window.is_empty() { left_valid } else { self.valid(window.last().copied(), after, end) };
            if left_valid && right_valid {
                ids.truncate(ids.len() - num_left);
                ids.extend(window.iter().chain(&right[num_right..]).map(|&id| I::from_u32(id)));
                *self.window = window;
                return;
            }
            *self.window = window;
            if !left_valid {
                num_left = (2 * num_left).max(1).min(available);
            }
            if !right_valid {
                num_right = (2 * num_right).max(1).min(right.len());
            }
        }
    }

    /// Whether two tokens that meet at byte `at` of the piece stay two when merged alone. An end of the piece is
    /// always valid.
    fn valid(&mut self, left: Option<u32>, right: Option<u32>, at: usize) -> bool {
        let (Some(left), Some(right)) = (left, right) else {
            return true;
        };
        let bytes = &self.piece[at - self.table.length(left)..at + self.table.length(right)];
        let mut tokens = Vec::with_capacity(bytes.len());
        self.table.merge_whole(bytes, self.queue, &mut tokens);
        tokens == [left, right]
    }
}
