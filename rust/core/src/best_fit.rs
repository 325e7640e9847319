//! Best-fit packing: whole documents side by side in blocks, cut only where they are longer than a block.
//!
//! ```text
//! blocks of 8, a window of 4 documents; lengths count EOS
//!
//! documents    0: 11      1: 3      2: 5      3: 4
//! full pieces  0: 8 ─► block 0, at once
//! left to fit  0: 3       1: 3      2: 5      3: 4
//! longest first   2: 5 ─► block 1    3: 4 ─► block 2    0: 3 ─► block 1, which it fills    1: 3 ─► block 2
//! ```
//!
//! Best-fit decreasing (D. S. Johnson, "Fast algorithms for bin packing", 1974; for language models H. Ding et al.,
//! "Fewer Truncations Improve Language Modeling", 2024, arXiv 2404.10830): of the pieces of a window, the longest
//! first, each goes to the block with the least room that it fits in, to a new one where there is none. Pieces of one
//! length go in the order of their documents; of blocks with the same room, the one used last is taken. So the blocks
//! depend on the documents' order, `seq_length` and the window alone.
//!
//! The block with the least room is found in a tree of bit masks, 64 lengths a word: three steps down for blocks of up to
//! 262,144 ids, however many blocks are open. A window is given out whole; what is held is one window and what was
//! not taken.

use std::cmp::Reverse;

use crate::error::{Error, Result};
use crate::id::TokenId;
use crate::lane::Totals;
use crate::packer::{Blocks, PackerCounters, check_seq_length, document_ranges, fitting};

/// There is a list of blocks for each room that a block can have.
const MAX_SEQ_LENGTH: usize = 1 << 20;
/// A document in a window has a number of 32 bits.
const MAX_WINDOW: usize = 1 << 24;

/// The packer: documents in, padded blocks with their documents' bounds out.
#[derive(Debug, Clone)]
pub struct BestFitPacker<I> {
    seq_length: usize,
    eos_token_id: I,
    pad_token_id: I,
    window: usize,
    /// Documents since the last window was packed.
    window_documents: usize,
    pieces: Pieces<I>,
    /// Blocks from `num_taken` on wait to be taken.
    ready: Blocks<I>,
    num_taken: usize,
    rooms: Rooms,
    totals: Totals,
    tokens_emitted: u64,
    tokens_padding: u64,
    finished: bool,
}

/// What is left of each document of the window after its full pieces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pieces<I> {
    /// Ids of all pieces, one after the other, EOS included.
    pub ids: Vec<I>,
    /// The document of each piece, and its number of ids.
    pub lengths: Vec<(u64, usize)>,
}

/// All that a packer carries, to go on elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BestFitState<I> {
    /// Documents since the last window was packed.
    pub window_documents: usize,
    /// What is left of them.
    pub pieces: Pieces<I>,
    /// Blocks that were not taken.
    pub ready: Blocks<I>,
    /// The account.
    pub totals: Totals,
    /// Tokens in the blocks taken.
    pub tokens_emitted: u64,
    /// Padding in the blocks taken.
    pub tokens_padding: u64,
}

impl<I: TokenId> BestFitPacker<I> {
    /// A packer without documents, for windows of `window` documents.
    ///
    /// # Errors
    ///
    /// `InvalidOption` for a `seq_length` or `window` out of range, `IdDoesNotFit` for an EOS or padding id that the id
    /// type cannot hold.
    pub fn new(seq_length: usize, eos_token_id: u32, pad_token_id: u32, window: usize) -> Result<Self> {
        check_seq_length(seq_length, MAX_SEQ_LENGTH, "1 to 1,048,576 tokens for best-fit packing")?;
        if !(1..=MAX_WINDOW).contains(&window) {
            return Err(Error::InvalidOption {
                name: "window",
                value: window as u64,
                expected: "1 to 16,777,216 documents",
            });
        }
        Ok(Self {
            seq_length,
            eos_token_id: fitting(i64::from(eos_token_id))?,
            pad_token_id: fitting(i64::from(pad_token_id))?,
            window,
            window_documents: 0,
            pieces: Pieces::default(),
            ready: Blocks::default(),
            num_taken: 0,
            rooms: Rooms::new(seq_length),
            totals: Totals::default(),
            tokens_emitted: 0,
            tokens_padding: 0,
            finished: false,
        })
    }

    /// Tokens in a block.
    #[must_use]
    pub fn seq_length(&self) -> usize {
        self.seq_length
    }

    /// Append documents, as `Packer::push_documents`: all of them are taken, or none.
    pub fn push_documents(&mut self, ids: &[I], offsets: &[i64], num_bytes: &[i64]) -> Result<()> {
        if self.finished {
            return Err(Error::PackerFinished);
        }
        let ranges = document_ranges(ids.len(), offsets, num_bytes.len())?;
        for (range, bytes) in ranges.into_iter().zip(num_bytes) {
            self.push(&ids[range], bytes.unsigned_abs());
        }
        Ok(())
    }

