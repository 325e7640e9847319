//! Ranks of pairs of tokens, found in one line of the cache.
//!
//! Tokens have *internal* ids here: byte b is b, and the product of merge k is 256 + k. So the rank of a merge and the
//! id of its product are one number, and merging needs no other table. External ids come back at the very end.
//!
//! Two bytes index a grid. All other pairs lie in lines of 64 bytes, eight to a line, from the front:
//!
//! ```text
//! pair (left, right) ──► product ──► line ──► tags   t0 t1 t2 t3 t4 .  .  .      the tag and the line tell the pair
//!                              └────► tag      ranks  r0 r1 r2 r3 r4 .  .  .      inverted, 0 where there is none
//! ```
//!
//! What a line has no room for goes to the next one, so that only a full line sends a search on. As the product tells
//! at once which line it is, the line can be asked for long before it is looked at: see `side_by_side`.

use std::sync::OnceLock;

use super::{NO_MERGE, PairRanks};
use crate::huge_pages::prefetch;
use crate::vocabulary::Vocabulary;

/// No merge of this pair.
pub(crate) const NO_RANK: u32 = u32::MAX;

/// Most bits of an internal id, and of a rank.
const MAX_ID_BITS: u32 = 21;
/// Fewest bits that ids are given: two of them fill a tag.
const MIN_ID_BITS: u32 = 16;
/// Internal ids of products start here.
pub(crate) const FIRST_PRODUCT: u32 = 256;
/// Pairs of a line.
const SLOTS: usize = 8;
/// Pairs of a line on average, at most: one in twenty is full then.
const FILLED: usize = 4;
/// Bits of a product that both line and tag tell, where a tag alone does not tell the pair.
const SHARED_BITS: u32 = 4;
/// Odd, so that a product tells its pair; its bits look random.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// One line of the cache.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub(super) struct Line {
    pub(super) tags: [u32; SLOTS],
    /// Inverted, so that what nobody has written is `NO_RANK`.
    pub(super) inverted_ranks: [u32; SLOTS],
}

/// Ranks of all pairs that merge.
#[derive(Debug, Clone)]
pub(crate) struct PairTable {
    byte_pairs: Box<[u32; 1 << 16]>,
    /// One more than can be the first of a search, and the last one is never full.
    lines: Box<[Line]>,
    num_first_lines: u64,
    /// Bits of an internal id; no token has the largest number of so many bits.
    id_bits: u32,
    /// Left and right part of each product, by rank.
    parts: Box<[(u32, u32)]>,
    /// Length in bytes of each token.
    lengths: Box<[u32]>,
    /// The external id of each internal one.
    external: Box<[u32]>,
    /// The external id of the first product, where all products have theirs in order.
    products_from: Option<u32>,
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
        if num_ids >= (1 << MAX_ID_BITS) - 1 {
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
        // One number more than there are ids: that of no token.
        let id_bits = (usize::BITS - external.len().leading_zeros()).max(MIN_ID_BITS);
        Self::build(parts, external, id_bits, FILLED)
    }

    fn build(parts: Vec<(u32, u32)>, external: Vec<u32>, id_bits: u32, filled: usize) -> Option<Self> {
        let num_long = parts.iter().filter(|&&(left, right)| (left | right) >= FIRST_PRODUCT).count();
        let mut num_first_lines = num_long.div_ceil(filled).max(1);
        if id_bits > MIN_ID_BITS {
            // What a tag does not hold of a product, the line has to tell; and some bits both, see `add`.
            let least = 1 << (2 * id_bits - u32::BITS + SHARED_BITS);
            num_first_lines = num_first_lines.next_power_of_two().max(least);
        }
        let mut lengths = vec![1_u32; FIRST_PRODUCT as usize];
        for &(left, right) in &parts {
            lengths.push(lengths[left as usize].saturating_add(lengths[right as usize]));
        }
        let products = external.get(FIRST_PRODUCT as usize..).unwrap_or_default();
        let is_in_order = products.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let products_from = products.first().copied().filter(|_| is_in_order);
        let mut table = Self {
            products_from,
            byte_pairs: vec![NO_RANK; 1 << 16].into_boxed_slice().try_into().ok()?,
            lines: vec![Line::default(); num_first_lines + 1].into_boxed_slice(),
            num_first_lines: num_first_lines as u64,
            id_bits,
            lengths: lengths.into_boxed_slice(),
            parts: parts.into_boxed_slice(),
            external: external.into_boxed_slice(),
            internal: OnceLock::new(),
        };
        for rank in 0..u32::try_from(table.parts.len()).ok()? {
            let (left, right) = table.parts[rank as usize];
            if table.rank(left, right) != NO_RANK {
                return None; // the same pair merges twice
            }
            table.add(left, right, rank)?;
        }
        Some(table)
    }

