//! The class of a code point, as far as patterns tell them apart: letters by case, marks, numbers, white space, others.
//!
//! The meaning is that of the installed Python package `tokenizers`. All its releases agree on what Unicode 14
//! assigns, so that much is compiled in. What later versions assign has to be asked for at run time, and only the
//! code points that occur: a call that meets one says so (`UnicodeRestNeeded`), the caller finds all of them in its
//! texts (`ClassTable::unassigned_in`), asks, hands the answer in (`ClassTable::learn`) and calls again.
//! The standard library is no oracle: `char::is_alphabetic` is not `\p{L}`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::cancel::Cancel;
use crate::error::Result;
use crate::unicode_tables::UNICODE_14_RANGES;

/// What the patterns tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// `[\p{Lu}\p{Lt}]`
    Upper,
    /// `\p{Ll}`
    Lower,
    /// `[\p{Lm}\p{Lo}]`: a letter without case.
    Letter,
    /// `\p{M}`
    Mark,
    /// `\p{N}`
    Number,
    /// `\s`
    Space,
    /// Anything else that is assigned: punctuation, symbols, controls.
    Other,
    /// Not assigned in Unicode 14, and not asked for yet.
    Unassigned,
}

impl Class {
    const ALL: [Self; 8] = [
        Self::Upper,
        Self::Lower,
        Self::Letter,
        Self::Mark,
        Self::Number,
        Self::Space,
        Self::Other,
        Self::Unassigned,
    ];

    /// The class with this number, in the order above; `Other` past the end.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::Other)
    }

    /// `\p{L}`
    #[must_use]
    #[inline]
    pub fn is_letter(self) -> bool {
        matches!(self, Self::Upper | Self::Lower | Self::Letter)
    }

    /// `[^\s\p{L}\p{N}]`, of what is known.
    #[must_use]
    #[inline]
    pub fn is_sign(self) -> bool {
        matches!(self, Self::Mark | Self::Other)
    }
}

/// Ranges `(first, last, class)` of code points, `last` inclusive.
pub type ClassRange = (u32, u32, Class);

const NUM_CODE_POINTS: usize = 0x11_0000;
const BLOCK: usize = 256;
const NUM_BLOCKS: usize = NUM_CODE_POINTS / BLOCK;
/// Blocks of code points of more than one class; the compiler refuses a number that is too small.
const MAX_BLOCKS: usize = 416;
/// The first blocks are uniform, one for each class, in the order of `Class`.
const UNIFORM: [[Class; BLOCK]; 8] = {
    let mut blocks = [[Class::Other; BLOCK]; 8];
    let mut number = 0;
    while number < 8 {
        blocks[number] = [Class::ALL[number]; BLOCK];
        number += 1;
    }
    blocks
};

/// The compiled classes, and what was learned besides. Two levels: a block number for each 256 code points, and the
/// distinct blocks (about 60 KB in all).
///
/// ```text
/// code point 0x4E2D ──► block_of[0x4E] = 2 ──► blocks[2][0x2D] = Letter
/// ```
///
/// Learning takes no lock, so a table is shared by threads, and a fork finds it whole.
#[derive(Debug)]
pub struct ClassTable {
    /// What a code point is taken for that is neither compiled in nor learned.
    unknown: Class,
    /// A byte for each code point of the blocks that something was learned of: the class, plus one.
    learned: OnceLock<Box<[OnceLock<Box<LearnedBlock>>]>>,
}

type LearnedBlock = [AtomicU8; BLOCK];

impl ClassTable {
    /// The compiled table: what Unicode 14 assigns, everything else `Unassigned`.
    #[must_use]
    pub const fn unicode_14() -> Self {
        Self { unknown: Class::Unassigned, learned: OnceLock::new() }
    }

    /// As above, everything else `Other`: for tests and measurements that ask nobody.
    #[must_use]
    pub const fn unicode_14_and_others() -> Self {
        Self { unknown: Class::Other, learned: OnceLock::new() }
    }