    fn push(&mut self, ids: &[I], num_bytes: u64) {
        let document = self.totals.documents;
        let num_tokens = ids.len() + 1;
        self.totals.documents += 1;
        self.totals.bytes += num_bytes;
        self.totals.tokens += num_tokens as u64;
        let num_left = num_tokens % self.seq_length;
        // EOS is the last token: of the piece that is left, or of the last full one.
        let (full, left) = ids.split_at(ids.len() - num_left.saturating_sub(1));
        self.ready.ids.extend_from_slice(full);
        if num_left == 0 {
            self.ready.ids.push(self.eos_token_id);
        } else {
            self.pieces.ids.extend_from_slice(left);
            self.pieces.ids.push(self.eos_token_id);
            self.pieces.lengths.push((document, num_left));
        }
        for _ in 0..num_tokens / self.seq_length {
            self.ready.num_valid.push(number(self.seq_length));
            self.ready.segments.push_block([(document, self.seq_length)]);
        }
        self.window_documents += 1;
        if self.window_documents == self.window {
            self.pack_window();
        }
    }

    /// Best-fit decreasing over the pieces at hand, whose blocks are ready then.
    fn pack_window(&mut self) {
        self.window_documents = 0;
        let Pieces { ids, lengths } = std::mem::take(&mut self.pieces);
        let mut starts = Vec::with_capacity(lengths.len());
        let mut end = 0;
        for &(_, length) in &lengths {
            starts.push(end);
            end += length;
        }
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&piece| Reverse(lengths[piece].1)); // stable: documents stay in order

        // For each block, its last piece; for each piece, the one before it in its block.
        let mut blocks: Vec<Vec<u32>> = Vec::new();
        for piece in order {
            let length = lengths[piece].1;
            let (block, room) = self.rooms.take(length).unwrap_or((blocks.len(), self.seq_length));
            if block == blocks.len() {
                blocks.push(Vec::new());
            }
            blocks[block].push(u32::try_from(piece).unwrap_or(u32::MAX));
            self.rooms.put(block, room - length);
        }
        self.rooms.clear();

        self.ready.ids.reserve(blocks.len() * self.seq_length);
        for pieces in blocks {
            let mut num_valid = 0;
            for &piece in &pieces {
                let (start, length) = (starts[piece as usize], lengths[piece as usize].1);
                self.ready.ids.extend_from_slice(&ids[start..start + length]);
                num_valid += length;
            }
            self.ready.ids.extend(std::iter::repeat_n(self.pad_token_id, self.seq_length - num_valid));
            self.ready.num_valid.push(number(num_valid));
            self.ready.segments.push_block(pieces.iter().map(|&piece| lengths[piece as usize]));
        }
    }

    /// How many blocks can be taken now.
    #[must_use]
    pub fn num_ready_blocks(&self) -> usize {
        self.ready.num_valid.len() - self.num_taken
    }

    /// Hand out up to `max_blocks` blocks, in order.
    pub fn take(&mut self, max_blocks: usize) -> Blocks<I> {
        let start = self.num_taken;
        let end = start + self.num_ready_blocks().min(max_blocks);
        let taken = if (start, end) == (0, self.ready.num_valid.len()) {
            std::mem::take(&mut self.ready)
        } else {
            self.num_taken = end;
            self.part(start, end)
        };
        // As in a lane: moving the rest at every call would cost O(n²).
        if self.num_taken * 2 > self.ready.num_valid.len() {
            self.ready = self.part(self.num_taken, self.ready.num_valid.len());
            self.num_taken = 0;
        }
        let num_valid = taken.num_valid.iter().sum::<i64>().unsigned_abs();
        self.tokens_emitted += num_valid;
        self.tokens_padding += taken.ids.len() as u64 - num_valid;
        taken
    }

    fn part(&self, start: usize, end: usize) -> Blocks<I> {
        Blocks {
            ids: self.ready.ids[start * self.seq_length..end * self.seq_length].to_vec(),
            num_valid: self.ready.num_valid[start..end].to_vec(),
            segments: self.ready.segments.of_blocks(start..end),
        }
    }

    /// No more documents: pack the last window, and hand out all that is left.
    pub fn finish(&mut self) -> Result<Blocks<I>> {
        if self.finished {
            return Err(Error::PackerFinished);
        }
        self.finished = true;
        self.pack_window();
        Ok(self.take(usize::MAX))
    }

    /// The account so far. Padding counts when its block is taken.
    #[must_use]
    pub fn counters(&self) -> PackerCounters {
        PackerCounters {
            totals: self.totals,
            eos_tokens: self.totals.documents,
            tokens_emitted: self.tokens_emitted,
            tokens_carried: self.totals.tokens - self.tokens_emitted,
            tokens_dropped: 0,
            tokens_padding: self.tokens_padding,
        }
    }

    /// What it carries.
    #[must_use]
    pub fn state(&self) -> BestFitState<I> {
        BestFitState {
            window_documents: self.window_documents,
            pieces: self.pieces.clone(),
            ready: self.part(self.num_taken, self.ready.num_valid.len()),
            totals: self.totals,
            tokens_emitted: self.tokens_emitted,
            tokens_padding: self.tokens_padding,
        }
    }

    /// Go on from what another packer of the same options carried.
    ///
    /// # Errors
    ///
    /// `InvalidResume` where its parts do not fit each other or the options.
    pub fn set_state(&mut self, state: BestFitState<I>) -> Result<()> {
        let BestFitState { window_documents, pieces, ready, totals, tokens_emitted, tokens_padding } = state;
        let refuse = |reason: String| Err(Error::InvalidResume { reason });
        let lengths = || pieces.lengths.iter().map(|&(_, length)| length);
        if window_documents >= self.window || pieces.lengths.len() > window_documents {
            return refuse(format!(
                "{} pieces of {window_documents} documents wait (expected fewer documents than the window's {})",
                pieces.lengths.len(),
                self.window
            ));
        }
        if lengths().any(|length| !(1..self.seq_length).contains(&length))
            || lengths().sum::<usize>() != pieces.ids.len()
        {
            return refuse(format!(
                "the pieces that wait have {} ids (expected the sum of their lengths, each below {})",
                pieces.ids.len(),
                self.seq_length
            ));
        }
        let num_blocks = ready.num_valid.len();
        if ready.ids.len() != num_blocks * self.seq_length || ready.segments.num_blocks() != num_blocks {
            return refuse(format!(
                "{} ids in {num_blocks} blocks with {} segments wait (expected blocks of {})",
                ready.ids.len(),
                ready.segments.num_blocks(),
                self.seq_length
            ));
        }
        let waiting = pieces.ids.len() as u64 + ready.num_valid.iter().sum::<i64>().unsigned_abs();
        if tokens_emitted.checked_add(waiting) != Some(totals.tokens) {
            return refuse(format!(
                "{tokens_emitted} tokens were given and {waiting} wait (expected {} in all)",
                totals.tokens
            ));
        }
        self.window_documents = window_documents;
        self.pieces = pieces;
        (self.ready, self.num_taken) = (ready, 0);
        self.totals = totals;
        self.tokens_emitted = tokens_emitted;
        self.tokens_padding = tokens_padding;
        Ok(())
    }
}

