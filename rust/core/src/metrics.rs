//! Count what a tokenizer does to running text: one pass, mergeable integers.
//!
//! A **word** is a maximal run of characters that are not white space. A token **covers** a word when it holds at
//! least one byte of it. `tokens_in_words` are the tokens that cover a word, each counted once; the others are
//! white space alone. A word is **continued** when two or more tokens cover it.
//!
//! ```text
//! text     h e l l o _ w o r l d _ _ \n        (_ is a blank)
//! tokens   [hel][lo] [_world  ] [_ _ \n]
//! words    1: two tokens, continued; 2: one token ("Ġworld" is a token of its word)
//! totals   words 2, tokens 4, tokens_in_words 3, whitespace_tokens 1, continued_words 1
//! ```

use std::collections::VecDeque;
use std::sync::Mutex;

use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::parallel::{self, Interrupted};
use crate::unicode::{Class, ClassTable};

/// Sums over documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MetricTotals {
    /// Documents.
    pub documents: u64,
    /// Bytes of UTF-8.
    pub bytes: u64,
    /// Characters (code points).
    pub characters: u64,
    /// Line feeds, and one more for a last line that none ends.
    pub lines: u64,
    /// Words.
    pub words: u64,
    /// Tokens, EOS apart.
    pub tokens: u64,
    /// Tokens that cover at least one byte of a word.
    pub tokens_in_words: u64,
    /// Tokens that cover none.
    pub whitespace_tokens: u64,
    /// Words that two or more tokens cover.
    pub continued_words: u64,
}

impl MetricTotals {
    /// Names and values, in a fixed order.
    #[must_use]
    pub fn entries(&self) -> [(&'static str, u64); 9] {
        [
            ("documents", self.documents),
            ("bytes", self.bytes),
            ("characters", self.characters),
            ("lines", self.lines),
            ("words", self.words),
            ("tokens", self.tokens),
            ("tokens_in_words", self.tokens_in_words),
            ("whitespace_tokens", self.whitespace_tokens),
            ("continued_words", self.continued_words),
        ]
    }

    fn add(&mut self, other: &Self) {
        self.documents += other.documents;
        self.bytes += other.bytes;
        self.characters += other.characters;
        self.lines += other.lines;
        self.words += other.words;
        self.tokens += other.tokens;
        self.tokens_in_words += other.tokens_in_words;
        self.whitespace_tokens += other.whitespace_tokens;
        self.continued_words += other.continued_words;
    }
}

/// The counters of one pass, or of a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricCounters {
    totals: MetricTotals,
    token_counts: Vec<u64>,
}

/// A document encoded elsewhere: its text, and the id and the character range of each token.
#[derive(Debug, Clone, Copy)]
pub struct EncodedDocument<'a> {
    /// The text.
    pub text: &'a str,
    /// Its ids.
    pub ids: &'a [i64],
    /// `(start, end)` of each token, in characters of the text.
    pub spans: &'a [(usize, usize)],
}

impl MetricCounters {
    /// Counters at zero, for ids below `vocab_size`.
    #[must_use]
    pub fn new(vocab_size: usize) -> Self {
        Self { totals: MetricTotals::default(), token_counts: vec![0; vocab_size] }
    }

    /// The sums.
    #[must_use]
    pub fn totals(&self) -> &MetricTotals {
        &self.totals
    }

    /// How often each id occurred.
    #[must_use]
    pub fn token_counts(&self) -> &[u64] {
        &self.token_counts
    }

