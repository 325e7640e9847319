use std::collections::BTreeSet;
use std::sync::OnceLock;

use proptest::prelude::*;

use super::columns::{CHARACTERS, CODE_LINES, DOCUMENTS, LINES, NoiseColumns, UNKNOWN_TOKENS, WordColumns};
use super::*;
use crate::encoder::EncoderOptions;
use crate::vocabulary::Vocabulary;

fn vocabulary() -> Vocabulary {
    let byte = u32::from;
    let pairs = [
        (byte(b' '), byte(b'a')),
        (byte(b'a'), byte(b'b')),
        (byte(b' '), byte(b' ')),
        (byte(b'\n'), byte(b'\n')),
        (0xe3, 0x80),
        (byte(b'!'), byte(b'!')),
        (byte(b'h'), byte(b'e')),
        (byte(b'2'), byte(b'0')),
    ];
    Vocabulary::from_merges(&pairs).unwrap()
}

/// One for each set of instructions, the fastest last; made once, for their tables are large.
fn encoders() -> &'static [Encoder] {
    static ENCODERS: OnceLock<Vec<Encoder>> = OnceLock::new();
    ENCODERS.get_or_init(|| {
        let make = |instructions| {
            let options = EncoderOptions { instructions, ..EncoderOptions::default() };
            let mut encoder = Encoder::with_options(vocabulary(), options);
            encoder.take_the_rest_for_others();
            encoder
        };
        Instructions::available().into_iter().map(make).collect()
    })
}

fn encoder() -> &'static Encoder {
    encoders().last().unwrap()
}

fn options() -> MetricOptions {
    MetricOptions { noises: Noise::ALL.to_vec(), noise_rate: 1 << 30, seed: 3, ..MetricOptions::new(300) }
}

fn facts(texts: &[&str]) -> Vec<DocumentFacts> {
    let of = |(text, row): (&&str, u64)| DocumentFacts {
        row,
        reference_tokens: text.len() as u64 / 2,
        parallel_tokens: 3,
    };
    texts.iter().zip(0..).map(of).collect()
}

fn counters(encoder: &Encoder, texts: &[&str], num_threads: usize) -> MetricCounters {
    let mut counters = MetricCounters::new(options());
    counters.add_texts(encoder, texts, &facts(texts), num_threads, &mut || false).unwrap();
    counters
}

/// Straight from the definitions: for each place (byte or character) the word it is in, then sets.
fn count_words(text: &str, spans: &[(usize, usize)], rule: WordRule, unit: fn(char) -> usize) -> [u64; 3] {
    let table = ClassTable::unicode_14_and_others();
    let of_rule = |character: char| match rule {
        WordRule::Whitespace => table.of(character.into()) != Class::Space,
        WordRule::Identifiers => character == '_' || words::is_word_character(character.into(), &table),
        WordRule::Unicode => words::is_word_character(character.into(), &table),
    };
    let mut word_at = Vec::new();
    let (mut number, mut taken) = (0_u64, None);
    for character in text.chars() {
        taken = match (of_rule(character), taken) {
            (false, _) => None,
            (true, Some(taken)) => Some(taken),
            (true, None) => {
                let starts = rule != WordRule::Identifiers
                    || character == '_'
                    || table.of(character.into()).is_letter();
                number += u64::from(starts);
                Some(if starts { number } else { 0 })
            }
        };
        word_at.extend(std::iter::repeat_n(taken.filter(|&word| word > 0), unit(character)));
    }
    let covered: Vec<BTreeSet<u64>> = spans
        .iter()
        .map(|&(start, end)| word_at[start..end.max(start)].iter().flatten().copied().collect())
        .collect();
    let in_words = covered.iter().filter(|words| !words.is_empty()).count() as u64;
    let continued = |word: &u64| covered.iter().filter(|words| words.contains(word)).count() > 1;
    [number, in_words, (1..=number).filter(continued).count() as u64]
}

fn check(row: &Row, text: &str, spans: &[(usize, usize)], unit: fn(char) -> usize) {
    let table = ClassTable::unicode_14_and_others();
    let is_blank = |line: &&str| line.chars().all(|character| table.of(character.into()) == Class::Space);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    assert_eq!(row[DOCUMENTS], 1);
    assert_eq!(row[BYTES], text.len() as u64);
    assert_eq!(row[CHARACTERS], text.chars().count() as u64);
    assert_eq!(row[LINES], lines.len() as u64);
    assert_eq!(row[CODE_LINES], lines.iter().filter(|line| !is_blank(line)).count() as u64);
    assert_eq!(row[TOKENS], spans.len() as u64);
    for rule in WordRule::ALL {
        let columns = WordColumns::of(rule);
        let found = [row[columns.words], row[columns.tokens_in_words], row[columns.continued_words]];
        assert_eq!(found, count_words(text, spans, rule, unit), "{} {text:?} {spans:?}", rule.name());
    }
}

fn byte_spans(encoder: &Encoder, ids: &[u32]) -> Vec<(usize, usize)> {
    let mut end = 0;
    let span = |&id: &u32| {
        let start = end;
        end += encoder.vocabulary().token_bytes(id).unwrap().len();
        (start, end)
    };
    ids.iter().map(span).collect()
}

