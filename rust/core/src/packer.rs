//! Join documents with EOS and chop them into blocks, in lanes.
//!
//! ```text
//! documents (g = 0, 1, 2, …), L = 2 lanes, blocks of 4; E is EOS
//!
//!   g = 0: a b c     g = 1: d        g = 2: e f g h     g = 3: (empty)
//!   lane 0 (g even): a b c E e f g h E      lane 1 (g odd): d E E
//!
//!   block 0 (lane 0): a b c E     block 1 (lane 1): not full yet, so block 2 has to wait
//!   finish, dropping: block 0: a b c E, lane 1 has none, block 2 (lane 0): e f g h; dropped: E and d E E
//! ```
//!
//! Document g goes to lane g mod L, block n is taken from lane n mod L. So the blocks depend on the documents'
//! order alone: not on how they were batched, nor on when blocks were taken.

mod encoded;

use std::ops::Range;

use crate::error::{Error, Result};
use crate::id::TokenId;
use crate::join::{Documents, out_of_order};
use crate::lane::{Lane, Totals};
use crate::segments::Segments;

/// Where a lane stands: the document that holds its next undelivered token (or the next one it will get), how
/// many tokens of that document are delivered, and the sums over the lane's documents before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LanePosition {
    /// Running number of the document.
    pub document: u64,
    /// Tokens of it (EOS counted) that are delivered.
    pub offset: u64,
    /// Sums over the lane's documents before it.
    pub before: Totals,
}

/// The account of a packer; `tokens == tokens_emitted + tokens_carried + tokens_dropped` at every moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PackerCounters {
    /// Documents, their bytes, and their tokens with one EOS each.
    pub totals: Totals,
    /// EOS ids put after documents.
    pub eos_tokens: u64,
    /// Tokens handed out in blocks, padding apart.
    pub tokens_emitted: u64,
    /// Tokens waiting in the lanes.
    pub tokens_carried: u64,
    /// Tokens of partial blocks dropped at the end.
    pub tokens_dropped: u64,
    /// Ids that only fill up the last blocks.
    pub tokens_padding: u64,
}

/// Blocks, one after the other, how many ids of each are real, and which documents they are of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blocks<I> {
    /// `num_valid.len() * seq_length` ids.
    pub ids: Vec<I>,
    /// Real ids of each block.
    pub num_valid: Vec<i64>,
    /// The documents' bounds in each block.
    pub segments: Segments,
}

/// The packer: documents in, blocks out, the remainder kept.
#[derive(Debug, Clone)]
pub struct Packer<I> {
    seq_length: usize,
    eos_token_id: I,
    lanes: Vec<Lane<I>>,
    next_document: u64,
    next_block: u64,
    tokens_emitted: u64,
    tokens_dropped: u64,
    tokens_padding: u64,
    finished: bool,
}

impl<I: TokenId> Packer<I> {
    /// A packer without documents.
    ///
    /// # Errors
    ///
    /// `InvalidOption` for a `seq_length` or `num_lanes` of 0, `IdDoesNotFit` for an EOS that the id type cannot hold.
    pub fn new(seq_length: usize, eos_token_id: u32, num_lanes: usize) -> Result<Self> {
        check_seq_length(seq_length, MAX_SEQ_LENGTH, "1 to 2**31 - 1 tokens")?;
        if num_lanes == 0 || num_lanes > MAX_LANES {
            return Err(Error::InvalidOption {
                name: "num_lanes",
                value: num_lanes as u64,
                expected: "1 to 65536 lanes",
            });
        }
        Ok(Self {
            seq_length,
            eos_token_id: fitting(i64::from(eos_token_id))?,
            lanes: (0..num_lanes as u64).map(Lane::new).collect(),
            next_document: 0,
            next_block: 0,
            tokens_emitted: 0,
            tokens_dropped: 0,
            tokens_padding: 0,
            finished: false,
        })
    }

    /// Tokens in a block.
    #[must_use]
    pub fn seq_length(&self) -> usize {
        self.seq_length
    }

    /// Append documents; document d is `ids[offsets[d]..offsets[d + 1]]`, made from `num_bytes[d]` bytes.
    /// All of them are taken, or none.
    pub fn push_documents(&mut self, ids: &[I], offsets: &[i64], num_bytes: &[i64]) -> Result<()> {
        if self.finished {
            return Err(Error::PackerFinished);
        }
        let ranges = document_ranges(ids.len(), offsets, num_bytes.len())?;
        let num_lanes = self.lanes.len() as u64;
        let numbered = || (self.next_document..).zip(&ranges);
        for (document, range) in numbered() {
            let lane = &self.lanes[lane_of(document, num_lanes)];
            lane.check(document, range.len() as u64 + 1, num_lanes)?;
        }
        for ((document, range), &bytes) in numbered().zip(num_bytes) {
            let lane = &mut self.lanes[lane_of(document, num_lanes)];
            let skipped =
                lane.push(document, &ids[range.clone()], self.eos_token_id, bytes.unsigned_abs(), num_lanes);
            // What a resumed lane skips was handed out by the run before.
            self.tokens_emitted += skipped;
        }
        self.next_document += ranges.len() as u64;
        Ok(())
    }

