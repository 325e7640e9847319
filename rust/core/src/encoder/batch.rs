//! Many documents at once: workers take ranges of them, and the ids come to lie in one array, in order.
//!
//! ```text
//! head │ document 0 │ end │ document 1 │ end │ …      `end` behind each document, where one is asked for
//!      ▲ offsets[0]       ▲ offsets[1]
//! ```
//!
//! One worker writes the array itself. Of several, each writes a range into a buffer of its own and copies it over once
//! all before it is there: the buffer still lies in the worker's cache then, so the copy is nearly free.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Encoder, parts};
use crate::error::Result;
use crate::huge_pages;
use crate::id::TokenId;
use crate::parallel::Interrupted;

/// Where there are several threads, texts longer than this are shared between them.
const PART_BYTES: usize = 1 << 20;

/// The ids of some documents, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded<I> {
    /// All ids.
    pub ids: Vec<I>,
    /// Document `d` has `ids[offsets[d]..offsets[d + 1]]`.
    pub offsets: Vec<i64>,
}

impl Encoder {
    /// Encode documents on up to `num_threads` threads. `interrupted` is asked now and then on the calling
    /// thread, while workers run; once it says yes, the call ends with `Cancelled`.
    pub fn encode_batch<I: TokenId>(
        &self,
        texts: &[&str],
        num_threads: usize,
        interrupted: Interrupted<'_>,
    ) -> Result<Encoded<I>> {
        self.encode_behind(Vec::new(), texts, None, num_threads, interrupted)
    }

    /// As `encode_batch`, with `end` behind each document, which counts as one of its ids. `head` comes before all of
    /// them: what a packer still has. So a batch can become blocks without being copied.
    pub fn encode_joined<I: TokenId>(
        &self,
        head: Vec<I>,
        texts: &[&str],
        end: I,
        num_threads: usize,
        interrupted: Interrupted<'_>,
    ) -> Result<Encoded<I>> {
        self.encode_behind(head, texts, Some(end), num_threads, interrupted)
    }

    fn encode_behind<I: TokenId>(
        &self,
        head: Vec<I>,
        texts: &[&str],
        end: Option<I>,
        num_threads: usize,
        interrupted: Interrupted<'_>,
    ) -> Result<Encoded<I>> {
        // One huge document must not leave the other threads idle.
        let part_bytes = if num_threads > 1 { PART_BYTES } else { usize::MAX };
        let mut all_parts = Vec::with_capacity(texts.len());
        let mut parts_of = Vec::with_capacity(texts.len());
        let mut is_last = Vec::with_capacity(texts.len());
        for text in texts {
            let before = all_parts.len();
            all_parts.extend(parts(text, part_bytes));
            parts_of.push(all_parts.len() - before);
            is_last.resize(all_parts.len() - 1, false);
            is_last.push(true);
        }
        let num_bytes = texts.iter().map(|text| text.len()).sum();
        let head_length = head.len();
        let output = Output::new(head, num_bytes);
        self.for_each_range(&all_parts, num_threads, interrupted, |scratch, range, cancel| {
            let is_all = range.len() == all_parts.len();
            let mut ids = if is_all { std::mem::take(&mut output.lock().ids) } else { output.spare() };
            let mut lengths = Vec::with_capacity(range.len());
            let first = range.start;
            for part in range {
                let before = ids.len();
                self.encode_into::<I>(all_parts[part], scratch, &mut ids, cancel)?;
                ids.extend(end.filter(|_| is_last[part]));
                lengths.push(ids.len() - before);
            }
            if is_all {
                let mut all = output.lock();
                (all.ids, all.lengths) = (ids, lengths);
            } else {
                output.lock().add(first, ids, lengths);
            }
            Ok(())
        })?;
        let Ordered { ids, lengths, .. } = output.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Encoded { ids, offsets: offsets(head_length, &lengths, &parts_of) })
    }
}

/// What the workers of one call write.
struct Output<I>(Mutex<Ordered<I>>);

struct Ordered<I> {
    ids: Vec<I>,
    /// Of each part that is in `ids`.
    lengths: Vec<usize>,
    /// Parts that have to wait for one before them, by the number of the first.
    waiting: BTreeMap<usize, (Vec<I>, Vec<usize>)>,
    /// Buffers to write into.
    spares: Vec<Vec<I>>,
}

impl<I: TokenId> Output<I> {
    fn new(head: Vec<I>, num_bytes: usize) -> Self {
        let mut ids = head;
        // Enough for nearly all text. What is not used is never touched, so it is no memory but addresses.
        huge_pages::reserve(&mut ids, num_bytes / 2);
        Self(Mutex::new(Ordered { ids, lengths: Vec::new(), waiting: BTreeMap::new(), spares: Vec::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, Ordered<I>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spare(&self) -> Vec<I> {
        self.lock().spares.pop().unwrap_or_default()
    }
}

impl<I: TokenId> Ordered<I> {
    /// Add the parts from `first` on, and what waited for them.
    fn add(&mut self, first: usize, ids: Vec<I>, lengths: Vec<usize>) {
        self.waiting.insert(first, (ids, lengths));
        while let Some((mut ids, lengths)) = self.waiting.remove(&self.lengths.len()) {
            huge_pages::reserve(&mut self.ids, ids.len());
            self.ids.extend_from_slice(&ids);
            self.lengths.extend(lengths);
            ids.clear();
            self.spares.push(ids);
        }
    }
}

/// Where documents start and end. Document `d` has `parts_of[d]` of the lengths.
fn offsets(head_length: usize, lengths: &[usize], parts_of: &[usize]) -> Vec<i64> {
    let mut lengths = lengths.iter();
    let mut end = head_length;
    let mut offsets = Vec::with_capacity(parts_of.len() + 1);
    offsets.push(i64::try_from(end).unwrap_or(i64::MAX));
    for &num_parts in parts_of {
        end += lengths.by_ref().take(num_parts).sum::<usize>();
        offsets.push(i64::try_from(end).unwrap_or(i64::MAX));
    }
    offsets
}
