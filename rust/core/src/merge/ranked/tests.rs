//! The fast form of merging beside the general one.

use super::*;
use crate::merge::seams::join_ids;
use crate::merge::{MergeScratch, MergeTable};
use crate::testing::vocabulary;
use crate::vocabulary::Vocabulary;
use proptest::prelude::*;

/// Merges of few bytes, so that runs of them double again and again, and products meet other bytes.
fn vocabulary_of_runs() -> impl Strategy<Value = Vocabulary> {
    prop::collection::vec((any::<u32>(), any::<u32>(), any::<bool>()), 1..40).prop_map(|seeds| {
        let mut tokens: Vec<u32> = b"ab-".map(u32::from).to_vec();
        let mut pairs = Vec::new();
        for (left, right, doubled) in seeds {
            let pick = |seed: u32| tokens[seed as usize % tokens.len()];
            let pair = (pick(left), if doubled { pick(left) } else { pick(right) });
            if !pairs.contains(&pair) {
                tokens.push(256 + u32::try_from(pairs.len()).unwrap());
                pairs.push(pair);
            }
        }
        Vocabulary::from_merges(&pairs).unwrap()
    })
}

/// Runs of one byte, some of them with a few other bytes around.
fn piece_of_runs() -> impl Strategy<Value = Vec<u8>> {
    let run = (prop::sample::select(&b"ab-"[..]), prop_oneof![1_usize..4, 10_usize..200])
        .prop_map(|(byte, count)| vec![byte; count]);
    prop::collection::vec(run, 1..8).prop_map(|runs| runs.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn runs_inside_of_pieces_are_counted_exactly(
        vocabulary in vocabulary_of_runs(),
        piece in piece_of_runs(),
        part_bytes in 1_usize..300,
    ) {
        check(&vocabulary, &[piece], part_bytes)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn tokens_are_those_of_the_general_merger(
        vocabulary in vocabulary(),
        pieces in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(prop::sample::select(&b"a bthelo'sx1-=_\n"[..]), 1..40),
                prop::collection::vec(prop::sample::select(&b"ab"[..]), 1..300),
                (any::<u8>(), 1_usize..300).prop_map(|(byte, count)| vec![byte; count]),
                (prop::collection::vec(prop::sample::select(&b"abt"[..]), 1..5), 1_usize..60)
                    .prop_map(|(unit, count)| unit.repeat(count)),
            ],
            1..8,
        ),
        part_bytes in 1_usize..80,
    ) {
        check(&vocabulary, &pieces, part_bytes)?;
    }
}

/// Long pieces, whole and in parts, and short ones are merged as the general merger does.
fn check(
    vocabulary: &Vocabulary,
    pieces: &[Vec<u8>],
    part_bytes: usize,
) -> std::result::Result<(), TestCaseError> {
    let Some(pairs) = PairTable::new(vocabulary) else { return Ok(()) };
    let table = MergeTable::new(vocabulary);
    for piece in pieces {
        let mut expected: Vec<u32> = Vec::new();
        table.merge_into(piece, &mut MergeScratch::default(), &mut expected, &Cancel::default()).unwrap();
        for instructions in Instructions::available() {
            let mut found: Vec<u32> = Vec::new();
            let mut scratch = LongScratch::default();
            merge_long(instructions, &pairs, piece, &mut scratch, &mut found, &Cancel::default()).unwrap();
            prop_assert_eq!(&found, &expected, "{} long {:?}", instructions.name(), &piece);
            // Merged in parts by several workers.
            let mut joined = vec![u32::MAX];
            for (number, part) in piece.chunks(part_bytes).enumerate() {
                found.clear();
                merge_long(instructions, &pairs, part, &mut scratch, &mut found, &Cancel::default()).unwrap();
                let mut form = Form { instructions, pairs: &pairs, queue: &mut QueueScratch::default() };
                join_ids(&mut form, piece, number * part_bytes, &mut joined, 1, &found);
            }
            prop_assert_eq!(&joined[1..], &expected, "{} joined {:?}", instructions.name(), &piece);
            if piece.len() <= SHORT {
                let mut tokens = [0; SHORT];
                let count = merge_short(instructions, &pairs, &ShortPiece::new(piece), &mut tokens);
                let found: Vec<u32> = tokens[..count].iter().map(|&token| pairs.external(token)).collect();
                prop_assert_eq!(&found, &expected, "{} short {:?}", instructions.name(), &piece);
            }
        }
    }
    Ok(())
}
