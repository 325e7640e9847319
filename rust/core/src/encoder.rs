//! Documents to ids: split, look up, merge what is new.

use std::ops::Range;
use std::sync::{Mutex, OnceLock};

use crate::cancel::Cancel;
use crate::error::Result;
use crate::huge_pages;
use crate::id::TokenId;
use crate::instructions::Instructions;
use crate::merge::{MergeScratch, MergeTable, Merger};
use crate::parallel::{self, Interrupted};
use crate::split::Pieces;
use crate::unicode::{ClassRange, ClassTable};
use crate::vocabulary::Vocabulary;
use crate::worker::{MAX_TEXT, Worker};

/// Scratches kept for later calls: as many as cores of a large machine.
const MAX_KEPT_SCRATCHES: usize = 64;
/// Tables of one worker, unless told otherwise. Twice as much gains little, half as much loses a fifth.
pub const DEFAULT_CACHE_BYTES: usize = 12 << 20;
/// Where there are several threads, texts longer than this are shared between them.
const PART_BYTES: usize = 1 << 20;

/// A byte-level BPE encoder: immutable in what it means, shared freely between threads.
#[derive(Debug)]
pub struct Encoder {
    vocabulary: Vocabulary,
    merger: Merger,
    /// Made when `encode_plainly` is called first.
    plain_merges: OnceLock<MergeTable>,
    classes: ClassTable,
    /// The table with what Unicode 14 does not assign, once it was asked for.
    all_classes: OnceLock<ClassTable>,
    options: EncoderOptions,
    /// Made when `token_lengths` is called first.
    token_lengths: OnceLock<Vec<u32>>,
    scratches: Mutex<Vec<Scratch>>,
}

/// What changes an encoder's speed and memory, and never its ids.
#[derive(Debug, Clone, Copy)]
pub struct EncoderOptions {
    /// Which instructions its stages use.
    pub instructions: Instructions,
    /// Bytes of the tables of pieces that one worker keeps; there is a worker for each thread of a call.
    pub cache_bytes: usize,
}

impl Default for EncoderOptions {
    fn default() -> Self {
        Self { instructions: Instructions::fastest(), cache_bytes: DEFAULT_CACHE_BYTES }
    }
}

/// What one thread needs between documents: its tables and working memory, made when they are needed first.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) narrow: Option<Worker<u16>>,
    pub(crate) wide: Option<Worker<u32>>,
}

/// The ids of some documents, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded<I> {
    /// All ids.
    pub ids: Vec<I>,
    /// Document `d` has `ids[offsets[d]..offsets[d + 1]]`.
    pub offsets: Vec<i64>,
}

impl Encoder {
    /// Read a `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// `UnsupportedTokenizer` where this engine does not cover it, `InvalidTokenizer` where it cannot be read.
    pub fn from_json(json: &str) -> Result<Self> {
        Ok(Self::new(Vocabulary::from_json(json)?))
    }

    /// As `from_json`, with other options than the default ones.
    pub fn from_json_with_options(json: &str, options: EncoderOptions) -> Result<Self> {
        Ok(Self::with_options(Vocabulary::from_json(json)?, options))
    }

    /// An encoder of a vocabulary that is already read.
    #[must_use]
    pub fn new(vocabulary: Vocabulary) -> Self {
        Self::with_options(vocabulary, EncoderOptions::default())
    }

    /// As `new`, with other options than the default ones.
    #[must_use]
    pub fn with_options(vocabulary: Vocabulary, options: EncoderOptions) -> Self {
        Self {
            merger: Merger::new(&vocabulary),
            plain_merges: OnceLock::new(),
            vocabulary,
            classes: ClassTable::unicode_14(),
            all_classes: OnceLock::new(),
            options,
            token_lengths: OnceLock::new(),
            scratches: Mutex::new(Vec::new()),
        }
    }

    /// Its options.
    #[must_use]
    pub fn options(&self) -> EncoderOptions {
        self.options
    }

    /// The vocabulary it was made from.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// How many bytes each id stands for, by id; 0 for one that no token has.
    #[must_use]
    pub fn token_lengths(&self) -> &[u32] {
        self.token_lengths.get_or_init(|| {
            let length = |id| self.vocabulary.token_bytes(id).map_or(0, <[u8]>::len);
            (0..=self.vocabulary.max_token_id())
                .map(|id| u32::try_from(length(id)).unwrap_or(u32::MAX))
                .collect()
        })
    }

    /// Hand in the classes of what Unicode 14 does not assign, after `UnicodeRestNeeded`. The first one counts.
    pub fn set_unicode_rest(&self, rest: &[ClassRange]) {
        self.all_classes.get_or_init(|| ClassTable::with_rest(rest));
    }

    /// The classes of code points, as far as they are known.
    #[must_use]
    pub fn classes(&self) -> &ClassTable {
        self.all_classes.get().unwrap_or(&self.classes)
    }

    /// Append the ids of `text` to `ids`. On an error `ids` holds a part of them.
    pub fn encode_into<I: TokenId>(
        &self,
        text: &str,
        scratch: &mut Scratch,
        ids: &mut Vec<I>,
        cancel: &Cancel,
    ) -> Result<()> {
        let EncoderOptions { instructions, cache_bytes } = self.options;
        let worker = I::worker(scratch).get_or_insert_with(|| Worker::new(instructions, cache_bytes));
        for part in parts(text, MAX_TEXT / 2) {
            if part.len() <= MAX_TEXT {
                worker.encode_into(&self.merger, self.classes(), part, ids, cancel)?;
            } else {
                // A gigabyte without a place to cut: mostly one piece, whose ids take long in any way.
                self.encode_plainly(part, ids, cancel)?;
            }
        }
        Ok(())
    }

