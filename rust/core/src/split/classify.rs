//! Stage 1a: for each byte, the class of the character it belongs to, as bit masks over blocks of 64 bytes.
//!
//! ```text
//! text         d  o  n  '  t     s  a  y     1  2  \n é     (é has two bytes)
//! letter       1  1  1  .  1  .  1  1  1  .  .  .  .  1  1
//! number       .  .  .  .  .  .  .  .  .  .  1  1  .  .  .
//! white        .  .  .  .  .  1  .  .  .  1  .  .  1  .  .
//! blank        .  .  .  .  .  1  .  .  .  1  .  .  .  .  .    the byte 0x20, the only one that joins a word
//! other        .  .  .  1  .  .  .  .  .  .  .  .  .  .  .    marks too, which the newer patterns tell apart
//! apostrophe   .  .  .  1  .  .  .  .  .  .  .  .  .  .  .
//!              bit 0 ──►                                      bit i is byte i of the block
//! ```
//!
//! Case, marks, newlines, slashes and inner bytes of characters are told apart for the patterns that need them.
//! A character of several bytes sets its class on all of them, so that inside a character the class never changes.
//! The plain form, `block_portable`, says what the masks mean; the other two differ in the ASCII part alone.

use std::ops::Range;

use super::rows::{Masks, Row, Rows, SLOTS};
use crate::error::{Error, Result};
use crate::instructions::{Instructions, Level};
use crate::unicode::{Class, ClassTable, decode};

/// Bytes of one block: as many as a mask has bits.
pub(crate) const BLOCK: usize = 64;

/// The masks of one block. Bits past the end of the text are 0 in all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BlockMasks {
    /// `\p{L}`
    pub(crate) letter: u64,
    /// `\p{N}`
    pub(crate) number: u64,
    /// `\s`
    pub(crate) white: u64,
    /// None of these, marks included.
    pub(crate) other: u64,
    /// The byte 0x20.
    pub(crate) blank: u64,
    /// The byte 0x27.
    pub(crate) apostrophe: u64,
    /// White space of one byte, which can be seen to be the last of its run by looking at the byte after it.
    pub(crate) white_ascii: u64,
    /// First bytes of longer white space that is followed by something else than white space: a piece starts
    /// there, which arithmetic on bytes would place at the last byte.
    pub(crate) white_last: u64,
    // From here on for patterns that need more than GPT-2's, else 0.
    /// `[\p{Lu}\p{Lt}]`
    pub(crate) upper: u64,
    /// `\p{Ll}`
    pub(crate) lower: u64,
    /// `\p{M}`
    pub(crate) mark: u64,
    /// `[\r\n]`
    pub(crate) newline: u64,
    /// The byte 0x2f.
    pub(crate) slash: u64,
    /// Bytes of a character after its first one.
    pub(crate) inner: u64,
}

/// Classify the blocks of `text` from `first_block` on into these slots of the rows. A block past the end has no bits.
///
/// # Errors
///
/// `UnicodeRestNeeded` at a code point that has no class yet.
#[inline]
pub(crate) fn classify<M: Masks>(
    instructions: Instructions,
    text: &[u8],
    classes: &ClassTable,
    first_block: usize,
    slots: Range<usize>,
    rows: &mut Rows,
) -> Result<()> {
    let long = match instructions.level() {
        Level::Portable => classify_ascii::<M>(text, first_block, slots.clone(), rows, ascii_portable::<M>),
        // SAFETY: a level exists only where the machine has its instructions.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { classify_avx2::<M>(text, first_block, slots.clone(), rows) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { classify_avx512::<M>(text, first_block, slots.clone(), rows) },
    };
    if long.iter().all(|&long| long == 0) {
        return Ok(());
    }
    classify_long_characters::<M>(text, classes, first_block, slots, rows, &long)
}

