//! Documents to ids: split, look up, merge what is new.

mod batch;
mod cutter;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

pub use batch::Encoded;

use cutter::parts;

use crate::cancel::Cancel;
use crate::error::Result;
use crate::id::TokenId;
use crate::instructions::Instructions;
use crate::merge::cuts::Cuts;
use crate::merge::{MergeScratch, MergeTable, Merger};
use crate::preparation::Section;
use crate::split::{Pieces, Splitting};
use crate::unicode::{Class, ClassTable};
use crate::vocabulary::Vocabulary;
use crate::worker::{MAX_TEXT, Worker};

/// Tables of all workers together, unless told otherwise: as much as 16 of them can use, and enough for 64.
pub const DEFAULT_CACHE_BYTES: usize = 16 * MAX_WORKER_BYTES;
/// Tables of one worker at most. Twice as much gains nothing, a quarter loses a sixth.
const MAX_WORKER_BYTES: usize = 12 << 20;

/// A byte-level BPE encoder: immutable in what it means, shared freely between threads.
#[derive(Debug)]
pub struct Encoder {
    vocabulary: Vocabulary,
    merger: Merger,
    /// Where no pattern cuts texts.
    cuts: Option<Arc<Cuts>>,
    /// Made when `encode_plainly` is called first.
    plain_merges: OnceLock<MergeTable>,
    classes: Arc<ClassTable>,
    options: EncoderOptions,
    /// As in the options, until it is set anew.
    cache_bytes: AtomicUsize,
    /// Made when `token_lengths` is called first.
    token_lengths: OnceLock<Vec<u32>>,
    scratches: Mutex<Vec<Scratch>>,
}

/// What changes an encoder's speed and memory, and never its ids.
#[derive(Debug, Clone, Copy)]
pub struct EncoderOptions {
    /// Which instructions its stages use.
    pub instructions: Instructions,
    /// Bytes of the tables of pieces: those of all threads of a call, and those kept between calls.
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
    /// What its tables may take; 0 where nothing was said.
    cache_bytes: usize,
    // In boxes, as each has kilobytes of masks: a scratch is taken and kept again with every call.
    pub(crate) narrow: Option<Box<Worker<u16>>>,
    pub(crate) wide: Option<Box<Worker<u32>>>,
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
            cuts: (vocabulary.splitting() == Splitting::Whole).then(|| Arc::new(Cuts::new(&vocabulary))),
            plain_merges: OnceLock::new(),
            vocabulary,
            classes: Arc::new(ClassTable::unicode_14()),
            options,
            cache_bytes: AtomicUsize::new(options.cache_bytes),
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

    /// Take a table of classes that others have, too: what one learns, all know.
    pub fn share_classes(&mut self, classes: Arc<ClassTable>) {
        self.classes = classes;
    }

    /// Hand in the classes of code points that Unicode 14 does not assign, after `UnicodeRestNeeded`.
    pub fn learn_classes(&self, classes: &[(u32, Class)]) {
        self.classes.learn(classes);
    }

