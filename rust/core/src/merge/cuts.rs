//! Where no merge can reach across, whatever is around: between two bytes such that no merge joins a token that ends with
//! the one to a token that starts with the other.
//!
//! Both sides of such a place merge alone as they do together. So a text that no pattern cuts still falls into pieces,
//! which the tables remember; how many there are depends on the vocabulary.

use std::ops::Range;

use crate::split::starts::Starts;
use crate::vocabulary::Vocabulary;

/// A bit for each pair of bytes that some merge joins.
#[derive(Debug)]
pub(crate) struct Cuts {
    joined: Box<[u64; 1 << 10]>,
}

impl Cuts {
    pub(crate) fn new(vocabulary: &Vocabulary) -> Self {
        let mut joined = Box::new([0; 1 << 10]);
        for merge in vocabulary.merges() {
            let left = vocabulary.token_bytes(merge.left).and_then(|bytes| bytes.last());
            let right = vocabulary.token_bytes(merge.right).and_then(|bytes| bytes.first());
            if let (Some(&left), Some(&right)) = (left, right) {
                joined[usize::from(left) << 2 | usize::from(right >> 6)] |= 1 << (right & 63);
            }
        }
        Self { joined }
    }

    fn joins(&self, left: u8, right: u8) -> bool {
        self.joined[usize::from(left) << 2 | usize::from(right >> 6)] >> (right & 63) & 1 == 1
    }

    /// Append the places of a range where `text` is cut; its beginning is one.
    pub(crate) fn append_to(&self, starts: &mut Starts, text: &[u8], range: Range<usize>) {
        if range.start == 0 && range.end > 0 {
            starts.push(0);
        }
        for position in range.start.max(1)..range.end {
            if !self.joins(text[position - 1], text[position]) {
                starts.push(position);
            }
        }
    }
}
