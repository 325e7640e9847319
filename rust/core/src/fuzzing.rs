//! What is fuzzed: one function a target, from any bytes to a panic or none.
//!
//! ```text
//! fuzz/fuzz_targets/NAME.rs ──► NAME(bytes) ◄── the test below, over all of fuzz/corpus/NAME
//! ```
//!
//! The functions compare the fast form of a stage with the plain one that defines it, so they can go wrong in more
//! ways than by a panic. The first bytes choose options; what is left becomes text, of which every kind is short:
//! a byte below 128 is its ASCII character, one above stands for something that the stages treat apart. docs/fuzzing.md
//! says how to run it.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc)] // as in tests: a panic is what tells

mod packers;

use arbitrary::{Result as Read, Unstructured};

use crate::cancel::Cancel;
use crate::encoder::{Encoder, EncoderOptions, Scratch};
use crate::instructions::Instructions;
use crate::split::{Pieces, Splitting, fast_starts};
use crate::training::{TrainingOptions, fuzzing as training};
use crate::unicode::ClassTable;
use crate::vocabulary::Vocabulary;
pub use packers::packer;

/// What the bytes from 128 on stand for: characters of every class and width, contractions, white space of all kinds,
/// runs that are longer than a key, what a register or a block holds.
const FRAGMENTS: &[&str] = &[
    "é",
    "ß",
    "Ж",
    "中",
    "文字",
    "日本語",
    "ก",
    "\u{301}",
    "e\u{301}",
    "٣",
    "½",
    "Ⅷ",
    "²",
    "𝟘",
    "𐍈",
    "😀",
    "👨\u{200d}👩\u{200d}👧",
    "❤\u{fe0f}",
    "\u{200b}",
    "\u{feff}",
    "…",
    "\u{a0}",
    "\u{85}",
    "\u{2003}",
    "\u{3000}",
    " \u{a0} ",
    "\u{3000}\u{3000}",
    "\u{1c}",
    "\u{b}",
    "\u{2028}",
    "\r\n",
    "\n\n",
    "  ",
    "   ",
    "    ",
    "\t\t",
    " 's",
    "'s",
    "'t",
    "'re",
    "'ve",
    "'ll",
    "'S",
    "'LL",
    "'ſ",
    "don't",
    "we'll",
    "123",
    "1234",
    "12345678",
    " the",
    "The",
    "HELLOWorld",
    "ǅ",
    "ʰ",
    "ª",
    "\u{10ffff}",
    "\u{378}",
    "\u{1c8a}",
    "\u{e000}",
    "<|endoftext|>",
    "=========",
    "abcdefghijklmnop",
    "abcdefghijklmnopq",
    "0123456789abcdef0123456789abcdef",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "                                ",
    "--------------------------------",
    "ababababababababababababababababababababababababababababababababababababababababababababababababababababababababab",
];

/// The scanners: the fast one of every set of instructions against the plain one.
pub fn scanner(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(text) = text(&mut input) else { return };
    let classes = classes();
    for splitting in Splitting::all() {
        let mut pieces = Pieces::new(splitting, &text, classes);
        let mut expected = Vec::new();
        let mut end_of_last = 0;
        while let Some((start, end)) = pieces.next_piece().unwrap() {
            assert!(
                start == end_of_last && start < end && text.is_char_boundary(end),
                "{start}..{end} of {text:?}"
            );
            expected.push(u32::try_from(start).unwrap());
            end_of_last = end;
        }
        assert_eq!(end_of_last, text.len());
        for instructions in Instructions::available() {
            let found = fast_starts(splitting, instructions, &text, classes).unwrap();
            assert_eq!(found, expected, "{} {} of {text:?}", splitting.name(), instructions.name());
        }
    }
}

/// The encoder: every set of instructions, cold and with its tables filled, whole and in jobs, against plain merging;
/// and decoding gives the text back.
pub fn encoder(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(vocabulary) = vocabulary(&mut input) else { return };
    let Ok(text) = text(&mut input) else { return };
    let cancel = Cancel::default();
    let mut expected: Vec<u32> = Vec::new();
    for instructions in Instructions::available() {
        let options = EncoderOptions { instructions, cache_bytes: 1 << 16 };
        let mut encoder = Encoder::with_options(vocabulary.clone(), options);
        encoder.take_the_rest_for_others();
        if expected.is_empty() {
            encoder.encode_plainly(&text, &mut expected, &cancel).unwrap();
            let decoded = encoder.vocabulary().decode(expected.iter().map(|&id| i64::from(id))).unwrap();
            assert_eq!(decoded, text.as_bytes());
        }
        let mut scratch = Scratch::default();
        for _ in 0..2 {
            let mut ids: Vec<u32> = Vec::new();
            encoder.encode_into(&text, &mut scratch, &mut ids, &cancel).unwrap();
            assert_eq!(ids, expected, "{} of {text:?}", instructions.name());
        }
        let in_jobs: Vec<u32> = encoder.encode_in_jobs(&text, 1 + text.len() % 61).unwrap();
        assert_eq!(in_jobs, expected, "{} in jobs of {text:?}", instructions.name());
        let mut ids: Vec<u16> = Vec::new();
        encoder.encode_into(&text, &mut scratch, &mut ids, &cancel).unwrap();
        assert!(ids.iter().map(|&id| u32::from(id)).eq(expected.iter().copied()));
    }
}

