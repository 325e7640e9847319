//! Ranks of pairs of tokens, found with two loads and no search.
//!
//! Tokens have *internal* ids here: byte b is b, and the product of merge k is 256 + k. So the rank of a merge and the
//! id of its product are one number, and merging needs no other table. External ids come back at the very end.
//!
//! Two bytes index a grid. For all other pairs there is a perfect hash by displacement ("hash and displace", after
//! Pagh, 1999): the keys of a bucket are all moved by the same displacement, chosen when the table is built such
//! that no two keys of the table share a place.
//!
//! ```text
//! pair (left, right) ──► product ──► bucket ──► displacement ─┐
//!                              └────► place ───── moved ───────┴──► entries[…] = pair << 21 | rank
//! ```

use std::sync::OnceLock;

use super::{NO_MERGE, PairRanks};
use crate::vocabulary::Vocabulary;

/// No merge of this pair.
pub(crate) const NO_RANK: u32 = u32::MAX;

/// Bits of an internal id, and of a rank.
const ID_BITS: u32 = 21;
/// No token has this internal id.
pub(crate) const MAX_INTERNAL_ID: u32 = (1 << ID_BITS) - 1;
/// Internal ids of products start here.
pub(crate) const FIRST_PRODUCT: u32 = 256;
/// No pair: both ids are the largest, which `new` keeps free.
const EMPTY: u64 = u64::MAX;
/// Tries before the builder gives a bucket up and begins again with another multiplier.
const MAX_DISPLACEMENTS: u32 = 1 << 20;

/// Ranks of all pairs that merge.
#[derive(Debug, Clone)]
pub(crate) struct PairTable {
    byte_pairs: Box<[u32; 1 << 16]>,
    displacements: Box<[u32]>,
    entries: Box<[u64]>,
    multiplier: u64,
    /// Left and right part of each product, by rank.
    parts: Box<[(u32, u32)]>,
    /// Length in bytes of each token.
    lengths: Box<[u32]>,
    /// The external id of each internal one.
    external: Box<[u32]>,
    /// The internal id of each external one, made when one is asked for.
    internal: OnceLock<Box<[u32]>>,
}

impl PairTable {
    /// Index the merges of a vocabulary. `None` where internal ids cannot be ranks: a merge uses a token that only
    /// a later one makes, two merges make the same token or merge the same pair, or there are more than 2 million.
    pub(crate) fn new(vocabulary: &Vocabulary) -> Option<Self> {
        const NONE: u32 = u32::MAX;
        let merges = vocabulary.merges();
        let num_ids = merges.len() + FIRST_PRODUCT as usize;
        if num_ids > MAX_INTERNAL_ID as usize {
            return None;
        }
        let mut external: Vec<u32> = vocabulary.byte_ids().to_vec();
        let mut internal = vec![NONE; vocabulary.max_token_id() as usize + 1];
        for (&id, byte) in vocabulary.byte_ids().iter().zip(0..) {
            internal[id as usize] = byte;
        }
        let mut parts = Vec::with_capacity(merges.len());
        for (merge, product) in merges.iter().zip(FIRST_PRODUCT..) {
            let (left, right) = (internal[merge.left as usize], internal[merge.right as usize]);
            if left == NONE || right == NONE || internal[merge.merged as usize] != NONE {
                return None;
            }
            internal[merge.merged as usize] = product;
            external.push(merge.merged);
            parts.push((left, right));
        }
        Self::build(parts, external)
    }

    fn build(parts: Vec<(u32, u32)>, external: Vec<u32>) -> Option<Self> {
        let mut byte_pairs: Box<[u32; 1 << 16]> =
            vec![NO_RANK; 1 << 16].into_boxed_slice().try_into().ok()?;
        let mut long = Vec::with_capacity(parts.len());
        for (&(left, right), rank) in parts.iter().zip(0..) {
            if left < FIRST_PRODUCT && right < FIRST_PRODUCT {
                byte_pairs[(left << 8 | right) as usize] = rank;
            } else {
                long.push(pair_key(left, right) << ID_BITS | u64::from(rank));
            }
        }
        // At most 4/5 full, and four keys a bucket: then nearly every bucket finds a place within a few tries.
        let num_entries = (long.len() + long.len() / 4).next_power_of_two().max(8);
        let num_buckets = (num_entries / 4).max(1);
        let mut lengths = vec![1_u32; FIRST_PRODUCT as usize];
        for &(left, right) in &parts {
            lengths.push(lengths[left as usize].saturating_add(lengths[right as usize]));
        }
        let mut multiplier = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..16 {
            if let Some((entries, displacements)) = displace(&long, num_entries, num_buckets, multiplier) {
                return Some(Self {
                    byte_pairs,
                    displacements,
                    entries,
                    multiplier,
                    lengths: lengths.into_boxed_slice(),
                    parts: parts.into_boxed_slice(),
                    external: external.into_boxed_slice(),
                    internal: OnceLock::new(),
                });
            }
            multiplier = multiplier.wrapping_mul(0xd134_2543_de82_ef95) | 1;
        }
        None // only when the same pair merges twice
    }

