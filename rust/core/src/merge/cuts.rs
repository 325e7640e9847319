//! Where no merge can reach across, whatever is around: between two bytes such that no merge joins a token that ends with
//! the one to a token that starts with the other.
//!
//! Both sides of such a place merge alone as they do together. So a text that no pattern cuts still falls into pieces,
//! which the tables remember; how many there are depends on the vocabulary. Not every such place is needed:
//!
//! ```text
//! text      x  =  1  \n .  .  .  .  r  e  t         . is a blank; a merge joins "=1", ".r", "re" and "et"
//! unjoined  .  1  .  1  1  1  1  1  .  .  .
//! inner     .  .  .  .  .  1  1  .  .  .  .         the byte before and the one behind are the same
//! cuts      .  1  .  1  1  .  .  1  .  .  .         "x" "=1" "\n" "..." ".ret"
//! ```
//!
//! A run of one byte is one piece, but for its last byte: a rule of signs or the indentation of a line is remembered as a
//! whole, where each of its bytes alone would cost as much as a word.

use std::ops::Range;

use crate::instructions::Instructions;
use crate::split::classify::BLOCK;
use crate::split::rows::BLOCKS;
use crate::split::starts::Starts;
use crate::vocabulary::Vocabulary;

/// No merge joins the two bytes.
const UNJOINED: u8 = 1;
/// They are the same.
const SAME: u8 = 2;

/// What there is to know of each pair of bytes, by `left | right << 8`, as they lie in the text.
#[derive(Debug)]
pub(crate) struct Cuts {
    pairs: Box<[u8; 1 << 16]>,
}

impl Cuts {
    pub(crate) fn new(vocabulary: &Vocabulary) -> Self {
        #[allow(clippy::large_stack_arrays)] // 64 KB, once an encoder; a vector would be checked at each look
        let mut pairs = Box::new([UNJOINED; 1 << 16]);
        for byte in 0..=u8::MAX {
            pairs[place(byte, byte)] |= SAME;
        }
        for merge in vocabulary.merges() {
            let left = vocabulary.token_bytes(merge.left).and_then(|bytes| bytes.last());
            let right = vocabulary.token_bytes(merge.right).and_then(|bytes| bytes.first());
            if let (Some(&left), Some(&right)) = (left, right) {
                pairs[place(left, right)] &= !UNJOINED;
            }
        }
        Self { pairs }
    }

    /// Append the places of a range, of up to 2 KB, where `text` is cut; its beginning is one. The meaning of it stands in
    /// the tests.
    pub(crate) fn append_to(
        &self,
        instructions: Instructions,
        starts: &mut Starts,
        text: &[u8],
        range: Range<usize>,
    ) {
        let mut masks = [0; BLOCKS];
        let num_blocks = range.len().div_ceil(BLOCK);
        for (mask, first) in masks[..num_blocks].iter_mut().zip(range.clone().step_by(BLOCK)) {
            *mask = self.mask(text, first);
        }
        if range.start == 0 {
            masks[0] |= 1;
        }
        if !range.len().is_multiple_of(BLOCK) {
            masks[num_blocks - 1] &= (1 << (range.len() % BLOCK)) - 1;
        }
        starts.append(instructions, &masks[..num_blocks], range.start);
    }

    /// The cuts of 64 bytes from `first` on, at most to the end of the text.
    fn mask(&self, text: &[u8], first: usize) -> u64 {
        // One byte before and one behind.
        if let Some(bytes) = first.checked_sub(1).and_then(|before| text[before..].first_chunk()) {
            return self.mask_of(bytes);
        }
        // No run goes on behind the end of the text.
        let mut bytes = [text.last().map_or(0, |last| !last); BLOCK + 2];
        let (from, to) = if first == 0 { (0, 1) } else { (first - 1, 0) };
        let len = (text.len() - from).min(bytes.len() - to);
        bytes[to..to + len].copy_from_slice(&text[from..from + len]);
        self.mask_of(&bytes)
    }

    fn mask_of(&self, bytes: &[u8; BLOCK + 2]) -> u64 {
        // No branch a byte: where cuts are is what a processor cannot guess.
        let mut known = [0; BLOCK];
        for (known, pair) in known.iter_mut().zip(bytes.windows(2)) {
            *known = self.pairs[place(pair[0], pair[1])];
        }
        let (mut unjoined, mut same) = (0, 0);
        for (number, eight) in known.as_chunks::<8>().0.iter().enumerate() {
            let eight = u64::from_le_bytes(*eight);
            unjoined |= low_bits(eight) << (8 * number);
            same |= low_bits(eight >> 1) << (8 * number);
        }
        let same_behind = same >> 1 | u64::from(bytes[BLOCK] == bytes[BLOCK + 1]) << (BLOCK - 1);
        unjoined & !(same & same_behind)
    }
}

fn place(left: u8, right: u8) -> usize {
    usize::from(u16::from_le_bytes([left, right]))
}

/// The lowest bit of each of 8 bytes, next to one another: the product moves each to a place of its own in the last byte.
#[inline]
fn low_bits(eight: u64) -> u64 {
    (eight & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::split::rows::SEGMENT;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_500))]
        #[test]
        fn cuts_are_where_no_merge_joins_two_bytes_outside_of_runs(
            vocabulary in crate::testing::vocabulary(),
            parts in prop::collection::vec((prop::sample::select(b"abthe  '=12\n\0\xc3\xa9".to_vec()), 1_usize..90), 1..60),
            letters in prop::collection::vec(prop::sample::select(b"abthelo '=1\n\0\xc3\xa9".to_vec()), 0..300),
            instructions in prop::sample::select(Instructions::available()),
        ) {
            let mut text: Vec<u8> = parts.iter().flat_map(|&(byte, count)| vec![byte; count / 2 + 1]).collect();
            text.extend(letters);
            let is_joined = |left: u8, right: u8| vocabulary.merges().iter().any(|merge| {
                vocabulary.token_bytes(merge.left).unwrap().last() == Some(&left)
                    && vocabulary.token_bytes(merge.right).unwrap().first() == Some(&right)
            });
            let is_inner = |at: usize| text[at - 1] == text[at] && text.get(at + 1) == Some(&text[at]);
            let expected: Vec<u32> = (0..text.len())
                .filter(|&at| at == 0 || !is_joined(text[at - 1], text[at]) && !is_inner(at))
                .map(|at| u32::try_from(at).unwrap())
                .collect();
            let cuts = Cuts::new(&vocabulary);
            let (mut starts, mut found) = (Starts::default(), Vec::new());
            for first in (0..text.len()).step_by(SEGMENT) {
                starts.clear();
                cuts.append_to(instructions, &mut starts, &text, first..text.len().min(first + SEGMENT));
                found.extend_from_slice(starts.as_slice());
            }
            prop_assert_eq!(found, expected);
        }
    }
}
