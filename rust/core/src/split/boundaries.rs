//! Stage 1b: where pieces start, by arithmetic on the masks of `classify`, for 2 KB of text at once.
//!
//! ```text
//! classify ──► find ──► contractions, numbers ──► doubts ──► positions
//! 32 blocks    masks    one by one                plain      (starts)
//! ```
//!
//! What the masks say of each pattern stands beside its plain scanner (`gpt2`, `cl100k`, `o200k`). The newer patterns have
//! a few rules that reach further than the bytes around, and text where they matter is rare. There the masks guess, and
//! mark a byte as doubtful:
//!
//! ```text
//! starts by masks   1 . . 1 . . . 1 . 1 . . 1 . .
//! doubtful          . . . . . . . 1 . . . . . . .
//! plain scanner           └───────┘└──┘ from the last start before, until it is past the doubtful byte and
//!                                       meets a start of the masks: from there on they are right again
//! ```
//!
//! They are, because where a piece ends depends on the text from its start on alone, and because a start of the masks is
//! one whose rule does not look further back than that start. Every start before a doubtful byte is right.
//!
//! The meaning of all this is `split::Pieces`, which the tests compare it with.

use std::ops::Range;

use super::Splitting;
use super::cl100k::{self, Cl100kMasks};
use super::classify::{BLOCK, classify};
use super::code::{self, CodeMasks};
use super::gpt2::{self, Gpt2Masks};
use super::o200k::{self, O200kMasks};
pub(crate) use super::rows::SEGMENT;
use super::rows::{BLOCKS, FEW_BLOCKS, Masks, Rows, SLOTS, first_set, is_set, last_set};
use super::scan::Text;
use super::starts::Starts;
use crate::error::Result;
use crate::instructions::{Instructions, Level};
use crate::unicode::{Class, ClassTable};

/// Finds the starts of the pieces of one text, 2 KB at a time.
#[derive(Debug)]
pub(crate) struct Boundaries {
    splitting: Splitting,
    rows: Rows,
    /// Starts that mending has set in the block after the last one.
    set_ahead: u64,
    /// The next block to be classified.
    next_block: usize,
    state: State,
}

/// What the newer patterns carry from segment to segment. All positions are bytes of the text.
#[derive(Debug, Default)]
struct State {
    /// Numbers of the last group of a run that goes on.
    in_group: u32,
    /// Where the last contraction ended.
    contraction_end: usize,
    /// The last start so far.
    last_start: usize,
    /// The next start, where the plain scanner has not yet met the masks again.
    pending: Option<usize>,
    /// Where the white space ends that goes on after the last segment, if that was asked.
    white_space_end: usize,
}

/// 2 KB of a text, less at its end.
#[derive(Debug, Clone, Copy)]
struct Segment<'a> {
    text: Text<'a>,
    first_byte: usize,
    /// Number of its bytes.
    len: usize,
}

impl Segment<'_> {
    fn end(self) -> usize {
        self.first_byte + self.len
    }
}

impl Boundaries {
    pub(crate) fn new(splitting: Splitting) -> Self {
        Self { splitting, rows: Rows::default(), set_ahead: 0, next_block: 0, state: State::default() }
    }

