//! Stage 1b: where pieces start, by arithmetic on the masks of `classify`, for 2 KB of text at once.
//!
//! A piece starts at byte i where
//!
//! ```text
//! word     i is a letter, number or other, the byte before has another class, and is not a blank
//!          (a blank before a word belongs to it: ` ?\p{L}+`)
//! white    i is white space and the byte before is not
//! last     i is white space, the last of its run, and something follows it (`\s+(?!\S)` gives it back)
//! ```
//!
//! ```text
//! text     d  o  n  '  t     s  a  y           1  2
//! letter   1  1  1  .  1  .  1  1  1  .  .  .  .  .
//! white    .  .  .  .  .  1  .  .  .  1  1  1  .  .
//! word     1  .  .  1  1  .  .  .  .  .  .  .  .  .     "s" and "1" have a blank before them
//! white    .  .  .  .  .  1  .  .  .  1  .  .  .  .
//! last     .  .  .  .  .  1  .  .  .  .  .  1  .  .
//! mended   1  .  .  1  .  1  .  .  .  1  .  1  .  .     'don' ''t' ' say' '  ' ' 12'
//! ```
//!
//! Contractions are mended afterwards, one by one: an apostrophe that starts a piece and is followed by `s`, `t`,
//! `m`, `d`, `re`, `ve` or `ll` ends its piece after them, and the letter after it starts none. No mending
//! touches another: the letters lie inside one run, which starts no other piece.
//!
//! The meaning of all this is `split::Pieces`, which the tests compare it with.

use super::classify::{BLOCK, BlockMasks, classify_block};
use super::contraction_length;
use crate::error::{Error, Result};
use crate::instructions::{Instructions, Level};
use crate::unicode::ClassTable;

/// Blocks worked off at once.
const BLOCKS: usize = 32;
/// A place before them for the block that was last, and one behind for the block to come.
const SLOTS: usize = BLOCKS + 2;
/// Bytes of text worked off at once.
pub(crate) const SEGMENT: usize = BLOCKS * BLOCK;
/// At most one piece a byte; and the last store of positions may write past the end.
const MAX_STARTS: usize = SEGMENT + 64;

/// One mask of all blocks, so that a vector of blocks is loaded at once.
type Row = [u64; SLOTS];

/// Finds the starts of the pieces of one text, 2 KB at a time.
#[derive(Debug)]
pub(crate) struct Boundaries {
    letter: Row,
    number: Row,
    other: Row,
    white: Row,
    white_ascii: Row,
    white_last: Row,
    blank: Row,
    apostrophe: Row,
    starts: Row,
    /// Apostrophes that start a piece and have a letter behind them.
    candidates: Row,
    /// What mending contractions asks of the block after the last one: bits to set, bits to clear.
    carried: (u64, u64),
    /// The next block to be classified.
    next_block: usize,
}

impl Default for Boundaries {
    fn default() -> Self {
        let row = [0; SLOTS];
        Self {
            letter: row,
            number: row,
            other: row,
            white: row,
            white_ascii: row,
            white_last: row,
            blank: row,
            apostrophe: row,
            starts: row,
            candidates: row,
            carried: (0, 0),
            next_block: 0,
        }
    }
}

impl Boundaries {
    /// Begin a new text.
    pub(crate) fn restart(
        &mut self,
        instructions: Instructions,
        text: &[u8],
        classes: &ClassTable,
    ) -> Result<()> {
        self.carried = (0, 0);
        self.next_block = 0;
        // The last slot moves to slot 1 when the first blocks are read, the one before it to slot 0.
        self.put(SLOTS - 2, &BlockMasks::default());
        self.classify(instructions, text, classes, SLOTS - 1)
    }

