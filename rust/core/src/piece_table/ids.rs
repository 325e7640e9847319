//! The ids of an entry: its last bytes, as many as it has, written and read whole.
//!
//! ```text
//! 5 ids of 16 bits in 16 bytes       a b c d e . . 5     behind them, in the last place, their number
//! 12 ids, which are too many         first . . . . 12    where they are instead, and their number
//! ```

#![allow(clippy::cast_possible_truncation)] // places and counts are bounded by the size of an entry

use std::mem::MaybeUninit;

use super::WORD;
use crate::id::TokenId;
use crate::merge::ranked::SHORT;

/// What an entry has for ids where they are too many: where they are, and their number.
pub(super) fn refer<I: TokenId>(first: usize, count: usize) -> [u8; WORD] {
    let mut ids = [0; WORD];
    ids[..4].copy_from_slice(&(first as u32).to_ne_bytes());
    with_count::<I, WORD>(ids, count)
}

/// What `refer` put there.
pub(super) fn referred<I: TokenId>(ids: &[u8; WORD]) -> (usize, usize) {
    let first = u32::from_ne_bytes([ids[0], ids[1], ids[2], ids[3]]);
    (first as usize, count_of::<I, WORD>(ids))
}

/// The number of ids, which stands behind them.
#[inline]
pub(super) fn count_of<I: TokenId, const N: usize>(ids: &[u8; N]) -> usize {
    // SAFETY: the last place for an id lies inside of the array; it is read unaligned.
    unsafe { ids.as_ptr().cast::<I>().add(N / size_of::<I>() - 1).read_unaligned().to_u32() as usize }
}

/// Append all that an entry has for ids, whatever is used of it, so that the copy has a fixed size.
#[inline]
pub(super) fn spill<I: TokenId, const N: usize>(spilled: &mut Vec<I>, bytes: &[u8; N]) {
    let num_ids = N / size_of::<I>();
    spilled.reserve(num_ids);
    // SAFETY: the reserve has room for the N bytes, which are plain integers.
    unsafe {
        spilled.as_mut_ptr().add(spilled.len()).cast::<[u8; N]>().write_unaligned(*bytes);
        spilled.set_len(spilled.len() + num_ids);
    }
}

/// Copy at least 16 bytes of ids, 16 at a time, the last ones perhaps twice: a call of `memcpy` takes longer.
#[inline]
pub(super) fn copy_at_least_a_word<I: TokenId>(from: &[I], to: &mut [MaybeUninit<I>]) {
    let num_ids = WORD / size_of::<I>();
    assert!(from.len() >= num_ids && to.len() == from.len(), "too few ids");
    let last = from.len() - num_ids;
    let mut place = 0;
    loop {
        // SAFETY: `place` is at most `last`, from where 16 bytes of both slices are left.
        unsafe {
            let word = from.as_ptr().add(place).cast::<[u8; WORD]>().read_unaligned();
            to.as_mut_ptr().add(place).cast::<[u8; WORD]>().write_unaligned(word);
        }
        if place == last {
            return;
        }
        place = (place + num_ids).min(last);
    }
}

/// The first tokens as ids of an entry: as many as it has room for, whatever is used of them, so that the loop has a
/// fixed length.
#[inline]
pub(super) fn ids_of_tokens<I: TokenId, const N: usize>(tokens: &[u32; SHORT]) -> [u8; N] {
    const { assert!(N / size_of::<I>() <= SHORT) };
    let mut ids = [0; N];
    for (place, &token) in tokens[..N / size_of::<I>()].iter().enumerate() {
        set_id(&mut ids, place, I::from_u32(token));
    }
    ids
}

/// The same ids with their number behind them.
#[inline]
pub(super) fn with_count<I: TokenId, const N: usize>(mut ids: [u8; N], count: usize) -> [u8; N] {
    set_id(&mut ids, N / size_of::<I>() - 1, I::from_u32(count as u32));
    ids
}

#[inline]
pub(super) fn set_id<I: TokenId, const N: usize>(ids: &mut [u8; N], place: usize, id: I) {
    assert!(place < N / size_of::<I>(), "no place for an id");
    // SAFETY: the place lies inside of the array; it is written unaligned.
    unsafe { ids.as_mut_ptr().cast::<I>().add(place).write_unaligned(id) };
}

/// The bytes of an entry as ids.
pub(super) fn ids_of<I: TokenId>(bytes: &[u8]) -> &[I] {
    // SAFETY: ids are plain integers; the slices that are no whole ids or not aligned are left out, and are empty, as an
    // entry's ids start at a multiple of 16 bytes.
    unsafe { bytes.align_to::<I>().1 }
}