    /// The rank of a pair of internal ids, or `NO_RANK`. Both must be ids of this table.
    #[inline]
    pub(crate) fn rank(&self, left: u32, right: u32) -> u32 {
        if (left | right) < FIRST_PRODUCT {
            return self.byte_pairs[(left << 8 | right) as usize];
        }
        self.product_rank(left, right)
    }

    /// As `rank`, where at least one of the two is no byte. `MAX_INTERNAL_ID` is allowed and merges with nothing.
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // a rank has 21 bits
    pub(crate) fn product_rank(&self, left: u32, right: u32) -> u32 {
        let key = pair_key(left, right);
        let product = mix(key, self.multiplier);
        let displacement = self.displacements[bucket_of(product, self.displacements.len())];
        let entry = self.entries[place_of(product, displacement, self.entries.len())];
        if entry >> ID_BITS == key { entry as u32 & MAX_INTERNAL_ID } else { NO_RANK }
    }

    /// The rank of two bytes.
    #[inline]
    pub(crate) fn byte_pair_rank(&self, left: u8, right: u8) -> u32 {
        self.byte_pairs[usize::from(left) << 8 | usize::from(right)]
    }

    /// The ranks of all pairs of bytes, at `left << 8 | right`.
    #[inline]
    pub(crate) fn byte_pairs(&self) -> &[u32; 1 << 16] {
        &self.byte_pairs
    }

    /// The two tokens that a product is made of; `None` for a byte.
    #[inline]
    pub(crate) fn parts(&self, id: u32) -> Option<(u32, u32)> {
        self.parts.get(id.wrapping_sub(FIRST_PRODUCT) as usize).copied()
    }

    /// Length in bytes of a token.
    #[inline]
    pub(crate) fn len_of(&self, id: u32) -> usize {
        self.lengths[id as usize] as usize
    }

    /// The external id of an internal one.
    #[inline]
    pub(crate) fn external(&self, id: u32) -> u32 {
        self.external[id as usize]
    }

    /// The internal id of an external one, which is one of a token that merging gives.
    pub(crate) fn internal(&self, id: u32) -> u32 {
        let internal = self.internal.get_or_init(|| {
            let num_ids = self.external.iter().max().map_or(0, |&largest| largest as usize + 1);
            let mut internal = vec![MAX_INTERNAL_ID; num_ids].into_boxed_slice();
            for (&id, token) in self.external.iter().zip(0..) {
                internal[id as usize] = token;
            }
            internal
        });
        internal[id as usize]
    }
}

impl PairRanks for PairTable {
    #[inline]
    fn pair(&self, left: u32, right: u32) -> u64 {
        match self.rank(left, right) {
            NO_RANK => NO_MERGE,
            rank => u64::from(rank) << 32 | u64::from(rank + FIRST_PRODUCT),
        }
    }

    #[inline]
    fn byte_id(&self, byte: u8) -> u32 {
        u32::from(byte)
    }
}

#[inline]
fn pair_key(left: u32, right: u32) -> u64 {
    u64::from(left) << ID_BITS | u64::from(right)
}

/// The product that bucket and place are taken from. Multiplying by an odd number mixes upwards, so the top bits
/// are the best.
#[inline]
fn mix(key: u64, multiplier: u64) -> u64 {
    key.wrapping_mul(multiplier)
}

/// The bucket of a product; `num_buckets` is a power of two.
#[inline]
#[allow(clippy::cast_possible_truncation)] // bits are what is wanted
fn bucket_of(product: u64, num_buckets: usize) -> usize {
    (product >> 44) as usize & (num_buckets - 1)
}

