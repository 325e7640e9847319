//! One document at a time: of the own engine, and of what was encoded elsewhere.

#![allow(clippy::inline_always)] // what `blocks` calls for each word

use std::collections::VecDeque;

use super::blocks::{TokenStarts, Words, count_blocks};
use super::columns::{
    BYTE_FALLBACK_TOKENS, BYTES, CHARACTERS, CODE_LINES, DOCUMENTS, LINES, NUM_COLUMNS, NoiseColumns, Row,
    TOKENS, UNKNOWN_TOKENS, WordColumns,
};
use super::edit_distance::edit_distance;
use super::hashing::document_hash;
use super::noise::{NoiseSource, Noised};
use super::type_sample::{TypeSample, TypeSampler};
use super::words::{WordRule, words};
use super::{MetricOptions, SAMPLED_RULES, largest_id, unassigned};
use crate::cancel::Cancel;
use crate::encoder::{Encoder, Scratch};
use crate::error::{Error, Result};
use crate::id::TokenId;
use crate::instructions::Instructions;
use crate::unicode::{Class, ClassTable};

/// What was counted of some documents.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// Hash and row of each document, in order; facts from outside are 0.
    pub(super) rows: Vec<(u64, Row)>,
    pub(super) token_counts: Vec<u64>,
    pub(super) found_types: Vec<TypeSample>,
}

impl Measured {
    /// Add what another worker counted, rows apart.
    pub(super) fn merge(&mut self, other: Self) {
        if self.token_counts.is_empty() {
            *self = other;
            return;
        }
        for (count, more) in self.token_counts.iter_mut().zip(other.token_counts) {
            *count += more;
        }
        for (found, more) in self.found_types.iter_mut().zip(&other.found_types) {
            found.merge(more);
        }
    }
}

/// The samples of one worker, by rule.
struct TypeSamplers([TypeSampler; SAMPLED_RULES.len()]);

impl TypeSamplers {
    fn new(samples: &[TypeSample; SAMPLED_RULES.len()]) -> Self {
        Self(samples.each_ref().map(TypeSampler::new))
    }

    fn into_found(self) -> Vec<TypeSample> {
        self.0.into_iter().map(TypeSampler::into_found).collect()
    }
}

/// The words of a clean text.
struct AllWords<'s> {
    samplers: &'s mut TypeSamplers,
    text: &'s str,
}

impl Words for AllWords<'_> {
    #[inline(always)]
    fn counts(_: WordRule) -> bool {
        true
    }
    #[inline(always)]
    fn meet(&mut self, rule: WordRule, start: usize, end: usize) {
        // The rules that are sampled are the first ones.
        if let Some(sampler) = self.samplers.0.get_mut(rule as usize) {
            sampler.meet(self.text, start, end);
        }
    }
}

/// The words of a text with noise.
struct CountedWords;

impl Words for CountedWords {
    #[inline(always)]
    fn counts(rule: WordRule) -> bool {
        rule == WordRule::Whitespace
    }
    #[inline(always)]
    fn meet(&mut self, _: WordRule, _: usize, _: usize) {}
}

/// What one worker needs to measure documents of the own engine.
pub(super) struct OwnDocuments<'a, I> {
    encoder: &'a Encoder,
    instructions: Instructions,
    noise_sources: Vec<NoiseSource>,
    samplers: TypeSamplers,
    token_counts: Vec<u64>,
    scratch: Scratch,
    ids: Vec<I>,
    starts: TokenStarts,
    noised: Noised,
    noised_ids: Vec<I>,
}

impl<'a, I: TokenId> OwnDocuments<'a, I> {
    pub(super) fn new(
        encoder: &'a Encoder,
        options: &'a MetricOptions,
        samples: &[TypeSample; SAMPLED_RULES.len()],
        num_threads: usize,
    ) -> Self {
        Self {
            encoder,
            instructions: encoder.options().instructions,
            noise_sources: options.noise_sources().collect(),
            samplers: TypeSamplers::new(samples),
            token_counts: vec![0; options.vocab_size],
            scratch: encoder.take_scratch(num_threads),
            ids: Vec::new(),
            starts: TokenStarts::default(),
            noised: Noised::default(),
            noised_ids: Vec::new(),
        }
    }

    pub(super) fn finish(self, encoder: &Encoder) -> Measured {
        encoder.keep_scratch(self.scratch);
        Measured {
            rows: Vec::new(),
            token_counts: self.token_counts,
            found_types: self.samplers.into_found(),
        }
    }