    /// Ask nobody: what Unicode 14 does not assign is neither letter nor number nor white space.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn take_the_rest_for_others(&mut self) {
        self.classes = Arc::new(ClassTable::unicode_14_and_others());
    }

    /// The classes of code points, as far as they are known.
    #[must_use]
    pub fn classes(&self) -> &ClassTable {
        &self.classes
    }

    /// Append the ids of `text` to `ids`. On an error `ids` holds a part of them.
    pub fn encode_into<I: TokenId>(
        &self,
        text: &str,
        scratch: &mut Scratch,
        ids: &mut Vec<I>,
        cancel: &Cancel,
    ) -> Result<()> {
        let preparation = self.vocabulary.preparation();
        if preparation.is_nothing() {
            return self.encode_prepared(text, scratch, ids, cancel);
        }
        preparation.for_each_section(text, |section| match section {
            Section::Text(text) => self.encode_prepared(&text, scratch, ids, cancel),
            Section::Token(id) => {
                ids.push(I::from_u32(id));
                Ok(())
            }
        })
    }

    /// Call `work` with the ids of one short text. They lie in memory that is used again: a call with a few bytes costs
    /// about as much as one allocation.
    pub fn with_short_ids<I: TokenId, R>(&self, text: &str, work: impl FnOnce(&[I]) -> R) -> Result<R> {
        let mut scratch = self.take_scratch(1);
        let mut ids = std::mem::take(&mut self.worker::<I>(&mut scratch).short_ids);
        ids.clear();
        let result = self.encode_into(text, &mut scratch, &mut ids, &Cancel::default());
        let result = result.map(|()| work(&ids));
        self.worker(&mut scratch).short_ids = ids;
        self.keep_scratch(scratch);
        result
    }

    /// Append the ids of a text that is only cut into pieces.
    fn encode_prepared<I: TokenId>(
        &self,
        text: &str,
        scratch: &mut Scratch,
        ids: &mut Vec<I>,
        cancel: &Cancel,
    ) -> Result<()> {
        let worker = self.worker(scratch);
        let part_bytes = if self.cuts.is_none() { MAX_TEXT / 2 } else { text.len() };
        for part in parts(text, part_bytes) {
            if part.len() <= MAX_TEXT {
                worker.encode_into(&self.merger, self.classes(), part, ids, cancel)?;
            } else {
                // A gigabyte without a place to cut: mostly one piece, whose ids take long in any way.
                self.encode_pieces_plainly(part, ids, cancel)?;
            }
        }
        Ok(())
    }

    /// The worker of a scratch, made when it is asked for first.
    fn worker<'s, I: TokenId>(&self, scratch: &'s mut Scratch) -> &'s mut Worker<I> {
        let instructions = self.options.instructions;
        let cache_bytes = if scratch.cache_bytes == 0 { self.worker_bytes(1) } else { scratch.cache_bytes };
        let splitting = self.vocabulary.splitting();
        I::worker(scratch).get_or_insert_with(|| {
            Box::new(Worker::new(splitting, self.cuts.clone(), instructions, cache_bytes))
        })
    }

    /// As `encode_into`, in jobs of about `job_bytes`, as several workers have them.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn encode_in_jobs<I: TokenId>(&self, text: &str, job_bytes: usize) -> Result<Vec<I>> {
        let sizes =
            cutter::JobSizes { together: job_bytes, text: 2 * job_bytes, search: job_bytes, part: job_bytes };
        self.encode_shared(Vec::new(), &[text], None, sizes, 1, &mut || false).map(|encoded| encoded.ids)
    }

    /// The meaning of `encode_into`, without masks, tables and vectors: each piece of the plain scanner is merged by
    /// the general merger. Tests compare the two.
    pub fn encode_plainly<I: TokenId>(&self, text: &str, ids: &mut Vec<I>, cancel: &Cancel) -> Result<()> {
        self.vocabulary.preparation().for_each_section(text, |section| match section {
            Section::Text(text) => self.encode_pieces_plainly(&text, ids, cancel),
            Section::Token(id) => {
                ids.push(I::from_u32(id));
                Ok(())
            }
        })
    }

    fn encode_pieces_plainly<I: TokenId>(&self, text: &str, ids: &mut Vec<I>, cancel: &Cancel) -> Result<()> {
        let merges = self.plain_merges.get_or_init(|| MergeTable::new(&self.vocabulary));
        let mut scratch = MergeScratch::default();
        let mut pieces = Pieces::new(self.vocabulary.splitting(), text, self.classes());
        while let Some((start, end)) = pieces.next_piece()? {
            cancel.check()?;
            let piece = &text.as_bytes()[start..end];
            match self.vocabulary.whole_tokens().and_then(|whole| whole.get(piece)) {
                Some(id) => ids.push(I::from_u32(id)),
                None => merges.merge_into(piece, &mut scratch, ids, cancel)?,
            }
        }
        Ok(())
    }

    /// Bytes of the tables of pieces, of all threads together.
    #[must_use]
    pub fn cache_bytes(&self) -> usize {
        self.cache_bytes.load(Ordering::Relaxed)
    }

    /// Set them for the calls from now on; what was learned is forgotten. At least 30 KiB a thread are taken in any case.
    pub fn set_cache_bytes(&self, cache_bytes: usize) {
        self.cache_bytes.store(cache_bytes, Ordering::Relaxed);
        if let Ok(mut kept) = self.scratches.try_lock() {
            kept.clear();
        }
    }

    /// What the tables of each of some workers may take.
    fn worker_bytes(&self, num_workers: usize) -> usize {
        (self.cache_bytes() / num_workers.max(1)).clamp(1, MAX_WORKER_BYTES)
    }

    /// A scratch from earlier calls, or a new one, for each of up to `num_workers` workers of a call. Never waits: after a
    /// fork, a lock that another thread held stays locked for ever in the child.
    #[must_use]
    pub fn take_scratch(&self, num_workers: usize) -> Scratch {
        let cache_bytes = self.worker_bytes(num_workers);
        let kept = self.scratches.try_lock().ok().and_then(|mut kept| kept.pop());
        // One with larger tables was made for fewer workers, or before the size was set anew.
        match kept {
            Some(scratch) if scratch.cache_bytes <= cache_bytes => scratch,
            _ => Scratch { cache_bytes, ..Scratch::default() },
        }
    }

    /// Keep a scratch, with what its cache has learned, for later calls.
    pub fn keep_scratch(&self, scratch: Scratch) {
        if let Ok(mut kept) = self.scratches.try_lock()
            && kept.iter().map(|kept| kept.cache_bytes).sum::<usize>() + scratch.cache_bytes
                <= self.cache_bytes().max(self.worker_bytes(1))
        {
            kept.push(scratch);
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin_tests;
