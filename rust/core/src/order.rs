//! Orders that are pure functions of a seed: derived seeds and keyed permutations.
//!
//! Saved states of a run depend on every bit of this file: change nothing without a new version of the state.

/// 2^64 divided by the golden ratio, the step of `SplitMix64`.
pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Feistel rounds. Four make a permutation that looks random on large domains; small ones want more.
const ROUNDS: usize = 12;
/// Smallest domain, 2^8: on the few bits that a short length needs, Feistel rounds reach too few permutations.
const MIN_BITS: u32 = 8;

/// The multipliers of `mix`.
pub(crate) const MIX_MULTIPLIERS: [u64; 2] = [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];

/// The finalizer of `SplitMix64` (Steele, Lea, Flood 2014): a bijection of 64 bits that mixes them well.
pub(crate) fn mix(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(MIX_MULTIPLIERS[0]);
    word = (word ^ word >> 27).wrapping_mul(MIX_MULTIPLIERS[1]);
    word ^ word >> 31
}

/// Hash (seed, purpose, epoch, index) to a seed below 2^63. Unlike `seed + epoch`, neighbouring arguments share
/// nothing.
#[must_use]
pub fn derive_seed(seed: u64, purpose: &str, epoch: u64, index: u64) -> u64 {
    let mut state = 0;
    let mut absorb = |word: u64| state = mix(state ^ mix(word.wrapping_add(GOLDEN))).wrapping_add(GOLDEN);
    absorb(seed);
    absorb(purpose.len() as u64);
    for chunk in purpose.as_bytes().chunks(8) {
        absorb(chunk.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)));
    }
    absorb(epoch);
    absorb(index);
    mix(state) >> 1
}

/// A keyed permutation of `0..length`: a Feistel network on the next power of two, walked until it is inside
/// (Black and Rogaway 2002). No array: any place is computed alone.
#[derive(Debug, Clone)]
pub struct Permutation {
    length: u64,
    left_bits: u32,
    right_bits: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// The permutation of `0..length` that `key` chooses.
    #[must_use]
    pub fn new(key: u64, length: u64) -> Self {
        let bits = (u64::BITS - length.saturating_sub(1).leading_zeros()).max(MIN_BITS);
        let keys = std::array::from_fn(|round| mix(key.wrapping_add(GOLDEN.wrapping_mul(round as u64 + 1))));
        Self { length, left_bits: bits / 2, right_bits: bits - bits / 2, keys }
    }

    /// The element at `place`, `None` outside of `0..length`.
    ///
    /// The domain is less than twice the length (or 256), so few steps of the walk are needed.
    #[must_use]
    pub fn get(&self, place: u64) -> Option<u64> {
        if place >= self.length {
            return None;
        }
        let mut element = self.step(place);
        // The walk is a cycle that holds `place`, which is inside: it comes back inside.
        while element >= self.length {
            element = self.step(element);
        }
        Some(element)
    }

    /// All elements in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        (0..self.length).filter_map(|place| self.get(place))
    }

    /// One pass of the network: each round changes one half by a function of the other, so it can be undone.
    fn step(&self, word: u64) -> u64 {
        let low = |word: u64, bits: u32| word & ((1 << bits) - 1);
        let mut left = word >> self.right_bits;
        let mut right = low(word, self.right_bits);
        for pair in self.keys.chunks_exact(2) {
            left ^= low(mix(right ^ pair[0]), self.left_bits);
            right ^= low(mix(left ^ pair[1]), self.right_bits);
        }
        left << self.right_bits | right
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    /// Saved states of runs depend on these. Found by a second implementation, in Python.
    #[test]
    fn goldens() {
        assert_eq!(derive_seed(0, "", 0, 0), 936_009_148_546_032_697);
        assert_eq!(derive_seed(1, "window", 2, 3), 125_588_776_112_148_896);
        assert_eq!(derive_seed(u64::MAX, "a longer purpose", 0, u64::MAX), 6_098_937_789_728_378_987);
        assert_eq!(Permutation::new(0, 10).iter().collect::<Vec<_>>(), [3, 9, 7, 6, 8, 1, 0, 5, 4, 2]);
        assert_eq!(
            Permutation::new(7, 1_000_000_007).iter().take(4).collect::<Vec<_>>(),
            [664_784_137, 654_577_446, 129_387_924, 208_468_723]
        );
        assert_eq!(Permutation::new(u64::MAX, u64::MAX).get(12_345), Some(10_420_325_208_082_829_274));
    }

    #[test]
    fn derived_seeds_differ_in_every_argument() {
        let mut seeds = HashSet::new();
        for seed in 0..20 {
            for purpose in ["", "a", "b", "ab", "a\0", "window", "window of documents"] {
                for (epoch, index) in (0..20).flat_map(|epoch| (0..20).map(move |index| (epoch, index))) {
                    let derived = derive_seed(seed, purpose, epoch, index);
                    assert!(derived < 1 << 63);
                    assert!(seeds.insert(derived));
                }
            }
        }
    }

    #[test]
    fn short_permutations_are_all_about_equally_frequent() {
        let mut counts: HashMap<Vec<u64>, u32> = HashMap::new();
        let num_keys = 24_000;
        for key in 0..num_keys {
            *counts.entry(Permutation::new(derive_seed(key, "", 0, 0), 4).iter().collect()).or_default() += 1;
        }
        // 24 permutations, 1,000 expected of each, standard deviation 31.
        assert_eq!(counts.len(), 24);
        assert!(counts.values().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }

    #[test]
    fn nothing_is_outside() {
        assert_eq!(Permutation::new(1, 0).get(0), None);
        assert_eq!(Permutation::new(1, 1).get(0), Some(0));
        assert_eq!(Permutation::new(1, 5).get(5), None);
        assert!(Permutation::new(1, u64::MAX).get(u64::MAX).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn it_is_a_bijection(key: u64, length in prop_oneof![0..300_u64, 0..5_000_u64]) {
            let permutation = Permutation::new(key, length);
            let mut elements: Vec<u64> = permutation.iter().collect();
            prop_assert_eq!(&elements, &Permutation::new(key, length).iter().collect::<Vec<_>>());
            elements.sort_unstable();
            prop_assert!(elements.into_iter().eq(0..length));
        }
    }
}
