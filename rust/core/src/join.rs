//! Documents that lie one after the other, copied with EOS after each: the inner loop of packing ready ids.
//!
//! ```text
//! ids      a b c d e f      offsets 0 2 2 6      out  a b E E c d e f E
//! ```
//!
//! Blocks lie one after the other, too, so chopping costs nothing here: what fills `out` is a number of whole blocks.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::id::TokenId;

/// Ids that are copied at once: a few wide moves, and no call for each document.
const CHUNK: usize = 32;

/// Documents in one run of ids.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Documents<'a, I> {
    ids: &'a [I],
    offsets: &'a [i64],
    max_id: u32,
}

impl<'a, I: TokenId> Documents<'a, I> {
    /// Document `d` is `ids[offsets[d]..offsets[d + 1]]`. The first and last offset are checked here, the others by
    /// `join`.
    pub(crate) fn new(ids: &'a [I], offsets: &'a [i64], max_id: u32) -> Result<Self> {
        let documents = Self { ids, offsets, max_id };
        match offsets {
            [] => Err(Error::InvalidOffsets {
                reason: "there are no offsets (expected one more than documents)".to_owned(),
            }),
            [first, .., last] => documents.range(*first, *last, 0).map(|_| documents),
            [only] => documents.range(*only, *only, 0).map(|_| documents),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// All of their tokens, EOS counted.
    pub(crate) fn num_tokens(&self) -> usize {
        let (first, last) = (self.offsets[0], self.offsets[self.len()]);
        usize::try_from(last - first).unwrap_or(0) + self.len()
    }

    /// The ids of a document. `join` has checked it.
    pub(crate) fn get(&self, document: usize) -> &'a [I] {
        let range = self.range(self.offsets[document], self.offsets[document + 1], document);
        range.map_or(&[], |range| &self.ids[range])
    }

    /// Copy whole documents to `out[start..]`, as many as fit, and look at all of them: offsets must rise, ids must be
    /// at most `max_id`. Returns how many fit, and where they end.
    pub(crate) fn join(&self, eos: I, out: &mut [I], start: usize) -> Result<(usize, usize)> {
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { self.join_avx2(eos, out, start) };
        }
        self.join_with(eos, out, start)
    }

    /// The same code, compiled for registers of 32 bytes.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn join_avx2(&self, eos: I, out: &mut [I], start: usize) -> Result<(usize, usize)> {
        self.join_with(eos, out, start)
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // or it would not be compiled for the caller's registers
    pub(crate) fn join_with(&self, eos: I, out: &mut [I], start: usize) -> Result<(usize, usize)> {
        let mut end = start;
        let mut num_whole = 0;
        // The largest ids so far, at each place of a chunk: no branch for each id, and no second pass.
        let mut largest = [I::default(); CHUNK];
        let mut largest_alone = I::default();
        for (document, bounds) in self.offsets.windows(2).enumerate() {
            let range = self.range(bounds[0], bounds[1], document)?;
            let next = end + range.len() + 1;
            // The first one that does not fit ends it, though a shorter one might fit again.
            if num_whole < document || next > out.len() {
                largest_alone = largest_alone.max(self.largest_of(range));
                continue;
            }
            // Whole chunks write past the end of the document, over what comes next in `out`: that is written later.
            let rounded = range.len().next_multiple_of(CHUNK);
            if let Some(from) = self.ids.get(range.start..range.start + rounded)
                && let Some(to) = out.get_mut(end..end + rounded)
            {
                largest = copy_chunks(to, from, largest);
            } else {
                out[end..next - 1].copy_from_slice(&self.ids[range.clone()]);
                largest_alone = largest_alone.max(self.largest_of(range));
            }
            out[next - 1] = eos;
            end = next;
            num_whole += 1;
        }
        self.refuse_above(largest.into_iter().fold(largest_alone, I::max))?;
        Ok((num_whole, end))
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    fn largest_of(&self, range: Range<usize>) -> I {
        self.ids[range].iter().copied().fold(I::default(), I::max)
    }

    /// Refuse ids above `max_id`; `largest` is the largest one seen.
    fn refuse_above(&self, largest: I) -> Result<()> {
        if largest.to_u32() <= self.max_id {
            return Ok(());
        }
        // Chunks look past the last document, too: what lies there is nobody's.
        let (first, last) = (self.offsets[0], self.offsets[self.len()]);
        let ids = &self.ids[self.range(first, last, 0)?];
        match ids.iter().find(|id| id.to_u32() > self.max_id) {
            Some(id) => Err(Error::IdDoesNotFit { id: i64::from(id.to_u32()), max: self.max_id }),
            None => Ok(()),
        }
    }

    #[inline]
    fn range(&self, start: i64, end: i64, document: usize) -> Result<Range<usize>> {
        let bound = |value: i64| usize::try_from(value).ok().filter(|&value| value <= self.ids.len());
        match (bound(start), bound(end)) {
            (Some(start), Some(end)) if start <= end => Ok(start..end),
            _ => Err(out_of_order(document, start, end, self.ids.len())),
        }
    }
}

/// Copy whole chunks, and give the largest id at each place of a chunk, those of `largest` among them.
///
/// By value, so that they stay in registers.
#[inline(always)]
#[allow(clippy::inline_always)] // or it would not be compiled for the caller's registers
#[allow(clippy::needless_range_loop)] // iterators are not turned into wide instructions here
fn copy_chunks<I: TokenId>(to: &mut [I], from: &[I], mut largest: [I; CHUNK]) -> [I; CHUNK] {
    for (to, from) in to.as_chunks_mut::<CHUNK>().0.iter_mut().zip(from.as_chunks::<CHUNK>().0) {
        *to = *from;
        for place in 0..CHUNK {
            largest[place] = largest[place].max(from[place]);
        }
    }
    largest
}

/// The error for offsets of a document that are no range of the ids.
#[cold]
pub(crate) fn out_of_order(document: usize, start: i64, end: i64, num_ids: usize) -> Error {
    Error::InvalidOffsets {
        reason: format!(
            "document {document} has the offsets {start} to {end} (expected ascending ones of at most {num_ids})"
        ),
    }
}
