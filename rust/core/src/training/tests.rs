#![allow(clippy::unwrap_used)] // a test

use proptest::prelude::*;

use super::budget::Budget;
use super::fuzzing::train_with_bar;
use super::*;

fn options(vocab_size: usize) -> TrainingOptions {
    TrainingOptions {
        vocab_size,
        min_frequency: 0,
        special_tokens: Vec::new(),
        initial_alphabet: Vec::new(),
        max_token_length: None,
    }
}

fn all_classes() -> ClassTable {
    ClassTable::unicode_14_and_others()
}

fn new_trainer(max_memory: Option<u64>) -> BpeTrainer {
    BpeTrainer::with_classes(Splitting::Gpt2, Arc::new(all_classes()), max_memory)
}

fn counted(texts: &[&str], num_threads: usize, max_memory: Option<u64>) -> Result<BpeTrainer> {
    let mut trainer = new_trainer(max_memory);
    for some in texts.chunks(7) {
        trainer.push(some, num_threads, &mut || false)?;
    }
    Ok(trainer)
}

fn train(texts: &[&str], options: &TrainingOptions) -> Trained {
    let mut trainer = counted(texts, 1, None).unwrap();
    trainer.train(options, &mut |_| false).unwrap()
}

/// Words of letters, so that each is one piece.
fn distinct_words(num_words: u32, tail: &str) -> String {
    let mut text = String::new();
    for mut n in 0..num_words {
        text.push(' ');
        for _ in 0..4 {
            text.push(char::from(b'a' + u8::try_from(n % 26).unwrap()));
            n /= 26;
        }
        text.push_str(tail);
    }
    text
}

#[test]
fn merges_written_out() {
    // hug ×10, pug ×5, pun ×12, bun ×4, hugs ×5: the worked example of many a course.
    let text = ["hug ".repeat(10), "pug ".repeat(5), "pun ".repeat(12), "bun ".repeat(4), "hugs ".repeat(5)];
    let texts: Vec<&str> = text.iter().map(|text| text.trim_end()).collect();
    let model = train(&texts, &options(12));
    // "hug" and "Ġp" occur 15 times each, and 2 < 7. "Ġ" sorts behind the letters; pieces are "Ġhug" and its like, and "hug" once at each beginning.
    assert_eq!(model.vocabulary[..7], ["b", "g", "h", "n", "p", "s", "u"]);
    assert_eq!(model.vocabulary[7..], ["Ġ", "ug", "un", "hug", "Ġp"]);
    assert_eq!(model.merges, [(6, 1), (6, 3), (2, 8), (7, 4)]);
}

#[test]
fn runs_merge_from_the_left() {
    let model = train(&["aaaaaaa"], &options(100));
    assert_eq!(model.vocabulary, ["a", "aa", "aaaa", "aaa", "aaaaaaa"]);
    assert_eq!(model.merges, [(0, 0), (1, 1), (1, 0), (2, 3)]);
}

#[test]
fn nothing_to_train_on() {
    let none: [&str; 0] = [];
    for texts in [&none[..], &[""], &["", ""], &["a"], &["a", "b", "\u{e000}"]] {
        let model = train(texts, &options(1000));
        let expected = reference::train(texts, &options(1000), &all_classes());
        assert_eq!(model, expected, "{texts:?}");
    }
    assert_eq!(train(&none, &options(10)).vocabulary, Vec::<String>::new());
}

#[test]
fn a_special_token_that_a_merge_forms_keeps_its_id() {
    let options = TrainingOptions { special_tokens: vec!["ab".into(), "b".into()], ..options(6) };
    let model = train(&["abab abc"], &options);
    // "ab" is merged, and is no new token: the vocabulary still has room for two more.
    assert_eq!(model.vocabulary[..5], ["ab", "b", "a", "c", "Ġ"]);
    assert_eq!(model.merges[0], (2, 1));
    assert_eq!(model, reference::train(&["abab abc"], &options, &all_classes()));
}

#[test]
fn ids_beyond_16_bits() {
    let texts = ["the cat sat on the mat, the hat on the cat", "that cat sat"];
    let narrow = train(&texts, &options(40));
    let special_tokens = (0..66_000).map(|n| format!("<{n}>")).collect();
    let wide = train(&texts, &TrainingOptions { special_tokens, ..options(66_040) });
    assert_eq!(narrow.vocabulary, wide.vocabulary[66_000..]);
    let moved: Vec<_> = narrow.merges.iter().map(|&(left, right)| (left + 66_000, right + 66_000)).collect();
    assert_eq!(wide.merges, moved);
}

