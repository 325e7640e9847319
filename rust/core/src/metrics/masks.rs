//! The ASCII bytes of 64 bytes of text, by what the rules of words tell apart, as bit masks: bit i is byte i.
//!
//! A byte's kinds are `LOW[byte & 15] & HIGH[byte >> 4]`, two look-ups in registers (Langdale and Lemire, "Parsing
//! Gigabytes of JSON per Second", 2019): each bit stands for a set of low halves with a set of high ones.

use crate::instructions::{Instructions, Level};

pub(crate) const BLOCK: usize = 64;

/// The masks of one block. A byte of a longer character is in `long` alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AsciiKinds {
    pub(crate) letter: u64,
    pub(crate) digit: u64,
    pub(crate) white: u64,
    /// Blank or tab.
    pub(crate) blank: u64,
    pub(crate) underscore: u64,
    pub(crate) line_feed: u64,
    pub(crate) long: u64,
}

const UPPER_HALF: u8 = 1; // a to o, A to O
const LOWER_HALF: u8 = 2; // p to z, P to Z
const DIGIT: u8 = 4;
const CONTROL: u8 = 8; // \t \n \v \f \r
const BLANK: u8 = 16;
const UNDERSCORE: u8 = 32;
const LINE_FEED: u8 = 64;
const TAB: u8 = 128;

const LETTER: u8 = UPPER_HALF | LOWER_HALF;
const WHITE: u8 = CONTROL | BLANK;

/// By the low half of a byte.
const LOW: [u8; 16] = {
    let mut kinds = [0; 16];
    let mut half = 0;
    while half < 16 {
        kinds[half] |= if half >= 1 { UPPER_HALF } else { 0 };
        kinds[half] |= if half <= 10 { LOWER_HALF } else { 0 };
        kinds[half] |= if half <= 9 { DIGIT } else { 0 };
        kinds[half] |= if half >= 9 && half <= 13 { CONTROL } else { 0 };
        kinds[half] |= if half == 0 { BLANK } else { 0 };
        kinds[half] |= if half == 15 { UNDERSCORE } else { 0 };
        kinds[half] |= if half == 10 { LINE_FEED } else { 0 };
        kinds[half] |= if half == 9 { TAB } else { 0 };
        half += 1;
    }
    kinds
};

/// By the high half.
const HIGH: [u8; 16] = {
    let mut kinds = [0; 16];
    kinds[0] = CONTROL | LINE_FEED | TAB;
    kinds[2] = BLANK;
    kinds[3] = DIGIT;
    kinds[4] = UPPER_HALF;
    kinds[5] = LOWER_HALF | UNDERSCORE;
    kinds[6] = UPPER_HALF;
    kinds[7] = LOWER_HALF;
    kinds
};

/// The kinds of 64 bytes.
pub(crate) fn ascii_kinds(instructions: Instructions, block: &[u8; BLOCK]) -> AsciiKinds {
    match instructions.level() {
        Level::Portable => portable(block),
        // SAFETY: a level exists only where the machine has its instructions.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2(block) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512(block) },
    }
}

/// What the kinds are.
#[inline]
pub(crate) fn portable(block: &[u8; BLOCK]) -> AsciiKinds {
    let mut masks = AsciiKinds::default();
    for (i, &byte) in block.iter().enumerate() {
        let kinds = LOW[usize::from(byte & 15)] & HIGH[usize::from(byte >> 4)];
        let bit = |is: bool| u64::from(is) << i;
        masks.letter |= bit(kinds & LETTER != 0);
        masks.digit |= bit(kinds & DIGIT != 0);
        masks.white |= bit(kinds & WHITE != 0);
        masks.blank |= bit(kinds & (BLANK | TAB) != 0);
        masks.underscore |= bit(kinds & UNDERSCORE != 0);
        masks.line_feed |= bit(kinds & LINE_FEED != 0);
        masks.long |= bit(byte >= 0x80);
    }
    masks
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
#[allow(clippy::cast_ptr_alignment)] // the loads ask for no alignment
pub(crate) fn avx2(block: &[u8; BLOCK]) -> AsciiKinds {
    use std::arch::x86_64::{
        __m128i, __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_cmpeq_epi8,
        _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8, _mm256_setzero_si256,
        _mm256_shuffle_epi8, _mm256_srli_epi16,
    };
    let table = |table: &[u8; 16]| {
        // SAFETY: the table has 16 bytes.
        _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.as_ptr().cast::<__m128i>()) })
    };
    let (low, high) = (table(&LOW), table(&HIGH));
    let halves = _mm256_set1_epi8(15);
    let mut masks = AsciiKinds::default();
    for half in 0..2 {
        // SAFETY: both halves lie inside of the 64 bytes.
        let bytes = unsafe { _mm256_loadu_si256(block.as_ptr().add(32 * half).cast::<__m256i>()) };
        let lows = _mm256_shuffle_epi8(low, _mm256_and_si256(bytes, halves));
        let highs = _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), halves));
        let kinds = _mm256_and_si256(lows, highs);
        let mask = |lanes: __m256i| u64::from(_mm256_movemask_epi8(lanes).cast_unsigned()) << (32 * half);
        let of = |kind: u8| {
            let found = _mm256_and_si256(kinds, _mm256_set1_epi8(kind.cast_signed()));
            !mask(_mm256_cmpeq_epi8(found, _mm256_setzero_si256())) & (0xffff_ffff << (32 * half))
        };
        masks.letter |= of(LETTER);
        masks.digit |= of(DIGIT);
        masks.white |= of(WHITE);
        masks.blank |= of(BLANK | TAB);
        masks.underscore |= of(UNDERSCORE);
        masks.line_feed |= of(LINE_FEED);
        masks.long |= mask(bytes);
    }
    masks
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
#[allow(clippy::cast_ptr_alignment)] // the loads ask for no alignment
pub(crate) fn avx512(block: &[u8; BLOCK]) -> AsciiKinds {
    use std::arch::x86_64::{
        __m128i, __m512i, _mm_loadu_si128, _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_loadu_si512,
        _mm512_movepi8_mask, _mm512_set1_epi8, _mm512_shuffle_epi8, _mm512_srli_epi16, _mm512_test_epi8_mask,
    };
    let table = |table: &[u8; 16]| {
        // SAFETY: the table has 16 bytes.
        _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(table.as_ptr().cast::<__m128i>()) })
    };
    let halves = _mm512_set1_epi8(15);
    // SAFETY: the block has 64 bytes.
    let bytes = unsafe { _mm512_loadu_si512(block.as_ptr().cast::<__m512i>()) };
    let lows = _mm512_shuffle_epi8(table(&LOW), _mm512_and_si512(bytes, halves));
    let highs = _mm512_shuffle_epi8(table(&HIGH), _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), halves));
    let kinds = _mm512_and_si512(lows, highs);
    let of = |kind: u8| _mm512_test_epi8_mask(kinds, _mm512_set1_epi8(kind.cast_signed()));
    AsciiKinds {
        letter: of(LETTER),
        digit: of(DIGIT),
        white: of(WHITE),
        blank: of(BLANK | TAB),
        underscore: of(UNDERSCORE),
        line_feed: of(LINE_FEED),
        long: _mm512_movepi8_mask(bytes),
    }
}

