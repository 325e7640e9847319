//! A sample of the distinct words of a corpus, of fixed size: those of the smallest hashes.
//!
//! Every word of the corpus has the same chance to be in it, however often it occurs, and the sample is a function
//! of the set of words alone: not of their order, nor of how the corpus was cut. From the largest hash kept, the number
//! of distinct words can be told, too (Bar-Yossef et al., "Counting Distinct Elements in a Data Stream", 2002; Beyer
//! et al., "On Synopses for Distinct-Value Estimation Under Multiset Operations", 2007).

#![allow(clippy::inline_always)] // one call for each word

use std::collections::{BTreeMap, BinaryHeap};

use rustc_hash::{FxHashMap, FxHashSet};

use super::hashing::word_hash;

/// How many words a sample holds.
pub const SAMPLE_SIZE: usize = 4096;
/// A longer word is in the sample without its text.
pub const MAX_WORD_BYTES: usize = 256;

/// The sample. A word that is longer than `MAX_WORD_BYTES` has no text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TypeSample {
    words: BTreeMap<u64, Option<Box<str>>>,
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
        match self.words.last_key_value() {
            Some((hash, _)) if self.overflowed => *hash,
            _ => u64::MAX,
        }
    }

    /// Take in another sample.
    pub fn merge(&mut self, other: &Self) {
        self.overflowed |= other.overflowed;
        for (hash, word) in &other.words {
            self.words.entry(*hash).or_insert_with(|| word.clone());
        }
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.words.len() > SAMPLE_SIZE {
            self.words.pop_last();
            self.overflowed = true;
        }
    }
}

/// What one worker found that may belong into a sample.
#[derive(Debug)]
pub(crate) struct TypeSampler {
    /// Words of a larger hash cannot get in.
    threshold: u64,
    /// The hashes that need no second look: of the sample, and of what was found.
    known: FxHashSet<u64>,
    found: FxHashMap<u64, Option<Box<str>>>,
    /// The hashes of `found`, the largest first.
    largest: BinaryHeap<u64>,
    overflowed: bool,
}

impl TypeSampler {
    pub(crate) fn new(sample: &TypeSample) -> Self {
        Self {
            threshold: sample.threshold(),
            known: sample.words.keys().copied().collect(),
            found: FxHashMap::default(),
            largest: BinaryHeap::new(),
            overflowed: false,
        }
    }

    /// Meet the word `text[start..end]`.
    #[inline(always)]
    pub(crate) fn meet(&mut self, text: &str, start: usize, end: usize) {
        let hash = word_hash(text.as_bytes(), start, end);
        if hash <= self.threshold {
            self.look_up(hash, text, start, end);
        }
    }

    #[inline(never)]
    fn look_up(&mut self, hash: u64, text: &str, start: usize, end: usize) {
        if !self.known.insert(hash) {
            return;
        }
        let word = (end - start <= MAX_WORD_BYTES).then(|| text[start..end].into());
        self.found.insert(hash, word);
        self.largest.push(hash);
        if self.found.len() > SAMPLE_SIZE {
            self.overflowed = true;
            if let Some(evicted) = self.largest.pop() {
                self.found.remove(&evicted);
            }
            self.threshold = self.threshold.min(self.largest.peek().copied().unwrap_or(u64::MAX));
        }
    }

    /// The words to merge into the sample. Where some were refused, the sample had overflowed before, or these have.
    pub(crate) fn into_found(self) -> TypeSample {
        TypeSample { words: self.found.into_iter().collect(), overflowed: self.overflowed }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
            sample.merge(&found);
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
        merged.merge(&sample(&parts[3..]));
        assert_eq!(merged, whole);
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
        fn few_words_are_all_held(words in proptest::collection::vec("[a-c]{0,3}|[a-z]{250,260}", 0..40)) {
            let distinct: BTreeSet<&String> = words.iter().collect();
            let found = sample(std::slice::from_ref(&words));
            prop_assert_eq!(found.words().len(), distinct.len());
            let short = distinct.iter().filter(|word| word.len() <= MAX_WORD_BYTES).count();
            prop_assert_eq!(found.words().filter(|(_, word)| word.is_some()).count(), short);
        }
    }
}