/// The place of a product under a displacement: its low bits choose which bits are taken, so that two keys that
/// agree in some bits can still be told apart; the rest is xored. `num_entries` is a power of two.
#[inline]
#[allow(clippy::cast_possible_truncation)] // bits are what is wanted
fn place_of(product: u64, displacement: u32, num_entries: usize) -> usize {
    (product >> (24 + (displacement & 15))) as usize & (num_entries - 1)
        ^ (displacement >> 4) as usize & (num_entries - 1)
}

type Displaced = (Box<[u64]>, Box<[u32]>);

/// A displacement for every bucket, the fullest buckets first, while there is room.
fn displace(keys: &[u64], num_entries: usize, num_buckets: usize, multiplier: u64) -> Option<Displaced> {
    let product_of = |entry: u64| mix(entry >> ID_BITS, multiplier);
    // Counting sort of the keys by bucket: no list per bucket.
    let mut ends = vec![0_u32; num_buckets + 1];
    for &key in keys {
        ends[bucket_of(product_of(key), num_buckets) + 1] += 1;
    }
    for bucket in 0..num_buckets {
        ends[bucket + 1] += ends[bucket];
    }
    let mut next = ends.clone();
    let mut sorted = vec![(0_u64, 0_u64); keys.len()];
    for &key in keys {
        let product = product_of(key);
        let bucket = bucket_of(product, num_buckets);
        sorted[next[bucket] as usize] = (product, key);
        next[bucket] += 1;
    }
    let mut order: Vec<u32> = (0..num_buckets).filter_map(|bucket| u32::try_from(bucket).ok()).collect();
    let bucket_len = |bucket: u32| ends[bucket as usize + 1] - ends[bucket as usize];
    order.sort_by_key(|&bucket| std::cmp::Reverse(bucket_len(bucket)));

    let mut entries = vec![EMPTY; num_entries].into_boxed_slice();
    let mut displacements = vec![0; num_buckets].into_boxed_slice();
    for bucket in order {
        let keys = &sorted[ends[bucket as usize] as usize..ends[bucket as usize + 1] as usize];
        if keys.is_empty() {
            break;
        }
        displacements[bucket as usize] =
            (0..MAX_DISPLACEMENTS).find(|&displacement| place_all(keys, displacement, &mut entries))?;
    }
    Some((entries, displacements))
}

/// Place all keys of a bucket, or none.
fn place_all(keys: &[(u64, u64)], displacement: u32, entries: &mut [u64]) -> bool {
    let num_entries = entries.len();
    let at = |product: u64| place_of(product, displacement, num_entries);
    for (i, &(product, key)) in keys.iter().enumerate() {
        if entries[at(product)] != EMPTY {
            for &(product, _) in &keys[..i] {
                entries[at(product)] = EMPTY;
            }
            return false;
        }
        entries[at(product)] = key;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_pair_has_its_rank_and_no_other_has_one(
            seeds in prop::collection::vec((any::<u32>(), any::<u32>()), 0..600),
            others in prop::collection::vec((any::<u32>(), any::<u32>()), 100),
        ) {
            let mut known = std::collections::HashMap::new();
            let mut pairs = Vec::new();
            for (left, right) in seeds {
                let bound = 256 + u32::try_from(pairs.len()).unwrap();
                let pair = (left % bound, right % bound);
                if known.insert(pair, u32::try_from(pairs.len()).unwrap()).is_none() {
                    pairs.push(pair);
                } else {
                    known.insert(pair, u32::try_from(pairs.iter().position(|&p| p == pair).unwrap()).unwrap());
                }
            }
            let vocabulary = Vocabulary::from_merges(&pairs).unwrap();
            let table = PairTable::new(&vocabulary).unwrap();
            for (&(left, right), &rank) in &known {
                prop_assert_eq!(table.rank(left, right), rank);
            }
            let bound = 256 + u32::try_from(pairs.len()).unwrap();
            for (left, right) in others {
                let pair = (left % bound, right % bound);
                prop_assert_eq!(table.rank(pair.0, pair.1), known.get(&pair).copied().unwrap_or(NO_RANK));
            }
        }
    }

    #[test]
    fn a_pair_that_merges_twice_is_refused() {
        let vocabulary = Vocabulary::from_merges(&[(1, 2), (256, 3), (256, 3)]).unwrap();
        assert!(PairTable::new(&vocabulary).is_none());
    }
}
