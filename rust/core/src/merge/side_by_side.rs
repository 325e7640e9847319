//! Short pieces merged several at a time with AVX-512.
//!
//! Each merge needs the one before it: find the lowest rank, then look up the two new pairs, which lie somewhere in a table
//! that the first caches seldom hold. So eight pieces take turns. A turn ends when the lines of its two pairs are asked for,
//! and its next one begins by looking at them, when they have come. A piece that is done makes room for the next one.
//!
//! ```text
//! piece 0   " foo"   lowest, merge, ask ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ranks, lowest, merge, ask ─ ─ …
//! piece 1   "bar"                     lowest, merge, ask ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ …
//! piece 2   …                                          lowest, merge, ask ─ …
//! ```
//!
//! The meaning is `ranked::merge_plain` for each piece alone.

#![allow(clippy::cast_possible_truncation)] // lanes, places and counts are below 64

use std::arch::x86_64::{
    __m128i, __m512i, _mm_alignr_epi8, _mm_loadu_si128, _mm_setzero_si128, _mm512_add_epi32,
    _mm512_cvtepu8_epi32, _mm512_mask_i32gather_epi32, _mm512_mask_set1_epi32, _mm512_min_epu32,
    _mm512_or_si512, _mm512_reduce_min_epu32, _mm512_set1_epi32, _mm512_setr_epi32, _mm512_slli_epi32,
    _mm512_storeu_si512,
};

use super::pair_table::{NO_RANK, PairTable};
use super::ranked::{NO_KEY, PLACE_BITS, SHORT, Symbols, key_of};
use super::{ShortPiece, ShortTokens};

/// Pieces that take turns.
const SIDE_BY_SIDE: usize = 8;
/// Ranks in one register.
const LANES: usize = 16;

/// A piece that is being merged: its keys in `V` registers of 16. In memory each change of a key would make the load of
/// the whole vector wait for the store.
#[derive(Clone, Copy)]
struct Turn<const V: usize> {
    keys: [__m512i; V],
    symbols: Symbols,
    num_bytes: usize,
    /// Which piece it is.
    piece: usize,
    /// Pairs whose keys are to be found: lane, line and tag.
    asked: [(u32, usize, u32); 2],
}

/// Merge pieces of 1 to `16 * V` bytes; `V` is 1 or 2.
///
/// # Safety
///
/// The machine has AVX-512 (see `Instructions`).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn merge_all<const V: usize>(
    pairs: &PairTable,
    pieces: &[ShortPiece],
    merged: &mut [ShortTokens],
) {
    assert!(V * LANES <= SHORT && pieces.len() <= merged.len(), "no room for the tokens");
    let mut turns = [Turn::new(); SIDE_BY_SIDE];
    let mut next = 0;
    let mut num_active = 0;
    // Give the turn a piece that has a pair to merge; pieces that have none are done. `false` where no piece is left.
    let mut begin = |turn: &mut Turn<V>, merged: &mut [ShortTokens]| {
        while let Some(piece) = pieces.get(next) {
            start(pairs, piece, next, turn);
            next += 1;
            if merge_lowest(pairs, turn) {
                return true;
            }
            turn.collect(merged);
        }
        false
    };
    while num_active < SIDE_BY_SIDE && begin(&mut turns[num_active], merged) {
        num_active += 1;
    }
    while num_active > 0 {
        let mut number = 0;
        while number < num_active {
            let turn = &mut turns[number];
            put_keys(pairs, turn);
            if merge_lowest(pairs, turn) {
                number += 1;
                continue;
            }
            turn.collect(merged);
            if begin(turn, merged) {
                number += 1;
            } else {
                num_active -= 1;
                turns[number] = turns[num_active];
            }
        }
    }
}

/// Merge one piece of 1 to 32 bytes.
///
/// # Safety
///
/// As above.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn merge_one(pairs: &PairTable, piece: &ShortPiece, tokens: &mut [u32; SHORT]) -> usize {
    if piece.num_bytes <= LANES {
        merge_alone::<1>(pairs, piece, tokens)
    } else {
        merge_alone::<2>(pairs, piece, tokens)
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,lzcnt,popcnt")]
fn merge_alone<const V: usize>(pairs: &PairTable, piece: &ShortPiece, tokens: &mut [u32; SHORT]) -> usize {
    let mut turn = Turn::new();
    start::<V>(pairs, piece, 0, &mut turn);
    while merge_lowest(pairs, &mut turn) {
        put_keys(pairs, &mut turn);
    }
    turn.symbols.collect(turn.num_bytes, tokens)
}

impl<const V: usize> Turn<V> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,lzcnt,popcnt")]
    fn new() -> Self {
        let keys = [_mm512_set1_epi32(NO_KEY.cast_signed()); V];
        Self { keys, symbols: Symbols::default(), num_bytes: 0, piece: 0, asked: [(0, 0, 0); 2] }
    }

    /// Hand in the tokens of a piece that is done.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,lzcnt,popcnt")]
    fn collect(&self, merged: &mut [ShortTokens]) {
        let ShortTokens { tokens, count } = &mut merged[self.piece];
        *count = self.symbols.collect(self.num_bytes, tokens);
    }
}

