//! Batches that were encoded for this packer: their array becomes the lane's, so that no id is copied.
//!
//! ```text
//! lane       … │ tokens that wait │                            head: a copy of them, less than a block
//! batch          │ head │ a b c E │ d E │ …                     encoded behind it, without the packer
//! push         the lane's tokens are still the head? then the batch takes their place, else it is appended
//! ```

use super::{Packer, document_ranges, lane_of};
use crate::error::{Error, Result};
use crate::id::TokenId;

impl<I: TokenId> Packer<I> {
    /// The tokens that wait, where the next batch can stand behind them; nothing where it has to be appended.
    #[must_use]
    pub fn head(&self) -> Vec<I> {
        match &self.lanes[..] {
            [lane] if lane.num_tokens() < self.seq_length => lane.tokens().to_vec(),
            _ => Vec::new(),
        }
    }

    /// The id that stands behind each document.
    #[must_use]
    pub fn eos_token_id(&self) -> I {
        self.eos_token_id
    }

    /// Append documents that have their EOS already, from `Encoder::encode_joined`: `ids[..offsets[0]]` is the head that
    /// was asked for before, document d is `ids[offsets[d]..offsets[d + 1]]`, made from `num_bytes[d]` bytes.
    ///
    /// It does not matter whether something else was pushed or taken in the meantime. All are taken, or none.
    pub fn push_encoded(&mut self, ids: Vec<I>, offsets: &[i64], num_bytes: &[i64]) -> Result<()> {
        if self.finished {
            return Err(Error::PackerFinished);
        }
        let ranges = document_ranges(ids.len(), offsets, num_bytes.len())?;
        let num_lanes = self.lanes.len() as u64;
        let numbered = || (self.next_document..).zip(&ranges);
        if let Some(range) =
            ranges.iter().find(|range| ids[(*range).clone()].last() != Some(&self.eos_token_id))
        {
            return Err(Error::InvalidOffsets {
                reason: format!(
                    "the document of the ids {} to {} does not end with EOS",
                    range.start, range.end
                ),
            });
        }
        let head_length = ranges.first().map_or(ids.len(), |range| range.start);
        if let [lane] = &mut self.lanes[..]
            && lane.expects(self.next_document)
            && lane.tokens() == &ids[..head_length]
        {
            lane.replace(
                ids,
                ranges.iter().zip(num_bytes).map(|(range, bytes)| (range.len(), bytes.unsigned_abs())),
            );
        } else {
            for (document, range) in numbered() {
                self.lanes[lane_of(document, num_lanes)].check(document, range.len() as u64, num_lanes)?;
            }
            for ((document, range), &bytes) in numbered().zip(num_bytes) {
                let lane = &mut self.lanes[lane_of(document, num_lanes)];
                let document_ids = &ids[range.start..range.end - 1];
                let skipped =
                    lane.push(document, document_ids, self.eos_token_id, bytes.unsigned_abs(), num_lanes);
                // What a resumed lane skips was handed out by the run before.
                self.tokens_emitted += skipped;
            }
        }
        self.next_document += ranges.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EOS: u32 = 9;

    /// A head and documents behind it as `encode_joined` gives them, and documents alone as `push_documents` takes them.
    type Batch = (Vec<u16>, Vec<i64>, Vec<i64>);

    fn batches(head: Vec<u16>, documents: &[Vec<u16>]) -> (Batch, Batch) {
        let length = |ids: &Vec<u16>| i64::try_from(ids.len()).unwrap();
        let (mut joined, mut plain) = ((head, vec![], vec![]), (vec![], vec![0], vec![]));
        joined.1.push(length(&joined.0));
        for document in documents {
            joined.0.extend(document.iter().chain([&9]));
            joined.1.push(length(&joined.0));
            plain.0.extend(document);
            plain.1.push(length(&plain.0));
            plain.2.push(2 * length(document));
        }
        joined.2.clone_from(&plain.2);
        (joined, plain)
    }

    #[test]
    fn a_document_without_eos_is_refused() {
        let mut packer = Packer::<u16>::new(4, EOS, 1).unwrap();
        for (ids, offsets) in [(vec![1, 2], vec![0, 2]), (vec![], vec![0, 0]), (vec![1, 9, 2], vec![0, 2, 3])]
        {
            let num_bytes = vec![1; offsets.len() - 1];
            let result = packer.push_encoded(ids, &offsets, &num_bytes);
            assert!(matches!(result, Err(Error::InvalidOffsets { .. })));
        }
        assert_eq!(packer.counters(), super::super::PackerCounters::default());
        packer.finish(None).unwrap();
        assert_eq!(packer.push_encoded(vec![9], &[0, 1], &[0]), Err(Error::PackerFinished));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Fresh or resumed, the head in time or too old: as if the documents had been pushed alone.
        #[test]
        fn encoded_batches_are_their_documents(
            seq_length in 1..9_usize,
            num_lanes in 1..4_usize,
            steps in prop::collection::vec(
                (
                    prop::collection::vec(prop::collection::vec(0..7_u16, 0..12), 0..6),
                    0..5_usize,
                    prop::option::weighted(0.3, prop::collection::vec(prop::collection::vec(0..7_u16, 0..12), 0..3)),
                ),
                0..12,
            ),
            resume_at: prop::sample::Index,
        ) {
            let mut plain = Packer::<u16>::new(seq_length, EOS, num_lanes).unwrap();
            let mut encoded = plain.clone();
            let resume_at = resume_at.index(steps.len() + 1);
            let mut all = Vec::new();
            for (step, (documents, num_taken, between)) in steps.iter().enumerate() {
                if step == resume_at {
                    // The documents come again from the first one on, and the new packer leaves out what was delivered.
                    let mut resumed = Packer::<u16>::new(seq_length, EOS, num_lanes).unwrap();
                    resumed.resume(plain.next_block(), 0, &plain.lane_positions()).unwrap();
                    let (joined, _) = batches(resumed.head(), &all);
                    resumed.push_encoded(joined.0, &joined.1, &joined.2).unwrap();
                    encoded = resumed;
                }
                let (joined, alone) = batches(encoded.head(), documents);
                all.extend(between.iter().flatten().chain(documents).cloned());
                if let Some(between) = between {
                    let (_, alone) = batches(Vec::new(), between);
                    for packer in [&mut plain, &mut encoded] {
                        packer.push_documents(&alone.0, &alone.1, &alone.2).unwrap();
                    }
                }
                encoded.push_encoded(joined.0, &joined.1, &joined.2).unwrap();
                plain.push_documents(&alone.0, &alone.1, &alone.2).unwrap();
                prop_assert_eq!(encoded.counters(), plain.counters());
                prop_assert_eq!(encoded.take_blocks(*num_taken), plain.take_blocks(*num_taken));
                prop_assert_eq!(encoded.lane_positions(), plain.lane_positions());
                prop_assert_eq!(encoded.next_document(), plain.next_document());
            }
            prop_assert_eq!(encoded.finish(Some(7)), plain.finish(Some(7)));
            prop_assert_eq!(encoded.counters(), plain.counters());
        }
    }
}