    /// Give code points their classes, where the table has none. The first answer counts, so that a call cannot change
    /// its mind half-way.
    pub fn learn(&self, classes: &[(u32, Class)]) {
        let blocks = self.learned.get_or_init(|| (0..NUM_BLOCKS).map(|_| OnceLock::new()).collect());
        for &(code_point, class) in classes {
            let (number, place) = (code_point as usize / BLOCK, code_point as usize % BLOCK);
            if let Some(block) = blocks.get(number) {
                let block = block.get_or_init(|| Box::new([const { AtomicU8::new(0) }; BLOCK]));
                let answer = class as u8 + 1;
                // Whether it was first does not matter to the one who asks.
                let _ = block[place].compare_exchange(0, answer, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }

    /// The code points of some texts that have no class yet, each once.
    #[must_use]
    pub fn unassigned_in<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> CodePoints {
        let mut found = CodePoints::default();
        for text in texts {
            // Never cancelled.
            let _ = self.add_unassigned(text, &mut found, &Cancel::default());
        }
        found
    }

    /// Add those of one text. Nearly all of most texts is ASCII, and passed over.
    pub(crate) fn add_unassigned(&self, text: &str, found: &mut CodePoints, cancel: &Cancel) -> Result<()> {
        const STRIDE: usize = 1 << 7;
        let text = text.as_bytes();
        let mut start = 0;
        while start < text.len() {
            cancel.check()?;
            let end = text.len().min(start + STRIDE);
            if text[start..end].is_ascii() {
                start = end;
                continue;
            }
            // The last character may reach past the end, where the next stride then begins.
            while start < end {
                let (code_point, num_bytes) = decode(text, start);
                if code_point >= 0x80 && self.of(code_point) == Class::Unassigned {
                    found.insert(code_point);
                }
                start += num_bytes;
            }
        }
        Ok(())
    }

    /// The class of one code point; past the end of Unicode it is `Other`.
    #[must_use]
    #[inline]
    pub fn of(&self, code_point: u32) -> Class {
        let (block_of, blocks, _) = &COMPILED;
        let Some(&block) = block_of.get(code_point as usize / BLOCK) else { return Class::Other };
        match blocks[usize::from(block)][code_point as usize % BLOCK] {
            Class::Unassigned => self.of_the_rest(code_point as usize),
            class => class,
        }
    }

    #[cold]
    fn of_the_rest(&self, code_point: usize) -> Class {
        let block = self.learned.get().and_then(|blocks| blocks[code_point / BLOCK].get());
        match block.map_or(0, |block| block[code_point % BLOCK].load(Ordering::Relaxed)) {
            0 => self.unknown,
            answer => Class::from_number(answer - 1),
        }
    }
}

/// A set of code points: a bit for each of Unicode, made when the first one comes. A text may have half a million of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CodePoints(Vec<u64>);

impl CodePoints {
    /// Add one; what lies past the end of Unicode is none.
    pub fn insert(&mut self, code_point: u32) {
        if self.0.is_empty() {
            self.0 = vec![0; NUM_CODE_POINTS / 64];
        }
        if let Some(bits) = self.0.get_mut(code_point as usize / 64) {
            *bits |= 1 << (code_point % 64);
        }
    }

    /// Add all of another set.
    pub fn add_all(&mut self, other: &Self) {
        for code_point in other.iter() {
            self.insert(code_point);
        }
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        (0u32..).step_by(64).zip(&self.0).flat_map(|(first, &bits)| {
            let next = |rest: &u64| Some(rest & (rest - 1)).filter(|&rest| rest != 0);
            let rests = std::iter::successors(Some(bits).filter(|&bits| bits != 0), next);
            rests.map(move |rest| first + rest.trailing_zeros())
        })
    }
}

type Levels = ([u16; NUM_BLOCKS], [[Class; BLOCK]; MAX_BLOCKS], usize);

/// Made by the compiler, so that nothing has to be built (or locked) at run time.
static COMPILED: Levels = {
    let mut block_of = [Class::Unassigned as u16; NUM_BLOCKS];
    let mut blocks = [UNIFORM[0]; MAX_BLOCKS];
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
        let letters = [Class::Upper, Class::Lower, Class::Letter].map(|class| count(&table, class));
        assert_eq!(letters.iter().sum::<usize>(), 131_756);
        assert_eq!(count(&table, Class::Number), 1_791);
        assert_eq!(count(&table, Class::Space), 25);
        assert_eq!(table.of('É'.into()), Class::Upper);
        assert_eq!(table.of('ǅ'.into()), Class::Upper, "a title letter");
        assert_eq!(table.of('é'.into()), Class::Lower);
        assert_eq!(table.of('ʰ'.into()), Class::Letter, "a modifier letter");
        assert_eq!(table.of('中'.into()), Class::Letter);
        assert_eq!(table.of('½'.into()), Class::Number);
        assert_eq!(table.of('\u{301}'.into()), Class::Mark, "a mark is no letter");
        assert_eq!(table.of(0x1c), Class::Other, "no white space here, though `str.isspace` says so");
        assert_eq!(table.of(0x1c8a), Class::Unassigned, "assigned in Unicode 16");
        assert_eq!(table.of(0x11_0000), Class::Other, "past the end of Unicode");
    }

    #[test]
    fn what_is_learned_completes_the_table_and_changes_nothing_of_it() {
        let table = ClassTable::unicode_14();
        let unassigned_in =
            |texts: &[&str]| table.unassigned_in(texts.iter().copied()).iter().collect::<Vec<_>>();
        assert_eq!(unassigned_in(&["a\u{1c8a}", "é", "\u{378}\u{1c8a}"]), [0x378, 0x1c8a]);
        table.learn(&[(0x1c8a, Class::Lower), (0x61, Class::Number), (u32::MAX, Class::Mark)]);
        table.learn(&[(0x1c8a, Class::Other)]);
        assert_eq!(table.of(0x1c8a), Class::Lower, "the first answer counts");
        assert_eq!(table.of(0x61), Class::Lower);
        assert_eq!(unassigned_in(&["a\u{1c8a}"]), [0_u32; 0]);
        let (compiled, others) = (ClassTable::unicode_14(), ClassTable::unicode_14_and_others());
        for code_point in (0..0x11_0000).filter(|&code_point| code_point != 0x1c8a) {
            assert_eq!(table.of(code_point), compiled.of(code_point));
            let class = compiled.of(code_point);
            let expected = if class == Class::Unassigned { Class::Other } else { class };
            assert_eq!(others.of(code_point), expected);
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(1_000))]

        #[test]
        fn a_set_of_code_points_is_a_set(
            one in proptest::collection::vec(0..0x11_0040_u32, 0..40),
            other in proptest::collection::vec(0..300_u32, 0..40),
        ) {
            let set = |members: &[u32]| {
                let mut set = CodePoints::default();
                for &member in members {
                    set.insert(member);
                }
                set
            };
            let mut both = set(&one);
            both.add_all(&set(&other));
            let expected: std::collections::BTreeSet<u32> =
                one.iter().chain(&other).copied().filter(|&member| member < 0x11_0000).collect();
            proptest::prop_assert_eq!(both.iter().collect::<Vec<_>>(), Vec::from_iter(expected));
        }
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
