//! Words, and the tokens that cover them, 64 bytes of text at once.
//!
//! All of it is arithmetic on masks, where bit i is byte i: adding 1 at the first bit of a run of ones clears the run
//! and sets the bit after it, so that one addition asks a question of every word of a block.
//!
//! ```text
//! text         h e l l o _ w o r l d _ _ +      (_ is a blank)
//! tokens       [hel][lo] [_world  ] [_ _][+]
//! starts       1 . . 1 . 1 . . . . . 1 . 1
//! word         1 1 1 1 1 . 1 1 1 1 1 . . 1
//! first        1 . . . . . 1 . . . . . . 1      words: 3
//! inside       . . . 1 . . . . . . . . . .      starts in a word that are not its first byte
//! word&!inside 1 1 1 . 1 . 1 1 1 1 1 . . 1
//! + first      . . . 1 1 . . . . . . 1 . .      & inside: one for each continued word
//! ```
//!
//! A token covers a word if it starts in one, or if it is the last to start in the gap before a word and no token
//! starts with the word: then it reaches into it. `crossing` asks that of each gap, by the same addition.

// The parts of one loop, compiled once for each set of instructions.
#![allow(clippy::inline_always)]

use super::columns::{CODE_LINES, LINES, Row, WordColumns};
use super::masks::{AsciiKinds, BLOCK, ascii_kinds};
use super::words::{WordRule, is_letter, is_mark};
use crate::instructions::{Instructions, Level};
use crate::unicode::{Class, ClassTable, decode};

/// Where the tokens of a text start: bit i of element n stands for byte `64 * n + i`.
#[derive(Debug, Default)]
pub(crate) struct TokenStarts(Vec<u64>);

impl TokenStarts {
    /// Of tokens that tile a text of `num_bytes` bytes, by their lengths in bytes.
    #[inline]
    pub(crate) fn set(&mut self, num_bytes: usize, lengths: impl Iterator<Item = usize>) {
        self.0.clear();
        self.0.resize(num_bytes / BLOCK + 1, 0);
        let (mut block, mut mask, mut place) = (0, 0, 0);
        for length in lengths {
            if place / BLOCK != block {
                self.0[block] = mask;
                (block, mask) = (place / BLOCK, 0);
            }
            mask |= 1 << (place % BLOCK);
            place += length;
        }
        self.0[block] = mask;
    }
}

/// What of a document is to be found.
pub(crate) trait Words {
    /// Whether a rule is counted.
    fn counts(rule: WordRule) -> bool;
    /// Meet a word.
    fn meet(&mut self, rule: WordRule, start: usize, end: usize);
}

/// The state of one rule between two blocks.
#[derive(Debug, Clone, Copy, Default)]
struct RuleState {
    /// 1 where the last byte belongs to a word.
    in_word: u64,
    /// 1 where that word goes on and no token has started inside of it.
    whole: u64,
    /// 1 where the last byte belongs to a gap in which a token has started.
    pending: u64,
    word_start: usize,
}

/// Count words and lines of `text` into `row`, and tell `words` each of them.
pub(crate) fn count_blocks<W: Words>(
    instructions: Instructions,
    text: &str,
    starts: &TokenStarts,
    classes: &ClassTable,
    row: &mut Row,
    words: &mut W,
) {
    match instructions.level() {
        Level::Portable => count_any(instructions, text, starts, classes, row, words),
        // SAFETY: a level exists only where the machine has its instructions, those that AVX2 came with included.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::Avx512 => unsafe {
            count_with_bit_instructions(instructions, text, starts, classes, row, words);
        },
    }
}

/// `count_any`, compiled for machines that count and find bits by one instruction.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn count_with_bit_instructions<W: Words>(
    instructions: Instructions,
    text: &str,
    starts: &TokenStarts,
    classes: &ClassTable,
    row: &mut Row,
    words: &mut W,
) {
    count_any(instructions, text, starts, classes, row, words);
}

#[inline(always)]
fn count_any<W: Words>(
    instructions: Instructions,
    text: &str,
    starts: &TokenStarts,
    classes: &ClassTable,
    row: &mut Row,
    words: &mut W,
) {
    let bytes = text.as_bytes();
    let mut states = [RuleState::default(); WordRule::ALL.len()];
    let mut lines = LineState { at_start: 1, ..LineState::default() };
    // 1 where a run that begins with a number or a mark goes on: no identifier.
    let mut number_run = 0;
    let mut name_before = 0;
    for (number, tokens) in starts.0.iter().enumerate() {
        let start = number * BLOCK;
        let rest = &bytes[start..];
        if rest.is_empty() {
            break;
        }
        let mut padded = [0; BLOCK];
        let (block, inside) = if let Some(block) = rest.first_chunk::<BLOCK>() {
            (block, u64::MAX)
        } else {
            padded[..rest.len()].copy_from_slice(rest);
            (&padded, (1 << rest.len()) - 1)
        };
        let ascii = ascii_kinds(instructions, block);
        let mut kinds = Kinds::of(ascii);
        if ascii.long != 0 {
            kinds.add_long(ascii.long, bytes, start, classes);
        }
        lines.count(ascii.line_feed, kinds.white, inside, row);
        let mut count = |rule, word| {
            if W::counts(rule) {
                states[rule as usize].count(rule, word, *tokens, inside, start, row, words);
            }
        };
        count(WordRule::Whitespace, !kinds.white & inside);
        if W::counts(WordRule::Identifiers) {
            let name = kinds.letter | kinds.number_or_mark | ascii.underscore;
            let first = name & !(name << 1 | name_before);
            let (sum, carry) = add(name, first & kinds.number_or_mark, number_run);
            number_run = carry;
            name_before = name >> 63;
            count(WordRule::Identifiers, name & sum);
        }
        count(WordRule::Unicode, kinds.letter | kinds.number_or_mark);
    }
    for rule in WordRule::ALL {
        if states[rule as usize].in_word == 1 {
            words.meet(rule, states[rule as usize].word_start, bytes.len());
        }
    }
    // A last line that no line feed ends.
    row[LINES] += u64::from(!bytes.is_empty() && bytes.last() != Some(&b'\n'));
}

