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
use super::masks::{self, AsciiKinds, BLOCK};
use super::words::{WordRule, is_letter, is_mark};
use crate::instructions::{Instructions, Level};
use crate::split::boundaries::SEGMENT;
use crate::split::starts::Starts;
use crate::unicode::{Class, ClassTable, decode};

/// Where the tokens of a text start.
#[derive(Debug, Default)]
pub(crate) struct TokenStarts {
    /// Bit i of element n stands for byte `64 * n + i`.
    masks: Vec<u64>,
    /// 1 for each byte where a token starts, and room behind for one that is empty. Written a byte a token, without a
    /// question; bits would have to be brought together first.
    marks: Vec<[u8; BLOCK]>,
}

impl TokenStarts {
    /// Mark tokens, which tile a text of `num_bytes` bytes: `mark` is handed a place for each byte, and one more.
    pub(crate) fn mark(
        &mut self,
        instructions: Instructions,
        num_bytes: usize,
        mark: impl FnOnce(&mut [u8]),
    ) {
        self.marks.clear();
        self.marks.resize(num_bytes / BLOCK + 1, [0; BLOCK]);
        mark(self.marks.as_flattened_mut());
        self.masks.clear();
        self.masks.extend(self.marks.iter().map(|block| masks::marked(instructions, block)));
    }
}

impl TokenStarts {
    /// How many tokens start before each of some places, which ascend.
    pub(crate) fn num_before(
        &self,
        instructions: Instructions,
        places: impl Iterator<Item = usize>,
        numbers: &mut Vec<usize>,
    ) {
        numbers.clear();
        match instructions.level() {
            Level::Portable => self.num_before_any(places, numbers),
            // SAFETY: a level exists only where the machine has its instructions.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::Avx512 => unsafe { self.num_before_by_bit_instructions(places, numbers) },
        }
    }