    /// Begin a new text.
    pub(crate) fn restart(
        &mut self,
        instructions: Instructions,
        text: &[u8],
        classes: &ClassTable,
    ) -> Result<()> {
        self.set_ahead = 0;
        self.next_block = 0;
        self.state = State::default();
        match self.splitting {
            Splitting::Gpt2 => self.restart_as::<Gpt2Masks>(instructions, text, classes),
            Splitting::Cl100k(_) => self.restart_as::<Cl100kMasks>(instructions, text, classes),
            Splitting::O200k => self.restart_as::<O200kMasks>(instructions, text, classes),
            Splitting::Code => self.restart_as::<CodeMasks>(instructions, text, classes),
            Splitting::Whole => {
                self.next_block = 1;
                Ok(())
            }
        }
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
        let first_byte = first_block * BLOCK;
        if first_byte >= text.len() {
            return Ok(false);
        }
        let num_blocks = (text.len().div_ceil(BLOCK) - first_block).min(BLOCKS);
        if self.splitting == Splitting::Whole {
            if first_block == 0 {
                starts.push(0);
            }
            self.next_block += num_blocks;
            return Ok(true);
        }
        let len = (text.len() - first_byte).min(num_blocks * BLOCK);
        let segment = Segment { text: Text { bytes: text, classes }, first_byte, len };
        self.rows.num_blocks = num_blocks;
        match self.splitting {
            Splitting::Gpt2 => {
                self.find::<Gpt2Masks>(instructions, segment)?;
                gpt2::mend_contractions(&mut self.rows, &text[first_byte..]);
                self.cut_at_end(segment);
            }
            Splitting::Cl100k(options) => {
                self.find::<Cl100kMasks>(instructions, segment)?;
                cl100k::mend_contractions(&mut self.rows, &text[first_byte..]);
                options.digits.add_starts(&mut self.rows, &mut self.state.in_group);
                self.cut_at_end(segment);
                self.doubt_lines(segment)?;
                if options.final_white_space_whole {
                    self.doubt_final_white_space(segment)?;
                }
                self.settle_doubts(segment)?;
            }
            Splitting::O200k => {
                self.find::<O200kMasks>(instructions, segment)?;
                let end = &mut self.state.contraction_end;
                o200k::mend_contractions(&mut self.rows, text, first_byte, end);
                o200k::DIGITS.add_starts(&mut self.rows, &mut self.state.in_group);
                self.cut_at_end(segment);
                self.doubt_lines(segment)?;
                self.settle_doubts(segment)?;
            }
            Splitting::Code => {
                self.find::<CodeMasks>(instructions, segment)?;
                code::DIGITS.add_starts(&mut self.rows, &mut self.state.in_group);
                self.cut_at_end(segment);
            }
            Splitting::Whole => {}
        }
        self.set_ahead = self.rows.starts[num_blocks + 1];
        starts.append(instructions, &self.rows.starts[1..=num_blocks], first_byte);
        Ok(true)
    }

    /// All starts before this byte were given, or the text ends before it.
    pub(crate) fn num_scanned(&self) -> usize {
        self.next_block.saturating_sub(1) * BLOCK
    }

    fn restart_as<M: Masks>(
        &mut self,
        instructions: Instructions,
        text: &[u8],
        classes: &ClassTable,
    ) -> Result<()> {
        self.rows.restart::<M>();
        self.classify::<M>(instructions, text, classes, SLOTS - 1..SLOTS)
    }

    /// Classify the segment and find its starts by masks.
    #[inline]
    fn find<M: Masks>(&mut self, instructions: Instructions, segment: Segment<'_>) -> Result<()> {
        self.rows.carry_over::<M>();
        let slots = 2..self.rows.num_blocks + 2;
        self.classify::<M>(instructions, segment.text.bytes, segment.text.classes, slots)?;
        find::<M>(&mut self.rows, instructions);
        self.rows.apply_carried(self.set_ahead);
        Ok(())
    }

    /// Classify the next blocks of the text (those past its end have no bits) into `slots`.
    #[inline]
    fn classify<M: Masks>(
        &mut self,
        instructions: Instructions,
        text: &[u8],
        classes: &ClassTable,
        slots: Range<usize>,
    ) -> Result<()> {
        let first_block = self.next_block;
        self.next_block += slots.len();
        classify::<M>(instructions, text, classes, first_block, slots, &mut self.rows)
    }

    /// Nothing starts at the end of the text itself.
    fn cut_at_end(&mut self, segment: Segment<'_>) {
        if !segment.len.is_multiple_of(BLOCK) {
            self.rows.starts[self.rows.num_blocks] &= (1 << (segment.len % BLOCK)) - 1;
        }
    }

    /// White space between two newlines, without one in it: its first character starts a piece only if a sign took the
    /// first newline. Which is seldom, so that it is not worth a rule of its own.
    fn doubt_lines(&mut self, segment: Segment<'_>) -> Result<()> {
        let mut from = 0;
        while let Some(newline) = first_set(&self.rows.more.trailing, self.rows.num_blocks, from) {
            if let Some(line) = self.line_before(newline) {
                self.rows.set_doubtful(line);
            }
            from = newline + 1;
        }
        // A line of white space at the end of the segment may go on to a newline.
        if segment.end() < segment.text.bytes.len()
            && let Some(line) = self.line_before(segment.len)
        {
            let text = segment.text;
            let mut end = segment.first_byte + line;
            while let Some((Class::Space, width)) = text.class_at(end)?
                && !super::scan::is_newline(text.byte(end))
            {
                end += width;
            }
            if super::scan::is_newline(text.byte(end)) {
                self.rows.set_doubtful(line);
            }
        }
        Ok(())
    }

