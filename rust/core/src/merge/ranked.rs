//! The fast form of merging: internal ids that are ranks, and vectors for short pieces.
//!
//! The meaning is that of `merge`; here pairs are found in a `PairTable`, and there are three cases:
//!
//! ```text
//! up to 32 bytes       one vector of ranks, one bit mask of where tokens start
//! longer               chunks of up to 32 bytes merged alone, then joined (see `seams`)
//! one byte repeated    counted: a run of equal tokens and a short tail; inside of a longer piece too
//! ```

#![allow(clippy::cast_possible_truncation)] // places and lanes are below 34, ranks have 21 bits

use super::pair_table::{FIRST_PRODUCT, NO_RANK, PairTable};
use super::queue::{self, QueueScratch};
use super::seams::{Joined, Mend, RUN, Run, is_run, run_len};
#[cfg(target_arch = "x86_64")]
use super::side_by_side;
use super::{ShortPiece, ShortTokens};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::id::TokenId;
use crate::instructions::{Instructions, Level};

/// Longest piece that is merged at one go, in bytes.
pub(crate) const SHORT: usize = 32;
/// Chunks merged at once, between two looks at the cancel flag.
const CHUNKS: usize = 32;

/// Keys from here on say that no pair merges: `NO_RANK`, with any place.
pub(super) const NO_KEY: u32 = NO_RANK << PLACE_BITS;
pub(super) const PLACE_BITS: u32 = 5;

/// Merge a piece of 1 to 32 bytes; the tokens come to lie in the first places of `tokens`, their number is returned.
///
/// ```text
/// piece        h   e   l   l   o
/// starts   1   1   1   1   1   1   1     a bit for each byte that starts a token, and one more at both ends
/// keys         7   4   9   5   -         rank of the pair that starts here, its lane in the low bits
///                  ▼ lowest
/// starts   1   1   1   .   1   1   1     "el" is one token; the pairs "h el" and "el l" are looked up
/// ```
#[inline]
pub(crate) fn merge_short(
    instructions: Instructions,
    pairs: &PairTable,
    piece: &ShortPiece,
    tokens: &mut [u32; SHORT],
) -> usize {
    match instructions.level() {
        Level::Portable => merge_portable(pairs, piece.bytes(), tokens),
        // SAFETY: a level exists only where the machine has its instructions.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { merge_avx2(pairs, piece.bytes(), tokens) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { side_by_side::merge_one(pairs, piece, tokens) },
    }
}

/// As `merge_short`, for many pieces.
pub(super) fn merge_all(
    instructions: Instructions,
    pairs: &PairTable,
    pieces: &[ShortPiece],
    merged: &mut [ShortTokens],
) {
    #[cfg(target_arch = "x86_64")]
    if instructions.level() == Level::Avx512 {
        // SAFETY: a level exists only where the machine has its instructions.
        return unsafe {
            if pieces.iter().all(|piece| piece.num_bytes <= SHORT / 2) {
                side_by_side::merge_all::<1>(pairs, pieces, merged);
            } else {
                side_by_side::merge_all::<2>(pairs, pieces, merged);
            }
        };
    }
    for (piece, merged) in pieces.iter().zip(merged) {
        merged.count = merge_short(instructions, pairs, piece, &mut merged.tokens);
    }
}

/// A merge: which lane is gone, and the pairs whose keys are to be found anew: that which ends in the product, and that
/// which starts with it, with their lanes.
#[derive(Clone, Copy)]
pub(super) struct Merged {
    pub(super) gone: u32,
    pub(super) lanes: [u32; 2],
    pub(super) pairs: [(u32, u32); 2],
}

/// The key of a pair: its rank, and its lane, modulo 32, in the low bits.
#[inline(always)]
#[allow(clippy::inline_always)] // so that it is compiled for the instructions of its caller
pub(super) fn key_of(rank: u32, lane: u32) -> u32 {
    rank << PLACE_BITS | lane & (SHORT as u32 - 1)
}

