//! The masks of 32 blocks of 64 bytes in rows, so that a vector of blocks is loaded at once, and the starts that are made
//! of them.

use super::classify::{BLOCK, BlockMasks};

/// Blocks worked off at once.
pub(crate) const BLOCKS: usize = 32;
/// As many as a short text has: a call with 10 bytes would else spend most of its time on blocks that it has not.
pub(crate) const FEW_BLOCKS: usize = 8;
/// A place before them for the block that was last, and one behind for the block to come.
pub(crate) const SLOTS: usize = BLOCKS + 2;
/// Bytes of text worked off at once.
pub(crate) const SEGMENT: usize = BLOCKS * BLOCK;

/// One mask of all blocks. Bit b of the segment is in slot `1 + b / 64`.
pub(crate) type Row = [u64; SLOTS];

/// The rules of one pattern.
pub(crate) trait Masks {
    /// Whether it needs more than the masks of GPT-2's pattern.
    const MORE: bool;

    /// Compute the row of starts, and those of what has to be mended, of the first `num_blocks` blocks, which is
    /// `FEW_BLOCKS` or `BLOCKS`. No step needs the step before it, so the compiler makes vectors of 4 or 8 blocks of it.
    fn find(rows: &mut Rows, num_blocks: usize);
}

/// All masks of a segment. What they mean is said in `classify`.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) letter: Row,
    pub(crate) number: Row,
    pub(crate) other: Row,
    pub(crate) white: Row,
    pub(crate) white_ascii: Row,
    pub(crate) white_last: Row,
    pub(crate) blank: Row,
    pub(crate) apostrophe: Row,
    pub(crate) more: MoreRows,
    /// Where pieces start. The slot behind the segment takes what mending finds there.
    pub(crate) starts: Row,
    /// Apostrophes that may begin a contraction.
    pub(crate) candidates: Row,
    /// Starts of the next segment that mending takes away.
    cleared_ahead: u64,
    /// Number of blocks of this segment.
    pub(crate) num_blocks: usize,
}

/// What only some patterns need.
#[derive(Debug)]
pub(crate) struct MoreRows {
    pub(crate) upper: Row,
    pub(crate) lower: Row,
    pub(crate) mark: Row,
    pub(crate) newline: Row,
    pub(crate) slash: Row,
    pub(crate) inner: Row,
    /// Signs that take a word that follows: first of their run, no blank before.
    pub(crate) joining: Row,
    /// White space of one character, but no newline.
    pub(crate) lone: Row,
    /// Newlines after other white space.
    pub(crate) trailing: Row,
    /// Bytes that the masks cannot judge: the plain scanner does.
    pub(crate) doubtful: Row,
}

impl Default for Rows {
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
            more: MoreRows {
                upper: row,
                lower: row,
                mark: row,
                newline: row,
                slash: row,
                inner: row,
                joining: row,
                lone: row,
                trailing: row,
                doubtful: row,
            },
            starts: row,
            candidates: row,
            cleared_ahead: 0,
            num_blocks: 0,
        }
    }
}

/// The mask moved on by `distance` bytes: bit i says what the byte `distance` before byte i is.
#[inline(always)]
#[allow(clippy::inline_always)] // so that it is compiled for the instructions of its caller
pub(crate) fn before(row: &Row, slot: usize, distance: u32) -> u64 {
    row[slot] << distance | row[slot - 1] >> (64 - distance)
}

/// Bit i says what the byte after byte i is.
#[inline(always)]
#[allow(clippy::inline_always)] // as above
pub(crate) fn next(row: &Row, slot: usize) -> u64 {
    row[slot] >> 1 | row[slot + 1] << 63
}