    /// How many blocks can be taken now without leaving one out.
    #[must_use]
    pub fn num_ready_blocks(&self) -> usize {
        if self.finished {
            return 0;
        }
        let num_lanes = self.lanes.len();
        let turn = self.turn();
        // Lane l is `(l - turn) mod L` turns away, and each full block of it allows a round more.
        self.lanes
            .iter()
            .enumerate()
            .map(|(lane, state)| {
                state.num_tokens() / self.seq_length * num_lanes + (lane + num_lanes - turn) % num_lanes
            })
            .min()
            .unwrap_or(0)
    }

    /// Hand out up to `max_blocks` ready blocks, in order; all of their ids are real.
    pub fn take_blocks(&mut self, max_blocks: usize) -> Vec<I> {
        let count = self.num_ready_blocks().min(max_blocks);
        if let [lane] = &mut self.lanes[..] {
            let num_tokens = count * self.seq_length;
            self.next_block += count as u64;
            self.tokens_emitted += num_tokens as u64;
            return lane.deliver_owned(num_tokens, 1);
        }
        let mut ids = Vec::with_capacity(count * self.seq_length);
        for _ in 0..count {
            self.take_next(|tokens| ids.extend_from_slice(tokens));
        }
        ids
    }

    /// As `take_blocks`, with the documents' bounds.
    pub fn take_with_segments(&mut self, max_blocks: usize) -> Blocks<I> {
        let count = self.num_ready_blocks().min(max_blocks);
        let num_valid = vec![i64::try_from(self.seq_length).unwrap_or(i64::MAX); count];
        let mut segments = Segments::default();
        if let [lane] = self.lanes.as_slice() {
            segments.push_blocks(self.seq_length, lane.segments(count * self.seq_length, 1));
            return Blocks { ids: self.take_blocks(count), num_valid, segments };
        }
        let mut ids = Vec::with_capacity(count * self.seq_length);
        for _ in 0..count {
            segments.push_block(self.lanes[self.turn()].segments(self.seq_length, self.lanes.len() as u64));
            self.take_next(|tokens| ids.extend_from_slice(tokens));
        }
        Blocks { ids, num_valid, segments }
    }

    /// As `take_blocks`, into the blocks that `out` has room for. Returns how many they are.
    pub fn take_into(&mut self, out: &mut [I]) -> usize {
        let count = self.num_ready_blocks().min(out.len() / self.seq_length);
        for block in out.chunks_exact_mut(self.seq_length).take(count) {
            self.take_next(|tokens| block.copy_from_slice(tokens));
        }
        count
    }