/// The tokens of a piece while it is merged. Place p is byte p - 1; places 0 and `len + 1` hold no token.
#[derive(Clone, Copy)]
pub(super) struct Symbols {
    pub(super) ids: [u32; SHORT + 2],
    /// Bit p: a token starts at place p.
    starts: u64,
}

impl Default for Symbols {
    fn default() -> Self {
        Self { ids: [0; SHORT + 2], starts: 0 }
    }
}

impl Symbols {
    #[inline(always)]
    #[allow(clippy::inline_always)] // so that it is compiled for the instructions of its caller
    fn new(pairs: &PairTable, piece: &[u8]) -> Self {
        let mut symbols = Self::default();
        for (id, &byte) in symbols.ids[1..].iter_mut().zip(piece) {
            *id = u32::from(byte);
        }
        symbols.begin(pairs, piece.len());
        symbols
    }

    /// `ids[1..=num_bytes]` are bytes. Around them stands what merges with nothing, which spares both ends a branch.
    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    pub(super) fn begin(&mut self, pairs: &PairTable, num_bytes: usize) {
        self.ids[0] = pairs.no_token();
        self.ids[num_bytes + 1] = pairs.no_token();
        self.starts = (1 << (num_bytes + 2)) - 1;
    }

    /// Merge the pair that `key` tells, and give what to do next. Lane p is place p + 1; the place before the first has
    /// lane 32 or more, which is none.
    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    pub(super) fn merge(&mut self, key: u32) -> Merged {
        let place = (key & (SHORT as u32 - 1)) + 1;
        let gone = (self.starts & u64::MAX << place << 1).trailing_zeros();
        self.starts &= !(1 << gone);
        let next = (self.starts & u64::MAX << place << 1).trailing_zeros();
        let previous = (self.starts & ((1 << place) - 1)).ilog2();
        let id = (key >> PLACE_BITS) + FIRST_PRODUCT;
        self.ids[place as usize] = id;
        let (left, right) = (self.ids[previous as usize], self.ids[next as usize]);
        Merged {
            gone: gone - 1,
            lanes: [previous.wrapping_sub(1), place - 1],
            pairs: [(left, id), (id, right)],
        }
    }

    /// The tokens, in order.
    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    pub(super) fn collect(&self, len: usize, tokens: &mut [u32; SHORT]) -> usize {
        let mut starts = self.starts & ((1 << (len + 1)) - 2);
        let mut count = 0;
        while starts != 0 {
            tokens[count] = self.ids[starts.trailing_zeros() as usize];
            starts &= starts - 1;
            count += 1;
        }
        count
    }
}

/// The plain form, with `N` lanes: at least as many as the piece has bytes.
#[inline(always)]
#[allow(clippy::inline_always)] // so that it is compiled for the instructions of its caller
fn merge_plain<const N: usize>(pairs: &PairTable, piece: &[u8], tokens: &mut [u32; SHORT]) -> usize {
    let mut symbols = Symbols::new(pairs, piece);
    let mut keys = [NO_KEY; N];
    for (lane, (key, pair)) in keys.iter_mut().zip(piece.windows(2)).enumerate() {
        *key = pairs.byte_pair_rank(pair[0], pair[1]) << PLACE_BITS | lane as u32;
    }
    loop {
        let lowest = keys.iter().copied().fold(u32::MAX, u32::min);
        if lowest >= NO_KEY {
            return symbols.collect(piece.len(), tokens);
        }
        let merged = symbols.merge(lowest);
        keys[merged.gone as usize] = NO_KEY;
        for (lane, (left, right)) in merged.lanes.into_iter().zip(merged.pairs) {
            if let Some(slot) = keys.get_mut(lane as usize) {
                *slot = key_of(pairs.product_rank(left, right), lane);
            }
        }
    }
}

