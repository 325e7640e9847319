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

/// Ids that are copied at once where a document is short: a few wide moves instead of a call.
const CHUNK: usize = 32;
/// From this length on, `memcpy` is faster than chunks.
const LONG: usize = 8 * CHUNK;

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
        let mut end = start;
        let mut num_whole = 0;
        for (document, bounds) in self.offsets.windows(2).enumerate() {
            let range = self.range(bounds[0], bounds[1], document)?;
            let next = end + range.len() + 1;
            // The first one that does not fit ends it, though a shorter one might fit again.
            if num_whole == document && next <= out.len() {
                self.copy(out, end, range.clone());
                out[next - 1] = eos;
                end = next;
                num_whole += 1;
            }
            self.check_ids(range)?;
        }
        Ok((num_whole, end))
    }

    #[inline]
    fn copy(&self, out: &mut [I], at: usize, range: Range<usize>) {
        let len = range.len();
        let rounded = len.next_multiple_of(CHUNK);
        // Whole chunks write past the end of the document, over what comes next in `out`: that is written later.
        if len < LONG
            && let Some(from) = self.ids.get(range.start..range.start + rounded)
            && let Some(to) = out.get_mut(at..at + rounded)
        {
            for (to, from) in to.chunks_exact_mut(CHUNK).zip(from.chunks_exact(CHUNK)) {
                to.copy_from_slice(from);
            }
        } else {
            out[at..at + len].copy_from_slice(&self.ids[range]);
        }
    }

    /// Refuse ids above `max_id`. The document was just copied, so it lies in the nearest cache.
    #[inline]
    fn check_ids(&self, range: Range<usize>) -> Result<()> {
        if self.max_id >= I::MAX {
            return Ok(());
        }
        // The largest one, so that the compiler compares many at once, without a branch for each.
        let largest = self.ids[range].iter().copied().fold(I::default(), I::max).to_u32();
        if largest > self.max_id {
            return Err(Error::IdDoesNotFit { id: i64::from(largest), max: self.max_id });
        }
        Ok(())
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

/// The error for offsets of a document that are no range of the ids.
#[cold]
pub(crate) fn out_of_order(document: usize, start: i64, end: i64, num_ids: usize) -> Error {
    Error::InvalidOffsets {
        reason: format!(
            "document {document} has the offsets {start} to {end} (expected ascending ones of at most {num_ids})"
        ),
    }
}