    /// Append documents and hand out all blocks that are ready then: `push_documents` and `take_into` in one, which
    /// copies each id once. Only the first lane may be there.
    ///
    /// All documents are taken, or none; in that case `out` holds anything. Returns the number of blocks.
    ///
    /// # Errors
    ///
    /// As `push_documents`; `OutputTooSmall` where `out` has no room for all the blocks, `IdDoesNotFit` for an id
    /// above `max_id`.
    pub fn pack_documents(
        &mut self,
        ids: &[I],
        offsets: &[i64],
        num_bytes: Option<&[i64]>,
        max_id: u32,
        out: &mut [I],
    ) -> Result<usize> {
        if self.finished {
            return Err(Error::PackerFinished);
        }
        let num_lanes = self.lanes.len() as u64;
        let [lane] = self.lanes.as_mut_slice() else {
            let expected = "1 lane, to pack documents in one step";
            return Err(Error::InvalidOption { name: "num_lanes", value: num_lanes, expected });
        };
        let documents = Documents::new(ids, offsets, max_id)?;
        if let Some(num_bytes) = num_bytes {
            check_num_offsets(offsets.len(), num_bytes.len())?;
        }
        let bytes_of = |document: usize| num_bytes.map_or(0, |bytes| bytes[document].unsigned_abs());
        let num_carried = lane.num_tokens();
        let needed = (num_carried + documents.num_tokens()) / self.seq_length;
        let room = out.len() / self.seq_length;
        if room < needed {
            return Err(Error::OutputTooSmall { needed: needed as u64, room: room as u64 });
        }
        let out = &mut out[..needed * self.seq_length];
        // Documents go straight to `out`, unless the lane has to skip some, or has blocks that were not taken.
        let is_plain = lane.expects(self.next_document) && num_carried < self.seq_length;
        let room = if is_plain { out.len() } else { 0 };
        let (num_whole, end) = documents.join(self.eos_token_id, &mut out[..room], num_carried)?;
        for document in num_whole..documents.len() {
            lane.check(self.next_document + document as u64, documents.get(document).len() as u64 + 1, 1)?;
        }
        let mut start = 0;
        if num_whole > 0 {
            start = end;
            lane.deliver(num_carried, 1, |tokens| out[..num_carried].copy_from_slice(tokens));
            lane.pass_over(Totals {
                documents: num_whole as u64,
                bytes: (0..num_whole).map(bytes_of).sum(),
                tokens: (end - num_carried) as u64,
            });
        }
        for document in num_whole..documents.len() {
            let number = self.next_document + document as u64;
            // What a resumed lane skips was handed out by the run before.
            self.tokens_emitted +=
                lane.push(number, documents.get(document), self.eos_token_id, bytes_of(document), 1);
        }
        let num_blocks = (start + lane.num_tokens()) / self.seq_length;
        let num_tokens = num_blocks * self.seq_length;
        lane.deliver(num_tokens - start, 1, |tokens| out[start..num_tokens].copy_from_slice(tokens));
        self.next_document += documents.len() as u64;
        self.next_block += num_blocks as u64;
        self.tokens_emitted += num_tokens as u64;
        Ok(num_blocks)
    }

    /// No more documents: hand out all blocks that are left, lane by lane in turn, then each lane's partial block
    /// at its last turn: padded, or dropped where there is no padding id.
    pub fn finish(&mut self, pad_token_id: Option<u32>) -> Result<Blocks<I>> {
        if self.finished {
            return Err(Error::PackerFinished);
        }
        for lane in &self.lanes {
            lane.check_end(self.next_document, self.lanes.len() as u64)?;
        }
        let pad = pad_token_id.map(|id| fitting::<I>(i64::from(id))).transpose()?;
        let mut blocks = Blocks::default();
        let num_lanes = self.lanes.len();
        let first = self.turn();
        let mut empty_in_a_row = 0;
        for turn in first.. {
            if empty_in_a_row == num_lanes {
                break;
            }
            let lane = turn % num_lanes;
            let num_tokens = self.lanes[lane].num_tokens().min(self.seq_length);
            let missing = self.seq_length - num_tokens;
            empty_in_a_row += 1;
            match pad {
                _ if num_tokens == 0 => continue,
                None if missing > 0 => {
                    self.tokens_dropped += num_tokens as u64;
                    self.lanes[lane].deliver(num_tokens, num_lanes as u64, |_| {});
                    continue;
                }
                _ => {}
            }
            empty_in_a_row = 0;
            blocks.segments.push_block(self.lanes[lane].segments(num_tokens, num_lanes as u64));
            self.emit(lane, num_tokens, |tokens| blocks.ids.extend_from_slice(tokens));
            blocks.ids.extend(std::iter::repeat_n(pad.unwrap_or_default(), missing));
            blocks.num_valid.push(i64::try_from(num_tokens).unwrap_or(i64::MAX));
            self.tokens_padding += missing as u64;
            self.next_block += 1;
        }
        self.finished = true;
        Ok(blocks)
    }

    /// The lane that the next block comes from.
    fn turn(&self) -> usize {
        lane_of(self.next_block, self.lanes.len() as u64)
    }

    /// Hand the ids of the next block, a full one, to `take`.
    fn take_next(&mut self, take: impl FnOnce(&[I])) {
        self.emit(self.turn(), self.seq_length, take);
        self.next_block += 1;
    }

    fn emit(&mut self, lane: usize, num_tokens: usize, take: impl FnOnce(&[I])) {
        let num_lanes = self.lanes.len() as u64;
        self.lanes[lane].deliver(num_tokens, num_lanes, take);
        self.tokens_emitted += num_tokens as u64;
    }

    /// Where each lane stands, as of the blocks taken.
    #[must_use]
    pub fn lane_positions(&self) -> Vec<LanePosition> {
        self.lanes.iter().map(Lane::position).collect()
    }

    /// Number of the next block to be taken.
    #[must_use]
    pub fn next_block(&self) -> u64 {
        self.next_block
    }

    /// Number that the next pushed document gets.
    #[must_use]
    pub fn next_document(&self) -> u64 {
        self.next_document
    }