#[inline(always)]
#[allow(clippy::inline_always)] // as above
fn merge_portable(pairs: &PairTable, piece: &[u8], tokens: &mut [u32; SHORT]) -> usize {
    if piece.len() <= SHORT / 2 {
        merge_plain::<{ SHORT / 2 }>(pairs, piece, tokens)
    } else {
        merge_plain::<SHORT>(pairs, piece, tokens)
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn merge_avx2(pairs: &PairTable, piece: &[u8], tokens: &mut [u32; SHORT]) -> usize {
    merge_portable(pairs, piece, tokens)
}

/// Working memory of long pieces, kept between them.
#[derive(Debug, Default)]
pub(crate) struct LongScratch {
    queue: QueueScratch,
    window: Vec<u32>,
    tokens: Vec<u32>,
}

/// Append the external ids of a piece to `ids`.
pub(crate) fn merge_long<I: TokenId>(
    instructions: Instructions,
    pairs: &PairTable,
    piece: &[u8],
    scratch: &mut LongScratch,
    ids: &mut Vec<I>,
    cancel: &Cancel,
) -> Result<()> {
    let LongScratch { queue, window, tokens } = scratch;
    let mut form = Form { instructions, pairs, queue };
    let base = ids.len();
    let mut joined = Joined::new(ids, base, tokens);
    let mut chunks = [ShortPiece::default(); CHUNKS];
    let mut merged = [ShortTokens::default(); CHUNKS];
    let mut end = 0;
    while end < piece.len() {
        cancel.check()?;
        let mut stretches = [Stretch::default(); CHUNKS];
        let (mut num_stretches, mut num_chunks) = (0, 0);
        while num_stretches < CHUNKS && end < piece.len() {
            let stretch = next_stretch(piece, end);
            if !stretch.is_run {
                chunks[num_chunks] = ShortPiece::new(&piece[end..stretch.end]);
                num_chunks += 1;
            }
            end = stretch.end;
            stretches[num_stretches] = stretch;
            num_stretches += 1;
        }
        merge_all(instructions, pairs, &chunks[..num_chunks], &mut merged);
        let mut chunk_tokens = merged.iter();
        for &Stretch { start, end, is_run } in &stretches[..num_stretches] {
            if is_run {
                joined.join_run(&mut form, piece, start, end - start, window);
            } else if let Some(ShortTokens { tokens, count }) = chunk_tokens.next() {
                joined.join(&mut form, piece, start, &tokens[..*count], window);
            }
        }
        // The last two are soon looked at again.
        joined.write(&form, 2);
    }
    joined.write(&form, 0);
    Ok(())
}

/// Some bytes of a long piece that are merged alone.
#[derive(Debug, Clone, Copy, Default)]
struct Stretch {
    start: usize,
    end: usize,
    /// All the same byte; else at most `SHORT` bytes.
    is_run: bool,
}

/// The stretch that starts at `start`: a run as long as it is, or the bytes up to the next run. Runs of 48 bytes and more
/// are found where they start, shorter ones by luck; both are exact.
fn next_stretch(piece: &[u8], start: usize) -> Stretch {
    let rest = &piece[start..];
    let num_same = run_len(rest);
    if num_same > 0 {
        return Stretch { start, end: start + num_same, is_run: true };
    }
    let mut len = rest.len().min(SHORT);
    if let Some(block) = rest[len..].first_chunk::<RUN>()
        && is_run(block)
    {
        // Not 0: then there would be a run at the start.
        len -= rest[..len].iter().rev().take_while(|&&byte| byte == block[0]).count();
    }
    Stretch { start, end: start + len, is_run: false }
}

/// How the ranked merger mends seams.
pub(super) struct Form<'a> {
    pub(super) instructions: Instructions,
    pub(super) pairs: &'a PairTable,
    pub(super) queue: &'a mut QueueScratch,
}

impl Mend for Form<'_> {
    fn merge(&mut self, bytes: &[u8], tokens: &mut Vec<u32>) {
        if bytes.len() <= SHORT {
            let mut merged = [0; SHORT];
            let count = merge_short(self.instructions, self.pairs, &ShortPiece::new(bytes), &mut merged);
            tokens.extend_from_slice(&merged[..count]);
        } else {
            queue::merge(self.pairs, bytes, self.queue, tokens);
        }
    }

    fn merge_run(&mut self, byte: u8, len: usize) -> Option<Run> {
        Some(merge_run(self.pairs, byte, len))
    }

    #[inline]
    fn valid(&mut self, _: &[u8], _: usize, left: u32, right: u32) -> bool {
        valid(self.pairs, left, right)
    }

    fn len_of(&self, token: u32) -> usize {
        self.pairs.len_of(token)
    }

    fn external(&self, token: u32) -> u32 {
        self.pairs.external(token)
    }

    fn internal(&self, id: u32) -> u32 {
        self.pairs.internal(id)
    }
}