/// The ASCII part of `classify`: all blocks in one loop, so that what is the same for each stays in registers. Gives the
/// bytes of longer characters, by slot; they are taken for others here.
#[inline(always)]
#[allow(clippy::inline_always)] // so that it is compiled for the instructions of its caller
fn classify_ascii<M: Masks>(
    text: &[u8],
    first_block: usize,
    slots: Range<usize>,
    rows: &mut Rows,
    ascii: impl Fn(&[u8; BLOCK]) -> AsciiMasks,
) -> Row {
    assert!(slots.end <= SLOTS, "more blocks than slots");
    let mut long = [0; SLOTS];
    let blocks = text.get(first_block * BLOCK..).unwrap_or_default();
    let (whole, tail) = blocks.as_chunks::<BLOCK>();
    let num_whole = whole.len().min(slots.len());
    for (slot, block) in slots.clone().zip(whole) {
        let masks = ascii(block);
        long[slot] = masks.long;
        rows.put::<M>(slot, &masks.of_block::<M>(u64::MAX));
    }
    for number in num_whole..slots.len() {
        let slot = slots.start + number;
        // The text ends in the first of these, if it does not end between blocks.
        let num_inside = if number == whole.len() { tail.len() } else { 0 };
        let mut block = [0; BLOCK];
        block[..num_inside].copy_from_slice(&tail[..num_inside]);
        let masks = ascii(&block);
        long[slot] = masks.long;
        rows.put::<M>(slot, &masks.of_block::<M>((1 << num_inside) - 1));
    }
    long
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn classify_avx2<M: Masks>(text: &[u8], first_block: usize, slots: Range<usize>, rows: &mut Rows) -> Row {
    classify_ascii::<M>(text, first_block, slots, rows, |block| ascii_avx2::<M>(block))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn classify_avx512<M: Masks>(text: &[u8], first_block: usize, slots: Range<usize>, rows: &mut Rows) -> Row {
    classify_ascii::<M>(text, first_block, slots, rows, |block| ascii_avx512::<M>(block))
}

/// Correct the slots of blocks that have characters of more than one byte.
#[inline(never)]
fn classify_long_characters<M: Masks>(
    text: &[u8],
    classes: &ClassTable,
    first_block: usize,
    slots: Range<usize>,
    rows: &mut Rows,
    long: &Row,
) -> Result<()> {
    let mut unassigned = None;
    for slot in slots.clone() {
        if long[slot] != 0 {
            let mut masks = rows.get::<M>(slot);
            let start = (first_block + slot - slots.start) * BLOCK;
            add_long_characters(&mut masks, long[slot], text, start, classes, &mut unassigned);
            masks.other &= !(masks.letter | masks.number | masks.white);
            rows.put::<M>(slot, &masks);
        }
    }
    match unassigned {
        Some(code_point) => Err(Error::UnicodeRestNeeded { code_point }),
        None => Ok(()),
    }
}

/// What the ASCII bytes of a block are, and which bytes are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct AsciiMasks {
    letter: u64,
    number: u64,
    white: u64,
    blank: u64,
    apostrophe: u64,
    /// Bytes of characters longer than one byte.
    long: u64,
    // For the patterns that need more.
    upper: u64,
    newline: u64,
    slash: u64,
    /// Bytes 0x80 to 0xbf.
    inner: u64,
}

impl AsciiMasks {
    /// The masks of a block of which the bytes in `inside` belong to the text.
    #[inline(always)]
    #[allow(clippy::inline_always)] // so that it is compiled for the instructions of its caller
    fn of_block<M: Masks>(&self, inside: u64) -> BlockMasks {
        let mut masks = BlockMasks {
            letter: self.letter & inside,
            number: self.number & inside,
            white: self.white & inside,
            other: !(self.letter | self.number | self.white) & inside,
            blank: self.blank & inside,
            apostrophe: self.apostrophe & inside,
            white_ascii: self.white & inside,
            ..BlockMasks::default()
        };
        if M::MORE {
            masks.upper = self.upper & inside;
            masks.lower = self.letter & !self.upper & inside;
            masks.newline = self.newline & inside;
            masks.slash = self.slash & inside;
            masks.inner = self.inner & inside;
        }
        masks
    }
}

fn ascii_portable<M: Masks>(block: &[u8; BLOCK]) -> AsciiMasks {
    let mut masks = AsciiMasks::default();
    for (i, &byte) in block.iter().enumerate() {
        let bit = |is: bool| u64::from(is) << i;
        masks.letter |= bit((byte | 0x20).wrapping_sub(b'a') < 26);
        masks.number |= bit(byte.wrapping_sub(b'0') < 10);
        // No 0x1c to 0x1f here: they are `str.isspace` in Python, but not `\s`.
        masks.white |= bit(byte == b' ' || byte.wrapping_sub(b'\t') < 5);
        masks.blank |= bit(byte == b' ');
        masks.apostrophe |= bit(byte == b'\'');
        masks.long |= bit(byte >= 0x80);
        if M::MORE {
            masks.upper |= bit(byte.wrapping_sub(b'A') < 26);
            masks.newline |= bit(byte == b'\n' || byte == b'\r');
            masks.slash |= bit(byte == b'/');
            masks.inner |= bit(is_continuation(byte));
        }
    }
    masks
}

/// Two halves of 32 bytes. AVX2 compares signed bytes only, so `x < n` unsigned is `min(x, n - 1) == x`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
#[allow(clippy::cast_ptr_alignment)] // the load asks for no alignment
fn ascii_avx2<M: Masks>(block: &[u8; BLOCK]) -> AsciiMasks {
    use std::arch::x86_64::{
        __m256i, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8, _mm256_loadu_si256, _mm256_min_epu8,
        _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8, _mm256_sub_epi8,
    };
    let mut masks = AsciiMasks::default();
    for half in 0..2 {
        // SAFETY: both halves lie inside of the 64 bytes; the load asks for no alignment.
        let bytes = unsafe { _mm256_loadu_si256(block.as_ptr().add(32 * half).cast::<__m256i>()) };
        let splat = |byte: u8| _mm256_set1_epi8(byte.cast_signed());
        let mask = |lanes: __m256i| u64::from(_mm256_movemask_epi8(lanes).cast_unsigned()) << (32 * half);
        let within = |bytes: __m256i, first: u8, count: u8| {
            let offset = _mm256_sub_epi8(bytes, splat(first));
            _mm256_cmpeq_epi8(_mm256_min_epu8(offset, splat(count - 1)), offset)
        };
        let blank = _mm256_cmpeq_epi8(bytes, splat(b' '));
        masks.letter |= mask(within(_mm256_or_si256(bytes, splat(0x20)), b'a', 26));
        masks.number |= mask(within(bytes, b'0', 10));
        masks.white |= mask(_mm256_or_si256(blank, within(bytes, b'\t', 5)));
        masks.blank |= mask(blank);
        masks.apostrophe |= mask(_mm256_cmpeq_epi8(bytes, splat(b'\'')));
        masks.long |= mask(bytes);
        if M::MORE {
            let is = |byte: u8| _mm256_cmpeq_epi8(bytes, splat(byte));
            masks.upper |= mask(within(bytes, b'A', 26));
            masks.newline |= mask(_mm256_or_si256(is(b'\n'), is(b'\r')));
            masks.slash |= mask(is(b'/'));
            masks.inner |= mask(_mm256_cmpgt_epi8(splat(0xc0), bytes)); // signed: 0x80 to 0xbf are the least
        }
    }
    masks
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
#[allow(clippy::cast_ptr_alignment)] // the load asks for no alignment
fn ascii_avx512<M: Masks>(block: &[u8; BLOCK]) -> AsciiMasks {
    use std::arch::x86_64::{
        __m512i, _mm512_cmpeq_epi8_mask, _mm512_cmplt_epi8_mask, _mm512_cmplt_epu8_mask, _mm512_loadu_si512,
        _mm512_movepi8_mask, _mm512_or_si512, _mm512_set1_epi8, _mm512_sub_epi8,
    };
    // SAFETY: the block has 64 bytes; the load asks for no alignment.
    let bytes = unsafe { _mm512_loadu_si512(block.as_ptr().cast::<__m512i>()) };
    let splat = |byte: u8| _mm512_set1_epi8(byte.cast_signed());
    let within = |bytes: __m512i, first: u8, count: u8| {
        _mm512_cmplt_epu8_mask(_mm512_sub_epi8(bytes, splat(first)), splat(count))
    };
    let blank = _mm512_cmpeq_epi8_mask(bytes, splat(b' '));
    let mut masks = AsciiMasks {
        letter: within(_mm512_or_si512(bytes, splat(0x20)), b'a', 26),
        number: within(bytes, b'0', 10),
        white: blank | within(bytes, b'\t', 5),
        blank,
        apostrophe: _mm512_cmpeq_epi8_mask(bytes, splat(b'\'')),
        long: _mm512_movepi8_mask(bytes),
        ..AsciiMasks::default()
    };
    if M::MORE {
        let is = |byte: u8| _mm512_cmpeq_epi8_mask(bytes, splat(byte));
        masks.upper = within(bytes, b'A', 26);
        masks.newline = is(b'\n') | is(b'\r');
        masks.slash = is(b'/');
        masks.inner = _mm512_cmplt_epi8_mask(bytes, splat(0xc0)); // signed: 0x80 to 0xbf are the least
    }
    masks
}

/// Adds the characters of more than one byte. One that began in the block before is found by going back to its
/// first byte, so that a block's masks depend on nothing but the text.
#[inline(never)]
fn add_long_characters(
    masks: &mut BlockMasks,
    mut long: u64,
    text: &[u8],
    start: usize,
    classes: &ClassTable,
    unassigned: &mut Option<u32>,
) {
    while long != 0 {
        let first_bit = long.trailing_zeros() as usize;
        let mut position = start + first_bit;
        while is_continuation(text[position]) {
            position -= 1;
        }
        let (code_point, width) = decode(text, position);
        let after = position + width;
        let end_bit = (after - start).min(BLOCK);
        let bits = (u64::MAX >> (BLOCK - (end_bit - first_bit))) << first_bit;
        long &= !bits;
        match classes.of(code_point) {
            Class::Upper => {
                masks.letter |= bits;
                masks.upper |= bits;
            }
            Class::Lower => {
                masks.letter |= bits;
                masks.lower |= bits;
            }
            Class::Letter => masks.letter |= bits,
            Class::Mark => masks.mark |= bits,
            Class::Number => masks.number |= bits,
            Class::Other => {}
            Class::Space => {
                masks.white |= bits;
                if position >= start && after < text.len() && !is_white(text, after, classes) {
                    masks.white_last |= 1 << first_bit;
                }
            }
            Class::Unassigned => *unassigned = unassigned.or(Some(code_point)),
        }
    }
}

fn is_white(text: &[u8], position: usize, classes: &ClassTable) -> bool {
    classes.of(decode(text, position).0) == Class::Space
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::cl100k::Cl100kMasks;
    use crate::testing::{classes, text};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn masks_say_the_class_of_each_byte(text in text()) {
            let classes = classes();
            for start in (0..text.len()).step_by(BLOCK) {
                let mut masks = Vec::new();
                for instructions in Instructions::available() {
                    let mut rows = Rows::default();
                    classify::<Cl100kMasks>(instructions, text.as_bytes(), classes, start / BLOCK, 2..5, &mut rows)?;
                    masks.push(rows.get::<Cl100kMasks>(2));
                    // The blocks behind, past the end too, are what they are alone.
                    for (slot, block) in (3..5).zip(start / BLOCK + 1..) {
                        let mut alone = Rows::default();
                        classify::<Cl100kMasks>(instructions, text.as_bytes(), classes, block, 0..1, &mut alone)?;
                        prop_assert_eq!(rows.get::<Cl100kMasks>(slot), alone.get::<Cl100kMasks>(0));
                        if block * BLOCK >= text.len() {
                            prop_assert_eq!(rows.get::<Cl100kMasks>(slot), BlockMasks::default());
                        }
                    }
                }
                prop_assert!(masks.windows(2).all(|pair| pair[0] == pair[1]));
                for (position, character) in text.char_indices() {
                    let class = classes.of(character.into());
                    for byte in position..position + character.len_utf8() {
                        let Some(bit) = byte.checked_sub(start).filter(|bit| *bit < BLOCK) else { continue };
                        let is = |mask: u64| mask >> bit & 1 == 1;
                        prop_assert_eq!(is(masks[0].letter), class.is_letter());
                        prop_assert_eq!(is(masks[0].upper), class == Class::Upper);
                        prop_assert_eq!(is(masks[0].lower), class == Class::Lower);
                        prop_assert_eq!(is(masks[0].mark), class == Class::Mark);
                        prop_assert_eq!(is(masks[0].newline), character == '\n' || character == '\r');
                        prop_assert_eq!(is(masks[0].slash), character == '/');
                        prop_assert_eq!(is(masks[0].inner), byte != position);
                        prop_assert_eq!(is(masks[0].number), class == Class::Number);
                        prop_assert_eq!(is(masks[0].white), class == Class::Space);
                        prop_assert_eq!(is(masks[0].other), class.is_sign());
                        prop_assert_eq!(is(masks[0].blank), character == ' ');
                        prop_assert_eq!(is(masks[0].apostrophe), character == '\'');
                    }
                }
            }
        }
    }
}