/// Blocks by the room that they have left: the one used last for each room, and the next larger room there is.
#[derive(Debug, Clone)]
struct Rooms {
    /// `levels[0]` has a bit for each room that a block has; a bit of a level above says that a word below is not 0.
    levels: Vec<Vec<u64>>,
    /// For each room, the block used last; only where its bit is set.
    last: Vec<u32>,
    /// For each block, the one with the same room that was used before it.
    before: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl Rooms {
    fn new(seq_length: usize) -> Self {
        let mut levels = Vec::new();
        let mut bits = seq_length; // a room is below `seq_length`: a block has a piece
        loop {
            let words = bits.div_ceil(64);
            levels.push(vec![0; words]);
            if words == 1 {
                break;
            }
            bits = words;
        }
        Self { levels, last: vec![NONE; seq_length], before: Vec::new() }
    }

    /// A block gets `room`. Full blocks are not looked for.
    fn put(&mut self, block: usize, room: usize) {
        if room == 0 {
            return;
        }
        let before = if self.levels[0][room / 64] >> (room % 64) & 1 == 1 { self.last[room] } else { NONE };
        if self.before.len() <= block {
            self.before.resize(block + 1, NONE);
        }
        self.before[block] = before;
        self.last[room] = u32::try_from(block).unwrap_or(NONE);
        let mut bit = room;
        for level in &mut self.levels {
            level[bit / 64] |= 1 << (bit % 64);
            bit /= 64;
        }
    }

    /// Take out the block with the least room of at least `length`, and say how much it has.
    fn take(&mut self, length: usize) -> Option<(usize, usize)> {
        let room = self.first_from(length)?;
        let block = self.last[room];
        self.last[room] = self.before[block as usize];
        if self.last[room] == NONE {
            let mut bit = room;
            for level in &mut self.levels {
                level[bit / 64] &= !(1 << (bit % 64));
                if level[bit / 64] != 0 {
                    break;
                }
                bit /= 64;
            }
        }
        Some((block as usize, room))
    }

    /// The least room of at least `length`: up until a word has a later bit, then down to its first one.
    fn first_from(&self, length: usize) -> Option<usize> {
        let mut at = length;
        for (height, level) in self.levels.iter().enumerate() {
            let word = level.get(at / 64)? >> (at % 64);
            if word != 0 {
                let mut bit = at + word.trailing_zeros() as usize;
                for below in self.levels[..height].iter().rev() {
                    bit = bit * 64 + below[bit].trailing_zeros() as usize;
                }
                return Some(bit);
            }
            at = at / 64 + 1;
        }
        None
    }

    fn clear(&mut self) {
        self.levels.iter_mut().for_each(|level| level.fill(0));
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod reference;
#[cfg(test)]
mod tests;
