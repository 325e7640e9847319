//! The fast road beside the plain one.

use super::cutter::{Cutter, Job, JobSizes};
use super::*;
use crate::Error;
use crate::preparation::Preparation;
use crate::split::Splitting;
use crate::testing::{text, vocabulary};
use proptest::prelude::*;

/// Tables so small that most pieces are thrown out again.
const TINY: usize = 1 << 12;

fn with_all_classes(mut encoder: Encoder) -> Encoder {
    encoder.take_the_rest_for_others();
    encoder
}

fn splitting() -> impl Strategy<Value = Splitting> {
    prop::sample::select(Splitting::all())
}

fn instructions() -> impl Strategy<Value = Instructions> {
    prop::sample::select(Instructions::available())
}

/// Jobs so small that documents, texts and pieces are cut everywhere.
fn job_sizes() -> impl Strategy<Value = JobSizes> {
    (1_usize..100, 1_usize..200, 1_usize..30, 1_usize..40)
        .prop_map(|(together, text, search, part)| JobSizes { together, text, search, part })
}

/// Texts that are one piece, or have one that is longer than everything else.
fn text_with_a_long_piece() -> impl Strategy<Value = String> {
    let of = |characters: &'static [&'static str]| {
        prop::collection::vec(prop::sample::select(characters), 1..400).prop_map(|drawn| drawn.concat())
    };
    let unit = (of(&["a", "b", "t"]), 1_usize..200)
        .prop_map(|(unit, count)| unit.chars().take(1 + unit.len() % 5).collect::<String>().repeat(count));
    let long = prop_oneof![
        of(&["a", "b", "t", "h", "e", "l", "o"]),
        of(&["=", "-", "_", "'"]),
        of(&[" ", "\n", "\t", "\u{3000}"]),
        of(&["中", "文", "é", "𐍈"]),
        of(&["1", "22"]),
        unit,
    ];
    (text(), long, text()).prop_map(|(before, long, after)| before + &long + &after)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]
    #[test]
    fn ids_are_those_of_the_plain_way(
        vocabulary in vocabulary(),
        splitting in splitting(),
        texts in prop::collection::vec(text(), 1..4),
        instructions in instructions(),
        cache_bytes in prop::sample::select(vec![TINY, 1 << 17]),
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let options = EncoderOptions { instructions, cache_bytes };
        let encoder = with_all_classes(Encoder::with_options(vocabulary.with_splitting(splitting), options));
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
            for (text, bounds) in texts.iter().zip(offsets.windows(2)) {
                let [start, end] = [0, 1].map(|i| usize::try_from(bounds[i]).unwrap());
                let ids = encoder.with_short_ids(text, |ids: &[u32]| ids.to_vec());
                prop_assert_eq!(ids.as_deref(), Ok(&expected[start..end]));
            }
        }
    }

    #[test]
    fn ids_do_not_depend_on_how_workers_share_documents(
        vocabulary in vocabulary(),
        splitting in splitting(),
        texts in prop::collection::vec(prop_oneof![text(), text_with_a_long_piece()], 1..4),
        instructions in instructions(),
        sizes in job_sizes(),
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let options = EncoderOptions { instructions, cache_bytes: TINY };
        let encoder = with_all_classes(Encoder::with_options(vocabulary.with_splitting(splitting), options));
        let mut expected = Encoded { ids: vec![7, 8], offsets: vec![2] };
        for text in &texts {
            encoder.encode_plainly::<u32>(text, &mut expected.ids, &Cancel::default()).unwrap();
            expected.ids.push(9);
            expected.offsets.push(i64::try_from(expected.ids.len()).unwrap());
        }
        for num_workers in [1, 2, 3] {
            let shared = encoder.encode_shared(vec![7, 8], &texts, Some(9), sizes, num_workers, &mut || false);
            prop_assert_eq!(shared.as_ref(), Ok(&expected), "{} workers", num_workers);
        }
    }

    #[test]
    fn jobs_are_the_documents(
        vocabulary in vocabulary(),
        splitting in splitting(),
        texts in prop::collection::vec(prop_oneof![text(), text_with_a_long_piece()], 0..4),
        sizes in job_sizes(),
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let encoder = with_all_classes(Encoder::new(vocabulary.with_splitting(splitting)));
        let instructions = Instructions::fastest();
        let preparation = Preparation::default();
        let mut cutter =
            Cutter::new(&texts, sizes, instructions, encoder.classes(), splitting, &preparation);
        let mut documents = vec![Vec::new()];
        let mut number = 0;
        while let Some((job_number, job)) = cutter.next_job(&Cancel::default()) {
            prop_assert_eq!(job_number, number);
            number += 1;
            let is_last = match job.unwrap() {
                Job::Documents(whole) => {
                    documents.pop();
                    documents.extend(whole.iter().map(|text| text.as_bytes().to_vec()));
                    true
                }
                Job::Pieces { text, end, last } => {
                    documents.last_mut().unwrap().extend_from_slice(&text.as_bytes()[..end]);
                    last
                }
                Job::Part { piece, start, last } => {
                    prop_assert!(piece.len() - start < 2 * sizes.part + 2048, "a part is too long");
                    documents.last_mut().unwrap().extend_from_slice(&piece[start..]);
                    last
                }
            };
            if is_last {
                documents.push(Vec::new());
            }
        }
        documents.pop();
        prop_assert!(documents.iter().map(Vec::as_slice).eq(texts.iter().map(|text| text.as_bytes())));
    }

    #[test]
    fn parts_of_a_text_encode_alone_as_they_do_together(
        vocabulary in vocabulary(),
        splitting in splitting(),
        text in text(),
        part_bytes in 1_usize..100,
    ) {
        let encoder = with_all_classes(Encoder::new(vocabulary.with_splitting(splitting)));
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

#[test]
fn a_huge_piece_is_shared_between_threads() {
    let encoder = Encoder::new(Vocabulary::from_merges(&[(97, 98), (256, 97), (257, 257)]).unwrap());
    let letters: String = (0_u64..3 << 20)
        .map(|i| if (i.wrapping_mul(i) >> 7).is_multiple_of(4) { 'b' } else { 'a' })
        .collect();
    let one_letter = "a".repeat(3 << 20);
    let digits = "0123456789".repeat(300_000);
    for text in
        [letters.clone(), one_letter, format!("x {letters} y"), format!("{digits}{letters} {digits}!")]
    {
        let texts = ["x", text.as_str(), ""];
        let one = encoder.encode_batch::<u16>(&texts, 1, &mut || false).unwrap();
        assert_eq!(encoder.encode_batch::<u16>(&texts, 3, &mut || false).unwrap(), one);
        let preparation = Preparation::default();
        let mut cutter = cutter_of(&encoder, &texts, &preparation);
        let jobs = std::iter::from_fn(|| cutter.next_job(&Cancel::default()));
        let num_parts = jobs.filter(|(_, job)| matches!(job, Ok(Job::Part { .. }))).count();
        assert!(num_parts >= 10, "{num_parts} parts of a piece");
    }
}

#[test]
fn a_huge_piece_is_cancelled_and_tells_what_it_lacks() {
    let encoder = Encoder::new(Vocabulary::from_merges(&[(97, 98), (256, 97)]).unwrap());
    let text = "ab".repeat(1 << 20) + "\u{1c8a}";
    for num_threads in [1, 3] {
        assert_eq!(
            encoder.encode_batch::<u16>(&[&text], num_threads, &mut || false),
            Err(Error::UnicodeRestNeeded { code_point: 0x1c8a })
        );
    }
    let cancel = Cancel::default();
    cancel.cancel();
    let texts = [text.as_str()];
    let preparation = Preparation::default();
    let mut cutter = cutter_of(&encoder, &texts, &preparation);
    assert_eq!(cutter.next_job(&cancel), Some((0, Err(Error::Cancelled))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// A text that no pattern cuts, on one worker and shared by several.
    #[test]
    fn uncut_texts_are_merged_as_one_piece(
        vocabulary in vocabulary(),
        texts in prop::collection::vec(text(), 1..4),
        instructions in instructions(),
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let options = EncoderOptions { instructions, cache_bytes: TINY };
        let vocabulary = vocabulary.with_splitting(Splitting::Whole);
        let encoder = with_all_classes(Encoder::with_options(vocabulary, options));
        let mut expected: Vec<u32> = Vec::new();
        for text in &texts {
            encoder.encode_plainly(text, &mut expected, &Cancel::default()).unwrap();
        }
        let sizes = JobSizes { together: 10, text: 300, search: 20, part: 64 };
        for _ in 0..2 {
            prop_assert_eq!(&encoder.encode_batch::<u32>(&texts, 1, &mut || false).unwrap().ids, &expected);
            let shared = encoder.encode_shared::<u32>(Vec::new(), &texts, None, sizes, 2, &mut || false).unwrap();
            prop_assert_eq!(&shared.ids, &expected);
        }
    }
}

/// What cuts the texts of a call, with the sizes of a real one.
fn cutter_of<'t>(encoder: &'t Encoder, texts: &'t [&'t str], preparation: &'t Preparation) -> Cutter<'t> {
    let splitting = encoder.vocabulary().splitting();
    Cutter::new(
        texts,
        JobSizes::default(),
        Instructions::fastest(),
        encoder.classes(),
        splitting,
        preparation,
    )
}
