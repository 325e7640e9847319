//! The class of a code point: letter (`\p{L}`), number (`\p{N}`), white space (`\s`) or other.
//!
//! The meaning is that of the installed Python package `tokenizers`. All its releases agree on what Unicode 14
//! assigns, so that much is compiled in; the rest has to be asked for at run time (`ClassTable::with_rest`).
//! The standard library is no oracle: `char::is_alphabetic` is not `\p{L}`.

use crate::unicode_tables::UNICODE_14_RANGES;

/// What the GPT-2 pattern tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// `\p{L}`
    Letter,
    /// `\p{N}`
    Number,
    /// `\s`
    Space,
    /// Anything else that is assigned: punctuation, marks, symbols, controls.
    Other,
    /// Not assigned in Unicode 14, and not asked for yet.
    Unassigned,
}

/// Ranges `(first, last, class)` of code points, `last` inclusive.
pub type ClassRange = (u32, u32, Class);

const NUM_CODE_POINTS: usize = 0x11_0000;
const BLOCK: usize = 256;
const NUM_BLOCKS: usize = NUM_CODE_POINTS / BLOCK;
/// The first blocks are uniform, one for each class, in the order of `Class`.
const UNIFORM: [[Class; BLOCK]; 5] = [
    [Class::Letter; BLOCK],
    [Class::Number; BLOCK],
    [Class::Space; BLOCK],
    [Class::Other; BLOCK],
    [Class::Unassigned; BLOCK],
];

/// Two levels: a block number for each 256 code points, and the distinct blocks (about 60 KB in all).
///
/// ```text
/// code point 0x4E2D ──► block_of[0x4E] = 17 ──► blocks[17][0x2D] = Letter
/// ```
#[derive(Debug, Clone)]
pub struct ClassTable {
    block_of: Vec<u16>,
    blocks: Vec<[Class; BLOCK]>,
}

impl ClassTable {
    /// The compiled table: what Unicode 14 assigns, everything else `Unassigned`.
    #[must_use]
    pub fn unicode_14() -> Self {
        let (block_of, blocks, num_blocks) = &COMPILED;
        Self { block_of: block_of.to_vec(), blocks: blocks[..*num_blocks].to_vec() }
    }

    /// The compiled table completed by ranges asked from outside: what neither has is `Other`.
    /// Where both speak, the compiled one holds, so a call cannot change its mind half-way.
    #[must_use]
    pub fn with_rest(rest: &[ClassRange]) -> Self {
        let mut block_of = vec![Class::Other as u16; NUM_BLOCKS];
        let mut blocks = UNIFORM.to_vec();
        blocks.resize(UNIFORM.len() + NUM_BLOCKS, UNIFORM[0]);
        let num_blocks = paint(&mut block_of, &mut blocks, UNIFORM.len(), rest);
        let num_blocks = paint(&mut block_of, &mut blocks, num_blocks, UNICODE_14_RANGES);
        blocks.truncate(num_blocks);
        Self { block_of, blocks }
    }

    /// Give one code point its class, where the table has none.
    pub(crate) fn learn(&mut self, code_point: u32, class: Class) {
        if self.of(code_point) != Class::Unassigned {
            return;
        }
        let (number, place) = (code_point as usize / BLOCK, code_point as usize % BLOCK);
        let block = self.block_of[number];
        if self.block_of.iter().filter(|other| **other == block).count() > 1 {
            // There are far fewer than 2^16 blocks of code points, and each gets one of its own at most once.
            self.block_of[number] = u16::try_from(self.blocks.len()).unwrap_or(block);
            self.blocks.push(self.blocks[usize::from(block)]);
        }
        self.blocks[usize::from(self.block_of[number])][place] = class;
    }

    /// The class of one code point; past the end of Unicode it is `Other`.
    #[must_use]
    #[inline]
    pub fn of(&self, code_point: u32) -> Class {
        let code_point = code_point as usize;
        match self.block_of.get(code_point / BLOCK) {
            Some(&block) => self.blocks[usize::from(block)][code_point % BLOCK],
            None => Class::Other,
        }
    }
}

type Levels = ([u16; NUM_BLOCKS], [[Class; BLOCK]; 384], usize);

/// Made by the compiler, so that nothing has to be built (or locked) at run time.
static COMPILED: Levels = {
    let mut block_of = [Class::Unassigned as u16; NUM_BLOCKS];
    let mut blocks = [UNIFORM[0]; 384];
    let mut uniform = 0;
    while uniform < UNIFORM.len() {
        blocks[uniform] = UNIFORM[uniform];
        uniform += 1;
    }
    let num_blocks = paint(&mut block_of, &mut blocks, UNIFORM.len(), UNICODE_14_RANGES);
    (block_of, blocks, num_blocks)
};

