//! Where the documents in a block begin and end: stored when a block is made, never inferred from EOS.
//!
//! ```text
//! block 0: a b E c      block 1: d E . .        a b E is document 0, c d E is document 1, the dots are padding
//! cu_seqlens  0 3 4  0 2      offsets  0 3 5      documents  0 1  1
//! ```
//!
//! A segment is what one block holds of one document. `cu_seqlens` is the cumulated length of a block's segments, as
//! attention over sequences of various lengths takes it; it begins with 0 and ends with the block's real ids.

use std::ops::Range;

/// The segments of some blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segments {
    /// The bounds of each block's segments, in places of the block: one more than it has segments.
    pub cu_seqlens: Vec<i32>,
    /// Block `b` has `cu_seqlens[offsets[b]..offsets[b + 1]]`.
    pub offsets: Vec<i64>,
    /// The document of each segment: block `b` has `documents[offsets[b] - b..offsets[b + 1] - b - 1]`.
    pub documents: Vec<i64>,
}

impl Default for Segments {
    fn default() -> Self {
        Self { cu_seqlens: Vec::new(), offsets: vec![0], documents: Vec::new() }
    }
}

impl Segments {
    /// How many blocks they are of.
    #[must_use]
    pub fn num_blocks(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Append a block: the document of each segment, and its number of tokens.
    pub fn push_block(&mut self, segments: impl IntoIterator<Item = (u64, usize)>) {
        let mut end = 0;
        self.cu_seqlens.push(end);
        for (document, num_tokens) in segments {
            // Blocks are shorter than 2**31 ids, and no corpus has 2**63 documents.
            end += i32::try_from(num_tokens).unwrap_or(i32::MAX);
            self.cu_seqlens.push(end);
            self.documents.push(i64::try_from(document).unwrap_or(i64::MAX));
        }
        self.offsets.push(position(self.cu_seqlens.len()));
    }

    /// Append blocks of `seq_length` tokens, chopped from a stream: of each document in it, the number of tokens.
    pub fn push_blocks(&mut self, seq_length: usize, stream: impl IntoIterator<Item = (u64, usize)>) {
        let mut block = Vec::new();
        let mut room = seq_length;
        for (document, mut num_tokens) in stream {
            while num_tokens > 0 {
                let taken = num_tokens.min(room);
                block.push((document, taken));
                num_tokens -= taken;
                room -= taken;
                if room == 0 {
                    self.push_block(block.drain(..));
                    room = seq_length;
                }
            }
        }
        if !block.is_empty() {
            self.push_block(block);
        }
    }

    /// Those of the blocks in `blocks`.
    #[must_use]
    pub fn of_blocks(&self, blocks: Range<usize>) -> Self {
        let bounds = &self.offsets[blocks.start..=blocks.end];
        let (first, last) = (index(bounds[0]), index(bounds[bounds.len() - 1]));
        Self {
            cu_seqlens: self.cu_seqlens[first..last].to_vec(),
            offsets: bounds.iter().map(|&bound| bound - bounds[0]).collect(),
            documents: self.documents[first - blocks.start..last - blocks.end].to_vec(),
        }
    }
}

fn position(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

fn index(position: i64) -> usize {
    usize::try_from(position).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Segments {
        let mut segments = Segments::default();
        segments.push_block([(0, 3), (1, 1)]);
        segments.push_block([(1, 2)]);
        segments.push_block([(2, 4)]);
        segments
    }

    #[test]
    fn the_example_at_the_head() {
        let segments = example();
        assert_eq!(segments.num_blocks(), 3);
        assert_eq!(segments.cu_seqlens, [0, 3, 4, 0, 2, 0, 4]);
        assert_eq!(segments.offsets, [0, 3, 5, 7]);
        assert_eq!(segments.documents, [0, 1, 1, 2]);
    }

    #[test]
    fn a_part_stands_for_itself() {
        let segments = example();
        assert_eq!(segments.of_blocks(0..3), segments);
        assert_eq!(segments.of_blocks(1..1), Segments::default());
        let part = segments.of_blocks(1..3);
        assert_eq!(part.cu_seqlens, [0, 2, 0, 4]);
        assert_eq!((part.offsets, part.documents), (vec![0, 2, 4], vec![1, 2]));
    }
}
