//! A sample of the distinct words of a corpus, of fixed size: those of the smallest hashes.
//!
//! Every word of the corpus has the same chance to be in it, however often it occurs, and the sample is a function
//! of the set of words alone: not of their order, nor of how the corpus was cut. From the largest hash kept, the number
//! of distinct words can be told, too (Bar-Yossef et al., "Counting Distinct Elements in a Data Stream", 2002; Beyer
//! et al., "On Synopses for Distinct-Value Estimation Under Multiset Operations", 2007).

use super::hashing::word_hash;
use super::word_hashes::{SmallHashes, UNKNOWN};
use crate::instructions::Instructions;

/// How many words a sample holds.
pub const SAMPLE_SIZE: usize = 4096;
/// A longer word is in the sample without its text.
pub const MAX_WORD_BYTES: usize = 256;

/// A word with its hash; a long one has no text.
type HashedWord = (u64, Option<Box<str>>);

/// The sample. A word that is longer than `MAX_WORD_BYTES` has no text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TypeSample {
    /// By ascending hash, each once.
    words: Vec<HashedWord>,
    overflowed: bool,
}

impl TypeSample {
    /// From saved parts; what is too much is left out as `merge` does.
    #[must_use]
    pub fn from_parts(words: Vec<(u64, Option<String>)>, overflowed: bool) -> Self {
        let words = words.into_iter().map(|(hash, word)| (hash, word.map(String::into_boxed_str))).collect();
        let mut sample = Self { words, overflowed };
        sample.shrink();
        sample
    }

    /// Hashes and words, by ascending hash.
    #[must_use]
    pub fn words(&self) -> impl ExactSizeIterator<Item = (u64, Option<&str>)> {
        self.words.iter().map(|(hash, word)| (*hash, word.as_deref()))
    }

    /// Whether there were more distinct words than it holds.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Words of a larger hash cannot get in.
    fn threshold(&self) -> u64 {
        match self.words.last() {
            Some((hash, _)) if self.overflowed => *hash,
            _ => u64::MAX,
        }
    }

    /// Take in another sample.
    pub fn merge(&mut self, other: Self) {
        self.overflowed |= other.overflowed;
        self.words.extend(other.words);
        self.shrink();
    }

    /// Bring the words into order, each once, no more than the sample holds.
    fn shrink(&mut self) {
        // Stable: of two words of one hash the first one stays. Two ascending runs are merged in one go.
        self.words.sort_by_key(|(hash, _)| *hash);
        self.words.dedup_by_key(|(hash, _)| *hash);
        self.overflowed |= self.words.len() > SAMPLE_SIZE;
        self.words.truncate(SAMPLE_SIZE);
    }
}

/// What one worker found in texts that may belong into a sample.
#[derive(Debug)]
pub(crate) struct TypeSampler<'t> {
    /// Words of a larger hash cannot get in.
    threshold: u64,
    /// What may get in; now and then brought into order, and so no more than twice as much as a sample holds.
    found: Vec<(u64, &'t str)>,
    /// Whether there were more than a sample holds.
    overflowed: bool,
    /// Hashes that were found, each in the place that its low bits say: most words occur again soon.
    recent: Box<[u64]>,
    /// Working memory.
    small: SmallHashes,
}

/// 64 KiB: with the counts of the tokens they stay near the processor.
const NUM_RECENT: usize = 1 << 13;

impl<'t> TypeSampler<'t> {
    pub(crate) fn new(sample: &TypeSample) -> Self {
        let mut recent = vec![0; NUM_RECENT].into_boxed_slice();
        // So that no place holds a hash that belongs there.
        recent[0] = 1;
        Self {
            threshold: sample.threshold(),
            found: Vec::new(),
            overflowed: false,
            recent,
            small: SmallHashes::default(),
        }
    }

    /// Meet the word `text[start..end]`.
    pub(crate) fn meet(&mut self, text: &'t str, start: usize, end: usize) {
        self.look_up(word_hash(text.as_bytes(), start, end), text, start, end);
    }

    /// Meet the words `text[base + begin..base + end]` by their edges: begin, end, begin, end, ...
    ///
    /// All hashes first, then the few that are small enough.
    pub(crate) fn meet_all(&mut self, instructions: Instructions, text: &'t str, base: usize, edges: &[u32]) {
        // A stretch may begin inside of a character, but no word does.
        let bytes = &text.as_bytes()[base..];
        let (words, _) = edges.as_chunks::<2>();
        let mut small = std::mem::take(&mut self.small);
        small.find(instructions, bytes, words, self.threshold);
        for (hash, number) in small.iter() {
            let [start, end] = words[number].map(|edge| base + edge as usize);
            if hash == UNKNOWN {
                self.meet(text, start, end);
            } else {
                self.look_up(hash, text, start, end);
            }
        }
        self.small = small;
    }

    #[inline]
    fn look_up(&mut self, hash: u64, text: &'t str, start: usize, end: usize) {
        let recent = &mut self.recent[recent_place(hash)];
        if hash <= self.threshold && *recent != hash {
            *recent = hash;
            self.found.push((hash, &text[start..end]));
            if self.found.len() >= 2 * SAMPLE_SIZE {
                self.shrink();
            }
        }
    }

