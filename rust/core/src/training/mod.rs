//! Training a byte-level BPE: texts to a vocabulary and merges, equal to those of `BpeTrainer` of `tokenizers`.
//!
//! ```text
//! texts ──► split ──► count ──────────► arena ───────────────► merges ──────────► vocabulary, merges
//!           pieces    distinct pieces   all of them as ids,    the commonest
//!                     and how often     commonest first        pair, each time
//!                     (threads)
//! ```
//!
//! # What equality asks for
//!
//! - Ids: special tokens first, then the alphabet by code point of the byte's character, then merges as they come.
//! - The commonest pair is merged; of several, the one with the smaller (left id, right id).
//! - "aaa" merges from the left.
//! - A merge whose text is that of a special token gets its id, and the vocabulary does not grow.
//! - Merging stops when the vocabulary is full, or when the top count is below `min_frequency` or below 1.
//! - `max_token_length` counts characters and only keeps new pairs from being counted (see `merges::Limits`).
//!
//! Where the two part: the reference keeps counts of pairs in 32 bits, so from 2^31 occurrences of a pair on it
//! merges the wrong ones; here they have 64. And the reference cannot repeat itself with `limit_alphabet`, which is
//! therefore missing here.

mod arena;
mod budget;
mod count;
mod first_pairs;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod kept_pairs;
mod merges;
mod pair_map;
mod position;
#[cfg(any(test, feature = "fuzzing"))]
mod reference;
mod sketch;
#[cfg(test)]
mod tests;
mod tokens;

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::parallel::{self, Interrupted};
use crate::split::Splitting;
use crate::unicode::{Class, ClassTable, CodePoints};
use arena::Arena;
use budget::Budget;
use count::PieceCounts;
use merges::{Limits, Merger};
use position::Position;
use tokens::Tokens;

/// The largest vocabulary: two ids are not for tokens (see `arena`).
const MAX_VOCAB_SIZE: usize = u32::MAX as usize - 1;

/// How often the caller is asked whether to go on.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// What to train; names and meaning are those of `BpeTrainer`.
#[derive(Debug, Clone)]
pub struct TrainingOptions {
    /// Number of tokens wanted, special ones and alphabet included.
    pub vocab_size: usize,
    /// Pairs seen fewer times are not merged.
    pub min_frequency: u64,
    /// They get the first ids, in this order.
    pub special_tokens: Vec<String>,
    /// Characters that are tokens even if the texts lack them, in the spelling of the byte alphabet.
    pub initial_alphabet: Vec<char>,
    /// New tokens have fewer characters than this; see `merges::Limits`.
    pub max_token_length: Option<usize>,
}

/// A trained model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trained {
    /// Tokens by id, in the spelling of the byte alphabet.
    pub vocabulary: Vec<String>,
    /// Pairs of ids in the order of merging.
    pub merges: Vec<(u32, u32)>,
}

/// How far training has come, to be read from another thread.
#[derive(Debug, Default)]
struct Progress {
    num_merges: AtomicUsize,
}

impl Progress {
    fn set_num_merges(&self, num_merges: usize) {
        self.num_merges.store(num_merges, Ordering::Relaxed);
    }

    fn num_merges(&self) -> usize {
        self.num_merges.load(Ordering::Relaxed)
    }
}

/// Sums over the texts that were counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Texts.
    pub documents: u64,
    /// Bytes of UTF-8.
    pub bytes: u64,
    /// Pieces, each time they occurred.
    pub pieces: u64,
}

/// Counts the pieces of texts, batch by batch, then trains. Texts are not kept: memory grows with the distinct
/// pieces.
///
/// After an error other than `UnicodeRestNeeded` it is of no use any more, and says so.
#[derive(Debug)]
pub struct BpeTrainer {
    splitting: Splitting,
    classes: Arc<ClassTable>,
    unassigned: Vec<u32>,
    /// One for each thread that has counted so far.
    counts: Vec<PieceCounts>,
    counted: Counted,
    budget: Budget,
    is_spent: bool,
}

impl BpeTrainer {
    /// Texts are cut as `splitting` says; `max_memory` limits what the trainer holds, in bytes.
    #[must_use]
    pub fn new(splitting: Splitting, max_memory: Option<u64>) -> Self {
        Self::with_classes(splitting, Arc::new(ClassTable::unicode_14()), max_memory)
    }

    /// As `new`, with a table of classes that others may have, too.
    #[must_use]
    pub fn with_classes(splitting: Splitting, classes: Arc<ClassTable>, max_memory: Option<u64>) -> Self {
        Self {
            splitting,
            classes,
            unassigned: Vec::new(),
            counts: Vec::new(),
            counted: Counted::default(),
            budget: Budget::new(max_memory),
            is_spent: false,
        }
    }

    /// The code points of the last batch that have no class yet, after `UnicodeRestNeeded`.
    #[must_use]
    pub fn unassigned(&self) -> &[u32] {
        &self.unassigned
    }

    /// Hand in the classes of code points that Unicode 14 does not assign.
    pub fn learn_classes(&self, classes: &[(u32, Class)]) {
        self.classes.learn(classes);
    }

    /// What was counted so far.
    #[must_use]
    pub fn counted(&self) -> Counted {
        self.counted
    }

