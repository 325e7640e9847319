//! Long pieces: chunks are merged alone, then their tokens are joined, and mended where they meet.
//!
//! ```text
//! piece    r a n d o m l e t t e r s w i t h o u t a n e n d
//! chunks   rand om let│ters with│out an end        each merged alone
//! seams           let ters                         valid: both stay
//!                          with out                not valid: "without" is merged again, and the window
//!                                                  widened until both of its ends are valid
//! ```
//!
//! Why this is exact, for any list of merges. A merge run takes the pair of lowest rank, the leftmost of equals.
//! As long as no merge crosses the ends of a part of the text, the run does in that part just what it would do
//! on the part alone. Two statements follow:
//!
//! 1. If a sequence of tokens is such that each adjacent two are *valid* (their joined bytes, merged alone, give
//!    just these two), then it is the result of the run on the whole text: look at the first merge that would
//!    cross a boundary between two tokens; the run on these two alone would be in the same state and do it too.
//! 2. In a result, all adjacent tokens are valid.
//!
//! So it does not matter where chunks are cut, nor who merges them: see `join_ids` for chunks of several threads.
//! The idea of valid pairs is that of the Rust crate `bpe` (github.com/github/rust-gems).

use crate::huge_pages;
use crate::id::TokenId;

/// Tokens of a later chunk that are looked at in one go where two long sequences are joined.
const GROUP: usize = 64;

/// A way of merging, as seams need it. Tokens have ids of its own.
pub(super) trait Mend {
    /// Append the tokens of some bytes.
    fn merge(&mut self, bytes: &[u8], tokens: &mut Vec<u32>);
    /// Whether two tokens that meet at byte `at` of the piece stay two when their bytes are merged alone.
    fn valid(&mut self, piece: &[u8], at: usize, left: u32, right: u32) -> bool;
    /// Length of a token in bytes.
    fn len_of(&self, token: u32) -> usize;
    /// The id of a token.
    fn external(&self, token: u32) -> u32;
    /// The token of an id.
    fn internal(&self, id: u32) -> u32;
}

/// The tokens of a piece so far: the last ones as `Mend` calls them, those before as ids.
pub(super) struct Joined<'a, I> {
    ids: &'a mut Vec<I>,
    /// Where the ids of the piece begin.
    base: usize,
    recent: &'a mut Vec<u32>,
}

impl<'a, I: TokenId> Joined<'a, I> {
    /// What lies behind `base` in `ids` belongs to the piece. `recent` is working memory.
    pub(super) fn new(ids: &'a mut Vec<I>, base: usize, recent: &'a mut Vec<u32>) -> Self {
        recent.clear();
        Self { ids, base, recent }
    }

    /// Number of tokens.
    fn len(&self) -> usize {
        self.ids.len() - self.base + self.recent.len()
    }

    /// The last token (0), the one before (1), …
    fn counted_back(&self, mend: &impl Mend, number: usize) -> Option<u32> {
        if let Some(place) = self.recent.len().checked_sub(number + 1) {
            return Some(self.recent[place]);
        }
        let place = (self.ids.len() + self.recent.len()).checked_sub(number + 1)?;
        (place >= self.base).then(|| mend.internal(self.ids[place].to_u32()))
    }

    fn remove_last(&mut self, count: usize) {
        let of_recent = count.min(self.recent.len());
        self.recent.truncate(self.recent.len() - of_recent);
        self.ids.truncate(self.ids.len() - (count - of_recent));
    }

    /// Write all but the last `num_kept` tokens as ids.
    pub(super) fn write(&mut self, mend: &impl Mend, num_kept: usize) {
        let num_written = self.recent.len().saturating_sub(num_kept);
        huge_pages::reserve(self.ids, num_written);
        self.ids.extend(self.recent.drain(..num_written).map(|token| I::from_u32(mend.external(token))));
    }

    /// Append the tokens of the next chunk, which starts at byte `seam` of the piece. While the two tokens at a seam
    /// are not valid, a window around it is merged again, and widened on the side that is not.
    pub(super) fn join(
        &mut self,
        mend: &mut impl Mend,
        piece: &[u8],
        seam: usize,
        chunk: &[u32],
        window: &mut Vec<u32>,
    ) {
        let (Some(left), Some(&right)) = (self.counted_back(mend, 0), chunk.first()) else {
            self.recent.extend_from_slice(chunk);
            return;
        };
        if mend.valid(piece, seam, left, right) {
            self.recent.extend_from_slice(chunk);
            return;
        }
        let available = self.len();
        let (mut num_left, mut num_right) = (1, 1);
        loop {
            let left_bytes: usize =
                (0..num_left).filter_map(|n| Some(mend.len_of(self.counted_back(mend, n)?))).sum();
            let right_bytes: usize = chunk[..num_right].iter().map(|&token| mend.len_of(token)).sum();
            let (start, end) = (seam - left_bytes, seam + right_bytes);
            window.clear();
            mend.merge(&piece[start..end], window);
            let before = self.counted_back(mend, num_left);
            let after = chunk.get(num_right).copied();
            let mut stands = |at: usize, left: Option<u32>, right: Option<u32>| match (left, right) {
                (Some(left), Some(right)) => mend.valid(piece, at, left, right),
                _ => true, // the end of what is known so far
            };
            let left_stands = stands(start, before, window.first().copied());
            let right_stands = stands(end, window.last().copied(), after);
            if left_stands && right_stands {
                self.remove_last(num_left);
                self.recent.extend_from_slice(window);
                self.recent.extend_from_slice(&chunk[num_right..]);
                return;
            }
            if !left_stands {
                num_left = (2 * num_left).min(available);
            }
            if !right_stands {
                num_right = (2 * num_right).min(chunk.len());
            }
        }
    }
}

/// Append the ids of a part of a piece, of which all before is at the end of `ids` (from `base` on). `seam` is the byte
/// of the piece where the part starts.
///
/// Only a few tokens at the seam are looked at: once one is reached that stays as it was, so do all behind it.
pub(super) fn join_ids<I: TokenId>(
    mend: &mut impl Mend,
    piece: &[u8],
    mut seam: usize,
    ids: &mut Vec<I>,
    base: usize,
    part: &[I],
) {
    let (mut recent, mut window) = (Vec::new(), Vec::new());
    let mut rest = part;
    while !rest.is_empty() {
        let (group, after) = rest.split_at(GROUP.min(rest.len()));
        let chunk: Vec<u32> = group.iter().map(|id| mend.internal(id.to_u32())).collect();
        let mut joined = Joined::new(ids, base, &mut recent);
        joined.join(mend, piece, seam, &chunk, &mut window);
        joined.write(mend, 0);
        seam += chunk.iter().map(|&token| mend.len_of(token)).sum::<usize>();
        rest = after;
        // The next two met in the part already, so they are valid.
        if ids.last() == group.last() {
            huge_pages::reserve(ids, rest.len());
            ids.extend_from_slice(rest);
            return;
        }
    }
}
