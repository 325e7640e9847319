//! One document at a time: of the own engine, and of what was encoded elsewhere.

#![allow(clippy::inline_always)] // what `blocks` calls for each word

use std::collections::VecDeque;

use super::blocks::{TokenStarts, Words, count_blocks};
use super::columns::{
    BYTE_FALLBACK_TOKENS, BYTES, CHARACTERS, CODE_LINES, DOCUMENTS, LINES, NUM_COLUMNS, NoiseColumns, Row,
    TOKENS, UNKNOWN_TOKENS, WordColumns,
};
use super::counted_tokens::{ADD_UP_AFTER, CountedTokens};
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
use crate::split::starts::Starts;
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
        for (found, more) in self.found_types.iter_mut().zip(other.found_types) {
            found.merge(more);
        }
    }
}

/// The samples of one worker, by rule.
struct TypeSamplers<'t>([TypeSampler<'t>; SAMPLED_RULES.len()]);

impl TypeSamplers<'_> {
    fn new(samples: &[TypeSample; SAMPLED_RULES.len()]) -> Self {
        Self(samples.each_ref().map(TypeSampler::new))
    }

    fn into_found(self) -> Vec<TypeSample> {
        self.0.into_iter().map(TypeSampler::into_found).collect()
    }
}

/// The words of a clean text.
struct AllWords<'s, 't> {
    instructions: Instructions,
    samplers: &'s mut TypeSamplers<'t>,
    text: &'t str,
}

impl Words for AllWords<'_, '_> {
    const ALL_RULES: bool = true;
    #[inline(always)]
    fn wants(rule: WordRule) -> bool {
        // The rules that are sampled are the first ones.
        (rule as usize) < SAMPLED_RULES.len()
    }
    fn meet(&mut self, rule: WordRule, base: usize, edges: &[u32]) {
        self.samplers.0[rule as usize].meet_all(self.instructions, self.text, base, edges);
    }
    fn meet_one(&mut self, rule: WordRule, start: usize, end: usize) {
        self.samplers.0[rule as usize].meet(self.text, start, end);
    }
}

/// The words of a text with noise.
struct CountedWords;

impl Words for CountedWords {
    const ALL_RULES: bool = false;
    #[inline(always)]
    fn wants(_: WordRule) -> bool {
        false
    }
    fn meet(&mut self, _: WordRule, _: usize, _: &[u32]) {}
    fn meet_one(&mut self, _: WordRule, _: usize, _: usize) {}
}

/// Short documents are encoded until they have so many tokens, and counted then: both have tables of their own, and
/// should not drive each other's out for each of them.
const TOKENS_AT_ONCE: usize = if cfg!(test) { 10 } else { 1 << 16 };

/// What one worker needs to measure documents of the own engine.
pub(super) struct OwnDocuments<'a, 't, I> {
    encoder: &'a Encoder,
    instructions: Instructions,
    noise_sources: Vec<NoiseSource>,
    samplers: TypeSamplers<'t>,
    tokens: CountedTokens,
    /// Tokens since they were added up.
    num_counted: usize,
    token_counts: Vec<u64>,
    scratch: Scratch,
    /// Where the ids of each document end that was encoded and is to be counted.
    ends: Vec<usize>,
    starts: TokenStarts,
    noised_starts: TokenStarts,
    edges: Starts,
    /// Tokens before the end of each stretch, of the text and of its noised form.
    stretch_ends: [Vec<usize>; 2],
    noised: Noised,
    noised_ids: Vec<I>,
}