    /// Append to `starts` where pieces start in the next 2 KB of `text`, as byte positions. `false` once the text
    /// is at its end.
    pub(crate) fn next_starts(
        &mut self,
        instructions: Instructions,
        text: &[u8],
        classes: &ClassTable,
        starts: &mut Starts,
    ) -> Result<bool> {
        let first_block = self.next_block - 1;
        if first_block * BLOCK >= text.len() {
            return Ok(false);
        }
        self.carry_over();
        let blocks_left = text.len().div_ceil(BLOCK) - first_block;
        let num_blocks = blocks_left.min(BLOCKS);
        for slot in 2..num_blocks + 2 {
            self.classify(instructions, text, classes, slot)?;
        }
        self.find(instructions);
        self.mend_contractions(text, first_block * BLOCK, num_blocks);
        starts.append(instructions, &self.starts[1..=num_blocks], first_block * BLOCK);
        Ok(true)
    }

    /// Classify the next block of the text (one past its end has no bits) into `slot`.
    #[inline]
    fn classify(
        &mut self,
        instructions: Instructions,
        text: &[u8],
        classes: &ClassTable,
        slot: usize,
    ) -> Result<()> {
        let start = self.next_block * BLOCK;
        self.next_block += 1;
        if start >= text.len() {
            self.put(slot, &BlockMasks::default());
            return Ok(());
        }
        let mut unassigned = None;
        let masks = classify_block(instructions, text, start, classes, &mut unassigned);
        self.put(slot, &masks);
        match unassigned {
            Some(code_point) => Err(Error::UnicodeRestNeeded { code_point }),
            None => Ok(()),
        }
    }

    #[inline]
    fn put(&mut self, slot: usize, masks: &BlockMasks) {
        self.letter[slot] = masks.letter;
        self.number[slot] = masks.number;
        self.other[slot] = masks.other;
        self.white[slot] = masks.white;
        self.white_ascii[slot] = masks.white_ascii;
        self.white_last[slot] = masks.white_last;
        self.blank[slot] = masks.blank;
        self.apostrophe[slot] = masks.apostrophe;
    }

    /// The last block worked off and the block behind it become slots 0 and 1.
    fn carry_over(&mut self) {
        for row in [
            &mut self.letter,
            &mut self.number,
            &mut self.other,
            &mut self.white,
            &mut self.white_ascii,
            &mut self.white_last,
            &mut self.blank,
            &mut self.apostrophe,
        ] {
            (row[0], row[1]) = (row[SLOTS - 2], row[SLOTS - 1]);
        }
    }

    fn find(&mut self, instructions: Instructions) {
        match instructions.level() {
            Level::Portable => self.find_plain(),
            // SAFETY: a level exists only where the machine has its instructions.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { self.find_avx2() },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { self.find_avx512() },
        }
    }

