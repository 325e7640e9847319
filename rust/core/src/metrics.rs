//! Count what a tokenizer does to running text: one pass, integers that add up over documents, threads and shards.
//!
//! ```text
//!                 ┌─ tokens, lines, words by three rules ─────► row of integers ──► group of the document's hash
//!   document ─────┼─ its ids ─────────────────────────────────► how often each id occurred
//!   text, ids     ├─ its distinct words ──────────────────────► samples of the words of the smallest hashes
//!                 ├─ its bytes and tokens ────────────────────► outlying documents
//!                 └─ the text with noise, encoded again ──────► edits between the ids, in the same row
//! ```
//!
//! Every document goes to one of `NUM_GROUPS` groups by a hash of its text. Sums over all groups are the figures,
//! and resampling the groups tells how certain they are. Nothing of it depends on the order of the documents, nor on
//! how they were cut into calls, threads or shards.
//!
//! A **word** is what a rule says (`words`). A token **covers** a word when it holds at least one byte of it.
//! `tokens_in_words` are the tokens that cover a word, each counted once. A word is **continued** when two or more
//! tokens cover it.
//!
//! ```text
//! text     h e l l o _ w o r l d _ _ \n        (_ is a blank)
//! tokens   [hel][lo] [_world  ] [_ _ \n]
//! words    1: two tokens, continued; 2: one token ("Ġworld" is a token of its word)
//! ```

mod blocks;
mod columns;
mod counted_tokens;
mod documents;
mod edit_distance;
mod hashing;
mod masks;
pub mod noise;
pub mod outliers;
mod saved;
pub mod type_sample;
mod word_hashes;
mod words;

use std::sync::Mutex;

use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::id::TokenId;
use crate::instructions::Instructions;
use crate::parallel::{self, Interrupted};
use crate::unicode::{Class, ClassTable};

pub use columns::{NUM_COLUMNS, Row, column_names};
pub use documents::EncodedDocument;
pub use edit_distance::edit_distance;
pub use hashing::document_hash;
pub use words::WordRule;

use columns::{BYTES, PARALLEL_TOKENS, REFERENCE_TOKENS, TOKENS};
use documents::{Measured, OwnDocuments, measure_encoded};
use noise::{Noise, NoiseSource, Noised};
use outliers::{DocumentSize, Outliers};
use type_sample::TypeSample;

/// Documents are dealt to so many groups.
pub const NUM_GROUPS: usize = 1024;
/// The rules that words are sampled by.
pub const SAMPLED_RULES: [WordRule; 2] = [WordRule::Whitespace, WordRule::Identifiers];

/// What is counted besides what always is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MetricOptions {
    /// Ids are below this.
    pub vocab_size: usize,
    /// The id of what the model does not know.
    pub unknown_id: Option<u32>,
    /// The ids that stand for a byte of what the model does not know, ascending.
    pub byte_fallback_ids: Vec<u32>,
    /// Which noises are made.
    pub noises: Vec<Noise>,
    /// A unit is changed with the probability `noise_rate` / 2^32.
    pub noise_rate: u64,
    /// The seed of the noises.
    pub seed: u64,
}

impl MetricOptions {
    /// Nothing but what is always counted.
    #[must_use]
    pub fn new(vocab_size: usize) -> Self {
        Self {
            vocab_size,
            unknown_id: None,
            byte_fallback_ids: Vec::new(),
            noises: Vec::new(),
            noise_rate: 0,
            seed: 0,
        }
    }

    /// The noises, each with its rate and seed.
    pub fn noise_sources(&self) -> impl Iterator<Item = NoiseSource> {
        let (rate, seed) = (self.noise_rate, self.seed);
        self.noises.iter().map(move |&noise| NoiseSource { noise, rate, seed })
    }
}

/// What is known of a document besides its text.
#[derive(Debug, Clone, Copy, Default)]
pub struct DocumentFacts {
    /// Its row in the corpus.
    pub row: u64,
    /// Its tokens by a reference tokenizer.
    pub reference_tokens: u64,
    /// The tokens of the parallel text.
    pub parallel_tokens: u64,
}