    /// Bring what was found into order, each once, no more than a sample holds.
    #[inline(never)]
    fn shrink(&mut self) {
        self.found.sort_unstable_by_key(|(hash, _)| *hash);
        self.found.dedup_by_key(|(hash, _)| *hash);
        if self.found.len() > SAMPLE_SIZE {
            self.overflowed = true;
            self.found.truncate(SAMPLE_SIZE);
        }
        if let (Some((last, _)), true) = (self.found.last(), self.overflowed) {
            self.threshold = self.threshold.min(*last);
        }
    }

    /// The words to merge into the sample. Where some were refused, the sample had overflowed before, or these have.
    pub(crate) fn into_found(mut self) -> TypeSample {
        self.shrink();
        let is_short = |word: &&str| word.len() <= MAX_WORD_BYTES;
        let words =
            self.found.iter().map(|&(hash, word)| (hash, Some(word).filter(is_short).map(Into::into)));
        TypeSample { words: words.collect(), overflowed: self.overflowed }
    }
}

#[allow(clippy::cast_possible_truncation)] // the low bits
fn recent_place(hash: u64) -> usize {
    hash as usize % NUM_RECENT
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use proptest::prelude::*;

    fn sample(parts: &[Vec<String>]) -> TypeSample {
        let mut sample = TypeSample::default();
        for words in parts {
            let mut sampler = TypeSampler::new(&sample);
            for word in words {
                sampler.meet(word, 0, word.len());
            }
            let found = sampler.into_found();
            sample.merge(found);
        }
        sample
    }

    #[test]
    fn holds_the_words_of_the_smallest_hashes_however_they_came() {
        let words: Vec<String> = (0..3 * SAMPLE_SIZE).map(|number| format!("word{number}")).collect();
        let mut expected: BTreeMap<u64, &str> = BTreeMap::new();
        for word in &words {
            expected.insert(word_hash(word.as_bytes(), 0, word.len()), word);
        }
        let whole = sample(std::slice::from_ref(&words));
        let found: Vec<(u64, &str)> = whole.words().map(|(hash, word)| (hash, word.unwrap())).collect();
        assert_eq!(found, expected.into_iter().take(SAMPLE_SIZE).collect::<Vec<_>>());
        assert!(whole.overflowed());
        let parts: Vec<Vec<String>> = words.chunks(1000).rev().map(<[String]>::to_vec).collect();
        assert_eq!(sample(&parts), whole);
        let mut merged = sample(&parts[..4]);
        merged.merge(sample(&parts[3..]));
        assert_eq!(merged, whole);
    }

    /// All words in one text, as `blocks` hands them over.
    fn sample_of_text(instructions: Instructions, words: &[String]) -> TypeSample {
        let mut text = "-- ".to_owned();
        let mut edges = Vec::new();
        let base = text.len();
        let mut sampler = TypeSampler::new(&TypeSample::default());
        for word in words {
            edges.push(u32::try_from(text.len() - base).unwrap());
            text.push_str(word);
            edges.push(u32::try_from(text.len() - base).unwrap());
            text.push(' ');
        }
        text.truncate(base.max(text.len() - 1));
        sampler.meet_all(instructions, &text, base, &edges);
        sampler.into_found()
    }

    #[test]
    fn words_in_one_go_are_the_same_as_one_by_one() {
        // More than it holds, each twice and near, short and long ones.
        let word = |number: usize| format!("word{}{}", number / 2, "x".repeat(number % 5 * 9));
        let words: Vec<String> =
            (0..5 * SAMPLE_SIZE).flat_map(|number| [word(number), word(number / 3)]).collect();
        for instructions in Instructions::available() {
            assert_eq!(sample_of_text(instructions, &words), sample(std::slice::from_ref(&words)));
        }
    }

    #[test]
    fn just_as_many_words_as_it_holds_are_all_there_are() {
        let words: Vec<String> = (0..SAMPLE_SIZE).map(|number| number.to_string()).collect();
        let whole = sample(&[words.clone(), words.clone()]);
        assert_eq!((whole.words().len(), whole.overflowed()), (SAMPLE_SIZE, false));
        let more = sample(&[words, vec!["one more".to_owned()]]);
        assert_eq!((more.words().len(), more.overflowed()), (SAMPLE_SIZE, true));
    }

    proptest! {
        #[test]
        fn few_words_are_all_held(words in proptest::collection::vec("[a-c]{1,3}|[a-z]{250,260}", 0..40)) {
            let distinct: BTreeSet<&String> = words.iter().collect();
            let found = sample(std::slice::from_ref(&words));
            prop_assert_eq!(found.words().len(), distinct.len());
            let short = distinct.iter().filter(|word| word.len() <= MAX_WORD_BYTES).count();
            prop_assert_eq!(found.words().filter(|(_, word)| word.is_some()).count(), short);
            for instructions in Instructions::available() {
                prop_assert_eq!(&sample_of_text(instructions, &words), &found);
            }
        }
    }
}
