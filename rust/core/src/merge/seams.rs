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

/// A run is merged with the token before it up to so many bytes, in search of a place where both sides stand.
const MAX_SHIFT: usize = 32;
/// Where there is no such place, a run is joined like any other bytes, so many at a time.
const RUN_BLOCK: usize = 4096;

/// The tokens of one byte repeated: the same token again and again, and some at the end.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) token: u32,
    pub(super) count: usize,
    pub(super) tail: Vec<u32>,
}

impl Run {
    fn first(&self) -> Option<u32> {
        if self.count > 0 { Some(self.token) } else { self.tail.first().copied() }
    }
}

/// A way of merging, as seams need it. Tokens have ids of its own.
pub(super) trait Mend {
    /// Append the tokens of some bytes.
    fn merge(&mut self, bytes: &[u8], tokens: &mut Vec<u32>);
    /// The tokens of `len` times this byte, if there is a way that does not look at each.
    fn merge_run(&mut self, byte: u8, len: usize) -> Option<Run>;
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

    /// Append the tokens of a run.
    fn push_run(&mut self, mend: &impl Mend, run: &Run) {
        if run.count > GROUP {
            self.write(mend, 0);
            huge_pages::reserve(self.ids, run.count);
            self.ids.extend(std::iter::repeat_n(I::from_u32(mend.external(run.token)), run.count));
        } else {
            self.recent.extend(std::iter::repeat_n(run.token, run.count));
        }
        self.recent.extend_from_slice(&run.tail);
    }

    /// Append the tokens of the next `len` bytes of the piece, from byte `seam` on, which are all the same.
    ///
    /// ```text
    /// " " │ aaaa aaaa aaaa a        not valid, as " a" is a token: every token of the run would have to move by one
    /// " a" │ aaaa aaaa aaaa         so the run begins later, which costs nothing: it is merged by counting
    /// ```
    pub(super) fn join_run(
        &mut self,
        mend: &mut impl Mend,
        piece: &[u8],
        seam: usize,
        len: usize,
        window: &mut Vec<u32>,
    ) {
        let byte = piece[seam];
        let (left, before) = (self.counted_back(mend, 0), self.counted_back(mend, 1));
        for num_moved in 0..=len.min(MAX_SHIFT) {
            let Some(run) = mend.merge_run(byte, len - num_moved) else { break };
            let Some(left) = left else { return self.push_run(mend, &run) };
            let (start, end) = (seam - mend.len_of(left), seam + num_moved);
            window.clear();
            if num_moved == 0 {
                window.push(left);
            } else {
                mend.merge(&piece[start..end], window);
            }
            if stands(mend, piece, start, before, window.first().copied())
                && stands(mend, piece, end, window.last().copied(), run.first())
            {
                self.remove_last(1);
                self.recent.extend_from_slice(window);
                return self.push_run(mend, &run);
            }
        }
        let mut chunk = Vec::new();
        for (number, block) in piece[seam..seam + len].chunks(RUN_BLOCK).enumerate() {
            chunk.clear();
            mend.merge(block, &mut chunk);
            self.join(mend, piece, seam + number * RUN_BLOCK, &chunk, window);
            self.write(mend, 1);
        }
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
            let left_stands = stands(mend, piece, start, before, window.first().copied());
            let right_stands = stands(mend, piece, end, window.last().copied(), after);
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

/// Whether two tokens that meet at byte `at` are valid; where there is one alone, nothing is known that it could merge
/// with.
fn stands(mend: &mut impl Mend, piece: &[u8], at: usize, left: Option<u32>, right: Option<u32>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => mend.valid(piece, at, left, right),
        _ => true,
    }
}

/// Length of the run of one byte that `bytes` begin with; 0 where it is shorter than a block.
pub(super) fn run_len(bytes: &[u8]) -> usize {
    let (blocks, _) = bytes.as_chunks::<RUN>();
    let Some(first) = blocks.first().filter(|block| is_run(block)) else { return 0 };
    let num_same = RUN * blocks.iter().take_while(|&block| block == first).count();
    num_same + bytes[num_same..].iter().take_while(|&&byte| byte == first[0]).count()
}

/// Shortest run that is worth counting.
pub(super) const RUN: usize = 16;

#[inline]
pub(super) fn is_run(block: &[u8; RUN]) -> bool {
    u128::from_le_bytes(*block) == u128::from_le_bytes([block[0]; RUN])
}

/// Append the ids of a part of a piece, of which all before is at the end of `ids` (from `base` on). `seam` is the byte
/// of the piece where the part starts.
///
/// Only a few tokens at the seam are looked at: once one is reached that stays as it was, so do all behind it. A run at
/// the beginning is counted anew, because there none might stay.
pub(super) fn join_ids<I: TokenId>(
    mend: &mut impl Mend,
    piece: &[u8],
    mut seam: usize,
    ids: &mut Vec<I>,
    base: usize,
    part: &[I],
) {
    let (mut recent, mut window, mut chunk) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = part;
    let num_same = run_len(&piece[seam..]);
    if let (Some(last), Some(first)) = (ids[base..].last(), part.first())
        && num_same > 0
        && !mend.valid(piece, seam, mend.internal(last.to_u32()), mend.internal(first.to_u32()))
    {
        // The run goes to a place where a token of the part ends, or the bytes up to there are merged again.
        let (mut end, mut num_tokens) = (seam, 0);
        while end < seam + num_same && num_tokens < part.len() {
            end += mend.len_of(mend.internal(part[num_tokens].to_u32()));
            num_tokens += 1;
        }
        let run_end = end.min(seam + num_same);
        let mut joined = Joined::new(ids, base, &mut recent);
        joined.join_run(mend, piece, seam, run_end - seam, &mut window);
        if run_end < end {
            mend.merge(&piece[run_end..end], &mut chunk);
            joined.join(mend, piece, run_end, &chunk, &mut window);
        }
        joined.write(mend, 0);
        (seam, rest) = (end, &part[num_tokens..]);
    }
    while !rest.is_empty() {
        let (group, after) = rest.split_at(GROUP.min(rest.len()));
        chunk.clear();
        chunk.extend(group.iter().map(|id| mend.internal(id.to_u32())));
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