/// Which of 64 bytes are 1; the others are 0.
#[inline]
pub(crate) fn marked(instructions: Instructions, block: &[u8; BLOCK]) -> u64 {
    match instructions.level() {
        Level::Portable => marked_portable(block),
        // SAFETY: a level exists only where the machine has its instructions.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { marked_avx2(block) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { marked_avx512(block) },
    }
}

/// The product brings the lowest bits of eight bytes together in its highest byte.
fn marked_portable(block: &[u8; BLOCK]) -> u64 {
    block.as_chunks::<8>().0.iter().rev().fold(0, |mask, bytes| {
        mask << 8 | u64::from_le_bytes(*bytes).wrapping_mul(0x0102_0408_1020_4080) >> 56
    })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[allow(clippy::cast_ptr_alignment)] // the loads ask for no alignment
fn marked_avx2(block: &[u8; BLOCK]) -> u64 {
    use std::arch::x86_64::{__m256i, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_slli_epi16};
    let half = |number: usize| {
        // SAFETY: both halves lie inside of the 64 bytes.
        let bytes = unsafe { _mm256_loadu_si256(block.as_ptr().add(32 * number).cast::<__m256i>()) };
        u64::from(_mm256_movemask_epi8(_mm256_slli_epi16::<7>(bytes)).cast_unsigned())
    };
    half(0) | half(1) << 32
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
#[allow(clippy::cast_ptr_alignment)] // the loads ask for no alignment
fn marked_avx512(block: &[u8; BLOCK]) -> u64 {
    use std::arch::x86_64::{__m512i, _mm512_loadu_si512, _mm512_test_epi8_mask};
    // SAFETY: the block has 64 bytes.
    let bytes = unsafe { _mm512_loadu_si512(block.as_ptr().cast::<__m512i>()) };
    _mm512_test_epi8_mask(bytes, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_kinds_of_every_byte() {
        for byte in 0..=u8::MAX {
            let block = [byte; BLOCK];
            let all = |is: bool| if is { u64::MAX } else { 0 };
            let expected = AsciiKinds {
                letter: all(byte.is_ascii_alphabetic()),
                digit: all(byte.is_ascii_digit()),
                white: all(matches!(byte, b' ' | 9..=13)),
                blank: all(matches!(byte, b' ' | b'\t')),
                underscore: all(byte == b'_'),
                line_feed: all(byte == b'\n'),
                long: all(byte >= 0x80),
            };
            for instructions in Instructions::available() {
                assert_eq!(ascii_kinds(instructions, &block), expected, "{byte} {}", instructions.name());
            }
        }
    }

    proptest! {
        #[test]
        fn marks_become_bits(mask: u64) {
            let block: [u8; BLOCK] = std::array::from_fn(|i| (mask >> i & 1) as u8);
            for instructions in Instructions::available() {
                prop_assert_eq!(marked(instructions, &block), mask, "{}", instructions.name());
            }
        }

        #[test]
        fn all_instructions_agree(bytes in proptest::collection::vec(any::<u8>(), BLOCK)) {
            let block: [u8; BLOCK] = bytes.try_into().unwrap();
            for instructions in Instructions::available() {
                prop_assert_eq!(ascii_kinds(instructions, &block), portable(&block));
            }
        }
    }
}
