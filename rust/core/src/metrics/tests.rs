use proptest::prelude::*;

use super::*;
use crate::vocabulary::Vocabulary;

fn encoder() -> Encoder {
    let byte = u32::from;
    let pairs = [
        (byte(b' '), byte(b'a')),
        (byte(b'a'), byte(b'b')),
        (byte(b' '), byte(b' ')),
        (byte(b'\n'), byte(b'\n')),
        (0xe3, 0x80),
        (byte(b'!'), byte(b'!')),
    ];
    Encoder::new(Vocabulary::from_merges(&pairs).unwrap())
}

/// Straight from the definitions: for each character the word it is in, then sets.
fn reference(text: &str, spans: &[(usize, usize)], unit: fn(char) -> usize) -> MetricTotals {
    let table = ClassTable::unicode_14();
    // The word at each place (byte or character), if there is one.
    let mut word_at = Vec::new();
    let mut num_words = 0;
    let mut inside = false;
    for character in text.chars() {
        let white = table.of(character.into()) == Class::Space;
        num_words += u64::from(!white && !inside);
        inside = !white;
        word_at.extend(std::iter::repeat_n((!white).then(|| num_words - 1), unit(character)));
    }
    let covered: Vec<std::collections::BTreeSet<u64>> = spans
        .iter()
        .map(|&(start, end)| word_at[start..end.max(start)].iter().flatten().copied().collect())
        .collect();
    let in_words = covered.iter().filter(|words| !words.is_empty()).count() as u64;
    let continued = |word: &u64| covered.iter().filter(|words| words.contains(word)).count() > 1;
    MetricTotals {
        documents: 1,
        bytes: text.len() as u64,
        characters: text.chars().count() as u64,
        lines: text.split_inclusive('\n').count() as u64,
        words: num_words,
        tokens: spans.len() as u64,
        tokens_in_words: in_words,
        whitespace_tokens: spans.len() as u64 - in_words,
        continued_words: (0..num_words).filter(continued).count() as u64,
    }
}

fn counters(texts: &[&str], num_threads: usize) -> MetricCounters {
    let mut counters = MetricCounters::new(300);
    counters.add_texts(&encoder(), texts, num_threads, &mut || false).unwrap();
    counters
}

#[test]
fn goldens() {
    // pieces "ab" | " a" | " " | " c" | "\n\n": tokens [ab] [Ġa] [Ġ] [Ġ][c] [ĊĊ]
    let totals = *counters(&["ab a  c\n\n"], 1).totals();
    let expected = MetricTotals {
        documents: 1,
        bytes: 9,
        characters: 9,
        lines: 2,
        words: 3,
        tokens: 6,
        tokens_in_words: 3,
        whitespace_tokens: 3,
        continued_words: 0,
    };
    assert_eq!(totals, expected);
    assert_eq!(counters(&[""], 1).totals(), &MetricTotals { documents: 1, ..MetricTotals::default() });
    assert_eq!(counters(&["x\ny"], 1).totals().lines, 2);
}

#[test]
fn a_token_of_several_words_is_one_token_of_all_of_them() {
    // One token over "a b", one over "b" again, one over nothing.
    let mut counters = MetricCounters::new(10);
    let document = EncodedDocument { text: "a b", ids: &[1, 2, 2], spans: &[(0, 3), (2, 3), (3, 3)] };
    counters.add_encoded(&[document]).unwrap();
    let MetricTotals { words, tokens, tokens_in_words, whitespace_tokens, continued_words, .. } =
        counters.totals;
    assert_eq!((words, tokens, tokens_in_words, whitespace_tokens, continued_words), (2, 3, 2, 1, 1));
    assert_eq!(counters.token_counts()[..3], [0, 1, 2]);
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_counted() {
    let mut counters = MetricCounters::new(2);
    let good = EncodedDocument { text: "a", ids: &[1], spans: &[(0, 1)] };
    for bad in [EncodedDocument { ids: &[2], ..good }, EncodedDocument { ids: &[-1], ..good }] {
        assert_eq!(counters.add_encoded(&[good, bad]), Err(Error::UnknownId { id: bad.ids[0], max: 1 }));
    }
    let uneven = EncodedDocument { ids: &[1, 1], ..good };
    assert!(matches!(counters.add_encoded(&[good, uneven]), Err(Error::InvalidOffsets { .. })));
    assert!(matches!(
        counters.add_texts(&encoder(), &["a"], 1, &mut || false),
        Err(Error::UnknownId { id: 97, max: 1 })
    ));
    assert!(matches!(counters.merge(&MetricCounters::new(3)), Err(Error::InvalidOption { value: 3, .. })));
    assert_eq!(counters, MetricCounters::new(2));
    assert_eq!(counters.totals.entries().len(), 9);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_own_engine_is_counted_as_defined(text in crate::split::tests::text()) {
        let mut encoder = encoder();
        encoder.take_the_rest_for_others();
        let batch = encoder.encode_batch::<u32>(&[&text], 1, &mut || false).unwrap();
        let mut end = 0;
        let spans: Vec<(usize, usize)> = batch.ids.iter().map(|&id| {
            let start = end;
            end += encoder.vocabulary().token_bytes(id).unwrap().len();
            (start, end)
        }).collect();
        let mut counters = MetricCounters::new(300);
        counters.add_texts(&encoder, &[&text], 1, &mut || false).unwrap();
        prop_assert_eq!(*counters.totals(), reference(&text, &spans, char::len_utf8));
        let counted: Vec<u64> = (0..300).map(|id| batch.ids.iter().filter(|&&found| found == id).count() as u64).collect();
        prop_assert_eq!(counters.token_counts(), counted);
    }

    /// Any spans at all: gaps, overlaps, wrong order.
    #[test]
    fn encoded_documents_are_counted_as_defined(
        text in crate::split::tests::text(),
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
        let mut counters = MetricCounters::new(4);
        counters.add_encoded(&[EncodedDocument { text: &text, ids: &ids, spans: &spans }]).unwrap();
        prop_assert_eq!(*counters.totals(), reference(&text, &spans, |_| 1));
    }

    #[test]
    fn parts_of_a_pass_add_up(texts in proptest::collection::vec("[ab \n!　]{0,20}", 0..8), cut: prop::sample::Index) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (first, second) = texts.split_at(cut.index(texts.len() + 1));
        let mut sum = counters(first, 1);
        sum.merge(&counters(second, 1)).unwrap();
        prop_assert_eq!(sum, counters(&texts, 1));
    }
}

#[test]
fn threads_change_nothing() {
    let long = "ab a  c\n\n!! 　ab".repeat(40_000);
    let texts = [long.as_str(), "", "a b", &long[..300_000], &long];
    assert_eq!(counters(&texts, 1), counters(&texts, 3));
}
