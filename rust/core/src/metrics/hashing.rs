//! Hashes that group documents, sample words and seed noise. Saved counters lean on them: changing one needs a new
//! version of the saved form.

#![allow(clippy::inline_always)] // one call for each word

use crate::order::{GOLDEN, mix};

pub(crate) const MULTIPLIERS: [u64; 4] =
    [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93, 0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db];

/// A hash of all bytes: four lanes of 8 bytes each, so that the multiplications overlap.
///
/// ```text
/// lane[i] = (lane[i] ^ word[i]) * M[i];  lane[i] ^= lane[i] >> 32        for each 32 bytes, the last ones padded by 0
/// hash    = mix(... mix(length ^ lane[0]) ... ^ lane[3])
/// ```
#[must_use]
pub fn document_hash(bytes: &[u8]) -> u64 {
    let mut lanes = MULTIPLIERS;
    let (chunks, last) = bytes.as_chunks::<CHUNK>();
    for chunk in chunks {
        absorb(&mut lanes, chunk);
    }
    if !last.is_empty() {
        let mut padded = [0; CHUNK];
        padded[..last.len()].copy_from_slice(last);
        absorb(&mut lanes, &padded);
    }
    finish(bytes.len(), &lanes)
}

/// Bytes of a chunk: 8 for each lane.
const CHUNK: usize = 32;

#[inline]
fn finish(length: usize, lanes: &[u64; 4]) -> u64 {
    lanes.iter().fold(length as u64, |hash, lane| mix(hash ^ lane))
}

#[inline]
fn absorb(lanes: &mut [u64; 4], chunk: &[u8; CHUNK]) {
    for (i, (lane, word)) in lanes.iter_mut().zip(chunk.as_chunks::<8>().0).enumerate() {
        *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(MULTIPLIERS[i]);
        *lane ^= *lane >> 32;
    }
}

/// Longer words are hashed as documents are.
pub(crate) const MAX_SHORT: usize = 32;

/// A hash of the word `text[start..end]`, quick for words of up to `MAX_SHORT` bytes, which nearly all are.
///
/// ```text
/// sum  = length + sum over 8 bytes each: (low half + low half of M[i] mod 2^32) * (high half + high half of M[i])
/// hash = mix(sum)
/// ```
///
/// The sum is NH (Black, Halevi, Krawczyk, Krovetz, Rogaway, "UMAC: Fast and Secure Message Authentication", 1999):
/// products of 32 bits, of which a register holds eight.
#[inline(always)]
#[must_use]
pub(crate) fn word_hash(text: &[u8], start: usize, end: usize) -> u64 {
    let length = end - start;
    if length > MAX_SHORT {
        return document_hash(&text[start..end]);
    }
    let mut padded = [0; MAX_SHORT];
    padded[..length].copy_from_slice(&text[start..end]);
    short_word_hash(&padded, length)
}

/// The hash of the first `length` bytes of a window, at most all of them.
#[inline(always)]
pub(crate) fn short_word_hash(window: &[u8; MAX_SHORT], length: usize) -> u64 {
    let (words, _) = window.as_chunks::<8>();
    let mut sum = length as u64;
    for ((word, mask), key) in words.iter().zip(FIRST_BYTES[length]).zip(MULTIPLIERS) {
        let word = u64::from_le_bytes(*word) & mask;
        let low = (word & LOW_HALF).wrapping_add(key & LOW_HALF) & LOW_HALF;
        let high = (word >> 32).wrapping_add(key >> 32) & LOW_HALF;
        sum = sum.wrapping_add(low.wrapping_mul(high));
    }
    mix(sum)
}

const LOW_HALF: u64 = 0xffff_ffff;

/// Masks of the first bytes of a window, by their number.
static FIRST_BYTES: [[u64; 4]; MAX_SHORT + 1] = {
    let mut masks = [[0; 4]; MAX_SHORT + 1];
    let mut length: usize = 0;
    while length <= MAX_SHORT {
        let mut i = 0;
        while i < 4 {
            let bytes = length.saturating_sub(8 * i);
            masks[length][i] = if bytes >= 8 { u64::MAX } else { (1 << (8 * bytes)) - 1 };
            i += 1;
        }
        length += 1;
    }
    masks
};

/// A stream of random words: `SplitMix64` (Steele, Lea, Flood 2014).
#[derive(Debug)]
pub(crate) struct RandomWords(u64);

impl RandomWords {
    /// The stream of (seed, number of the purpose, hash of the document).
    pub(crate) fn new(seed: u64, purpose: u64, document: u64) -> Self {
        Self(mix(mix(seed.wrapping_add(GOLDEN.wrapping_mul(purpose + 1))) ^ document))
    }

    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number below `limit`. (Its bias, limit / 2^64, is no matter here.)
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // below `limit`, which is a usize
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn goldens() {
        assert_eq!(document_hash(b""), document_hash(b""));
        assert_ne!(document_hash(b""), document_hash(b"\0"));
        assert_ne!(document_hash(b"a"), document_hash(b"a\0"));
        let text = b"word and wordy";
        assert_ne!(word_hash(text, 0, 4), word_hash(text, 0, 3));
    }

    proptest! {
        #[test]
        fn a_words_hash_is_a_function_of_its_bytes(
            word in proptest::collection::vec(any::<u8>(), 0..100),
            before in proptest::collection::vec(any::<u8>(), 0..20),
            after in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let text = [before.as_slice(), &word, &after].concat();
            let found = word_hash(&text, before.len(), before.len() + word.len());
            prop_assert_eq!(found, word_hash(&word, 0, word.len()));
            if word.len() > MAX_SHORT {
                prop_assert_eq!(found, document_hash(&word));
            }
        }
    }
}