    pub(super) fn measure(&mut self, text: &str, cancel: &Cancel) -> Result<(u64, Row)> {
        let Self { encoder, instructions, samplers, scratch, ids, starts, noised, noised_ids, .. } = self;
        let lengths = encoder.token_lengths();
        let length_of = |id: &I| lengths[id.to_u32() as usize] as usize;
        ids.clear();
        encoder.encode_into(text, scratch, ids, cancel)?;
        // The tokens of this engine tile the text.
        starts.set(text.len(), ids.iter().map(length_of));
        for id in ids.iter() {
            self.token_counts[id.to_u32() as usize] += 1;
        }
        let mut row = size_of(text);
        row[TOKENS] = ids.len() as u64;
        let classes = encoder.classes();
        count_blocks(*instructions, text, starts, classes, &mut row, &mut AllWords { samplers, text });
        let hash = document_hash(text.as_bytes());
        for source in &self.noise_sources {
            source.apply(text, hash, classes, noised);
            noised_ids.clear();
            encoder.encode_into(&noised.text, scratch, noised_ids, cancel)?;
            starts.set(noised.text.len(), noised_ids.iter().map(length_of));
            let mut noised_row = [0; NUM_COLUMNS];
            count_blocks(*instructions, &noised.text, starts, classes, &mut noised_row, &mut CountedWords);
            noised_row[TOKENS] = noised_ids.len() as u64;
            let clean = with_starts(ids.iter().map(|id| (id.to_u32(), length_of(id))));
            let other = with_starts(noised_ids.iter().map(|id| (id.to_u32(), length_of(id))));
            count_noised(*source, &noised_row, &noised.stretches, clean, other, &mut row);
        }
        Ok((hash, row))
    }
}

fn with_starts(tokens: impl Iterator<Item = (u32, usize)>) -> impl Iterator<Item = (u32, usize)> {
    let mut end = 0;
    tokens.map(move |(id, length)| {
        end += length;
        (id, end - length)
    })
}

fn size_of(text: &str) -> Row {
    let mut row = [0; NUM_COLUMNS];
    row[DOCUMENTS] = 1;
    row[BYTES] = text.len() as u64;
    row[CHARACTERS] = text.chars().count() as u64;
    row
}

/// Compare the ids of a text and of its noised form, stretch by stretch; a token belongs to the stretch it starts in.
fn count_noised(
    source: NoiseSource,
    noised_row: &Row,
    stretches: &[(usize, usize)],
    clean: impl Iterator<Item = (u32, usize)>,
    noised: impl Iterator<Item = (u32, usize)>,
    row: &mut Row,
) {
    let columns = NoiseColumns::of(source.noise);
    let counted = WordColumns::of(WordRule::Whitespace);
    row[columns.words] = noised_row[counted.words];
    row[columns.tokens_in_words] = noised_row[counted.tokens_in_words];
    row[columns.tokens] = noised_row[TOKENS];
    let (mut clean, mut noised) = (clean.peekable(), noised.peekable());
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let last = stretches.len().saturating_sub(1);
    for (number, &(clean_end, noised_end)) in stretches.iter().enumerate() {
        left.clear();
        right.clear();
        // What starts at the end of the text (tokens of no bytes) belongs to the last stretch.
        while let Some((id, _)) = clean.next_if(|&(_, start)| start < clean_end || number == last) {
            left.push(id);
        }
        while let Some((id, _)) = noised.next_if(|&(_, start)| start < noised_end || number == last) {
            right.push(id);
        }
        row[columns.longer] += left.len().max(right.len()) as u64;
        row[columns.edits] += edit_distance(&left, &right) as u64;
    }
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
    /// Its forms with noise, in the order of the options; they have none themselves.
    pub noised: &'a [EncodedDocument<'a>],
}