#[test]
fn counts_beyond_32_bits() {
    // Counting 2^33 pieces takes too long; absorbing counts does the same sums.
    let (budget, cancel) = (Budget::new(None), Cancel::default());
    let classes = all_classes();
    let mut counts = PieceCounts::new(Splitting::Gpt2);
    counts.add_text("ab cd cd", &classes, &budget, &cancel).unwrap();
    for _ in 0..33 {
        let mut other = PieceCounts::new(Splitting::Gpt2);
        counts.pieces().for_each(|(count, piece)| {
            piece.with_bytes(|bytes| other.add(bytes, count, &budget, &cancel)).unwrap();
        });
        counts.absorb(other, &budget, &cancel).unwrap();
    }
    let mut seen = Vec::new();
    counts.pieces().for_each(|(count, piece)| seen.push((piece.with_bytes(<[u8]>::to_vec), count)));
    seen.sort();
    assert_eq!(seen, [(b" cd".to_vec(), 2 << 33), (b"ab".to_vec(), 1 << 33)]);
    let mut trainer = BpeTrainer::new(Splitting::Gpt2, None);
    trainer.counts.push(counts);
    let options = TrainingOptions { min_frequency: (1 << 33) + 1, ..options(100) };
    let model = trainer.train(&options, &mut |_| false).unwrap();
    assert_eq!(model.vocabulary, ["a", "b", "c", "d", "Ġ", "cd", "Ġcd"]);
}

#[test]
fn where_the_reference_parts_from_here() {
    // `tokenizers` sums the counts of pairs in 32 bits with a sign: there 2^32 + 1 is 1, and 2^31 is below zero.
    let (budget, cancel) = (Budget::new(None), Cancel::default());
    let mut counts = PieceCounts::new(Splitting::Gpt2);
    for (piece, count) in [(b"ab", (1 << 32) + 1), (b"cd", 5), (b"ef", 1 << 31), (b"gh", 3)] {
        counts.add(piece, count, &budget, &cancel).unwrap();
    }
    let mut trainer = BpeTrainer::new(Splitting::Gpt2, None);
    trainer.counts.push(counts);
    let model = trainer.train(&options(12), &mut |_| false).unwrap();
    assert_eq!(model.vocabulary[8..], ["ab", "ef", "cd", "gh"], "there: cd, gh, ab, and ef never");
}

#[test]
fn a_memory_limit_is_an_error_and_the_trainer_is_spent() {
    let text = distinct_words(100_000, "");
    let mut trainer = BpeTrainer::new(Splitting::Gpt2, Some(4 << 20));
    let error = trainer.push(&[&text], 1, &mut || false).unwrap_err();
    assert!(matches!(error, Error::MemoryLimit { limit: 0x0040_0000, .. }), "{error}");
    assert_eq!(trainer.push(&["a"], 1, &mut || false), Err(Error::TrainerSpent));
    // Enough to count, not to train.
    let mut trainer = counted(&[&text], 1, Some(40 << 20)).unwrap();
    let used = trainer.memory();
    assert!((8 << 20..=40 << 20).contains(&used), "{used}");
    trainer.budget = Budget::new(Some(1 << 20));
    let model = trainer.train(&options(5000), &mut |_| false);
    assert!(matches!(model, Err(Error::MemoryLimit { .. })), "{model:?}");
}

#[test]
fn the_account_is_balanced() {
    let text = distinct_words(20_000, "") + &distinct_words(20_000, "tenthousandtimeslonger");
    let mut trainer = counted(&[&text, &text], 2, None).unwrap();
    trainer.train(&options(3000), &mut |_| false).unwrap();
    // What is left over belongs to structures that were dropped with the merger: nothing went below zero.
    assert!(trainer.memory() < 1 << 30, "{}", trainer.memory());
}

#[test]
fn cancelling_ends_training_and_counting() {
    let text = "abc abd abe ".repeat(50_000);
    let mut trainer = counted(&[&text], 2, None).unwrap();
    let cancel = Cancel::default();
    cancel.cancel();
    assert_eq!(trainer.train_here(&options(300), &cancel, &Progress::default()), Err(Error::Cancelled));
    assert_eq!(trainer.push(&["a"], 1, &mut || false), Err(Error::TrainerSpent));
    let endless = vec![text.as_str(); 2000];
    assert_eq!(BpeTrainer::new(Splitting::Gpt2, None).push(&endless, 1, &mut || true), Err(Error::Cancelled));
}