/// The reader of a `tokenizer.json`: any answer, but an answer; and what it covers encodes and decodes.
pub fn loader(data: &[u8]) {
    let json = String::from_utf8_lossy(data);
    let Ok(vocabulary) = Vocabulary::from_json(&json) else { return };
    let options = EncoderOptions { instructions: Instructions::fastest(), cache_bytes: 1 << 16 };
    let mut encoder = Encoder::with_options(vocabulary, options);
    encoder.take_the_rest_for_others();
    let text = "The cat's hat\n\n  été 123 <|endoftext|> abab";
    let (mut plain, mut fast): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
    encoder.encode_plainly(text, &mut plain, &Cancel::default()).unwrap();
    encoder.encode_into(text, &mut Scratch::default(), &mut fast, &Cancel::default()).unwrap();
    assert_eq!(fast, plain);
    if !encoder.vocabulary().tiles_texts() {
        return;
    }
    let decoded = encoder.vocabulary().decode(plain.iter().map(|&id| i64::from(id))).unwrap();
    assert_eq!(decoded, text.as_bytes());
}

/// The trainer: any options, any first bar, positions of both widths, against counting all pairs again and again.
pub fn trainer(data: &[u8]) {
    let _ = try_trainer(&mut Unstructured::new(data));
}

fn try_trainer(input: &mut Unstructured<'_>) -> Read<()> {
    const SPECIAL: &[&str] = &["<s>", "a", "ab", "aa", "aab", "Ġa", "é", "abab", "Ġ"];
    let mut options = TrainingOptions {
        vocab_size: input.int_in_range(1..=90_usize)?,
        min_frequency: input.int_in_range(0..=5_u64)?,
        special_tokens: Vec::new(),
        initial_alphabet: Vec::new(),
        max_token_length: None,
    };
    for _ in 0..input.int_in_range(0..=3_u8)? {
        options.special_tokens.push((*input.choose(SPECIAL)?).to_owned());
        options.initial_alphabet.push(*input.choose(&['a', 'b', 'Ġ', 'é', '的', 'z'])?);
    }
    if input.arbitrary()? {
        options.max_token_length = Some(input.int_in_range(0..=7_usize)?);
    }
    let bar = input.int_in_range(1..=40_u64)?;
    let mut texts = Vec::new();
    // The plain trainer takes cubic time, so it gets little.
    let mut room = 600;
    while !input.is_empty() && room > 0 {
        let length = input.int_in_range(0..=60_usize)?.min(input.len());
        let text = spell(input.bytes(length)?);
        room -= text.len().min(room);
        texts.push(text);
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let expected = training::plain(&texts, &options, classes());
    for trained in training::fast(&texts, &options, bar) {
        assert_eq!(trained, expected, "{options:?} {bar} {texts:?}");
    }
    Ok(())
}

fn classes() -> &'static ClassTable {
    static CLASSES: ClassTable = ClassTable::unicode_14_and_others();
    &CLASSES
}

/// All bytes that are left, as text; the first two say how far it is shifted against the edges of blocks.
fn text(input: &mut Unstructured<'_>) -> Read<String> {
    let padding = match input.int_in_range(0..=3_u8)? {
        0 | 1 => 0,
        2 => input.int_in_range(40..=70_usize)?,
        _ => input.int_in_range(2000..=2100_usize)?,
    };
    let filler = *input.choose(&["x", " ", "é", "中", "-", "1", "x "])?;
    let rest = input.bytes(input.len())?;
    Ok(filler.repeat(padding / filler.len()) + &spell(rest))
}

fn spell(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match usize::from(byte).checked_sub(128) {
            None => text.push(char::from(byte)),
            Some(number) => text.push_str(FRAGMENTS[number % FRAGMENTS.len()]),
        }
    }
    text
}

/// The bytes and up to 60 merges, of frequent bytes or of earlier merges; sometimes one pair twice.
fn vocabulary(input: &mut Unstructured<'_>) -> Read<Vocabulary> {
    let frequent = b"ab thelo'sx1-=_\n\xc3\xa9\xe4\xb8\xad\xf0\x9f";
    let mut pairs: Vec<(u32, u32)> = Vec::new();
    let mut lengths = vec![1_usize; 256];
    for _ in 0..input.int_in_range(0..=60_u8)? {
        let mut pick = || -> Read<u32> {
            let seed = input.arbitrary::<u8>()?;
            let num_merges = u32::try_from(pairs.len()).unwrap_or(0);
            Ok(if seed % 2 == 1 && num_merges > 0 {
                256 + u32::from(seed / 2) % num_merges
            } else {
                u32::from(frequent[usize::from(seed / 2) % frequent.len()])
            })
        };
        let pair = (pick()?, pick()?);
        let length = lengths[pair.0 as usize] + lengths[pair.1 as usize];
        // A token of a megabyte would be all that is tested.
        if length <= 300 {
            pairs.push(pair);
            lengths.push(length);
        }
    }
    Ok(Vocabulary::from_merges(&pairs).unwrap())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Instant;

    /// Run a target on all that is stored for it; returns how many inputs that are.
    fn replay(name: &str, target: fn(&[u8])) -> usize {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
        let mut count = 0;
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let data = std::fs::read(&path).unwrap();
            let started = Instant::now();
            target(&data);
            assert!(started.elapsed().as_secs() < 20, "{}: {:?}", path.display(), started.elapsed());
            count += 1;
        }
        count
    }

    #[test]
    fn all_that_is_stored() {
        let numbers_of_inputs = [
            replay("scanner", super::scanner),
            replay("encoder", super::encoder),
            replay("loader", super::loader),
            replay("packer", super::packer),
            replay("trainer", super::trainer),
        ];
        // 0 would mean that nothing was found to run.
        assert!(numbers_of_inputs.iter().all(|&number| number >= 20), "{numbers_of_inputs:?}");
    }
}
