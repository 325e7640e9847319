//! The class of a code point: letter (`\p{L}`), number (`\p{N}`), white space (`\s`) or other.
//!
//! The meaning is that of the installed Python package `tokenizers`. All its releases agree on what Unicode 14
//! assigns, so that much is compiled in; the rest has to be asked for at run time (`ClassTable::with_rest`).
//! The standard library is no oracle: `char::is_alphabetic` is not `\p{L}`.

use rustc_hash::FxHashMap;

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

/// Two levels: a block number for each 256 code points, and the distinct blocks (about 40 KB in all).
///
/// ```text
/// code point 0x4E2D ──► block_of[0x4E] = 17 ──► blocks[17 * 256 + 0x2D] = Letter
/// ```
#[derive(Debug, Clone)]
pub struct ClassTable {
    block_of: Vec<u16>,
    blocks: Vec<Class>,
}

impl ClassTable {
    /// The compiled table: what Unicode 14 assigns, everything else `Unassigned`.
    #[must_use]
    pub fn unicode_14() -> Self {
        let mut classes = vec![Class::Unassigned; NUM_CODE_POINTS];
        fill(&mut classes, UNICODE_14_RANGES);
        Self::from_flat(&classes)
    }

    /// The compiled table completed by ranges asked from outside: what neither has is `Other`.
    /// Where both speak, the compiled one holds, so a call cannot change its mind half-way.
    #[must_use]
    pub fn with_rest(rest: &[ClassRange]) -> Self {
        let mut classes = vec![Class::Other; NUM_CODE_POINTS];
        fill(&mut classes, rest);
        fill(&mut classes, UNICODE_14_RANGES);
        Self::from_flat(&classes)
    }

    fn from_flat(classes: &[Class]) -> Self {
        let mut number_of: FxHashMap<&[Class], u16> = FxHashMap::default();
        let mut table = Self { block_of: Vec::with_capacity(NUM_CODE_POINTS / BLOCK), blocks: Vec::new() };
        for block in classes.chunks_exact(BLOCK) {
            // At most 4,352 blocks, so their numbers fit 16 bits.
            let next = u16::try_from(number_of.len()).unwrap_or(u16::MAX);
            let number = *number_of.entry(block).or_insert_with(|| {
                table.blocks.extend_from_slice(block);
                next
            });
            table.block_of.push(number);
        }
        table
    }

    /// The class of one code point; past the end of Unicode it is `Other`.
    #[must_use]
    #[inline]
    pub fn of(&self, code_point: u32) -> Class {
        let code_point = code_point as usize;
        match self.block_of.get(code_point / BLOCK) {
            Some(&block) => self.blocks[usize::from(block) * BLOCK + code_point % BLOCK],
            None => Class::Other,
        }
    }
}

fn fill(classes: &mut [Class], ranges: &[ClassRange]) {
    for &(first, last, class) in ranges {
        let end = (last as usize + 1).min(classes.len());
        if let Some(run) = classes.get_mut(first as usize..end) {
            run.fill(class);
        }
    }
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