    /// The account so far.
    #[must_use]
    pub fn counters(&self) -> PackerCounters {
        let totals: Totals = self.lanes.iter().map(Lane::totals).sum();
        PackerCounters {
            totals,
            eos_tokens: totals.documents,
            tokens_emitted: self.tokens_emitted,
            tokens_carried: self.lanes.iter().map(|lane| lane.num_tokens() as u64).sum(),
            tokens_dropped: self.tokens_dropped,
            tokens_padding: self.tokens_padding,
        }
    }

    /// Go on where another packer stood: the next pushed document gets the number `next_document`; of what is
    /// pushed from there on, all that `positions` calls delivered is left out. The counters go on as well.
    ///
    /// # Errors
    ///
    /// `InvalidResume` unless this packer is fresh and the numbers fit each other.
    pub fn resume(&mut self, next_block: u64, next_document: u64, positions: &[LanePosition]) -> Result<()> {
        let refuse = |reason: String| Err(Error::InvalidResume { reason });
        let num_lanes = self.lanes.len() as u64;
        if self.next_document != 0 || self.next_block != 0 || self.finished {
            return refuse(format!(
                "the packer has {} documents and gave {} blocks already (expected a fresh one)",
                self.next_document, self.next_block
            ));
        }
        if positions.len() as u64 != num_lanes {
            return refuse(format!("the state has {} lanes (expected {num_lanes})", positions.len()));
        }
        for (lane, position) in (0..num_lanes).zip(positions) {
            let taken = next_block.saturating_add(num_lanes - 1 - lane) / num_lanes;
            let tokens = u128::from(taken) * self.seq_length as u128;
            let LanePosition { document, offset, before } = *position;
            if document % num_lanes != lane || document / num_lanes != before.documents {
                return refuse(format!(
                    "lane {lane} stands at document {document} after {} documents of its own (expected {lane} + \
                     {num_lanes} for each)",
                    before.documents
                ));
            }
            if u128::from(before.tokens) + u128::from(offset) != tokens {
                return refuse(format!(
                    "lane {lane} gave {} + {offset} tokens (expected {tokens}: {taken} blocks of {})",
                    before.tokens, self.seq_length
                ));
            }
            if document < next_document {
                return refuse(format!(
                    "lane {lane} needs document {document}, but documents go on at {next_document} (expected an \
                     earlier one)"
                ));
            }
        }
        self.next_block = next_block;
        self.next_document = next_document;
        for (lane, position) in self.lanes.iter_mut().zip(positions) {
            *lane = Lane::resumed(*position);
            self.tokens_emitted += position.before.tokens;
        }
        Ok(())
    }
}

/// Places in a block have 31 bits.
const MAX_SEQ_LENGTH: usize = (1 << 31) - 1;
const MAX_LANES: usize = 1 << 16;

/// An id in the packer's type.
pub fn fitting<I: TokenId>(id: i64) -> Result<I> {
    match u32::try_from(id) {
        Ok(fits) if fits <= I::MAX => Ok(I::from_u32(fits)),
        _ => Err(Error::IdDoesNotFit { id, max: I::MAX }),
    }
}

#[allow(clippy::cast_possible_truncation)] // a remainder of at most 65,536
fn lane_of(number: u64, num_lanes: u64) -> usize {
    (number % num_lanes) as usize
}

/// Refuse a length of blocks outside of 1 to `max`.
pub(crate) fn check_seq_length(seq_length: usize, max: usize, expected: &'static str) -> Result<()> {
    if (1..=max).contains(&seq_length) {
        return Ok(());
    }
    Err(Error::InvalidOption { name: "seq_length", value: seq_length as u64, expected })
}

/// The documents' ranges of ids, checked against each other.
pub(crate) fn document_ranges(
    num_ids: usize,
    offsets: &[i64],
    num_documents: usize,
) -> Result<Vec<Range<usize>>> {
    check_num_offsets(offsets.len(), num_documents)?;
    offsets
        .windows(2)
        .enumerate()
        .map(|(document, bounds)| {
            let bound = |value: i64| usize::try_from(value).ok().filter(|&value| value <= num_ids);
            match (bound(bounds[0]), bound(bounds[1])) {
                (Some(start), Some(end)) if start <= end => Ok(start..end),
                _ => Err(out_of_order(document, bounds[0], bounds[1], num_ids)),
            }
        })
        .collect()
}

fn check_num_offsets(num_offsets: usize, num_documents: usize) -> Result<()> {
    if num_offsets == num_documents + 1 {
        return Ok(());
    }
    Err(Error::InvalidOffsets {
        reason: format!(
            "there are {num_offsets} offsets for {num_documents} documents (expected one more than documents)"
        ),
    })
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod reference;
#[cfg(test)]
pub(crate) mod tests;
