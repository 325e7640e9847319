//! Stage 2: remember the tokens of pieces seen before.
//!
//! Two direct-mapped tables, for pieces of up to 16 and of up to 32 bytes. A new piece overwrites whatever has
//! its place, so memory is fixed, and an ever-changing text is as fast in the end as in the beginning. Half of
//! the art is the key: the bytes themselves, unused ones set to 0xff, which UTF-8 never has, so that no length
//! has to be compared.
//!
//! ```text
//! " the" ──► key 20 74 68 65 ff ff … ──► hash ──► entries[hash >> shift] ──► same key? its ids : merge, store
//! ```

use crate::id::TokenId;

const WORD: usize = 16;

/// Bytes of cache a worker gets unless told otherwise.
pub const DEFAULT_CAPACITY_BYTES: usize = 4 << 20;

/// Tokens of pieces up to 32 bytes, in a fixed number of bytes.
#[derive(Debug)]
pub struct PieceCache {
    /// One word of key leaves room for 11 ids in a cache line, two leave room for 7.
    short: Table<1, 11>,
    long: Table<2, 7>,
}

impl PieceCache {
    /// A cache that takes at most `capacity_bytes` (and at least 8 KiB).
    #[must_use]
    pub fn with_capacity_bytes(capacity_bytes: usize) -> Self {
        // 99 % of pieces are short, but a long one costs several times as much to merge.
        Self {
            short: Table::with_capacity_bytes(capacity_bytes / 8 * 7),
            long: Table::with_capacity_bytes(capacity_bytes / 8),
        }
    }

    /// Append the tokens of the piece `text[start..end]`, from memory or else by `merge`, which appends them too.
    #[inline]
    pub fn get_or_merge<I: TokenId, E>(
        &mut self,
        text: &[u8],
        start: usize,
        end: usize,
        ids: &mut Vec<I>,
        merge: impl FnOnce(&mut Vec<I>) -> Result<(), E>,
    ) -> Result<(), E> {
        match end - start {
            0..=WORD => self.short.get_or_merge([load(text, start, end)], ids, merge),
            17..=32 => {
                let middle = start + WORD;
                self.long.get_or_merge([load(text, start, middle), load(text, middle, end)], ids, merge)
            }
            _ => merge(ids),
        }
    }
}

/// One cache line, so that a look-up waits for memory once.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Entry<const WORDS: usize, const MAX_IDS: usize> {
    key: [u128; WORDS],
    ids: [u32; MAX_IDS],
    num_ids: u32,
}

#[derive(Debug)]
struct Table<const WORDS: usize, const MAX_IDS: usize> {
    entries: Box<[Entry<WORDS, MAX_IDS>]>,
    /// The hash's top bits are the place.
    shift: u32,
}

impl<const WORDS: usize, const MAX_IDS: usize> Table<WORDS, MAX_IDS> {
    fn with_capacity_bytes(capacity_bytes: usize) -> Self {
        let most = (capacity_bytes / size_of::<Entry<WORDS, MAX_IDS>>()).max(64);
        let bits = most.ilog2();
        // No piece has this key: all of its bytes would be 0xff.
        let empty = Entry { key: [u128::MAX; WORDS], ids: [0; MAX_IDS], num_ids: 0 };
        Self { entries: vec![empty; 1 << bits].into_boxed_slice(), shift: 64 - bits }
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation)] // the place is below the number of entries, a usize
    fn get_or_merge<I: TokenId, E>(
        &mut self,
        key: [u128; WORDS],
        ids: &mut Vec<I>,
        merge: impl FnOnce(&mut Vec<I>) -> Result<(), E>,
    ) -> Result<(), E> {
        let place = (hash(key) >> self.shift) as usize;
        let entry = &mut self.entries[place];
        if entry.key == key {
            ids.extend(entry.ids[..(entry.num_ids as usize).min(MAX_IDS)].iter().map(|&id| I::from_u32(id)));
            return Ok(());
        }
        let before = ids.len();
        merge(ids)?;
        let merged = &ids[before..];
        if merged.len() <= MAX_IDS {
            for (slot, id) in entry.ids.iter_mut().zip(merged) {
                *slot = id.to_u32();
            }
            entry.num_ids = u32::try_from(merged.len()).unwrap_or(0);
            entry.key = key;
        }
        Ok(())
    }
}