    /// Bytes held now, as far as they are accounted for: all that grows with the texts.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.budget.used()
    }

    /// Count the pieces of some texts.
    ///
    /// # Errors
    ///
    /// `UnicodeRestNeeded` before anything is counted; `MemoryLimit`, `Cancelled`, `TrainerSpent`.
    pub fn push(&mut self, texts: &[&str], num_threads: usize, interrupted: Interrupted<'_>) -> Result<()> {
        self.check_not_spent()?;
        self.check_classes(texts, num_threads, &mut *interrupted)?;
        self.is_spent = true; // unless all goes well
        let (splitting, classes, budget) = (self.splitting, &*self.classes, &self.budget);
        let counts = Mutex::new(std::mem::take(&mut self.counts));
        let pieces: Vec<u64> = parallel::for_each_range(
            texts,
            num_threads,
            interrupted,
            || {
                let kept = counts.lock().ok().and_then(|mut counts| counts.pop());
                kept.unwrap_or_else(|| PieceCounts::new(splitting))
            },
            |counts, range, cancel| {
                texts[range].iter().map(|text| counts.add_text(text, classes, budget, cancel)).sum()
            },
            |used| {
                if let Ok(mut counts) = counts.lock() {
                    counts.push(used);
                }
            },
        )?;
        self.counts = counts.into_inner().unwrap_or_default();
        self.counted.documents += texts.len() as u64;
        self.counted.bytes += texts.iter().map(|text| text.len() as u64).sum::<u64>();
        self.counted.pieces += pieces.into_iter().sum::<u64>();
        self.is_spent = false;
        Ok(())
    }

    /// A batch is counted as a whole or not at all, so code points without a class are looked for before. All of
    /// them are collected: asking for their classes costs the same for one and for some hundred.
    fn check_classes(
        &mut self,
        texts: &[&str],
        num_threads: usize,
        interrupted: Interrupted<'_>,
    ) -> Result<()> {
        let classes = &self.classes;
        let look = |(): &mut (), range: Range<usize>, cancel: &Cancel| {
            let mut found = CodePoints::default();
            for text in &texts[range] {
                classes.add_unassigned(text, &mut found, cancel)?;
            }
            Ok(found)
        };
        let found = parallel::for_each_range(texts, num_threads, interrupted, || (), look, |()| ())?;
        let mut all = CodePoints::default();
        for found in &found {
            all.add_all(found);
        }
        self.unassigned = all.iter().collect();
        match self.unassigned.first() {
            Some(&code_point) => Err(Error::UnicodeRestNeeded { code_point }),
            None => Ok(()),
        }
    }

    /// Merge pairs until a limit of the options is reached. The counts are used up.
    ///
    /// `watch` is called on the calling thread every 50 ms with the number of merges done; once it says `true`,
    /// the call ends with `Cancelled`.
    pub fn train(
        &mut self,
        options: &TrainingOptions,
        watch: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Trained> {
        let (cancel, progress) = (Cancel::default(), Progress::default());
        thread::scope(|scope| {
            // Never sent on: it closes when the worker is gone, by its end or by a panic.
            let (alive, gone) = mpsc::channel::<()>();
            let worker = scope.spawn(|| {
                let _alive = alive;
                self.train_here(options, &cancel, &progress)
            });
            while gone.recv_timeout(POLL_EVERY) == Err(RecvTimeoutError::Timeout) {
                if watch(progress.num_merges()) {
                    cancel.cancel();
                }
            }
            worker.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// As `train`, on the calling thread.
    fn train_here(
        &mut self,
        options: &TrainingOptions,
        cancel: &Cancel,
        progress: &Progress,
    ) -> Result<Trained> {
        self.check_not_spent()?;
        if options.vocab_size > MAX_VOCAB_SIZE {
            return Err(Error::InvalidOption {
                name: "vocab_size",
                value: options.vocab_size as u64,
                expected: "at most 4294967294",
            });
        }
        self.is_spent = true;
        // The largest one takes the others in.
        self.counts.sort_by_key(PieceCounts::num_distinct);
        let mut counts = self.counts.pop().unwrap_or_else(|| PieceCounts::new(self.splitting));
        for other in self.counts.drain(..) {
            counts.absorb(other, &self.budget, cancel)?;
        }
        let mut tokens =
            Tokens::new(&options.special_tokens, &options.initial_alphabet, &counts.bytes_seen());
        let arena = Arena::new(&counts, tokens.id_of_byte(), &self.budget, cancel)?;
        counts.free(&self.budget);
        let limits = Limits {
            vocab_size: options.vocab_size,
            min_count: options.min_frequency.max(1),
            max_token_length: options.max_token_length.unwrap_or(usize::MAX),
        };
        let merges = if arena.places.len() <= <u32 as Position>::MAX {
            Merger::<u32>::new(arena, &mut tokens, limits, &self.budget, cancel)?.run(progress)?
        } else {
            Merger::<usize>::new(arena, &mut tokens, limits, &self.budget, cancel)?.run(progress)?
        };
        Ok(Trained { vocabulary: tokens.into_vocabulary(&self.budget)?, merges })
    }

    fn check_not_spent(&self) -> Result<()> {
        if self.is_spent { Err(Error::TrainerSpent) } else { Ok(()) }
    }
}
