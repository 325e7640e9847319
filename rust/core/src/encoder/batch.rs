//! Many documents at once: workers take ranges of them, and the ids come to lie in one array, in order.
//!
//! ```text
//! head │ document 0 │ end │ document 1 │ end │ …      `end` behind each document, where one is asked for
//!      ▲ offsets[0]       ▲ offsets[1]
//! ```
//!
//! One worker writes the array itself. Of several, each writes the ids of a job (see `cutter`) into a buffer of its own
//! and copies them over once all before is there: the buffer still lies in the worker's cache then, so the copy is nearly
//! free.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Encoder;
use super::cutter::{Cutter, Job, JobSizes};
use crate::error::Result;
use crate::huge_pages;
use crate::id::TokenId;
use crate::parallel::{self, Interrupted, RANGE_BYTES};

/// Texts of so many bytes get room for an id a byte.
const ENOUGH_BYTES: RangeInclusive<usize> = 1 << 20..=1 << 26;

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
        let num_bytes: usize = texts.iter().map(|text| text.len()).sum();
        let mut ids = head;
        // What is not used is never touched, so it is no memory but addresses. Hence enough for any text, where that
        // neither wastes a part of a page for each of many small arrays nor asks for more than a machine may have;
        // else enough for nearly all text.
        let is_enough = ENOUGH_BYTES.contains(&num_bytes);
        huge_pages::reserve(&mut ids, if is_enough { num_bytes + texts.len() } else { num_bytes / 2 });
        if num_threads <= 1 || num_bytes <= RANGE_BYTES {
            self.encode_alone(ids, texts, end, interrupted)
        } else {
            let num_workers = num_threads.min(num_bytes.div_ceil(RANGE_BYTES));
            self.encode_shared(ids, texts, end, JobSizes::default(), num_workers, interrupted)
        }
    }

    /// One worker writes behind what is in `ids`.
    fn encode_alone<I: TokenId>(
        &self,
        ids: Vec<I>,
        texts: &[&str],
        end: Option<I>,
        interrupted: Interrupted<'_>,
    ) -> Result<Encoded<I>> {
        let start = Mutex::new(Encoded { offsets: vec![offset(&ids)], ids });
        let mut all = parallel::for_each_range(
            texts,
            1,
            interrupted,
            || self.take_scratch(1),
            |scratch, range, cancel| {
                let lock = || start.lock().unwrap_or_else(PoisonError::into_inner);
                let mut encoded = std::mem::replace(&mut *lock(), Encoded { ids: vec![], offsets: vec![] });
                for text in &texts[range] {
                    self.encode_into::<I>(text, scratch, &mut encoded.ids, cancel)?;
                    encoded.ids.extend(end);
                    encoded.offsets.push(offset(&encoded.ids));
                }
                Ok(encoded)
            },
            |scratch| self.keep_scratch(scratch),
        )?;
        Ok(all.pop().unwrap_or_else(|| start.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Several workers share the documents, and parts of huge ones.
    pub(super) fn encode_shared<I: TokenId>(
        &self,
        ids: Vec<I>,
        texts: &[&str],
        end: Option<I>,
        sizes: JobSizes,
        num_workers: usize,
        interrupted: Interrupted<'_>,
    ) -> Result<Encoded<I>> {
        let instructions = self.options.instructions;
        let (splitting, preparation) = (self.vocabulary.splitting(), self.vocabulary.preparation());
        let cutter =
            Mutex::new(Cutter::new(texts, sizes, instructions, self.classes(), splitting, preparation));
        let output = Output { encoder: self, end, ordered: Mutex::new(Ordered::new(ids, texts.len())) };
        parallel::for_each_job(
            num_workers,
            interrupted,
            |cancel| cutter.lock().unwrap_or_else(PoisonError::into_inner).next_job(cancel),
            || self.take_scratch(num_workers),
            |scratch, number, job, cancel| {
                let mut ids: Vec<I> = output.spare();
                let mut ends = Vec::new();
                match job {
                    Job::Documents(documents) => {
                        for text in documents {
                            self.encode_into(text, scratch, &mut ids, cancel)?;
                            ids.extend(end);
                            ends.push(ids.len());
                        }
                    }
                    Job::Pieces { text, end, .. } if end == text.len() => {
                        self.encode_prepared(text, scratch, &mut ids, cancel)?;
                    }
                    Job::Pieces { text, end, .. } => {
                        let worker = self.worker(scratch);
                        worker.encode_before(&self.merger, self.classes(), text, end, &mut ids, cancel)?;
                    }
                    Job::Part { piece, start, .. } => {
                        self.worker(scratch).merge_part(&self.merger, &piece[start..], &mut ids, cancel)?;
                    }
                }
                output.add(number, Done { job, ids, ends });
                Ok(())
            },
            |scratch| self.keep_scratch(scratch),
        )?;
        let Ordered { ids, offsets, .. } =
            output.ordered.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Encoded { ids, offsets })
    }
}

/// What the workers of one call write.
struct Output<'e, 't, I> {
    encoder: &'e Encoder,
    end: Option<I>,
    ordered: Mutex<Ordered<'t, I>>,
}

struct Ordered<'t, I> {
    ids: Vec<I>,
    offsets: Vec<i64>,
    /// Where the ids of the piece begin whose parts are being added.
    piece_base: usize,
    /// Number of the job that is added next.
    next: usize,
    /// Jobs that have to wait for one before them.
    waiting: BTreeMap<usize, Done<'t, I>>,
    /// Buffers to write into.
    spares: Vec<Vec<I>>,
}