/// Each byte a token, and the ranks of all pairs of bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,lzcnt,popcnt")]
#[allow(clippy::cast_ptr_alignment, clippy::cast_possible_wrap)] // loads and stores ask for no alignment, lanes are few
fn start<const V: usize>(pairs: &PairTable, piece: &ShortPiece, number: usize, turn: &mut Turn<V>) {
    assert!(piece.num_bytes > 0 && piece.num_bytes <= V * LANES, "a piece of another length");
    let numbers = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let pair_lanes = (1_u64 << (piece.num_bytes - 1)) - 1;
    // SAFETY: both words of the piece have 16 bytes.
    let words =
        piece.words.each_ref().map(|word| unsafe { _mm_loadu_si128(word.as_ptr().cast::<__m128i>()) });
    for (vector, keys) in turn.keys.iter_mut().enumerate() {
        let first = _mm512_cvtepu8_epi32(words[vector]);
        let after = words.get(vector + 1).copied().unwrap_or_else(|| _mm_setzero_si128());
        let second = _mm512_cvtepu8_epi32(_mm_alignr_epi8::<1>(after, words[vector]));
        // SAFETY: 16 places lie behind the first one of each vector.
        unsafe {
            _mm512_storeu_si512(
                turn.symbols.ids.as_mut_ptr().add(1 + LANES * vector).cast::<__m512i>(),
                first,
            );
        }
        let pair = _mm512_or_si512(_mm512_slli_epi32::<8>(first), second);
        let lanes = (pair_lanes >> (LANES * vector)) as u16;
        // SAFETY: the grid has a rank for each of the 65,536 pairs of bytes.
        let ranks = unsafe {
            let no_rank = _mm512_set1_epi32(NO_RANK.cast_signed());
            _mm512_mask_i32gather_epi32::<4>(no_rank, lanes, pair, pairs.byte_pairs().as_ptr().cast::<i32>())
        };
        let lane_numbers = _mm512_add_epi32(numbers, _mm512_set1_epi32((LANES * vector) as i32));
        *keys = _mm512_or_si512(_mm512_slli_epi32::<PLACE_BITS>(ranks), lane_numbers);
    }
    turn.symbols.begin(pairs, piece.num_bytes);
    (turn.num_bytes, turn.piece) = (piece.num_bytes, number);
}

/// Merge the pair of lowest rank and ask for the lines of the two new pairs; `false` where no pair merges.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,lzcnt,popcnt")]
fn merge_lowest<const V: usize>(pairs: &PairTable, turn: &mut Turn<V>) -> bool {
    let least = turn.keys.iter().skip(1).fold(turn.keys[0], |least, &keys| _mm512_min_epu32(least, keys));
    let lowest = _mm512_reduce_min_epu32(least);
    if lowest >= NO_KEY {
        return false;
    }
    let merged = turn.symbols.merge(lowest);
    for ((asked, lane), (left, right)) in turn.asked.iter_mut().zip(merged.lanes).zip(merged.pairs) {
        let (line, tag) = pairs.place(left, right);
        pairs.prefetch_line(line);
        *asked = (lane, line, tag);
    }
    put_key(turn, merged.gone, NO_KEY);
    true
}

/// The keys of the pairs that were asked for.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,lzcnt,popcnt")]
fn put_keys<const V: usize>(pairs: &PairTable, turn: &mut Turn<V>) {
    for (lane, line, tag) in turn.asked {
        put_key(turn, lane, key_of(pairs.rank_from_avx512(line, tag), lane));
    }
}

/// A lane that is none sets nothing.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,lzcnt,popcnt")]
fn put_key<const V: usize>(turn: &mut Turn<V>, lane: u32, key: u32) {
    for (vector, keys) in turn.keys.iter_mut().enumerate() {
        let lane_mask = ((1_u64 << (lane & 63)) >> (LANES * vector)) as u16;
        *keys = _mm512_mask_set1_epi32(*keys, lane_mask, key.cast_signed());
    }
}
