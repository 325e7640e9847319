//! The hashes of many words at once, and which of them are small enough for a sample: eight words a step, and no
//! branch on any of them, for no processor foresees words.

// The parts of one loop, compiled once for each set of instructions.
#![allow(clippy::inline_always)]

use super::hashing::{MAX_SHORT, short_word_hash};
use crate::instructions::{Instructions, Level};

/// Stands for the hash of a longer word, which is small enough for every sample.
pub(crate) const UNKNOWN: u64 = 0;

/// Words a step; as many are stored at once, whether they are wanted or not.
const STEP: usize = 8;

/// The words of small hashes among those that were asked for.
#[derive(Debug, Default)]
pub(crate) struct SmallHashes {
    /// Of all words.
    hashes: Vec<Step>,
    /// Bit i of element n: whether the hash of word `8 * n + i` is small.
    are_small: Vec<u8>,
}

/// The hashes of a step, in one cache line.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Step([u64; STEP]);

impl SmallHashes {
    /// Hashes and numbers of the words that were found, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, usize)> {
        self.hashes.iter().zip(&self.are_small).enumerate().flat_map(|(number, (hashes, &are_small))| {
            let mut bits = are_small;
            std::iter::from_fn(move || {
                let place = bits.trailing_zeros() as usize;
                let hash = *hashes.0.get(place)?;
                bits &= bits - 1;
                Some((hash, number * STEP + place))
            })
        })
    }

    /// Find the words `text[start..end]` whose hashes are `threshold` or less, and the longer ones, by `[start, end]`.
    pub(crate) fn find(
        &mut self,
        instructions: Instructions,
        text: &[u8],
        words: &[[u32; 2]],
        threshold: u64,
    ) {
        self.hashes.clear();
        self.are_small.clear();
        match instructions.level() {
            Level::Portable => self.find_plainly(text, words, threshold),
            // SAFETY: a level exists only where the machine has its instructions.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { self.find_avx2(text, words, threshold) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { self.find_avx512(text, words, threshold) },
        }
    }

    #[inline(always)]
    fn find_plainly(&mut self, text: &[u8], words: &[[u32; 2]], threshold: u64) {
        for step in words.chunks(STEP) {
            let (mut hashes, mut are_small) = (Step::default(), 0);
            for (number, (hash, &[start, end])) in hashes.0.iter_mut().zip(step).enumerate() {
                let (start, length) = (start as usize, (end - start) as usize);
                let rest = &text[start..];
                let mut padded = [0; MAX_SHORT];
                let window = rest.first_chunk::<MAX_SHORT>().unwrap_or_else(|| {
                    padded[..rest.len()].copy_from_slice(rest);
                    &padded
                });
                let short = short_word_hash(window, length.min(MAX_SHORT));
                *hash = std::hint::select_unpredictable(length <= MAX_SHORT, short, UNKNOWN);
                are_small |= u8::from(*hash <= threshold) << number;
            }
            self.hashes.push(hashes);
            self.are_small.push(are_small);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn find_avx2(&mut self, text: &[u8], words: &[[u32; 2]], threshold: u64) {
        self.find_plainly(text, words, threshold);
    }

    /// Two words side by side fill a register with their products; four registers are added up to the eight sums.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,bmi1,bmi2,lzcnt,popcnt")]
    // Loads and stores ask for no alignment; 32 is small; many words are looked at in one comparison.
    #[allow(clippy::cast_ptr_alignment, clippy::cast_possible_wrap, clippy::needless_bitwise_bool)]
    fn find_avx512(&mut self, text: &[u8], words: &[[u32; 2]], threshold: u64) {
        use super::hashing::MULTIPLIERS;
        use crate::order::MIX_MULTIPLIERS;
        use std::arch::x86_64::{
            __m512i, _bzhi_u32, _mm256_maskz_loadu_epi8, _mm512_add_epi32, _mm512_add_epi64,
            _mm512_and_si512, _mm512_castsi256_si512, _mm512_cmple_epu64_mask, _mm512_inserti64x4,
            _mm512_loadu_si512, _mm512_maskz_mov_epi64, _mm512_mul_epu32, _mm512_mullo_epi64,
            _mm512_permutex2var_epi64, _mm512_set1_epi64, _mm512_setr_epi64, _mm512_srli_epi64,
            _mm512_storeu_si512, _mm512_sub_epi64, _mm512_unpackhi_epi64, _mm512_unpacklo_epi64,
            _mm512_xor_si512,
        };

        let are_inside = words.iter().fold(true, |are_inside, &[start, end]| {
            are_inside & (start <= end) & (end as usize <= text.len())
        });
        assert!(are_inside, "a word lies outside of its text");
        self.hashes.reserve(words.len().div_ceil(STEP));
        self.are_small.reserve(words.len().div_ceil(STEP));

        let [a, b, c, d] = MULTIPLIERS.map(u64::cast_signed);
        let keys = _mm512_setr_epi64(a, b, c, d, a, b, c, d);
        let first_sums = _mm512_setr_epi64(0, 4, 1, 5, 8, 12, 9, 13);
        let second_sums = _mm512_setr_epi64(2, 6, 3, 7, 10, 14, 11, 15);
        let low_half = _mm512_set1_epi64(0xffff_ffff);
        let longest = _mm512_set1_epi64(MAX_SHORT as i64);
        let threshold = _mm512_set1_epi64(threshold.cast_signed());
        let [first, second] = MIX_MULTIPLIERS.map(|multiplier| _mm512_set1_epi64(multiplier.cast_signed()));
        let mut padded = [[0; 2]; STEP];
        for step in words.chunks(STEP) {
            let eight = step.first_chunk::<STEP>().unwrap_or_else(|| {
                padded[..step.len()].copy_from_slice(step);
                &padded
            });
            let load = |[start, end]: [u32; 2]| {
                // Bits of the length past the eighth do not count: then it is a longer word, and of no matter.
                let mask = _bzhi_u32(u32::MAX, end - start);
                // SAFETY: as many bytes are read as the mask has bits, at most those of the word, which lies inside
                // of the text by the assertion; a word of the padding reads nothing.
                unsafe { _mm256_maskz_loadu_epi8(mask, text.as_ptr().add(start as usize).cast::<i8>()) }
            };
            let products = |two: [[u32; 2]; 2]| {
                let bytes = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(load(two[0])), load(two[1]));
                let keyed = _mm512_add_epi32(bytes, keys);
                _mm512_mul_epu32(keyed, _mm512_srli_epi64::<32>(keyed))
            };
            let sums = |one: __m512i, other: __m512i| {
                _mm512_add_epi64(_mm512_unpacklo_epi64(one, other), _mm512_unpackhi_epi64(one, other))
            };
            let low = sums(products([eight[0], eight[1]]), products([eight[2], eight[3]]));
            let high = sums(products([eight[4], eight[5]]), products([eight[6], eight[7]]));
            let sum = _mm512_add_epi64(
                _mm512_permutex2var_epi64(low, first_sums, high),
                _mm512_permutex2var_epi64(low, second_sums, high),
            );
            // SAFETY: eight pairs of 32 bits.
            let bounds = unsafe { _mm512_loadu_si512(eight.as_ptr().cast::<__m512i>()) };
            let lengths =
                _mm512_sub_epi64(_mm512_srli_epi64::<32>(bounds), _mm512_and_si512(bounds, low_half));
            // `mix`, of all of them.
            let mut hash = _mm512_add_epi64(sum, lengths);
            hash = _mm512_mullo_epi64(_mm512_xor_si512(hash, _mm512_srli_epi64::<30>(hash)), first);
            hash = _mm512_mullo_epi64(_mm512_xor_si512(hash, _mm512_srli_epi64::<27>(hash)), second);
            hash = _mm512_xor_si512(hash, _mm512_srli_epi64::<31>(hash));
            hash = _mm512_maskz_mov_epi64(_mm512_cmple_epu64_mask(lengths, longest), hash);
            let are_words = u8::MAX >> (STEP - step.len());
            let small = _mm512_cmple_epu64_mask(hash, threshold) & are_words;
            let mut hashes = Step::default();
            // SAFETY: a step has eight hashes of 64 bits.
            unsafe { _mm512_storeu_si512(hashes.0.as_mut_ptr().cast::<__m512i>(), hash) };
            self.hashes.push(hashes);
            self.are_small.push(small);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hashing::word_hash;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn are_those_of_one_word_at_a_time(
            lengths in proptest::collection::vec((0_u32..3, prop_oneof![9 => 0_u32..40, 1 => 250_u32..300]), 0..30),
            seed in any::<u8>(),
            threshold in prop_oneof![Just(u64::MAX), any::<u64>(), Just(0)],
        ) {
            let mut words = Vec::new();
            let mut place = 0;
            for (gap, length) in lengths {
                words.push([place + gap, place + gap + length]);
                place += gap + length;
            }
            // The last word ends with the text.
            let text: Vec<u8> = (0..place).map(|i| seed.wrapping_add((i * i % 251) as u8)).collect();
            let expected: Vec<(u64, usize)> = (0..).zip(&words)
                .map(|(number, &[start, end])| {
                    let is_short = (end - start) as usize <= MAX_SHORT;
                    let hash = word_hash(&text, start as usize, end as usize);
                    (if is_short { hash } else { UNKNOWN }, number)
                })
                .filter(|&(hash, _)| hash <= threshold)
                .collect();
            for instructions in Instructions::available() {
                let mut small = SmallHashes::default();
                // What is there from another time is of no matter.
                small.find(instructions, &text, &words, u64::MAX);
                small.find(instructions, &text, &words, threshold);
                prop_assert_eq!(small.iter().collect::<Vec<_>>(), expected.clone(), "{}", instructions.name());
            }
        }
    }
}
