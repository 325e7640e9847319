//! The fast road beside the plain one.

use super::*;
use crate::testing::{text, vocabulary};
use proptest::prelude::*;

/// Tables so small that most pieces are thrown out again.
const TINY: usize = 1 << 12;

fn with_all_classes(mut encoder: Encoder) -> Encoder {
    encoder.take_the_rest_for_others();
    encoder
}

fn instructions() -> impl Strategy<Value = Instructions> {
    prop::sample::select(Instructions::available())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]
    #[test]
    fn ids_are_those_of_the_plain_way(
        vocabulary in vocabulary(),
        texts in prop::collection::vec(text(), 1..4),
        instructions in instructions(),
        cache_bytes in prop::sample::select(vec![TINY, 1 << 17]),
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let options = EncoderOptions { instructions, cache_bytes };
        let encoder = with_all_classes(Encoder::with_options(vocabulary, options));
        let mut expected = Vec::new();
        let mut offsets = vec![0];
        for text in &texts {
            encoder.encode_plainly::<u32>(text, &mut expected, &Cancel::default()).unwrap();
            offsets.push(i64::try_from(expected.len()).unwrap());
        }
        // Twice: new, and from the tables.
        for _ in 0..2 {
            let wide = encoder.encode_batch::<u32>(&texts, 1, &mut || false).unwrap();
            prop_assert_eq!(&wide.ids, &expected);
            prop_assert_eq!(&wide.offsets, &offsets);
            let narrow = encoder.encode_batch::<u16>(&texts, 2, &mut || false).unwrap();
            prop_assert_eq!(narrow.ids.iter().map(|&id| u32::from(id)).collect::<Vec<_>>(), &expected[..]);
        }
    }

    #[test]
    fn parts_of_a_text_encode_alone_as_they_do_together(
        vocabulary in vocabulary(),
        text in text(),
        part_bytes in 1_usize..100,
    ) {
        let encoder = with_all_classes(Encoder::new(vocabulary));
        let mut whole: Vec<u32> = Vec::new();
        encoder.encode_plainly(&text, &mut whole, &Cancel::default()).unwrap();
        let mut joined: Vec<u32> = Vec::new();
        for part in parts(&text, part_bytes) {
            encoder.encode_plainly(part, &mut joined, &Cancel::default()).unwrap();
        }
        prop_assert_eq!(joined, whole);
        prop_assert_eq!(parts(&text, part_bytes).collect::<String>(), text);
    }
}

#[test]
fn a_huge_document_is_shared_between_threads() {
    let encoder = Encoder::new(Vocabulary::from_merges(&[(97, 98), (256, 97)]).unwrap());
    let text = "ab aba\n  b'll abab 12 ".repeat(200_000);
    let texts = ["x", text.as_str(), "", "y"];
    let one = encoder.encode_batch::<u16>(&texts, 1, &mut || false).unwrap();
    assert_eq!(encoder.encode_batch::<u16>(&texts, 3, &mut || false).unwrap(), one);
}