/// The counters of one pass, or of a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricCounters {
    options: MetricOptions,
    groups: Vec<Row>,
    token_counts: Vec<u64>,
    type_samples: [TypeSample; SAMPLED_RULES.len()],
    outliers: Outliers,
}

impl MetricCounters {
    /// Counters at zero.
    #[must_use]
    pub fn new(options: MetricOptions) -> Self {
        Self {
            groups: vec![[0; NUM_COLUMNS]; NUM_GROUPS],
            token_counts: vec![0; options.vocab_size],
            type_samples: Default::default(),
            outliers: Outliers::default(),
            options,
        }
    }

    /// What is counted.
    #[must_use]
    pub fn options(&self) -> &MetricOptions {
        &self.options
    }

    /// The sums of each group of documents.
    #[must_use]
    pub fn groups(&self) -> &[Row] {
        &self.groups
    }

    /// The sums of all documents.
    #[must_use]
    pub fn totals(&self) -> Row {
        let mut totals = [0; NUM_COLUMNS];
        self.groups.iter().for_each(|row| add_row(&mut totals, row));
        totals
    }

    /// How often each id occurred.
    #[must_use]
    pub fn token_counts(&self) -> &[u64] {
        &self.token_counts
    }

    /// Samples of the distinct words, one for each of `SAMPLED_RULES`.
    #[must_use]
    pub fn type_samples(&self) -> &[TypeSample] {
        &self.type_samples
    }

    /// The documents whose compression lies farthest from the others'.
    #[must_use]
    pub fn outliers(&self) -> &Outliers {
        &self.outliers
    }

    /// Encode and count documents. All of them are counted, or none.
    ///
    /// # Errors
    ///
    /// `UnknownId` where the encoder has ids of `vocab_size` or more, `InvalidOffsets` where texts and facts differ
    /// in number, and those of encoding.
    pub fn add_texts(
        &mut self,
        encoder: &Encoder,
        texts: &[&str],
        facts: &[DocumentFacts],
        num_threads: usize,
        interrupted: Interrupted<'_>,
    ) -> Result<()> {
        check_same_number("facts", facts.len(), texts.len())?;
        let largest = encoder.vocabulary().max_token_id();
        if largest as usize >= self.options.vocab_size {
            return Err(Error::UnknownId { id: largest.into(), max: largest_id(self.options.vocab_size) });
        }
        let measured = if u16::try_from(largest).is_ok() {
            self.measure::<u16>(encoder, texts, num_threads, interrupted)
        } else {
            self.measure::<u32>(encoder, texts, num_threads, interrupted)
        }?;
        self.take(measured, facts);
        Ok(())
    }

