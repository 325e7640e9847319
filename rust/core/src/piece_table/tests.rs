//! The tables at work: memory, and entries that name others.

use super::*;
use crate::vocabulary::Vocabulary;

/// Ever-new words fill the tables once; after that, no working memory grows, and each costs one merge, as at first.
#[test]
fn memory_is_flat_over_ever_new_words() {
    let pairs = [(u32::from(b'a'), u32::from(b'b')), (256, u32::from(b'a')), (256, 256)];
    let merger = Merger::new(&Vocabulary::from_merges(&pairs).unwrap());
    for instructions in Instructions::available() {
        let mut table = PieceTable::<u16>::with_capacity_bytes(instructions, 1 << 16);
        let mut number = 0_u64;
        let mut round = || {
            let mut num_merged = 0;
            for _ in 0..40 {
                let mut text = Vec::new();
                let mut starts = vec![0];
                for length in 0..BATCH as u32 {
                    number += 1;
                    // 10 to 57 letters of a and b: short, long and longest pieces.
                    let bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    text.extend((0..10 + length % 48).map(|bit| b'a' + (bits >> (bit % 64) & 1) as u8));
                    starts.push(text.len() as u32);
                }
                let mut ids = Vec::new();
                table.encode_batch(&merger, &text, &starts, &mut ids, &Cancel::default()).unwrap();
                num_merged += table.batch.wanted.len();
            }
            (table.num_bytes(), num_merged)
        };
        let rounds: Vec<_> = (0..10).map(|_| round()).collect();
        let ((second_bytes, second_merged), (last_bytes, last_merged)) = (rounds[1], rounds[9]);
        assert_eq!(last_bytes, second_bytes, "{}", instructions.name());
        assert!(last_merged <= second_merged + second_merged / 20, "{last_merged}, {second_merged}");
    }
}

/// Many pieces of many ids, and few long entries to have them: an entry that names one finds another piece there.
#[test]
fn a_long_entry_that_was_taken_over_is_merged_again() {
    let merger = Merger::new(&Vocabulary::from_merges(&[(u32::from(b'a'), u32::from(b'b'))]).unwrap());
    for instructions in Instructions::available() {
        let mut narrow = PieceTable::<u16>::with_capacity_bytes(instructions, 1 << 15);
        let mut wide = PieceTable::<u32>::with_capacity_bytes(instructions, 1 << 15);
        assert_eq!(narrow.long_entries.as_slice().len(), 64);
        for round in 0..6_u32 {
            let mut text = Vec::new();
            let mut starts = vec![0];
            // Each piece twice: the second time from its entry.
            for number in (0..180_u32).chain((0..180).rev()) {
                let bits = (number + round % 2 * 90).wrapping_mul(0x9e37_79b1);
                text.extend((0..9 + number % 8).map(|bit| b'a' + (bits >> (2 * bit) & 3) as u8));
                starts.push(text.len() as u32);
            }
            let mut expected = Vec::new();
            for bounds in starts.windows(2) {
                let mut bytes = text[bounds[0] as usize..bounds[1] as usize].iter().peekable();
                while let Some(&byte) = bytes.next() {
                    let is_pair = byte == b'a' && bytes.next_if_eq(&&b'b').is_some();
                    expected.push(if is_pair { 256 } else { u32::from(byte) });
                }
            }
            let (mut narrow_ids, mut wide_ids) = (Vec::new(), Vec::new());
            narrow.encode_batch(&merger, &text, &starts, &mut narrow_ids, &Cancel::default()).unwrap();
            wide.encode_batch(&merger, &text, &starts, &mut wide_ids, &Cancel::default()).unwrap();
            assert_eq!(narrow_ids.into_iter().map(u32::from).collect::<Vec<_>>(), expected);
            assert_eq!(wide_ids, expected);
        }
    }
}

impl<I: TokenId> PieceTable<I> {
    fn num_bytes(&self) -> usize {
        let Batch { kept, wanted, pieces, merged, .. } = &*self.batch;
        size_of_val(self.entries.as_slice())
            + size_of_val(self.long_entries.as_slice())
            + size_of_val(self.longest_entries.as_slice())
            + kept.capacity()
            + wanted.capacity()
            + pieces.capacity()
            + merged.capacity()
            + self.spilled.capacity()
    }
}