pub(super) fn measure_encoded(
    documents: &[EncodedDocument<'_>],
    options: &MetricOptions,
    samples: &[TypeSample; SAMPLED_RULES.len()],
    classes: &ClassTable,
) -> Result<Measured> {
    let mut found_types = TypeSamplers::new(samples);
    let mut token_counts = vec![0; options.vocab_size];
    let mut rows = Vec::with_capacity(documents.len());
    let mut noised = Noised::default();
    for document in documents {
        let hash = document_hash(document.text.as_bytes());
        super::check_same_number("noised texts", document.noised.len(), options.noises.len())?;
        let mut row = encoded_row(document, options, classes, Some(&mut found_types))?;
        for &id in document.ids {
            // Checked by `encoded_row`.
            token_counts[usize::try_from(id).unwrap_or_default()] += 1;
            let id = u32::try_from(id).unwrap_or_default();
            row[UNKNOWN_TOKENS] += u64::from(Some(id) == options.unknown_id);
            row[BYTE_FALLBACK_TOKENS] += u64::from(options.byte_fallback_ids.binary_search(&id).is_ok());
        }
        for (source, other) in options.noise_sources().zip(document.noised) {
            source.apply(document.text, hash, classes, &mut noised);
            if noised.text != other.text {
                return Err(Error::InvalidOffsets {
                    reason: "a noised text is another one than the noise makes (expected the same)"
                        .to_owned(),
                });
            }
            let noised_row = encoded_row(other, options, classes, None)?;
            let (clean, other) = (token_places(document), token_places(other));
            count_noised(
                source,
                &noised_row,
                &noised.stretches,
                clean.into_iter(),
                other.into_iter(),
                &mut row,
            );
        }
        rows.push((hash, row));
    }
    Ok(Measured { rows, token_counts, found_types: found_types.into_found() })
}

fn encoded_row(
    document: &EncodedDocument<'_>,
    options: &MetricOptions,
    classes: &ClassTable,
    mut samplers: Option<&mut TypeSamplers>,
) -> Result<Row> {
    let EncodedDocument { text, ids, spans, .. } = *document;
    if ids.len() != spans.len() {
        let reason = format!("there are {} spans for {} ids (expected one each)", spans.len(), ids.len());
        return Err(Error::InvalidOffsets { reason });
    }
    let is_known = |&id: &i64| usize::try_from(id).is_ok_and(|id| id < options.vocab_size);
    if let Some(&id) = ids.iter().find(|id| !is_known(id)) {
        return Err(Error::UnknownId { id, max: largest_id(options.vocab_size) });
    }
    if let Some(code_point) = unassigned(text, classes) {
        return Err(Error::UnicodeRestNeeded { code_point });
    }
    let mut row = size_of(text);
    row[TOKENS] = ids.len() as u64;
    for line in text.split_inclusive('\n') {
        let is_white = line.chars().all(|character| classes.of(character.into()) == Class::Space);
        row[LINES] += 1;
        row[CODE_LINES] += u64::from(!is_white);
    }
    let mut ascending = spans.to_vec();
    ascending.sort_unstable();
    for rule in WordRule::ALL {
        let found = words(text, rule, classes).inspect(|word| {
            if let Some(sampler) = samplers.as_mut().and_then(|samplers| samplers.0.get_mut(rule as usize)) {
                sampler.meet(text, word.bytes.start, word.bytes.end);
            }
        });
        let found = found.map(|word| (word.characters.start, word.characters.end));
        count_covered(found, &ascending, WordColumns::of(rule), &mut row);
    }
    Ok(row)
}

/// The ids, each with the byte where it starts; a token that starts before the one before it counts as starting there.
fn token_places(document: &EncodedDocument<'_>) -> Vec<(u32, usize)> {
    let mut bytes = document.text.char_indices().map(|(place, _)| place);
    let (mut character, mut place) = (0, bytes.next().unwrap_or(0));
    let mut places = Vec::with_capacity(document.ids.len());
    for (&id, &(start, _)) in document.ids.iter().zip(document.spans) {
        while character < start {
            character += 1;
            place = bytes.next().unwrap_or(document.text.len());
        }
        places.push((u32::try_from(id).unwrap_or_default(), place));
    }
    places
}

/// Count words that tokens cover. Spans ascend by their start; they may overlap (two tokens that share a character).
fn count_covered(
    mut words: impl Iterator<Item = (usize, usize)>,
    spans: &[(usize, usize)],
    columns: WordColumns,
    row: &mut Row,
) {
    // The words that this token or a later one may cover: (start, end, tokens that cover it).
    let mut open: VecDeque<(usize, usize, u32)> = VecDeque::new();
    let close = |row: &mut Row, covering: u32| {
        row[columns.words] += 1;
        row[columns.continued_words] += u64::from(covering > 1);
    };
    for &(start, end) in spans {
        while open.front().is_some_and(|word| word.1 <= start) {
            open.pop_front().into_iter().for_each(|word| close(row, word.2));
        }
        while open.back().is_none_or(|last| last.0 < end) {
            match words.next() {
                // Passed over: it ends before this token starts, and no token covers it.
                Some((_, last)) if last <= start => close(row, 0),
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
        row[columns.tokens_in_words] += u64::from(covers);
    }
    for word in open {
        close(row, word.2);
    }
    words.for_each(|_| close(row, 0));
}