#[test]
fn an_unassigned_code_point_leaves_the_counts_alone() {
    let mut trainer = BpeTrainer::new(Splitting::Gpt2, None);
    trainer.push(&["abc"], 1, &mut || false).unwrap();
    let texts = ["def \u{1e030}\u{1e031}", "ghi \u{378}"]; // two letters since Unicode 15, and none
    let error = trainer.push(&texts, 1, &mut || false).unwrap_err();
    assert_eq!(error, Error::UnicodeRestNeeded { code_point: 0x378 });
    assert_eq!(trainer.unassigned(), [0x378, 0x1_e030, 0x1_e031]);
    trainer.learn_classes(&[(0x378, Class::Other), (0x1_e030, Class::Letter), (0x1_e031, Class::Letter)]);
    trainer.learn_classes(&[(0x1_e030, Class::Other), (97, Class::Other)]); // what is known stays
    trainer.push(&texts, 1, &mut || false).unwrap();
    assert_eq!(trainer.counted(), Counted { documents: 3, bytes: 21, pieces: 5 });
}

#[test]
fn the_plain_splitter_counts_the_same() {
    let (budget, cancel, classes) = (Budget::new(None), Cancel::default(), all_classes());
    let text = "I'll say  12%\n\tüber\u{3000} a_very_long_name_indeed_for_a_key ".repeat(90);
    let seen = |count: &dyn Fn(&mut PieceCounts) -> Result<u64>| {
        let mut counts = PieceCounts::new(Splitting::Gpt2);
        let num_pieces = count(&mut counts).unwrap();
        let mut pieces = Vec::new();
        counts.pieces().for_each(|(count, piece)| pieces.push((piece.with_bytes(<[u8]>::to_vec), count)));
        pieces.sort();
        (num_pieces, pieces)
    };
    let fast = seen(&|counts| counts.add_text(&text, &classes, &budget, &cancel));
    assert_eq!(fast, seen(&|counts| counts.add_text_plainly(&text, &classes, &budget, &cancel)));
}

/// Words over few letters: counts tie all the time, and runs of one letter are common.
fn texts() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![
        prop::collection::vec("[ab]{0,30}( [ab]{1,9}){0,9}", 0..12),
        prop::collection::vec("[a-d]{0,20}( [a-d]{1,20}){0,20}", 0..8),
        prop::collection::vec("[a ]{0,60}", 0..6),
        prop::collection::vec("[aé的\u{1f600}' 0-3]{0,40}", 0..6),
        prop::collection::vec("\\PC{0,40}", 0..6),
    ]
}

fn any_options() -> impl Strategy<Value = TrainingOptions> {
    let special = prop::collection::vec("<s>|a|ab|aa|aab|Ġa|é|abab", 0..4);
    let alphabet = prop::collection::vec(prop::sample::select(vec!['a', 'b', 'Ġ', 'é', '的', 'z']), 0..4);
    (1_usize..80, 0_u64..5, special, alphabet, prop::option::of(0_usize..7)).prop_map(
        |(vocab_size, min_frequency, special_tokens, initial_alphabet, max_token_length)| TrainingOptions {
            vocab_size,
            min_frequency,
            special_tokens,
            initial_alphabet,
            max_token_length,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn equals_counting_all_pairs_again(texts in texts(), options in any_options(), bar in 1_u64..40) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let expected = reference::train(&texts, &options, &all_classes());
        prop_assert_eq!(&train(&texts, &options), &expected);
        // The guess for the bar changes nothing, nor does the width of positions.
        prop_assert_eq!(&train_with_bar::<usize>(&texts, &options, bar).unwrap(), &expected);
    }
}

proptest! {
    // Threads are started only for long texts, so a case takes long.
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn threads_and_batches_change_nothing(
        texts in prop::collection::vec(("[a-c ]{0,50}", 1_usize..1500), 1..20),
        num_threads in 2_usize..5,
    ) {
        let texts: Vec<String> = texts.iter().map(|(text, times)| text.repeat(*times)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut one = new_trainer(None);
        one.push(&texts, 1, &mut || false).unwrap();
        let mut many = counted(&texts, num_threads, None).unwrap();
        prop_assert_eq!(one.counted(), many.counted());
        let train = |trainer: &mut BpeTrainer| trainer.train(&options(60), &mut |_| false);
        prop_assert_eq!(train(&mut one).unwrap(), train(&mut many).unwrap());
    }
}