#[test]
fn goldens() {
    // pieces "ab" | " a" | " " | " c" | "\n\n": tokens [ab] [Ġa] [Ġ] [Ġ][c] [ĊĊ]
    let totals = counters(encoder(), &["ab a  c\n\n"], 1).totals();
    let columns = WordColumns::of(WordRule::Whitespace);
    let found = [DOCUMENTS, BYTES, CHARACTERS, LINES, CODE_LINES, TOKENS].map(|column| totals[column]);
    assert_eq!(found, [1, 9, 9, 2, 1, 6]);
    assert_eq!(
        [columns.words, columns.tokens_in_words, columns.continued_words].map(|c| totals[c]),
        [3, 3, 0]
    );
    assert_eq!((totals[REFERENCE_TOKENS], totals[PARALLEL_TOKENS]), (4, 3));
    let empty = counters(encoder(), &[""], 1);
    assert_eq!(empty.totals().iter().sum::<u64>(), 1 + 3);
    assert_eq!(counters(encoder(), &["x\ny"], 1).totals()[LINES], 2);
}

#[test]
fn a_token_of_several_words_is_one_token_of_all_of_them() {
    // One token over "a b", one over "b" again, one over nothing.
    let options = MetricOptions { unknown_id: Some(2), byte_fallback_ids: vec![1], ..MetricOptions::new(10) };
    let mut counters = MetricCounters::new(options);
    let spans = [(0, 3), (2, 3), (3, 3)];
    let document = EncodedDocument { text: "a b", ids: &[1, 2, 2], spans: &spans, noised: &[] };
    counters.add_encoded(&[document], &[DocumentFacts::default()], &ClassTable::unicode_14()).unwrap();
    check(&counters.totals(), "a b", &spans, |_| 1);
    assert_eq!(counters.token_counts()[..3], [0, 1, 2]);
    let totals = counters.totals();
    assert_eq!((totals[UNKNOWN_TOKENS], totals[columns::BYTE_FALLBACK_TOKENS]), (2, 1));
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_counted() {
    let new = |vocab_size| MetricCounters::new(MetricOptions::new(vocab_size));
    let mut counters = new(2);
    let table = ClassTable::unicode_14();
    let facts = [DocumentFacts::default(); 2];
    let good = EncodedDocument { text: "a", ids: &[1], spans: &[(0, 1)], noised: &[] };
    for bad in [EncodedDocument { ids: &[2], ..good }, EncodedDocument { ids: &[-1], ..good }] {
        let result = counters.add_encoded(&[good, bad], &facts, &table);
        assert_eq!(result, Err(Error::UnknownId { id: bad.ids[0], max: 1 }));
    }
    let noised = [good];
    for bad in [EncodedDocument { ids: &[1, 1], ..good }, EncodedDocument { noised: &noised, ..good }] {
        let result = counters.add_encoded(&[good, bad], &facts, &table);
        assert!(matches!(result, Err(Error::InvalidOffsets { .. })));
    }
    assert!(matches!(counters.add_encoded(&[good], &facts, &table), Err(Error::InvalidOffsets { .. })));
    let unassigned = EncodedDocument { text: "\u{1c8a}", ..good };
    let result = counters.add_encoded(&[unassigned], &facts[..1], &table);
    assert_eq!(result, Err(Error::UnicodeRestNeeded { code_point: 0x1c8a }));
    let result = counters.add_texts(encoder(), &["a"], &facts[..1], 1, &mut || false);
    assert!(matches!(result, Err(Error::UnknownId { max: 1, .. })));
    assert!(matches!(counters.merge(&new(3)), Err(Error::InvalidOption { value: 3, .. })));
    for other in [
        MetricOptions { seed: 9, ..MetricOptions::new(2) },
        MetricOptions { noise_rate: 9, ..MetricOptions::new(2) },
        MetricOptions { noises: vec![Noise::Case], ..MetricOptions::new(2) },
    ] {
        let result = counters.merge(&MetricCounters::new(other));
        assert!(matches!(result, Err(Error::InvalidOption { .. })));
    }
    assert_eq!(counters, new(2));
}

#[test]
fn saved_counters_come_back_the_same() {
    let texts = ["ab a  c\n\n", "größe _x 12", &"a long line ".repeat(200)];
    let whole = counters(encoder(), &texts, 1);
    let json = whole.to_json().unwrap();
    assert_eq!(MetricCounters::from_json(&json).unwrap(), whole);
    for (from, to) in [
        ("\"version\":2", "\"version\":1"),
        ("\"version\":2", "\"colour\":2"),
        ("\"vocab_size\":300", "\"vocab_size\":3"),
        ("\"vocab_size\":300", "\"vocab_size\":99999999999"),
        ("\"groups\":[[", "\"groups\":[[4096,[]],["),
        ("\"groups\":[[", "\"groups\":[[0,[1]],["),
        ("\"type_samples\":[", "\"type_samples\":[{\"overflowed\":false,\"words\":[]},"),
    ] {
        assert!(json.contains(from));
        let result = MetricCounters::from_json(&json.replace(from, to));
        assert!(matches!(result, Err(Error::InvalidOffsets { .. })), "{to}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_own_engine_is_counted_as_defined(text in crate::testing::text(), repeats in 1_usize..4) {
        let text = text.repeat(repeats);
        let all: Vec<MetricCounters> = encoders().iter().map(|encoder| counters(encoder, &[&text], 1)).collect();
        prop_assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
        let encoder = encoder();
        let batch = encoder.encode_batch::<u32>(&[&text], 1, &mut || false).unwrap();
        check(&all[0].totals(), &text, &byte_spans(encoder, &batch.ids), char::len_utf8);
        let counted: Vec<u64> = (0..300).map(|id| batch.ids.iter().filter(|&&found| found == id).count() as u64).collect();
        prop_assert_eq!(all[0].token_counts(), counted);
        // The samples hold every distinct word.
        for (rule, sample) in SAMPLED_RULES.into_iter().zip(all[0].type_samples()) {
            let table = ClassTable::unicode_14_and_others();
            let expected: BTreeSet<&str> = words::words(&text, rule, &table).map(|word| &text[word.bytes]).collect();
            let found: BTreeSet<&str> = sample.words().filter_map(|(_, word)| word).collect();
            prop_assert_eq!(found, expected.iter().copied().filter(|word| word.len() <= 256).collect::<BTreeSet<_>>());
            prop_assert_eq!(sample.words().len(), expected.len());
        }
        // With noise: words of the noised text, tokens, and edits by the table of the textbook.
        let table = ClassTable::unicode_14_and_others();
        for source in options().noise_sources() {
            let mut noised = Noised::default();
            source.apply(Instructions::PORTABLE, &text, document_hash(text.as_bytes()), &table, &mut noised);
            let other = encoder.encode_batch::<u32>(&[&noised.text], 1, &mut || false).unwrap();
            let columns = NoiseColumns::of(source.noise);
            let [words, in_words, _] =
                count_words(&noised.text, &byte_spans(encoder, &other.ids), WordRule::Whitespace, char::len_utf8);
            let totals = all[0].totals();
            prop_assert_eq!([totals[columns.words], totals[columns.tokens_in_words]], [words, in_words]);
            prop_assert_eq!(totals[columns.tokens], other.ids.len() as u64);
            let (mut edits, mut longer, mut start) = (0, 0, (0, 0));
            let (spans, other_spans) = (byte_spans(encoder, &batch.ids), byte_spans(encoder, &other.ids));
            let in_stretch = |ids: &[u32], spans: &[(usize, usize)], start: usize, end: usize| -> Vec<u32> {
                ids.iter().zip(spans).filter(|(_, span)| (start..end).contains(&span.0)).map(|(id, _)| *id).collect()
            };
            for &end in &noised.stretches {
                let left = in_stretch(&batch.ids, &spans, start.0, end.0);
                let right = in_stretch(&other.ids, &other_spans, start.1, end.1);
                edits += edit_distance(&left, &right) as u64;
                longer += left.len().max(right.len()) as u64;
                start = end;
            }
            prop_assert_eq!([totals[columns.edits], totals[columns.longer]], [edits, longer]);
        }
    }

    /// Any spans at all: gaps, overlaps, wrong order.
    #[test]
    fn encoded_documents_are_counted_as_defined(
        text in crate::testing::text(),
        ends in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..20),
        ascending: bool,
    ) {
        let length = text.chars().count();
        let mut spans: Vec<(usize, usize)> =
            ends.iter().map(|(a, b)| (a.index(length + 1), b.index(length + 1))).map(|(a, b)| (a.min(b), a.max(b))).collect();
        if ascending {
            spans.sort_unstable();
        }
        let ids = vec![3; spans.len()];
        let mut counters = MetricCounters::new(MetricOptions::new(4));
        let document = EncodedDocument { text: &text, ids: &ids, spans: &spans, noised: &[] };
        counters.add_encoded(&[document], &[DocumentFacts::default()], &ClassTable::unicode_14_and_others()).unwrap();
        check(&counters.totals(), &text, &spans, |_| 1);
    }

    #[test]
    fn parts_of_a_pass_add_up(texts in proptest::collection::vec("[ab_1 \n!　]{0,20}", 0..8), cut: prop::sample::Index) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (first, second) = texts.split_at(cut.index(texts.len() + 1));
        let encoder = encoder();
        let mut sum = counters(encoder, second, 1);
        sum.merge(&counters(encoder, first, 1)).unwrap();
        prop_assert_eq!(sum, counters(encoder, &texts, 1));
    }
}

#[test]
fn threads_change_nothing() {
    let long = "ab a  c\n\n!! 　ab Wörter_1 ".repeat(20_000);
    let texts = [long.as_str(), "", "a b", &long[..300_000], &long];
    let encoder = encoder();
    assert_eq!(counters(encoder, &texts, 1), counters(encoder, &texts, 3));
}