    #[inline(always)]
    fn num_before_any(&self, places: impl Iterator<Item = usize>, numbers: &mut Vec<usize>) {
        let (mut num_blocks, mut num_tokens) = (0, 0);
        for place in places {
            let block = place / BLOCK;
            while num_blocks < block {
                num_tokens += self.masks[num_blocks].count_ones() as usize;
                num_blocks += 1;
            }
            let before = self.masks[block] & ((1 << (place % BLOCK)) - 1);
            numbers.push(num_tokens + before.count_ones() as usize);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn num_before_by_bit_instructions(&self, places: impl Iterator<Item = usize>, numbers: &mut Vec<usize>) {
        self.num_before_any(places, numbers);
    }
}

/// What of a document is to be found.
pub(crate) trait Words {
    /// Whether all rules are counted, or `Whitespace` alone.
    const ALL_RULES: bool;
    /// Whether the words of a rule are wanted themselves.
    fn wants(rule: WordRule) -> bool;
    /// Meet the words `text[base + begin..base + end]`, by their edges: begin, end, begin, end, ...
    fn meet(&mut self, rule: WordRule, base: usize, edges: &[u32]);
    /// Meet a word that lies in several segments.
    fn meet_one(&mut self, rule: WordRule, start: usize, end: usize);
}

/// Blocks whose edges are made positions at once.
const BLOCKS: usize = SEGMENT / BLOCK;

/// The edges of words in the blocks of a segment, by rule.
type EdgeMasks = [[u64; BLOCKS]; WordRule::ALL.len()];

/// What is carried from block to block.
#[derive(Debug, Default)]
struct States {
    rules: [RuleState; WordRule::ALL.len()],
    names: NameState,
    lines: LineState,
}

/// What tells identifiers from runs that begin with a number or a mark.
#[derive(Debug, Default)]
struct NameState {
    /// 1 where such a run goes on.
    number_run: u64,
    /// 1 where the last byte may be one of an identifier.
    name_before: u64,
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
}

/// Count words and lines of `text` into `row`, and tell `words` each of those that it wants; `edges` is working memory.
pub(crate) fn count_blocks<W: Words>(
    instructions: Instructions,
    text: &str,
    starts: &TokenStarts,
    classes: &ClassTable,
    edges: &mut Starts,
    row: &mut Row,
    words: &mut W,
) {
    let bytes = text.as_bytes();
    let mut states = States { lines: LineState { at_start: 1, indented: 0 }, ..States::default() };
    let mut masks: EdgeMasks = [[0; BLOCKS]; WordRule::ALL.len()];
    // Where the word began that the last segment left open.
    let mut open: [Option<usize>; WordRule::ALL.len()] = [None; WordRule::ALL.len()];
    for (base, tokens) in (0..bytes.len()).step_by(SEGMENT).zip(starts.masks.chunks(BLOCKS)) {
        let tokens = &tokens[..(bytes.len() - base).div_ceil(BLOCK).min(BLOCKS)];
        let segment = Segment { bytes, base, tokens, classes };
        segment.count::<W>(instructions, &mut states, row, &mut masks);
        for rule in WordRule::ALL.into_iter().filter(|&rule| W::wants(rule)) {
            edges.clear();
            edges.append(instructions, &masks[rule as usize][..tokens.len()], 0);
            let mut places = edges.as_slice();
            let open = &mut open[rule as usize];
            if let (Some(start), Some((&end, rest))) = (*open, places.split_first()) {
                words.meet_one(rule, start, base + end as usize);
                (*open, places) = (None, rest);
            }
            if let ([closed @ .., start], 1) = (places, places.len() % 2) {
                *open = Some(base + *start as usize);
                places = closed;
            }
            words.meet(rule, base, places);
        }
    }
    for rule in WordRule::ALL {
        if let Some(start) = open[rule as usize] {
            words.meet_one(rule, start, bytes.len());
        }
    }
    // A last line that no line feed ends.
    row[LINES] += u64::from(!bytes.is_empty() && bytes.last() != Some(&b'\n'));
}

/// A part of a text.
#[derive(Clone, Copy)]
struct Segment<'a> {
    bytes: &'a [u8],
    base: usize,
    /// Where tokens start, one element for each block.
    tokens: &'a [u64],
    classes: &'a ClassTable,
}

impl Segment<'_> {
    fn count<W: Words>(
        self,
        instructions: Instructions,
        states: &mut States,
        row: &mut Row,
        edges: &mut EdgeMasks,
    ) {
        match instructions.level() {
            Level::Portable => self.count_by::<W>(masks::portable, states, row, edges),
            // SAFETY: a level exists only where the machine has its instructions, those that AVX2 came with included.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { self.count_avx2::<W>(states, row, edges) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { self.count_avx512::<W>(states, row, edges) },
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn count_avx2<W: Words>(self, states: &mut States, row: &mut Row, edges: &mut EdgeMasks) {
        self.count_by::<W>(|block| masks::avx2(block), states, row, edges);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,lzcnt,popcnt")]
    fn count_avx512<W: Words>(self, states: &mut States, row: &mut Row, edges: &mut EdgeMasks) {
        self.count_by::<W>(|block| masks::avx512(block), states, row, edges);
    }

    #[inline(always)]
    fn count_by<W: Words>(
        self,
        ascii_kinds: impl Fn(&[u8; BLOCK]) -> AsciiKinds,
        states: &mut States,
        row: &mut Row,
        edges: &mut EdgeMasks,
    ) {
        for (number, &tokens) in self.tokens.iter().enumerate() {
            let start = self.base + number * BLOCK;
            let rest = &self.bytes[start..];
            let mut padded = [0; BLOCK];
            let (block, inside) = if let Some(block) = rest.first_chunk::<BLOCK>() {
                (block, u64::MAX)
            } else {
                padded[..rest.len()].copy_from_slice(rest);
                (&padded, (1 << rest.len()) - 1)
            };
            let ascii = ascii_kinds(block);
            let mut kinds = Kinds::of(ascii);
            if ascii.long != 0 {
                kinds.add_long(ascii.long, self.bytes, start, self.classes);
            }
            states.lines.count(ascii.line_feed, kinds.white, inside, row);
            let mut count = |rule, word| {
                let found = states.rules[rule as usize].count(rule, word, tokens, inside, row);
                if W::wants(rule) {
                    edges[rule as usize][number] = found;
                }
            };
            count(WordRule::Whitespace, !kinds.white & inside);
            if W::ALL_RULES {
                count(WordRule::Unicode, kinds.letter | kinds.number_or_mark);
                let word = states.names.words(kinds.letter | ascii.underscore, kinds.number_or_mark);
                count(WordRule::Identifiers, word);
            }
        }
    }
}

impl NameState {
    /// The bytes of identifiers, which begin with none of `number_or_mark`.
    #[inline(always)]
    fn words(&mut self, letter: u64, number_or_mark: u64) -> u64 {
        let name = letter | number_or_mark;
        let first = name & !(name << 1 | self.name_before);
        let (sum, carry) = add(name, first & number_or_mark, self.number_run);
        self.number_run = carry;
        self.name_before = name >> 63;
        name & sum
    }
}

impl RuleState {
    /// Count into `row`; gives the bits where a word begins, or has just ended.
    #[inline(always)]
    fn count(&mut self, rule: WordRule, word: u64, tokens: u64, inside: u64, row: &mut Row) -> u64 {
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

        self.in_word = word >> 63;
        // Past the end of the text nothing ends: `count_blocks` closes a last word.
        (word ^ before) & inside
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
pub(super) struct Kinds {
    pub(super) letter: u64,
    number_or_mark: u64,
    white: u64,
}

impl Kinds {
    #[inline(always)]
    pub(super) fn of(ascii: AsciiKinds) -> Self {
        Self { letter: ascii.letter, number_or_mark: ascii.digit, white: ascii.white }
    }

    /// Add the characters of more than one byte. One that began in the block before is found by going back.
    #[inline(never)]
    pub(super) fn add_long(&mut self, mut long: u64, text: &[u8], start: usize, classes: &ClassTable) {
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