    /// `None` where too many lines in a row are full. A tag in a later line than its own is told from the tags of that
    /// line by the bits that tag and line share, or because the tag alone tells the pair.
    fn add(&mut self, left: u32, right: u32, rank: u32) -> Option<()> {
        if (left | right) < FIRST_PRODUCT {
            self.byte_pairs[(left << 8 | right) as usize] = rank;
            return Some(());
        }
        let (first, tag) = self.place(left, right);
        let mut line = first;
        while line < first + (1 << SHARED_BITS) {
            if line + 1 == self.lines.len() {
                // A last line that is not full ends every search.
                let mut lines = std::mem::take(&mut self.lines).into_vec();
                lines.push(Line::default());
                self.lines = lines.into_boxed_slice();
            }
            let Line { tags, inverted_ranks } = &mut self.lines[line];
            if let Some(slot) = inverted_ranks.iter().position(|&inverted| inverted == !NO_RANK) {
                (tags[slot], inverted_ranks[slot]) = (tag, !rank);
                return Some(());
            }
            line += 1;
        }
        None
    }

    /// The rank of a pair of internal ids, or `NO_RANK`. Both must be ids of this table.
    #[inline]
    pub(crate) fn rank(&self, left: u32, right: u32) -> u32 {
        if (left | right) < FIRST_PRODUCT {
            return self.byte_pairs[(left << 8 | right) as usize];
        }
        self.product_rank(left, right)
    }

    /// As `rank`, where at least one of the two is no byte. `no_token` is allowed and merges with nothing.
    #[inline(always)]
    #[allow(clippy::inline_always)] // so that it is compiled for the instructions of its caller
    pub(crate) fn product_rank(&self, left: u32, right: u32) -> u32 {
        let (line, tag) = self.place(left, right);
        self.rank_from(line, tag)
    }

    /// The rank of the pair with this tag, searched for from `line` on.
    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    fn rank_from(&self, mut line: usize, tag: u32) -> u32 {
        loop {
            let Line { tags, inverted_ranks } = &self.lines[line];
            // No branch for the slots: which one it is cannot be guessed.
            let mut inverted = 0;
            for slot in 0..SLOTS {
                inverted |= if tags[slot] == tag { inverted_ranks[slot] } else { 0 };
            }
            if inverted != 0 || inverted_ranks[SLOTS - 1] == 0 {
                return !inverted;
            }
            line += 1;
        }
    }

    /// The line where the search for a pair begins, and its tag. At least one of the two is no byte.
    #[inline(always)]
    #[allow(clippy::inline_always, clippy::cast_possible_truncation)] // as above; bits are what is wanted
    pub(super) fn place(&self, left: u32, right: u32) -> (usize, u32) {
        let product = (u64::from(left) << self.id_bits | u64::from(right)).wrapping_mul(MULTIPLIER);
        // The product's lowest bits, two ids long, tell the pair. The highest of these, which all others reach, choose
        // the line; the tag is the lowest 32 of them.
        let highest = product << (u64::BITS - 2 * self.id_bits);
        let line = (u128::from(highest) * u128::from(self.num_first_lines)) >> u64::BITS;
        (line as usize, product as u32)
    }

    /// Ask for a line that is looked at soon.
    #[inline(always)]
    #[allow(clippy::inline_always)] // as above
    pub(super) fn prefetch_line(&self, line: usize) {
        debug_assert!(line < self.lines.len());
        // SAFETY: `place` gives lines of the table.
        prefetch(unsafe { self.lines.get_unchecked(line) });
    }

