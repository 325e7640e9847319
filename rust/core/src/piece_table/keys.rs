//! Keys of pieces and their places: what a batch needs before the table is looked at.
//!
//! The key of a piece is its bytes inverted, unused ones 0. No byte of UTF-8 is 0xff, so no byte of a piece inverts to
//! 0: the key tells the length, and no piece has the key of an empty entry.
//!
//! ```text
//! " the"   20 74 68 65 20 77 …  16 bytes of text from the start of the piece
//! invert   df 8b 97 9a df 88 …
//! & used   df 8b 97 9a 00 00 …  the key ──► hash ──► place, prefetched
//! ```
//!
//! `whole_key` and `hash_portable` are the plain forms; `probe_aes` does both with one instruction for each step. The
//! two hashes differ, which decides where a piece is kept and nothing else.

#![allow(clippy::cast_possible_truncation)] // lengths, places and hashes: low bits are what is wanted

use super::{BATCH, Batch, Entry, WORD};
use crate::huge_pages::prefetch;
use crate::instructions::{Instructions, Level};

/// The key of pieces that are too long for one.
pub(super) const NO_KEY: u128 = 0;

/// Key, place and prefetch for each piece.
pub(super) fn probe(
    instructions: Instructions,
    text: &[u8],
    starts: &[u32],
    batch: &mut Batch,
    entries: &[Entry],
    mask: usize,
) {
    // From the first piece on that has less than 16 bytes behind its start, bytes come from a padded copy.
    let last_whole = text.len().saturating_sub(WORD);
    let num_pieces = starts.len() - 1;
    let whole = if text.len() < WORD {
        0
    } else {
        starts[..num_pieces].partition_point(|&start| start as usize <= last_whole)
    };
    match instructions.level() {
        Level::Portable => {
            for i in 0..num_pieces {
                let (start, end) = (starts[i] as usize, starts[i + 1] as usize);
                let key = if i < whole { whole_key(text, start, end) } else { tail_key(text, start, end) };
                put_probe(batch, i, key, hash_portable(key) as usize & mask, entries);
            }
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::Avx512 => {
            // SAFETY: the level exists only where the machine has AES; the first `whole` pieces have 16 bytes of text
            // from their start on.
            unsafe { probe_aes(text, starts, whole, batch, entries, mask) };
            for i in whole..num_pieces {
                let key = tail_key(text, starts[i] as usize, starts[i + 1] as usize);
                put_probe(batch, i, key, hash_key(instructions, key) & mask, entries);
            }
        }
    }
}

#[inline]
fn put_probe(batch: &mut Batch, i: usize, key: u128, place: usize, entries: &[Entry]) {
    prefetch(&entries[place]);
    batch.keys[i] = key;
    batch.places[i] = place as u32;
}

/// Which bytes of a key of each length are used; none for a piece that is too long for a key.
static USED: [u128; WORD + 2] = {
    let mut used = [0; WORD + 2];
    let mut length = 1;
    while length <= WORD {
        used[length] = u128::MAX >> (8 * (WORD - length));
        length += 1;
    }
    used
};

#[inline]
pub(super) fn whole_key(text: &[u8], start: usize, end: usize) -> u128 {
    match text[start..].first_chunk() {
        Some(bytes) => !u128::from_le_bytes(*bytes) & USED[(end - start).min(WORD + 1)],
        None => tail_key(text, start, end),
    }
}

fn tail_key(text: &[u8], start: usize, end: usize) -> u128 {
    if end - start > WORD { NO_KEY } else { padded_key(&text[start..end]) }
}

pub(super) fn padded_key(piece: &[u8]) -> u128 {
    let mut bytes = [0xff; WORD];
    bytes[..piece.len()].copy_from_slice(piece);
    !u128::from_le_bytes(bytes)
}

/// Both halves of a product, so that every byte reaches the low bits. 0 for `NO_KEY`.
#[inline]
pub(super) fn hash_portable(key: u128) -> u64 {
    let (low, high) = (key as u64, (key >> 64) as u64);
    let mixed =
        (low ^ high.rotate_left(32).wrapping_mul(0xd1b5_4a32_d192_ed03)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,aes,bmi1,bmi2")]
#[allow(clippy::cast_ptr_alignment)] // the loads of text ask for no alignment
fn probe_aes(text: &[u8], starts: &[u32], whole: usize, batch: &mut Batch, entries: &[Entry], mask: usize) {
    use std::arch::x86_64::{
        __m128i, _MM_HINT_T0, _mm_andnot_si128, _mm_cvtsi128_si32, _mm_load_si128, _mm_loadu_si128,
        _mm_prefetch, _mm_store_si128,
    };
    assert!(whole < starts.len() && whole <= BATCH);
    for i in 0..whole {
        // SAFETY: `i + 1` is at most `whole`, which is a place of `starts`.
        let (start, end) =
            unsafe { (*starts.get_unchecked(i) as usize, *starts.get_unchecked(i + 1) as usize) };
        let length = (end - start).min(WORD + 1);
        // SAFETY: 16 bytes of text lie behind the start of the first `whole` pieces; `USED` has a value for the length.
        let key = unsafe {
            let bytes = _mm_loadu_si128(text.as_ptr().add(start).cast::<__m128i>());
            _mm_andnot_si128(bytes, _mm_load_si128(USED.as_ptr().add(length).cast::<__m128i>()))
        };
        let place = _mm_cvtsi128_si32(hash_aes(key)).cast_unsigned() as usize & mask;
        // SAFETY: `i` is below BATCH; keys are aligned as u128 are. A prefetch touches nothing.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(entries.as_ptr().add(place).cast::<i8>());
            _mm_store_si128(batch.keys.as_mut_ptr().add(i).cast::<__m128i>(), key);
            *batch.places.get_unchecked_mut(i) = place as u32;
        }
    }
}

/// Two rounds of AES without a key mix every byte into every other.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "aes")]
fn hash_aes(key: std::arch::x86_64::__m128i) -> std::arch::x86_64::__m128i {
    use std::arch::x86_64::{_mm_aesenc_si128, _mm_set_epi64x};
    let round_key = _mm_set_epi64x(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344);
    _mm_aesenc_si128(_mm_aesenc_si128(key, round_key), round_key)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "aes")]
fn hash_aes_key(key: u128) -> u32 {
    use std::arch::x86_64::{__m128i, _mm_cvtsi128_si32, _mm_loadu_si128};
    // SAFETY: a u128 has 16 bytes.
    let key = unsafe { _mm_loadu_si128((&raw const key).cast::<__m128i>()) };
    _mm_cvtsi128_si32(hash_aes(key)).cast_unsigned()
}

pub(super) fn hash_key(instructions: Instructions, key: u128) -> usize {
    match instructions.level() {
        Level::Portable => hash_portable(key) as usize,
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level exists only where the machine has AES.
        Level::Avx2 | Level::Avx512 => unsafe { hash_aes_key(key) as usize },
    }
}