    /// The meaning of `encode_into`, without masks, tables and vectors: each piece of the plain scanner is merged by
    /// the general merger. Tests compare the two.
    pub fn encode_plainly<I: TokenId>(&self, text: &str, ids: &mut Vec<I>, cancel: &Cancel) -> Result<()> {
        let merges = self.plain_merges.get_or_init(|| MergeTable::new(&self.vocabulary));
        let mut scratch = MergeScratch::default();
        let mut pieces = Pieces::new(text, self.classes());
        while let Some((start, end)) = pieces.next_piece()? {
            cancel.check()?;
            merges.merge_into(&text.as_bytes()[start..end], &mut scratch, ids, cancel)?;
        }
        Ok(())
    }

    /// Encode documents on up to `num_threads` threads. `interrupted` is asked now and then on the calling
    /// thread, while workers run; once it says yes, the call ends with `Cancelled`.
    pub fn encode_batch<I: TokenId>(
        &self,
        texts: &[&str],
        num_threads: usize,
        interrupted: Interrupted<'_>,
    ) -> Result<Encoded<I>> {
        // One huge document must not leave the other threads idle.
        let part_bytes = if num_threads > 1 { PART_BYTES } else { usize::MAX };
        let mut all_parts = Vec::with_capacity(texts.len());
        let mut parts_of = Vec::with_capacity(texts.len());
        for text in texts {
            let before = all_parts.len();
            all_parts.extend(parts(text, part_bytes));
            parts_of.push(all_parts.len() - before);
        }
        let done = self.for_each_range(&all_parts, num_threads, interrupted, |scratch, range, cancel| {
            let texts = &all_parts[range];
            let mut ids = Vec::new();
            // Enough for most text; more is made room for on the way.
            huge_pages::reserve(&mut ids, texts.iter().map(|text| text.len()).sum::<usize>() / 3);
            let mut lengths = Vec::with_capacity(texts.len());
            for text in texts {
                let before = ids.len();
                self.encode_into::<I>(text, scratch, &mut ids, cancel)?;
                lengths.push(ids.len() - before);
            }
            Ok((ids, lengths))
        })?;
        Ok(join(done, &parts_of))
    }

    /// Run `work` over ranges of documents, each worker with a scratch of its own; results in order.
    pub(crate) fn for_each_range<R: Send>(
        &self,
        texts: &[&str],
        num_threads: usize,
        interrupted: Interrupted<'_>,
        work: impl Fn(&mut Scratch, Range<usize>, &Cancel) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        parallel::for_each_range(
            texts,
            num_threads,
            interrupted,
            || self.take_scratch(),
            work,
            |scratch| self.keep_scratch(scratch),
        )
    }

    /// A scratch from earlier calls, or a new one. Never waits: after a fork, a lock that another thread held
    /// stays locked for ever in the child.
    #[must_use]
    pub fn take_scratch(&self) -> Scratch {
        let kept = self.scratches.try_lock().ok().and_then(|mut kept| kept.pop());
        kept.unwrap_or_default()
    }

    /// Keep a scratch, with what its cache has learned, for later calls.
    pub fn keep_scratch(&self, scratch: Scratch) {
        if let Ok(mut kept) = self.scratches.try_lock()
            && kept.len() < MAX_KEPT_SCRATCHES
        {
            kept.push(scratch);
        }
    }
}

/// A text in parts of about `part_bytes`, cut where the parts encode alone as they do together: before white space that
/// has none before it. There a piece starts whatever else is around, and no piece before looks that far.
fn parts(text: &str, part_bytes: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let bytes = text.as_bytes();
        let is_cut = |position: &usize| {
            let (before, after) = (bytes[position - 1], bytes[*position]);
            before.is_ascii_graphic() && (after == b' ' || after == b'\n')
        };
        let Some(cut) = (part_bytes..bytes.len()).find(is_cut) else { return Some(text) };
        let (part, after) = text.split_at(cut);
        rest = Some(after);
        Some(part)
    })
}

/// One array from the workers' parts; each is freed once it is copied. Document `d` has `parts_of[d]` of the lengths.
fn join<I: TokenId>(mut done: Vec<(Vec<I>, Vec<usize>)>, parts_of: &[usize]) -> Encoded<I> {
    let mut offsets = Vec::with_capacity(parts_of.len() + 1);
    let mut end = 0_i64;
    offsets.push(end);
    let mut lengths = done.iter().flat_map(|(_, lengths)| lengths);
    for &num_parts in parts_of {
        let length: usize = lengths.by_ref().take(num_parts).sum();
        end += i64::try_from(length).unwrap_or(i64::MAX);
        offsets.push(end);
    }
    if done.len() == 1
        && let Some((ids, _)) = done.pop()
    {
        return Encoded { ids, offsets };
    }
    let mut ids = Vec::new();
    huge_pages::reserve(&mut ids, done.iter().map(|(ids, _)| ids.len()).sum());
    for (part, _) in done {
        ids.extend_from_slice(&part);
    }
    Encoded { ids, offsets }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin_tests;