/// A job and its ids.
struct Done<'t, I> {
    job: Job<'t>,
    ids: Vec<I>,
    /// Where each whole document ends in them.
    ends: Vec<usize>,
}

impl<'t, I: TokenId> Output<'_, 't, I> {
    fn lock(&self) -> MutexGuard<'_, Ordered<'t, I>> {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spare(&self) -> Vec<I> {
        self.lock().spares.pop().unwrap_or_default()
    }

    /// Add what a job gave, and what waited for it.
    fn add(&self, number: usize, done: Done<'t, I>) {
        let mut ordered = self.lock();
        ordered.waiting.insert(number, done);
        loop {
            let next = ordered.next;
            let Some(done) = ordered.waiting.remove(&next) else { return };
            ordered.next += 1;
            self.append(&mut ordered, done);
        }
    }

    fn append(&self, ordered: &mut Ordered<'t, I>, Done { job, mut ids, ends }: Done<'t, I>) {
        let all = &mut ordered.ids;
        let before = all.len();
        match job {
            Job::Part { piece, start, .. } if start > 0 => {
                let Encoder { merger, options, .. } = self.encoder;
                merger.join(options.instructions, piece, start, all, ordered.piece_base, &ids);
            }
            _ => {
                ordered.piece_base = before;
                huge_pages::reserve(all, ids.len());
                all.extend_from_slice(&ids);
            }
        }
        match job {
            Job::Documents(_) => {
                ordered
                    .offsets
                    .extend(ends.iter().map(|end| i64::try_from(before + end).unwrap_or(i64::MAX)));
            }
            Job::Pieces { last, .. } | Job::Part { last, .. } => {
                if last {
                    all.extend(self.end);
                    ordered.offsets.push(offset(all));
                }
            }
        }
        ids.clear();
        ordered.spares.push(ids);
    }
}

impl<I> Ordered<'_, I> {
    fn new(ids: Vec<I>, num_documents: usize) -> Self {
        let mut offsets = Vec::with_capacity(num_documents + 1);
        offsets.push(offset(&ids));
        Self { ids, offsets, piece_base: 0, next: 0, waiting: BTreeMap::new(), spares: Vec::new() }
    }
}

/// Where the next document begins.
fn offset<I>(ids: &[I]) -> i64 {
    i64::try_from(ids.len()).unwrap_or(i64::MAX)
}