    /// `rank_from` with one comparison for all slots.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    pub(super) fn rank_from_avx512(&self, line: usize, tag: u32) -> u32 {
        use std::arch::x86_64::{
            _mm_cvtsi128_si32, _mm256_castsi256_si128, _mm256_cmpeq_epi32_mask, _mm256_load_si256,
            _mm256_maskz_compress_epi32, _mm256_set1_epi32,
        };
        debug_assert!(line < self.lines.len());
        // SAFETY: `place` gives lines of the table, each aligned, of twice 32 bytes.
        let (tags, ranks, is_full) = unsafe {
            let line = self.lines.get_unchecked(line);
            let load = |slots: &[u32; SLOTS]| _mm256_load_si256(slots.as_ptr().cast());
            (load(&line.tags), load(&line.inverted_ranks), line.inverted_ranks[SLOTS - 1] != 0)
        };
        let found = _mm256_cmpeq_epi32_mask(tags, _mm256_set1_epi32(tag.cast_signed()));
        let first = _mm256_castsi256_si128(_mm256_maskz_compress_epi32(found, ranks));
        let inverted = _mm_cvtsi128_si32(first).cast_unsigned();
        // One branch, which is nearly never taken.
        if (inverted == 0) & is_full {
            return self.rank_from(line + 1, tag);
        }
        !inverted
    }

    /// The number of no token: it stands before the first and after the last one, and merges with nothing.
    #[inline]
    pub(crate) fn no_token(&self) -> u32 {
        (1 << self.id_bits) - 1
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
        match self.products_from {
            // The ids of bytes fit the first cache, those of all tokens do not.
            Some(first) => {
                let byte = self.external[(id % FIRST_PRODUCT) as usize];
                if id < FIRST_PRODUCT { byte } else { id - FIRST_PRODUCT + first }
            }
            None => self.external[id as usize],
        }
    }

    /// The internal id of an external one, which is one of a token that merging gives.
    pub(crate) fn internal(&self, id: u32) -> u32 {
        let internal = self.internal.get_or_init(|| {
            let num_ids = self.external.iter().max().map_or(0, |&largest| largest as usize + 1);
            let mut internal = vec![self.no_token(); num_ids].into_boxed_slice();
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

#[cfg(test)]
#[allow(clippy::cast_possible_truncation)] // bytes
mod tests {
    use super::*;
    use crate::instructions::{Instructions, Level};
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
            let bound = 256 + u32::try_from(pairs.len()).unwrap();
            let external: Vec<u32> = (0..bound).collect();
            // Narrow and wide ids; lines that are all full and go on in the next ones.
            for (id_bits, filled) in [(16, FILLED), (16, 8), (17, FILLED), (18, 8), (21, FILLED)] {
                let Some(table) = PairTable::build(pairs.clone(), external.clone(), id_bits, filled) else {
                    // Full lines may lie too near to each other, if there are few.
                    prop_assert!(filled > FILLED);
                    continue;
                };
                for (&(left, right), &rank) in &known {
                    assert_rank(&table, left, right, rank);
                }
                for &(left, right) in &others {
                    let pair = (left % bound, right % bound);
                    assert_rank(&table, pair.0, pair.1, known.get(&pair).copied().unwrap_or(NO_RANK));
                    assert_rank(&table, table.no_token(), 256 + left % (bound - 256).max(1), NO_RANK);
                    assert_rank(&table, 256 + left % (bound - 256).max(1), table.no_token(), NO_RANK);
                }
            }
        }
    }

    /// By every way of looking.
    fn assert_rank(table: &PairTable, left: u32, right: u32, rank: u32) {
        let found = if (left | right) < FIRST_PRODUCT {
            table.byte_pair_rank(left as u8, right as u8)
        } else {
            let (line, tag) = table.place(left, right);
            #[cfg(target_arch = "x86_64")]
            if Instructions::available().iter().any(|set| set.level() == Level::Avx512) {
                // SAFETY: the machine has AVX-512.
                assert_eq!(unsafe { table.rank_from_avx512(line, tag) }, rank);
            }
            table.rank_from(line, tag)
        };
        assert_eq!(found, rank);
        assert_eq!(table.rank(left, right), rank);
    }

    #[test]
    fn products_out_of_order_have_their_own_ids() {
        for (external, in_order) in [([7, 8, 9], true), ([7, 9, 8], false)] {
            let all: Vec<u32> = (1000..1256).chain(external).collect();
            let table = PairTable::build(vec![(1, 2), (256, 3), (257, 4)], all.clone(), 16, FILLED).unwrap();
            assert_eq!(table.products_from.is_some(), in_order);
            for (id, expected) in (0..).zip(all) {
                assert_eq!(table.external(id), expected);
            }
        }
    }

    #[test]
    fn a_pair_that_merges_twice_is_refused() {
        let vocabulary = Vocabulary::from_merges(&[(1, 2), (256, 3), (256, 3)]).unwrap();
        assert!(PairTable::new(&vocabulary).is_none());
    }
}