impl RuleState {
    #[allow(clippy::too_many_arguments)] // of one loop, which is split for reading
    #[inline(always)]
    fn count<W: Words>(
        &mut self,
        rule: WordRule,
        word: u64,
        tokens: u64,
        inside: u64,
        start: usize,
        row: &mut Row,
        words: &mut W,
    ) {
        let columns = WordColumns::of(rule);
        let before = word << 1 | self.in_word;
        let first = word & !before;
        row[columns.words] += u64::from(first.count_ones());

        let within = tokens & word & !first;
        let (sum, whole) = add(word & !within, first, self.whole);
        self.whole = whole;
        row[columns.continued_words] += u64::from((sum & within).count_ones());

        let gap = !word & inside;
        let in_gap = tokens & gap;
        let (sum, carry) = add(gap & !in_gap, in_gap << 1, self.pending);
        self.pending = carry | in_gap >> 63;
        let crossing = sum & first & !tokens;
        row[columns.tokens_in_words] += u64::from((tokens & word).count_ones() + crossing.count_ones());

        let mut edges = word ^ before;
        // Past the end of the text nothing ends: `count_blocks` closes a last word.
        edges &= inside;
        if self.in_word == 1 && edges != 0 {
            words.meet(rule, self.word_start, start + edges.trailing_zeros() as usize);
            edges &= edges - 1;
        }
        while edges != 0 {
            let word_start = start + edges.trailing_zeros() as usize;
            edges &= edges - 1;
            if edges == 0 {
                self.word_start = word_start;
                break;
            }
            words.meet(rule, word_start, start + edges.trailing_zeros() as usize);
            edges &= edges - 1;
        }
        // Where the text ends inside of this block, its last byte decides.
        self.in_word =
            if inside == u64::MAX { word >> 63 } else { (word & (inside ^ inside >> 1) != 0).into() };
    }
}

#[derive(Debug, Default)]
struct LineState {
    /// 1 where the next byte is the first one of a line.
    at_start: u64,
    /// 1 where the line so far is white space.
    indented: u64,
}

impl LineState {
    /// From the first byte of each line on, a carry runs through white space up to what the line holds, or to its end.
    #[inline(always)]
    fn count(&mut self, line_feed: u64, white: u64, inside: u64, row: &mut Row) {
        let line_feed = line_feed & inside;
        let white = white & inside;
        let first = (line_feed << 1 | self.at_start) & inside;
        let (sum, carry) = add(white & !line_feed, first, self.indented);
        self.at_start = line_feed >> 63;
        self.indented = carry;
        row[LINES] += u64::from(line_feed.count_ones());
        row[CODE_LINES] += u64::from((sum & !white & inside).count_ones());
    }
}

/// The kinds of characters that the rules tell apart; a character of several bytes sets all of them.
struct Kinds {
    letter: u64,
    number_or_mark: u64,
    white: u64,
}

impl Kinds {
    #[inline(always)]
    fn of(ascii: AsciiKinds) -> Self {
        Self { letter: ascii.letter, number_or_mark: ascii.digit, white: ascii.white }
    }

    /// Add the characters of more than one byte. One that began in the block before is found by going back.
    #[inline(never)]
    fn add_long(&mut self, mut long: u64, text: &[u8], start: usize, classes: &ClassTable) {
        while long != 0 {
            let first_bit = long.trailing_zeros() as usize;
            let mut position = start + first_bit;
            while text[position] & 0xc0 == 0x80 {
                position -= 1;
            }
            let (code_point, width) = decode(text, position);
            let end_bit = (position + width - start).min(BLOCK);
            let bits = (u64::MAX >> (BLOCK - (end_bit - first_bit))) << first_bit;
            long &= !bits;
            let class = classes.of(code_point);
            if is_letter(class) {
                self.letter |= bits;
            } else if class == Class::Space {
                self.white |= bits;
            } else if class == Class::Number || is_mark(code_point) {
                self.number_or_mark |= bits;
            }
        }
    }
}

/// Sum and carry.
#[inline(always)]
fn add(a: u64, b: u64, carry: u64) -> (u64, u64) {
    let (sum, first) = a.overflowing_add(b);
    let (sum, second) = sum.overflowing_add(carry);
    (sum, u64::from(first | second))
}