/// Give code points their class. A block that a range covers wholly becomes a uniform one, another one gets a
/// block of its own; `blocks` has room for it. Returns how many blocks are in use. (A `const fn` has no `for`.)
#[allow(clippy::cast_possible_truncation)] // at most 4,357 blocks
const fn paint(
    block_of: &mut [u16],
    blocks: &mut [[Class; BLOCK]],
    mut num_blocks: usize,
    ranges: &[ClassRange],
) -> usize {
    let mut index = 0;
    while index < ranges.len() {
        let (first, last, class) = ranges[index];
        let end = if last as usize >= NUM_CODE_POINTS { NUM_CODE_POINTS } else { last as usize + 1 };
        let mut start = first as usize;
        while start < end {
            let number = start / BLOCK;
            let block_end = if (number + 1) * BLOCK < end { (number + 1) * BLOCK } else { end };
            if block_end - start == BLOCK {
                block_of[number] = class as u16;
            } else {
                if (block_of[number] as usize) < UNIFORM.len() {
                    blocks[num_blocks] = UNIFORM[block_of[number] as usize];
                    block_of[number] = num_blocks as u16;
                    num_blocks += 1;
                }
                let block = &mut blocks[block_of[number] as usize];
                let mut place = start;
                while place < block_end {
                    block[place % BLOCK] = class;
                    place += 1;
                }
            }
            start = block_end;
        }
        index += 1;
    }
    num_blocks
}

/// The code point at `start` of UTF-8 text, and its length in bytes.
///
/// `bytes` must be valid UTF-8 and `start` the first byte of a character, as all callers have it from a `str`.
#[must_use]
#[inline]
pub(crate) fn decode(bytes: &[u8], start: usize) -> (u32, usize) {
    let continuation = |offset: usize| u32::from(bytes[start + offset] & 0x3f);
    let lead = u32::from(bytes[start]);
    match lead {
        0..0x80 => (lead, 1),
        0x80..0xe0 => ((lead & 0x1f) << 6 | continuation(1), 2),
        0xe0..0xf0 => ((lead & 0x0f) << 12 | continuation(1) << 6 | continuation(2), 3),
        _ => ((lead & 0x07) << 18 | continuation(1) << 12 | continuation(2) << 6 | continuation(3), 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(table: &ClassTable, class: Class) -> usize {
        (0..0x11_0000_u32).filter(|&code_point| table.of(code_point) == class).count()
    }

    #[test]
    fn the_compiled_table_has_what_unicode_14_assigns() {
        let table = ClassTable::unicode_14();
        assert_eq!(count(&table, Class::Letter), 131_756);
        assert_eq!(count(&table, Class::Number), 1_791);
        assert_eq!(count(&table, Class::Space), 25);
        assert_eq!(table.of('é'.into()), Class::Letter);
        assert_eq!(table.of('½'.into()), Class::Number);
        assert_eq!(table.of('\u{301}'.into()), Class::Other, "a mark is no letter");
        assert_eq!(table.of(0x1c), Class::Other, "no white space here, though `str.isspace` says so");
        assert_eq!(table.of(0x1c8a), Class::Unassigned, "assigned in Unicode 16");
        assert_eq!(table.of(0x11_0000), Class::Other, "past the end of Unicode");
    }

    #[test]
    fn the_rest_completes_the_table_and_changes_nothing_of_it() {
        let table = ClassTable::with_rest(&[(0x1c8a, 0x1c8a, Class::Letter), (0x61, 0x61, Class::Number)]);
        assert_eq!(table.of(0x1c8a), Class::Letter);
        assert_eq!(table.of(0x61), Class::Letter);
        assert_eq!(count(&table, Class::Unassigned), 0);
        let compiled = ClassTable::unicode_14();
        for code_point in 0..0x11_0000 {
            let class = compiled.of(code_point);
            assert!(class == Class::Unassigned || class == table.of(code_point));
        }
    }

    #[test]
    fn a_range_past_the_end_of_unicode_does_no_harm() {
        let table = ClassTable::with_rest(&[(0x10_ffff, u32::MAX - 1, Class::Letter), (5, 4, Class::Letter)]);
        assert_eq!(table.of(0x10_ffff), Class::Letter);
    }

    #[test]
    fn decoding_equals_the_standard_library_for_every_character() {
        for character in char::MIN..=char::MAX {
            let mut buffer = [0; 4];
            let bytes = character.encode_utf8(&mut buffer).as_bytes();
            assert_eq!(decode(bytes, 0), (u32::from(character), bytes.len()));
        }
    }
}