    /// The arithmetic. No step needs the step before it, so the compiler makes vectors of 4 or 8 blocks of it.
    #[inline(always)]
    #[allow(clippy::inline_always)] // so that it is compiled for the instructions of its caller
    fn find_plain(&mut self) {
        for i in 1..=BLOCKS {
            // The mask moved by one byte, so that bit i says what the byte before (after) byte i is.
            let before = |row: &Row| row[i] << 1 | row[i - 1] >> 63;
            let after = |row: &Row| row[i] >> 1 | row[i + 1] << 63;
            let (letter, number, other) = (self.letter[i], self.number[i], self.other[i]);
            let change = letter & !before(&self.letter)
                | number & !before(&self.number)
                | other & !before(&self.other);
            let word = change & !before(&self.blank);
            let white = self.white[i] & !before(&self.white);
            let follows = after(&self.letter) | after(&self.number) | after(&self.other);
            let last = self.white_ascii[i] & follows | self.white_last[i];
            let starts = word | white | last;
            self.starts[i] = starts;
            self.candidates[i] = self.apostrophe[i] & starts & after(&self.letter);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn find_avx2(&mut self) {
        self.find_plain();
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn find_avx512(&mut self) {
        self.find_plain();
    }

    fn mend_contractions(&mut self, text: &[u8], first_byte: usize, num_blocks: usize) {
        let (set, clear) = std::mem::take(&mut self.carried);
        self.starts[1] = self.starts[1] & !clear | set;
        self.starts[num_blocks + 1] = 0;
        for slot in 1..=num_blocks {
            let mut candidates = self.candidates[slot];
            while candidates != 0 {
                let bit = (slot - 1) * BLOCK + candidates.trailing_zeros() as usize;
                candidates &= candidates - 1;
                let after = first_byte + bit + 1;
                let Some(length) = contraction_length(&text[after..]) else { continue };
                let (first, end) = (bit + 1, bit + 1 + length);
                self.starts[first / BLOCK + 1] &= !(1 << (first % BLOCK));
                self.starts[end / BLOCK + 1] |= 1 << (end % BLOCK);
                if first / BLOCK == num_blocks {
                    self.carried.1 |= 1 << (first % BLOCK);
                }
            }
        }
        // Nothing starts at the end of the text itself.
        let num_bytes = text.len() - first_byte;
        if num_bytes < num_blocks * BLOCK {
            self.starts[num_blocks] &= (1 << (num_bytes % BLOCK)) - 1;
        }
        self.carried.0 = self.starts[num_blocks + 1];
    }
}

/// Byte positions where pieces start, in order.
#[derive(Debug)]
pub(crate) struct Starts {
    positions: Box<[u32; MAX_STARTS]>,
    len: usize,
}

impl Default for Starts {
    fn default() -> Self {
        Self { positions: Box::new([0; MAX_STARTS]), len: 0 }
    }
}

impl Starts {
    /// The positions.
    pub(crate) fn as_slice(&self) -> &[u32] {
        &self.positions[..self.len]
    }

    /// Forget all but the last position: where the piece starts whose end is not known yet.
    pub(crate) fn keep_last(&mut self) {
        if self.len > 0 {
            self.positions[0] = self.positions[self.len - 1];
            self.len = 1;
        }
    }

    /// Forget all.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Add one position.
    #[allow(clippy::cast_possible_truncation)] // texts longer than 32 bits are cut before (see the worker)
    pub(crate) fn push(&mut self, position: usize) {
        self.positions[self.len] = position as u32;
        self.len += 1;
    }

    /// Append the positions of all bits, the first bit being at byte `base`.
    #[allow(clippy::cast_possible_truncation)] // texts longer than 4 GiB are cut before (see the encoder)
    fn append(&mut self, instructions: Instructions, masks: &[u64], base: usize) {
        let base = base as u32;
        match instructions.level() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level exists only where the machine has its instructions.
            Level::Avx512 => unsafe { self.append_avx512(masks, base) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx2 => unsafe { self.append_avx2(masks, base) },
            Level::Portable => self.append_plain(masks, base),
        }
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // so that it is compiled for the instructions of its caller
    fn append_plain(&mut self, masks: &[u64], base: u32) {
        let mut block_start = base as usize;
        for &mask in masks {
            let mut bits = mask;
            while bits != 0 {
                self.push(block_start + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
            block_start += BLOCK;
        }
    }

    /// As above, with one instruction for the lowest bit and one to clear it.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn append_avx2(&mut self, masks: &[u64], base: u32) {
        self.append_plain(masks, base);
    }

    /// Compress the numbers 0 to 63 to those whose bit is set, then widen 16 at a time. Stores whole vectors: what
    /// lies past the end is overwritten by the next.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi2,bmi1,bmi2,popcnt")]
    #[allow(clippy::cast_ptr_alignment, clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // Loads and stores ask for no alignment; the numbers are at most 64.
    fn append_avx512(&mut self, masks: &[u64], base: u32) {
        use std::arch::x86_64::{
            __m512i, _mm512_add_epi32, _mm512_castsi512_si128, _mm512_cvtepu8_epi32,
            _mm512_extracti32x4_epi32, _mm512_loadu_si512, _mm512_maskz_compress_epi8, _mm512_set1_epi32,
            _mm512_storeu_si512,
        };
        const NUMBERS: [u8; BLOCK] = {
            let mut numbers = [0; BLOCK];
            let mut i = 0;
            while i < BLOCK {
                numbers[i] = i as u8;
                i += 1;
            }
            numbers
        };
        assert!(self.len + masks.len() * BLOCK + 16 <= MAX_STARTS, "more starts than bytes");
        // SAFETY: the constant has 64 bytes; the load asks for no alignment.
        let numbers = unsafe { _mm512_loadu_si512(NUMBERS.as_ptr().cast::<__m512i>()) };
        let positions = self.positions.as_mut_ptr();
        let mut len = self.len;
        let mut block_start = _mm512_set1_epi32(base.cast_signed());
        for &mask in masks {
            let bytes = _mm512_maskz_compress_epi8(mask, numbers);
            let count = mask.count_ones() as usize;
            // SAFETY: `len` counts at most 64 a block and every store writes 16 from `len` (or at most 48 more)
            // on, rounded up to 16: inside of the array by the assertion.
            let store = |at: usize, lanes| unsafe {
                let wide = _mm512_add_epi32(_mm512_cvtepu8_epi32(lanes), block_start);
                _mm512_storeu_si512(positions.add(at).cast::<__m512i>(), wide);
            };
            store(len, _mm512_castsi512_si128(bytes));
            if count > 16 {
                store(len + 16, _mm512_extracti32x4_epi32::<1>(bytes));
                if count > 32 {
                    store(len + 32, _mm512_extracti32x4_epi32::<2>(bytes));
                    store(len + 48, _mm512_extracti32x4_epi32::<3>(bytes));
                }
            }
            len += count;
            block_start = _mm512_add_epi32(block_start, _mm512_set1_epi32(BLOCK as i32));
        }
        self.len = len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{classes, plain_starts, text};
    use proptest::prelude::*;

    fn starts(instructions: Instructions, text: &str, classes: &ClassTable) -> Vec<u32> {
        let mut boundaries = Boundaries::default();
        let mut starts = Starts::default();
        let mut all = Vec::new();
        boundaries.restart(instructions, text.as_bytes(), classes).unwrap();
        while boundaries.next_starts(instructions, text.as_bytes(), classes, &mut starts).unwrap() {
            all.extend_from_slice(starts.as_slice());
            starts.clear();
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]
        #[test]
        fn starts_are_those_of_the_plain_scanner(text in text()) {
            let classes = classes();
            let expected = plain_starts(&text, &classes);
            for instructions in Instructions::available() {
                prop_assert_eq!(&starts(instructions, &text, &classes), &expected, "{}", instructions.name());
            }
        }
    }

    #[test]
    fn contractions_across_the_edges_of_blocks() {
        let classes = classes();
        for contraction in ["'s", "'t", "'re", "'ll", "'lx", "'s's", "''s", " 's", "\n's"] {
            for padding in (50..70).chain(SEGMENT - 6..SEGMENT + 3) {
                for after in ["", "x", " y", "'", "1"] {
                    let text = "a".repeat(padding) + contraction + after;
                    let expected = plain_starts(&text, &classes);
                    for instructions in Instructions::available() {
                        assert_eq!(
                            starts(instructions, &text, &classes),
                            expected,
                            "{padding} {contraction:?} {after:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn an_unassigned_code_point_is_asked_for() {
        let mut boundaries = Boundaries::default();
        let text = "x".repeat(100) + "\u{378}";
        let result = boundaries
            .restart(Instructions::fastest(), text.as_bytes(), &ClassTable::unicode_14())
            .and_then(|()| {
                boundaries.next_starts(
                    Instructions::fastest(),
                    text.as_bytes(),
                    &ClassTable::unicode_14(),
                    &mut Starts::default(),
                )
            });
        assert_eq!(result, Err(Error::UnicodeRestNeeded { code_point: 0x378 }));
    }
}