/// Up to 16 bytes as one number, unused bytes 0xff.
#[inline]
fn load(text: &[u8], start: usize, end: usize) -> u128 {
    let length = end - start;
    // One load of 16 bytes, then a mask; only at the very end of a text the bytes are copied one by one.
    if let Some(Ok(word)) = text.get(start..start + WORD).map(<[u8; WORD]>::try_from) {
        let word = u128::from_le_bytes(word);
        return if length == WORD { word } else { word | u128::MAX << (8 * length) };
    }
    let mut word = [0xff; WORD];
    word[..length].copy_from_slice(&text[start..end]);
    u128::from_le_bytes(word)
}

/// Folded multiplication: both halves of the 128-bit product, so that every byte reaches the top bits.
#[inline]
#[allow(clippy::cast_possible_truncation)] // the halves are what is wanted
fn hash<const WORDS: usize>(key: [u128; WORDS]) -> u64 {
    let mut hash = 0_u64;
    for word in key {
        let low = word as u64 ^ 0x9e37_79b9_7f4a_7c15 ^ hash;
        let high = (word >> 64) as u64 ^ 0xd1b5_4a32_d192_ed03;
        let product = u128::from(low) * u128::from(high);
        hash = (product as u64 ^ (product >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    hash
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// The tokens of a piece, for these tests: its length, then its bytes.
    fn tokens(piece: &[u8]) -> Vec<u32> {
        let length = u32::try_from(piece.len()).unwrap();
        std::iter::once(length).chain(piece.iter().map(|&byte| byte.into())).collect()
    }

    /// Look a piece up; also whether it had to be merged.
    fn get(cache: &mut PieceCache, text: &[u8], start: usize, end: usize) -> (Vec<u32>, bool) {
        let mut ids = vec![7_u32];
        let mut merged = false;
        let result: Result<(), Infallible> = cache.get_or_merge(text, start, end, &mut ids, |ids| {
            merged = true;
            ids.extend(tokens(&text[start..end]));
            Ok(())
        });
        assert_eq!((result, ids.remove(0)), (Ok(()), 7));
        (ids, merged)
    }

    #[test]
    fn a_piece_is_merged_once() {
        let mut cache = PieceCache::with_capacity_bytes(1 << 16);
        let text = b" hello hello";
        assert_eq!(get(&mut cache, text, 0, 6), (tokens(b" hello"), true));
        assert_eq!(get(&mut cache, text, 6, 12), (tokens(b" hello"), false));
        assert_eq!(get(&mut cache, text, 7, 12), (tokens(b"hello"), true));
        let many = get(&mut cache, b"0123456789abcdef", 0, 16);
        assert_eq!(
            many,
            get(&mut cache, b"0123456789abcdef", 0, 16),
            "too many tokens to be kept: merged again"
        );
        assert!(many.1);
    }

    #[test]
    fn memory_is_what_was_asked_for() {
        for capacity in [1 << 16, 1 << 20, DEFAULT_CAPACITY_BYTES] {
            let cache = PieceCache::with_capacity_bytes(capacity);
            let bytes = size_of_val(&*cache.short.entries) + size_of_val(&*cache.long.entries);
            assert!(bytes <= capacity && bytes > capacity / 4, "{bytes} of {capacity}");
        }
        assert_eq!(PieceCache::with_capacity_bytes(0).short.entries.len(), 64);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// A tiny cache over many pieces: entries are overwritten all the time, and never confused. Pieces that are
        /// each other's beginnings, of all lengths around the limits, zero bytes among them.
        #[test]
        fn a_look_up_equals_a_merge(
            text in proptest::collection::vec(prop_oneof![Just(0_u8), Just(b'a'), 0..0xf5_u8], 1..60),
            cuts in proptest::collection::vec((0..60_usize, 0..40_usize), 1..60),
        ) {
            let mut cache = PieceCache::with_capacity_bytes(0);
            for (start, length) in cuts {
                let start = start % text.len();
                let end = (start + 1 + length).min(text.len());
                prop_assert_eq!(get(&mut cache, &text, start, end).0, tokens(&text[start..end]));
            }
        }
    }
}