impl<'a, 't, I: TokenId> OwnDocuments<'a, 't, I> {
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
            tokens: CountedTokens::new(encoder.token_lengths()),
            num_counted: 0,
            token_counts: vec![0; options.vocab_size],
            scratch: encoder.take_scratch(num_threads),
            ends: Vec::new(),
            starts: TokenStarts::default(),
            noised_starts: TokenStarts::default(),
            edges: Starts::default(),
            stretch_ends: Default::default(),
            noised: Noised::default(),
            noised_ids: Vec::new(),
        }
    }

    pub(super) fn finish(mut self, encoder: &Encoder) -> Measured {
        self.tokens.add_up(&mut self.token_counts);
        encoder.keep_scratch(self.scratch);
        Measured {
            rows: Vec::new(),
            token_counts: self.token_counts,
            found_types: self.samplers.into_found(),
        }
    }

    /// Count documents; gives hash and row of each.
    pub(super) fn measure(&mut self, texts: &[&'t str], cancel: &Cancel) -> Result<Vec<(u64, Row)>> {
        let mut rows = Vec::with_capacity(texts.len());
        let mut ids = Vec::new();
        while rows.len() < texts.len() {
            ids.clear();
            self.ends.clear();
            for text in &texts[rows.len()..] {
                self.encoder.encode_into(text, &mut self.scratch, &mut ids, cancel)?;
                self.ends.push(ids.len());
                if ids.len() >= TOKENS_AT_ONCE {
                    break;
                }
            }
            let mut start = 0;
            for (number, text) in (0..self.ends.len()).zip(&texts[rows.len()..]) {
                let end = self.ends[number];
                rows.push(self.measure_document(text, &ids[start..end], cancel)?);
                start = end;
            }
        }
        Ok(rows)
    }

    fn measure_document(&mut self, text: &'t str, ids: &[I], cancel: &Cancel) -> Result<(u64, Row)> {
        let lengths = self.encoder.token_lengths();
        let Self { tokens, token_counts, num_counted, .. } = self;
        // The tokens of this engine tile the text.
        self.starts.mark(self.instructions, text.len(), |marks| {
            let mut place = 0;
            for ids in ids.chunks(ADD_UP_AFTER) {
                *num_counted += ids.len();
                if *num_counted > ADD_UP_AFTER {
                    tokens.add_up(token_counts);
                    *num_counted = ids.len();
                }
                place = tokens.count(ids, lengths, marks, place);
            }
        });
        let Self { encoder, instructions, samplers, scratch, starts, noised_starts, edges, noised, .. } =
            self;
        let mut row = size_of(text);
        row[TOKENS] = ids.len() as u64;
        let classes = encoder.classes();
        let mut words = AllWords { instructions: *instructions, samplers, text };
        count_blocks(*instructions, text, starts, classes, edges, &mut row, &mut words);
        let noised_ids = &mut self.noised_ids;
        let tokens = &self.tokens;
        let length_of = |id: &I| tokens.length(id.to_u32() as usize, lengths);
        let hash = document_hash(text.as_bytes());
        for source in &self.noise_sources {
            source.apply(*instructions, text, hash, classes, noised);
            noised_ids.clear();
            encoder.encode_into(&noised.text, scratch, noised_ids, cancel)?;
            noised_starts.mark(*instructions, noised.text.len(), |marks| {
                let mut place = 0;
                for id in noised_ids.iter() {
                    marks[place] = 1;
                    place += length_of(id);
                }
            });
            let mut noised_row = [0; NUM_COLUMNS];
            count_blocks(
                *instructions,
                &noised.text,
                noised_starts,
                classes,
                edges,
                &mut noised_row,
                &mut CountedWords,
            );
            noised_row[TOKENS] = noised_ids.len() as u64;
            let stretches = &noised.stretches;
            let [ends, noised_ends] = &mut self.stretch_ends;
            starts.num_before(*instructions, stretches.iter().map(|stretch| stretch.0), ends);
            noised_starts.num_before(*instructions, stretches.iter().map(|stretch| stretch.1), noised_ends);
            let ends = ends.iter().copied().zip(noised_ends.iter().copied());
            count_noised(*source, &noised_row, ids, noised_ids, ends, &mut row);
        }
        Ok((hash, row))
    }
}

fn size_of(text: &str) -> Row {
    let mut row = [0; NUM_COLUMNS];
    row[DOCUMENTS] = 1;
    row[BYTES] = text.len() as u64;
    row[CHARACTERS] = text.chars().count() as u64;
    row
}

/// Compare the ids of a text and of its noised form, stretch by stretch: with how many tokens of each start before the
/// end of a stretch, for a token belongs to the one it starts in.
fn count_noised<T: Copy + Eq>(
    source: NoiseSource,
    noised_row: &Row,
    clean: &[T],
    noised: &[T],
    ends: impl Iterator<Item = (usize, usize)>,
    row: &mut Row,
) {
    let columns = NoiseColumns::of(source.noise);
    let counted = WordColumns::of(WordRule::Whitespace);
    row[columns.words] = noised_row[counted.words];
    row[columns.tokens_in_words] = noised_row[counted.tokens_in_words];
    row[columns.tokens] = noised_row[TOKENS];
    let mut count = |left: &[T], right: &[T]| {
        row[columns.longer] += left.len().max(right.len()) as u64;
        if left != right {
            row[columns.edits] += edit_distance(left, right) as u64;
        }
    };
    let (mut start, mut noised_start) = (0, 0);
    let mut ends = ends.peekable();
    while let Some((mut end, mut noised_end)) = ends.next() {
        if ends.peek().is_none() {
            // What starts at the end of the text (tokens of no bytes) belongs to the last stretch.
            (end, noised_end) = (clean.len(), noised.len());
        }
        count(&clean[start..end], &noised[noised_start..noised_end]);
        (start, noised_start) = (end, noised_end);
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
            source.apply(Instructions::PORTABLE, document.text, hash, classes, &mut noised);
            if noised.text != other.text {
                return Err(Error::InvalidOffsets {
                    reason: "a noised text is another one than the noise makes (expected the same)"
                        .to_owned(),
                });
            }
            let noised_row = encoded_row(other, options, classes, None)?;
            let ends = num_before(document, noised.stretches.iter().map(|stretch| stretch.0));
            let noised_ends = num_before(other, noised.stretches.iter().map(|stretch| stretch.1));
            count_noised(source, &noised_row, document.ids, other.ids, ends.zip(noised_ends), &mut row);
        }
        rows.push((hash, row));
    }
    Ok(Measured { rows, token_counts, found_types: found_types.into_found() })
}

fn encoded_row<'t>(
    document: &EncodedDocument<'t>,
    options: &MetricOptions,
    classes: &ClassTable,
    mut samplers: Option<&mut TypeSamplers<'t>>,
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

/// How many tokens start before each of some places in bytes, which ascend; a token that starts before the one before it
/// counts as starting there.
fn num_before(
    document: &EncodedDocument<'_>,
    places: impl Iterator<Item = usize>,
) -> impl Iterator<Item = usize> {
    let mut bytes = document.text.char_indices().map(|(place, _)| place);
    let (mut character, mut byte) = (0, bytes.next().unwrap_or(0));
    let starts = document.spans.iter().map(move |&(start, _)| {
        while character < start {
            character += 1;
            byte = bytes.next().unwrap_or(document.text.len());
        }
        byte
    });
    let mut starts = starts.peekable();
    let mut num_tokens = 0;
    places.map(move |place| {
        while starts.next_if(|&start| start < place).is_some() {
            num_tokens += 1;
        }
        num_tokens
    })
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