    /// Encode and count documents. All of them are counted, or none.
    pub fn add_texts(
        &mut self,
        encoder: &Encoder,
        texts: &[&str],
        num_threads: usize,
        interrupted: Interrupted<'_>,
    ) -> Result<()> {
        let sum = Mutex::new(Self::new(self.token_counts.len()));
        parallel::for_each_range(
            texts,
            num_threads,
            interrupted,
            || (encoder.take_scratch(num_threads), Self::new(self.token_counts.len()), Vec::<u32>::new()),
            |(scratch, counters, ids), range, cancel| {
                for text in &texts[range] {
                    ids.clear();
                    encoder.encode_into(text, scratch, ids, cancel)?;
                    counters.count_ids(ids.iter().copied().map(i64::from))?;
                    // The tokens of this engine tile the text.
                    let mut end = 0;
                    let spans = ids.iter().map(|&id| {
                        let start = end;
                        end += encoder.vocabulary().token_bytes(id).map_or(0, <[u8]>::len);
                        (start, end)
                    });
                    counters.count_text(text);
                    counters.count_words(Words::new(text, encoder.classes(), char::len_utf8), spans);
                }
                Ok(())
            },
            |(scratch, counters, _)| {
                encoder.keep_scratch(scratch);
                let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                sum.add(&counters);
            },
        )?;
        self.add(&sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner));
        Ok(())
    }

    /// Count documents that were encoded elsewhere. All of them are counted, or none.
    ///
    /// # Errors
    ///
    /// `UnknownId` for an id of `vocab_size` or more, `InvalidOffsets` where ids and spans differ in number.
    pub fn add_encoded(&mut self, documents: &[EncodedDocument<'_>]) -> Result<()> {
        let classes = ClassTable::unicode_14();
        let mut sum = Self::new(self.token_counts.len());
        for document in documents {
            let EncodedDocument { text, ids, spans } = *document;
            if ids.len() != spans.len() {
                return Err(Error::InvalidOffsets {
                    reason: format!(
                        "there are {} spans for {} ids (expected one each)",
                        spans.len(),
                        ids.len()
                    ),
                });
            }
            sum.count_ids(ids.iter().copied())?;
            sum.count_text(text);
            let words = Words::new(text, &classes, |_| 1);
            if spans.is_sorted() {
                sum.count_words(words, spans.iter().copied());
            } else {
                let mut sorted = spans.to_vec();
                sorted.sort_unstable();
                sum.count_words(words, sorted);
            }
        }
        self.add(&sum);
        Ok(())
    }

    /// Add the counters of another part of the pass.
    ///
    /// # Errors
    ///
    /// `InvalidOption` where the vocabulary sizes differ.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if other.token_counts.len() != self.token_counts.len() {
            return Err(Error::InvalidOption {
                name: "vocab_size of the other counters",
                value: other.token_counts.len() as u64,
                expected: "that of these counters",
            });
        }
        self.add(other);
        Ok(())
    }

    fn add(&mut self, other: &Self) {
        self.totals.add(&other.totals);
        for (count, more) in self.token_counts.iter_mut().zip(&other.token_counts) {
            *count += more;
        }
    }

    fn count_ids(&mut self, ids: impl Iterator<Item = i64>) -> Result<()> {
        for id in ids {
            let count = usize::try_from(id).ok().and_then(|id| self.token_counts.get_mut(id));
            let Some(count) = count else {
                let max = u32::try_from(self.token_counts.len()).unwrap_or(u32::MAX).saturating_sub(1);
                return Err(Error::UnknownId { id, max });
            };
            *count += 1;
        }
        Ok(())
    }

    fn count_text(&mut self, text: &str) {
        let line_feeds = text.bytes().filter(|&byte| byte == b'\n').count();
        let open_line = !text.is_empty() && !text.ends_with('\n');
        self.totals.documents += 1;
        self.totals.bytes += text.len() as u64;
        self.totals.characters += text.chars().count() as u64;
        self.totals.lines += line_feeds as u64 + u64::from(open_line);
    }

    /// Spans ascend by their start; they may overlap (two tokens that share a character).
    fn count_words(
        &mut self,
        mut words: impl Iterator<Item = (usize, usize)>,
        spans: impl IntoIterator<Item = (usize, usize)>,
    ) {
        // The words that this token or a later one may cover: (start, end, tokens that cover it).
        let mut open: VecDeque<(usize, usize, u32)> = VecDeque::new();
        let close = |totals: &mut MetricTotals, (_, _, covering): (usize, usize, u32)| {
            totals.words += 1;
            totals.continued_words += u64::from(covering > 1);
        };
        for (start, end) in spans {
            while open.front().is_some_and(|word| word.1 <= start) {
                open.pop_front().into_iter().for_each(|word| close(&mut self.totals, word));
            }
            while open.back().is_none_or(|last| last.0 < end) {
                match words.next() {
                    // Passed over: it ends before this token starts, and no token covers it.
                    Some((first, last)) if last <= start => close(&mut self.totals, (first, last, 0)),
                    Some((first, last)) => open.push_back((first, last, 0)),
                    None => break,
                }
            }
            let mut covers = false;
            for word in open.iter_mut().take_while(|word| word.0 < end) {
                if word.1 > start && start < end {
                    word.2 = word.2.saturating_add(1);
                    covers = true;
                }
            }
            self.totals.tokens += 1;
            *(if covers { &mut self.totals.tokens_in_words } else { &mut self.totals.whitespace_tokens }) +=
                1;
        }
        for word in open {
            close(&mut self.totals, word);
        }
        self.totals.words += words.count() as u64;
    }
}

/// The words of a text as ranges, in units of `width` (bytes or characters).
struct Words<'a, W> {
    characters: std::str::Chars<'a>,
    classes: &'a ClassTable,
    width: W,
    position: usize,
}

impl<'a, W: Fn(char) -> usize> Words<'a, W> {
    fn new(text: &'a str, classes: &'a ClassTable, width: W) -> Self {
        Self { characters: text.chars(), classes, width, position: 0 }
    }
}

impl<W: Fn(char) -> usize> Iterator for Words<'_, W> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        let mut start = None;
        for character in self.characters.by_ref() {
            let before = self.position;
            self.position += (self.width)(character);
            match (self.classes.of(u32::from(character)) == Class::Space, start) {
                (true, Some(start)) => return Some((start, before)),
                (false, None) => start = Some(before),
                _ => {}
            }
        }
        start.map(|start| (start, self.position))
    }
}

#[cfg(test)]
mod tests;