    /// Where the white space without newlines starts that ends before bit `end`, if that is in this segment and right
    /// behind a newline.
    fn line_before(&self, end: usize) -> Option<usize> {
        let rows = &self.rows;
        let mut first = end;
        while first > 0 {
            let (slot, bits) = ((first - 1) / BLOCK + 1, (first - 1) % BLOCK + 1);
            let blanks = rows.white[slot] & !rows.more.newline[slot];
            let run = (blanks << (BLOCK - bits)).leading_ones() as usize;
            first -= run;
            if run < bits {
                break;
            }
        }
        let is_newline = |bit: usize| match bit.checked_sub(1) {
            Some(before) => is_set(&rows.more.newline, before),
            None => rows.more.newline[0] >> (BLOCK - 1) == 1,
        };
        (first < end && is_newline(first)).then_some(first)
    }

    /// White space at the end of the text is one piece, from its first start on.
    fn doubt_final_white_space(&mut self, segment: Segment<'_>) -> Result<()> {
        let rows = &self.rows;
        if !is_set(&rows.white, segment.len - 1) {
            return Ok(());
        }
        let mut first = segment.len;
        while first > 0 && is_set(&rows.white, first - 1) {
            first -= 1;
        }
        let state = &mut self.state;
        if state.white_space_end < segment.end() {
            // It starts in this segment: else it would be known.
            state.white_space_end = segment.text.white_space(segment.first_byte + first)?.end;
        }
        // Its first start is one in any case; it lies behind where the white space goes on from the segment before.
        let goes_on = first == 0 && rows.white[0] >> (BLOCK - 1) == 1;
        let second = first_set(&rows.starts, rows.num_blocks, if goes_on { 0 } else { first + 1 });
        if state.white_space_end == segment.text.bytes.len()
            && let Some(second) = second
        {
            self.rows.set_doubtful(second);
        }
        Ok(())
    }

    /// Let the plain scanner decide around doubtful bytes (see the head of this file).
    fn settle_doubts(&mut self, segment: Segment<'_>) -> Result<()> {
        let (rows, state) = (&mut self.rows, &mut self.state);
        // Starts before this bit are right; from `past_doubt` on, a start of the masks is one to trust.
        let (mut settled, mut past_doubt) = (0, 0);
        loop {
            let mut position = if let Some(position) = state.pending.take() {
                position
            } else {
                let Some(doubt) = first_set(&rows.more.doubtful, rows.num_blocks, settled) else { break };
                past_doubt = doubt + 1;
                let last = last_set(&rows.starts, doubt);
                settled = last.map_or(0, |bit| bit + 1);
                let last = last.map_or(state.last_start, |bit| segment.first_byte + bit);
                self.splitting.piece_end(&segment.text, last)?
            };
            loop {
                if position >= segment.end() {
                    rows.clear_starts(settled, segment.len);
                    state.pending = Some(position);
                    return Ok(());
                }
                let bit = position - segment.first_byte;
                let agrees = rows.is_start(bit);
                rows.clear_starts(settled, bit);
                rows.set_start(bit);
                state.last_start = position;
                settled = bit + 1;
                if agrees && bit >= past_doubt {
                    break;
                }
                position = self.splitting.piece_end(&segment.text, position)?;
            }
        }
        if let Some(bit) = last_set(&rows.starts, segment.len) {
            state.last_start = segment.first_byte + bit;
        }
        Ok(())
    }
}

fn find<M: Masks>(rows: &mut Rows, instructions: Instructions) {
    match instructions.level() {
        Level::Portable => find_few_or_all::<M>(rows),
        // SAFETY: a level exists only where the machine has its instructions.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { find_avx2::<M>(rows) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { find_avx512::<M>(rows) },
    }
}

/// Of one of two numbers of blocks, each known where this is compiled, so that both are loops of vectors.
#[inline(always)]
#[allow(clippy::inline_always)] // so that it is compiled for the instructions of its caller
fn find_few_or_all<M: Masks>(rows: &mut Rows) {
    if rows.num_blocks <= FEW_BLOCKS { M::find(rows, FEW_BLOCKS) } else { M::find(rows, BLOCKS) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn find_avx2<M: Masks>(rows: &mut Rows) {
    find_few_or_all::<M>(rows);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn find_avx512<M: Masks>(rows: &mut Rows) {
    find_few_or_all::<M>(rows);
}