    fn measure<I: TokenId>(
        &self,
        encoder: &Encoder,
        texts: &[&str],
        num_threads: usize,
        interrupted: Interrupted<'_>,
    ) -> Result<Measured> {
        let sum = Mutex::new(Measured::default());
        let rows = parallel::for_each_range(
            texts,
            num_threads,
            interrupted,
            || OwnDocuments::<'_, '_, I>::new(encoder, &self.options, &self.type_samples, num_threads),
            |documents, range, cancel| documents.measure(&texts[range], cancel),
            |documents| {
                let counted = documents.finish(encoder);
                sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner).merge(counted);
            },
        )?;
        let mut sum = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        sum.rows = rows.into_iter().flatten().collect();
        Ok(sum)
    }

    /// Count documents that were encoded elsewhere, by the classes of all their characters. All of them are counted,
    /// or none.
    ///
    /// # Errors
    ///
    /// `UnknownId` for an id of `vocab_size` or more, `InvalidOffsets` where ids and spans, or documents and facts,
    /// or noised texts and noises differ in number, `UnicodeRestNeeded` for a character without a class.
    pub fn add_encoded(
        &mut self,
        documents: &[EncodedDocument<'_>],
        facts: &[DocumentFacts],
        classes: &ClassTable,
    ) -> Result<()> {
        check_same_number("facts", facts.len(), documents.len())?;
        let measured = measure_encoded(documents, &self.options, &self.type_samples, classes)?;
        self.take(measured, facts);
        Ok(())
    }

    /// Add the counters of another part of the pass.
    ///
    /// # Errors
    ///
    /// `InvalidOption` where the options differ.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let wrong =
            |name, value| Err(Error::InvalidOption { name, value, expected: "that of these counters" });
        if other.options.vocab_size != self.options.vocab_size {
            return wrong("vocab_size of the other counters", other.options.vocab_size as u64);
        }
        if other.options.seed != self.options.seed {
            return wrong("seed of the other counters", other.options.seed);
        }
        if other.options.noise_rate != self.options.noise_rate {
            return wrong("noise_rate of the other counters", other.options.noise_rate);
        }
        if other.options != self.options {
            return wrong("number of noises of the other counters", other.options.noises.len() as u64);
        }
        for (row, more) in self.groups.iter_mut().zip(&other.groups) {
            add_row(row, more);
        }
        for (count, more) in self.token_counts.iter_mut().zip(&other.token_counts) {
            *count += more;
        }
        for (sample, more) in self.type_samples.iter_mut().zip(&other.type_samples) {
            sample.merge(more.clone());
        }
        self.outliers.merge(&other.outliers);
        Ok(())
    }

    fn take(&mut self, measured: Measured, facts: &[DocumentFacts]) {
        for ((hash, mut row), facts) in measured.rows.into_iter().zip(facts) {
            row[REFERENCE_TOKENS] = facts.reference_tokens;
            row[PARALLEL_TOKENS] = facts.parallel_tokens;
            self.outliers.meet(DocumentSize { row: facts.row, bytes: row[BYTES], tokens: row[TOKENS] });
            add_row(&mut self.groups[group_of(hash)], &row);
        }
        for (count, more) in self.token_counts.iter_mut().zip(&measured.token_counts) {
            *count += more;
        }
        for (sample, found) in self.type_samples.iter_mut().zip(measured.found_types) {
            sample.merge(found);
        }
    }
}

/// The group of a document: the leading bits of its hash.
#[allow(clippy::cast_possible_truncation)] // ten bits
fn group_of(hash: u64) -> usize {
    (hash >> (u64::BITS - NUM_GROUPS.trailing_zeros())) as usize
}

fn add_row(row: &mut Row, more: &Row) {
    for (sum, more) in row.iter_mut().zip(more) {
        *sum += more;
    }
}

fn check_same_number(what: &str, found: usize, texts: usize) -> Result<()> {
    if found == texts {
        return Ok(());
    }
    Err(Error::InvalidOffsets {
        reason: format!("there are {found} {what} for {texts} texts (expected one each)"),
    })
}

fn largest_id(vocab_size: usize) -> u32 {
    u32::try_from(vocab_size).unwrap_or(u32::MAX).saturating_sub(1)
}

/// A text with noise.
///
/// # Errors
///
/// `UnicodeRestNeeded` for a character without a class.
pub fn noised_text(source: NoiseSource, text: &str, classes: &ClassTable) -> Result<String> {
    if let Some(code_point) = unassigned(text, classes) {
        return Err(Error::UnicodeRestNeeded { code_point });
    }
    let mut noised = Noised::default();
    source.apply(Instructions::PORTABLE, text, document_hash(text.as_bytes()), classes, &mut noised);
    Ok(noised.text)
}

/// The first code point of `text` that has no class yet.
fn unassigned(text: &str, classes: &ClassTable) -> Option<u32> {
    let mut code_points = text.chars().filter(|character| !character.is_ascii()).map(u32::from);
    code_points.find(|&code_point| classes.of(code_point) == Class::Unassigned)
}

#[cfg(test)]
mod tests;
