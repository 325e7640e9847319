//! Documents to ids: split, look up, merge what is new.

use std::ops::Range;
use std::sync::{Mutex, OnceLock};

use crate::cancel::Cancel;
use crate::error::Result;
use crate::id::TokenId;
use crate::merge::{MergeScratch, MergeTable};
use crate::parallel::{self, Interrupted};
use crate::piece_cache::{DEFAULT_CAPACITY_BYTES, PieceCache};
use crate::split::Pieces;
use crate::unicode::{ClassRange, ClassTable};
use crate::vocabulary::Vocabulary;

/// Scratches kept for later calls: as many as cores of a large machine, 4 MiB each.
const MAX_KEPT_SCRATCHES: usize = 64;

/// A byte-level BPE encoder: immutable in what it means, shared freely between threads.
#[derive(Debug)]
pub struct Encoder {
    vocabulary: Vocabulary,
    merges: MergeTable,
    classes: ClassTable,
    /// The table with what Unicode 14 does not assign, once it was asked for.
    all_classes: OnceLock<ClassTable>,
    scratches: Mutex<Vec<Scratch>>,
}

/// What one worker needs between documents: its cache and working memory.
#[derive(Debug)]
pub struct Scratch {
    cache: PieceCache,
    merge: MergeScratch,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            cache: PieceCache::with_capacity_bytes(DEFAULT_CAPACITY_BYTES),
            merge: MergeScratch::default(),
        }
    }
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

    /// An encoder of a vocabulary that is already read.
    #[must_use]
    pub fn new(vocabulary: Vocabulary) -> Self {
        Self {
            merges: MergeTable::new(&vocabulary),
            vocabulary,
            classes: ClassTable::unicode_14(),
            all_classes: OnceLock::new(),
            scratches: Mutex::new(Vec::new()),
        }
    }

    /// The vocabulary it was made from.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
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
        let Scratch { cache, merge } = scratch;
        let bytes = text.as_bytes();
        let mut pieces = Pieces::new(text, self.classes());
        while let Some((start, end)) = pieces.next_piece()? {
            cancel.check()?;
            cache.get_or_merge(bytes, start, end, ids, |ids| {
                self.merges.merge_into(&bytes[start..end], merge, ids, cancel)
            })?;
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
        let parts = self.for_each_range(texts, num_threads, interrupted, |scratch, range, cancel| {
            let mut ids = Vec::new();
            let mut lengths = Vec::with_capacity(range.len());
            for text in &texts[range] {
                let before = ids.len();
                self.encode_into::<I>(text, scratch, &mut ids, cancel)?;
                lengths.push(ids.len() - before);
            }
            Ok((ids, lengths))
        })?;
        Ok(join(parts, texts.len()))
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

/// One array from the workers' parts; each part is freed once it is copied.
fn join<I: TokenId>(mut parts: Vec<(Vec<I>, Vec<usize>)>, num_documents: usize) -> Encoded<I> {
    let mut offsets = Vec::with_capacity(num_documents + 1);
    let mut end = 0_i64;
    offsets.push(end);
    for length in parts.iter().flat_map(|(_, lengths)| lengths) {
        end += i64::try_from(*length).unwrap_or(i64::MAX);
        offsets.push(end);
    }
    if parts.len() == 1
        && let Some((ids, _)) = parts.pop()
    {
        return Encoded { ids, offsets };
    }
    let mut ids = Vec::with_capacity(parts.iter().map(|(ids, _)| ids.len()).sum());
    for (part, _) in parts {
        ids.extend_from_slice(&part);
    }
    Encoded { ids, offsets }
}

#[cfg(test)]
mod tests;