impl Rows {
    /// Forget the text before.
    pub(crate) fn restart<M: Masks>(&mut self) {
        self.cleared_ahead = 0;
        self.num_blocks = 0;
        self.starts[1] = 0;
        // The last slot moves to slot 1 when the first blocks are read, the one before it to slot 0.
        self.put::<M>(SLOTS - 2, &BlockMasks::default());
        self.more.joining[SLOTS - 2] = 0;
        self.more.lone[SLOTS - 2] = 0;
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // so that it is compiled for the instructions of its caller
    pub(crate) fn put<M: Masks>(&mut self, slot: usize, masks: &BlockMasks) {
        self.letter[slot] = masks.letter;
        self.number[slot] = masks.number;
        self.other[slot] = masks.other;
        self.white[slot] = masks.white;
        self.white_ascii[slot] = masks.white_ascii;
        self.white_last[slot] = masks.white_last;
        self.blank[slot] = masks.blank;
        self.apostrophe[slot] = masks.apostrophe;
        if M::MORE {
            self.more.upper[slot] = masks.upper;
            self.more.lower[slot] = masks.lower;
            self.more.mark[slot] = masks.mark;
            self.more.newline[slot] = masks.newline;
            self.more.slash[slot] = masks.slash;
            self.more.inner[slot] = masks.inner;
        }
    }

    /// What `put` put there.
    pub(crate) fn get<M: Masks>(&self, slot: usize) -> BlockMasks {
        let mut masks = BlockMasks {
            letter: self.letter[slot],
            number: self.number[slot],
            other: self.other[slot],
            white: self.white[slot],
            white_ascii: self.white_ascii[slot],
            white_last: self.white_last[slot],
            blank: self.blank[slot],
            apostrophe: self.apostrophe[slot],
            ..BlockMasks::default()
        };
        if M::MORE {
            masks.upper = self.more.upper[slot];
            masks.lower = self.more.lower[slot];
            masks.mark = self.more.mark[slot];
            masks.newline = self.more.newline[slot];
            masks.slash = self.more.slash[slot];
            masks.inner = self.more.inner[slot];
        }
        masks
    }

    /// The last block worked off and the block behind it become slots 0 and 1.
    pub(crate) fn carry_over<M: Masks>(&mut self) {
        let carry = |row: &mut Row| (row[0], row[1]) = (row[SLOTS - 2], row[SLOTS - 1]);
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
            carry(row);
        }
        if M::MORE {
            let more = &mut self.more;
            for row in [
                &mut more.upper,
                &mut more.lower,
                &mut more.mark,
                &mut more.newline,
                &mut more.slash,
                &mut more.inner,
                &mut more.joining,
                &mut more.lone,
            ] {
                carry(row);
            }
        }
    }

    /// Take over what mending the segment before asked of this one, given the starts that it set ahead.
    pub(crate) fn apply_carried(&mut self, set_ahead: u64) {
        self.starts[1] = self.starts[1] & !std::mem::take(&mut self.cleared_ahead) | set_ahead;
        self.starts[self.num_blocks + 1] = 0;
    }

    /// Call `mend` with each candidate, as a bit of the segment.
    pub(crate) fn for_each_candidate(&mut self, mut mend: impl FnMut(&mut Self, usize)) {
        for slot in 1..=self.num_blocks {
            let mut candidates = self.candidates[slot];
            while candidates != 0 {
                let bit = (slot - 1) * BLOCK + candidates.trailing_zeros() as usize;
                candidates &= candidates - 1;
                mend(self, bit);
            }
        }
    }

    /// A piece starts at this bit, at most a block behind the segment.
    #[inline]
    pub(crate) fn set_start(&mut self, bit: usize) {
        self.starts[bit / BLOCK + 1] |= 1 << (bit % BLOCK);
    }

    /// No piece starts there.
    #[inline]
    pub(crate) fn clear_start(&mut self, bit: usize) {
        self.starts[bit / BLOCK + 1] &= !(1 << (bit % BLOCK));
        if bit / BLOCK == self.num_blocks {
            self.cleared_ahead |= 1 << (bit % BLOCK);
        }
    }

    /// No piece starts from bit `first` to bit `end`, both inside of the segment.
    pub(crate) fn clear_starts(&mut self, first: usize, end: usize) {
        for slot in first / BLOCK + 1..=end.div_ceil(BLOCK) {
            let kept = below(first, slot) | !below(end, slot);
            self.starts[slot] &= kept;
        }
    }

    /// The plain scanner has to look at this bit.
    pub(crate) fn set_doubtful(&mut self, bit: usize) {
        self.more.doubtful[bit / BLOCK + 1] |= 1 << (bit % BLOCK);
    }

    /// Whether a piece starts there.
    pub(crate) fn is_start(&self, bit: usize) -> bool {
        is_set(&self.starts, bit)
    }
}

pub(crate) fn is_set(row: &Row, bit: usize) -> bool {
    row[bit / BLOCK + 1] >> (bit % BLOCK) & 1 == 1
}

/// The first bit from `first` on that is set in the first `num_blocks` blocks.
pub(crate) fn first_set(row: &Row, num_blocks: usize, first: usize) -> Option<usize> {
    (first / BLOCK + 1..=num_blocks).find_map(|slot| {
        let bits = row[slot] & !below(first, slot);
        (bits != 0).then(|| (slot - 1) * BLOCK + bits.trailing_zeros() as usize)
    })
}

/// The last bit before `end` that is set.
pub(crate) fn last_set(row: &Row, end: usize) -> Option<usize> {
    (1..=end.div_ceil(BLOCK)).rev().find_map(|slot| {
        let bits = row[slot] & below(end, slot);
        (bits != 0).then(|| slot * BLOCK - 1 - bits.leading_zeros() as usize)
    })
}

/// The bits of this slot that lie before `bit` of the segment.
fn below(bit: usize, slot: usize) -> u64 {
    match bit.saturating_sub((slot - 1) * BLOCK) {
        0 => 0,
        bits if bits >= BLOCK => u64::MAX,
        bits => (1 << bits) - 1,
    }
}