/// Whether two tokens stay two when their joined bytes are merged alone: their merges are undone in reverse order,
/// the later one first, and at each step a pair across the seam must not have come before the merge undone last.
/// At equal ranks the left one comes first. (The method is that of the Rust crate `bpe`; it needs ids that are
/// ranks, and tokens that stand in some result of merging.)
fn valid(pairs: &PairTable, mut left: u32, mut right: u32) -> bool {
    // Products below this one would have been made across the seam.
    let mut limit = u32::MAX;
    loop {
        let rank = pairs.rank(left, right);
        if rank != NO_RANK && rank + FIRST_PRODUCT < limit {
            return false;
        }
        let undo_left = left > right;
        match (pairs.parts(left), pairs.parts(right)) {
            (Some((_, part)), _) if undo_left => (limit, left) = (left, part),
            (_, Some((part, _))) => (limit, right) = (right + 1, part),
            // The later of the two is a byte, so both are.
            _ => return true,
        }
    }
}

/// One byte repeated: ranks rise from `x x` to the pairs that its product takes part in, so each round halves the run
/// and leaves at most one token of it behind, in front of a short tail.
///
/// ```text
/// aaaaaaaaaaa   11 a            aa merges
/// 5 aa, tail a                  aaaa merges
/// 2 aaaa, tail aa a             (aa a) merges
/// 2 aaaa, tail aaa              nothing merges any more
/// ```
fn merge_run(pairs: &PairTable, byte: u8, len: usize) -> Run {
    let (mut id, mut count) = (u32::from(byte), len);
    let mut tail: Vec<u32> = Vec::new();
    loop {
        // The pair of lowest rank: within the run, at its end, or in the tail.
        let mut lowest = if count > 1 { pairs.rank(id, id) } else { NO_RANK };
        let mut place = None;
        let run_end = if count > 0 { Some(id) } else { None };
        let symbols = run_end.into_iter().chain(tail.iter().copied());
        for (i, (left, right)) in symbols.clone().zip(symbols.skip(1)).enumerate() {
            let rank = pairs.rank(left, right);
            if rank < lowest {
                (lowest, place) = (rank, Some(i));
            }
        }
        if lowest == NO_RANK {
            break;
        }
        let product = lowest + FIRST_PRODUCT;
        match (place, count > 0) {
            (None, _) => {
                if count % 2 == 1 {
                    tail.insert(0, id);
                }
                (id, count) = (product, count / 2);
            }
            (Some(0), true) => {
                count -= 1;
                tail[0] = product;
            }
            (Some(i), has_run) => {
                let first = if has_run { i - 1 } else { i };
                tail[first] = product;
                tail.remove(first + 1);
            }
        }
        // A tail that begins with the run's token is part of the run.
        while count > 0 && tail.first() == Some(&id) {
            tail.remove(0);
            count += 1;
        }
    }
    Run { token: id, count, tail }
}

#[cfg(test)]
mod tests;
