use proptest::prelude::*;

use super::*;

/// What BPE means: while a pair has a rank, merge the lowest one, the leftmost of equals.
fn naive(table: &MergeTable, piece: &[u8]) -> Vec<u32> {
    let mut tokens: Vec<u32> = piece.iter().map(|&byte| table.byte_id(byte)).collect();
    loop {
        let best = (1..tokens.len())
            .filter_map(|i| {
                let value = table.pair(tokens[i - 1], tokens[i]);
                (value != NO_MERGE).then_some((value >> 32, i, merged_id(value)))
            })
            .min();
        let Some((_, i, merged)) = best else {
            return tokens;
        };
        tokens.splice(i - 1..=i, [merged]);
    }
}

fn queue(table: &MergeTable, piece: &[u8]) -> Vec<u32> {
    let mut tokens = Vec::new();
    queue::merge(table, piece, &mut queue::QueueScratch::default(), &mut tokens);
    tokens
}

fn windows(table: &MergeTable, piece: &[u8], chunk_length: usize) -> Vec<u32> {
    // Ids before the piece must stay as they are.
    let mut ids = vec![u32::MAX, 97];
    let mut scratch = MergeScratch::default();
    windows::merge(table, piece, chunk_length, &mut scratch, &mut ids, &Cancel::default()).unwrap();
    assert_eq!(ids[..2], [u32::MAX, 97]);
    ids.split_off(2)
}

/// Merges over the letters a, b, c in an order that no trainer would find: ranks that fall, tokens made by
/// several pairs, pairs that stand twice.
fn odd_vocabulary() -> impl Strategy<Value = Vocabulary> {
    let picks =
        proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..40);
    (picks, any::<u64>()).prop_map(|(picks, order)| {
        let mut tokens = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let mut pairs = Vec::new();
        for (left, right) in picks {
            let (left, right) = (left.get(&tokens).clone(), right.get(&tokens).clone());
            let merged = format!("{left}{right}");
            if merged.len() > 12 {
                continue;
            }
            if !tokens.contains(&merged) {
                tokens.push(merged);
            }
            pairs.push([left, right]);
        }
        // Half of the time as made, else in an order of its own.
        if order % 2 == 1 {
            let permutation = crate::order::Permutation::new(order, pairs.len() as u64);
            pairs = permutation.iter().map(|place| pairs[usize::try_from(place).unwrap()].clone()).collect();
        }
        Vocabulary::from_json(&crate::vocabulary::tests::tokenizer_json(&tokens, &pairs)).unwrap()
    })
}

fn table() -> MergeTable {
    // h e l l o: "ll", "he", "hell" and "lo"; "lo" comes too late
    let pairs = [(108, 108), (104, 101), (257, 256), (108, 111)];
    MergeTable::new(&Vocabulary::from_merges(&pairs).unwrap())
}

#[test]
fn goldens() {
    let table = table();
    for merge in [naive, queue, |table: &MergeTable, piece: &[u8]| windows(table, piece, 2)] {
        assert_eq!(merge(&table, b"hello"), [258, 111]);
        assert_eq!(merge(&table, b"helo"), [257, 259]);
        assert_eq!(merge(&table, b"lll"), [256, 108], "the leftmost of equals");
        assert_eq!(merge(&table, b"x"), [120]);
        assert_eq!(merge(&table, b""), Vec::<u32>::new());
    }
}

#[test]
fn a_long_piece_is_cancelled() {
    let cancel = Cancel::default();
    cancel.cancel();
    let piece = vec![b'l'; 3 * windows::CHUNK];
    let result = table().merge_into::<u32>(&piece, &mut MergeScratch::default(), &mut Vec::new(), &cancel);
    assert_eq!(result, Err(crate::Error::Cancelled));
}

#[test]
fn seams_move_all_the_way_when_they_have_to() {
    // "aa", "aaa": an odd chunk leaves "aaa" at its end, which the next chunk pushes further and further.
    let table = MergeTable::new(&Vocabulary::from_merges(&[(97, 97), (256, 97)]).unwrap());
    for length in [1, 2, 3, 63, 64, 65, 1000, 1001] {
        let piece = vec![b'a'; length];
        let expected = naive(&table, &piece);
        for chunk_length in [1, 3, 7, 33] {
            assert_eq!(
                windows(&table, &piece, chunk_length),
                expected,
                "{length} in chunks of {chunk_length}"
            );
        }
    }
}

#[test]
fn a_change_at_the_end_can_reach_the_start() {
    // Ranks fall from left to right, so the last pair merges first and decides about all others.
    let pairs: Vec<(u32, u32)> = (b'a'..=b'y').rev().map(|byte| (byte.into(), (byte + 1).into())).collect();
    let table = MergeTable::new(&Vocabulary::from_merges(&pairs).unwrap());
    for end in b'a'..=b'z' {
        let piece: Vec<u8> = (b'a'..=end).collect();
        let expected = naive(&table, &piece);
        assert_eq!(queue(&table, &piece), expected);
        for chunk_length in 1..8 {
            assert_eq!(windows(&table, &piece, chunk_length), expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn every_form_equals_the_naive_one(
        vocabulary in odd_vocabulary(),
        piece in "[abc]{0,120}|(a|ab|abc|b){0,40}",
        chunk_length in 1_usize..40,
    ) {
        let table = MergeTable::new(&vocabulary);
        let expected = naive(&table, piece.as_bytes());
        prop_assert_eq!(&queue(&table, piece.as_bytes()), &expected);
        prop_assert_eq!(&windows(&table, piece.as_bytes(), chunk_length), &expected);
        let mut joined = vec![97];
        for (number, part) in piece.as_bytes().chunks(chunk_length).enumerate() {
            let mut form = windows::Form { table: &table, queue: &mut queue::QueueScratch::default() };
            let part = naive(&table, part);
            seams::join_ids(&mut form, piece.as_bytes(), number * chunk_length, &mut joined, 1, &part);
        }
        prop_assert_eq!(&joined[1..], &expected);
        let mut chosen: Vec<u32> = Vec::new();
        let mut scratch = MergeScratch::default();
        table.merge_into(piece.as_bytes(), &mut scratch, &mut chosen, &Cancel::default()).unwrap();
        prop_assert_eq!(&chosen, &expected);
        if piece.len() <= short::MAX_LENGTH {
            let mut tokens = Vec::new();
            short::merge(&table, piece.as_bytes(), &mut tokens);
            prop_assert_eq!(&tokens, &expected);
        }
    }
}
