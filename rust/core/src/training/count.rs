//! Stage 1 of training: how often each distinct piece occurs.
//!
//! ```text
//! "the cat, the hat"  ──►  "the" 1   " cat" 1   "," 1   " the" 1   " hat" 1
//!
//! a piece of at most 16 bytes is its own key:   20 74 68 65 ff ff ff ff ff ff ff ff ff ff ff ff   and then inverted
//! ```
//!
//! The byte 0xff is in no UTF-8, so the key needs no length, and no piece has the key 0: a fresh table is zeroed
//! memory, on huge pages. Longer pieces (about one in a hundred) are counted aside. Each thread has its own counts;
//! at the end one absorbs the others.

use rustc_hash::FxHashMap;

use super::budget::{Budget, allocation};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::huge_pages::{Plain, ZeroedArray, prefetch};
use crate::instructions::Instructions;
use crate::split::boundaries::Boundaries;
use crate::split::starts::Starts;
use crate::split::{Pieces, Splitting};
use crate::unicode::ClassTable;
use crate::worker::MAX_TEXT;

/// The longest piece that is its own key.
const KEY_BYTES: usize = 16;
/// The key of no piece: one of length 0.
const EMPTY: u128 = 0;
/// Pieces that are looked up together: their table lines are on the way from memory at the same time. They and
/// their hashes stay in the first-level cache.
const BATCH: usize = 256;
const FIRST_SLOTS: usize = 1 << 10;

/// The distinct pieces seen by one thread and their counts.
#[derive(Debug)]
pub(crate) struct PieceCounts {
    splitting: Splitting,
    /// Open addressing, linear probing; a power of two, at most five eighths full. Common pieces come early, so they
    /// lie where their hash says, and the memory is worth more than the few steps of the rare ones.
    slots: ZeroedArray<Slot>,
    num_short: usize,
    long: FxHashMap<Box<[u8]>, u64>,
    splitter: Option<Box<Splitter>>,
}

/// 32 bytes, so that no slot lies across two cache lines.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Slot {
    key: u128,
    count: u64,
    unused: u64,
}

// SAFETY: three integers of 32 bytes in all, without padding.
unsafe impl Plain for Slot {}

/// Keys that wait for their table lines.
#[derive(Debug)]
struct Batch {
    keys: [u128; BATCH],
    hashes: [u64; BATCH],
}

/// What cuts a text, and its working memory; kept from text to text.
#[derive(Debug)]
struct Splitter {
    instructions: Instructions,
    boundaries: Boundaries,
    starts: Starts,
    batch: Batch,
}

impl Splitter {
    fn new(splitting: Splitting) -> Self {
        Self {
            instructions: Instructions::fastest(),
            boundaries: Boundaries::new(splitting),
            starts: Starts::default(),
            batch: Batch { keys: [EMPTY; BATCH], hashes: [0; BATCH] },
        }
    }
}

impl PieceCounts {
    /// Counts of the pieces of texts that are cut in this way.
    pub(crate) fn new(splitting: Splitting) -> Self {
        Self {
            splitting,
            slots: ZeroedArray::new(0),
            num_short: 0,
            long: FxHashMap::default(),
            splitter: None,
        }
    }

    /// Count the pieces of `text`; returns how many there are.
    pub(crate) fn add_text(
        &mut self,
        text: &str,
        classes: &ClassTable,
        budget: &Budget,
        cancel: &Cancel,
    ) -> Result<u64> {
        if text.len() > MAX_TEXT {
            return self.add_text_plainly(text, classes, budget, cancel);
        }
        if text.is_empty() {
            return Ok(0);
        }
        let text = text.as_bytes();
        let mut splitter = self.splitter.take().unwrap_or_else(|| Box::new(Splitter::new(self.splitting)));
        let Splitter { instructions, boundaries, starts, batch } = &mut *splitter;
        starts.clear();
        boundaries.restart(*instructions, text, classes)?;
        let mut num_pieces = 0;
        let mut is_end = false;
        while !is_end {
            cancel.check()?;
            is_end = !boundaries.next_starts(*instructions, text, classes, starts)?;
            if is_end {
                starts.push(text.len());
            }
            let known = starts.as_slice();
            num_pieces += known.len().saturating_sub(1) as u64;
            for first in (0..known.len().saturating_sub(1)).step_by(BATCH) {
                let last = (first + BATCH).min(known.len() - 1);
                self.make_room(budget, cancel)?;
                self.add_batch(text, &known[first..=last], batch, budget)?;
            }
            starts.keep_last();
        }
        self.splitter = Some(splitter);
        Ok(num_pieces)
    }

    /// Count at most `BATCH` pieces; each ends where the next one starts.
    fn add_batch(&mut self, text: &[u8], starts: &[u32], batch: &mut Batch, budget: &Budget) -> Result<()> {
        let mut len = 0;
        for (&start, &end) in starts.iter().zip(&starts[1..]) {
            let (start, end) = (start as usize, end as usize);
            if end - start > KEY_BYTES {
                self.add_long(&text[start..end], 1, budget)?;
                continue;
            }
            let key = key(text, start, end - start);
            let hash = hash(key);
            prefetch(&self.slots.as_slice()[self.slot_of(hash)]);
            batch.keys[len] = key;
            batch.hashes[len] = hash;
            len += 1;
        }
        for (&key, &hash) in batch.keys[..len].iter().zip(&batch.hashes[..len]) {
            self.add_short(key, hash, 1);
        }
        Ok(())
    }

    /// The meaning of `add_text`, for texts whose positions do not fit 32 bits.
    pub(crate) fn add_text_plainly(
        &mut self,
        text: &str,
        classes: &ClassTable,
        budget: &Budget,
        cancel: &Cancel,
    ) -> Result<u64> {
        let mut num_pieces = 0;
        let mut pieces = Pieces::new(self.splitting, text, classes);
        while let Some((start, end)) = pieces.next_piece()? {
            cancel.check()?;
            self.add(&text.as_bytes()[start..end], 1, budget, cancel)?;
            num_pieces += 1;
        }
        Ok(num_pieces)
    }

    /// Take over the counts of another thread.
    pub(crate) fn absorb(&mut self, other: Self, budget: &Budget, cancel: &Cancel) -> Result<()> {
        for some in other.slots.as_slice().chunks(BATCH) {
            cancel.check()?;
            self.make_room(budget, cancel)?;
            self.add_slots(some);
        }
        budget.release::<Slot>(other.slots.as_slice().len());
        let num_buckets = buckets(&other.long);
        for (piece, count) in other.long {
            cancel.check()?;
            self.add_long(&piece, count, budget)?;
            budget.release::<u8>(allocation(piece.len()));
        }
        budget.release::<u8>(num_buckets * BUCKET_BYTES);
        Ok(())
    }

    /// Number of distinct pieces.
    pub(crate) fn num_distinct(&self) -> usize {
        self.num_short + self.long.len()
    }

    /// All pieces with their counts, in no particular order.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = (u64, Piece<'_>)> {
        let short = self.slots.as_slice().iter().filter(|slot| slot.key != EMPTY);
        let long = self.long.iter().map(|(piece, &count)| (count, Piece::Long(piece)));
        short.map(|slot| (slot.count, Piece::Short(slot.key))).chain(long)
    }

    /// Count one piece several times.
    pub(crate) fn add(&mut self, piece: &[u8], count: u64, budget: &Budget, cancel: &Cancel) -> Result<()> {
        self.make_room(budget, cancel)?;
        if piece.len() > KEY_BYTES {
            return self.add_long(piece, count, budget);
        }
        let key = key(piece, 0, piece.len());
        self.add_short(key, hash(key), count);
        Ok(())
    }

    /// Which bytes occur.
    pub(crate) fn bytes_seen(&self) -> [bool; 256] {
        let mut seen = [false; 256];
        for (_, piece) in self.pieces() {
            piece.with_bytes(|bytes| bytes.iter().for_each(|&byte| seen[usize::from(byte)] = true));
        }
        seen
    }

    /// Drop the tables and tell the budget.
    pub(crate) fn free(self, budget: &Budget) {
        budget.release::<Slot>(self.slots.as_slice().len());
        for piece in self.long.keys() {
            budget.release::<u8>(allocation(piece.len()));
        }
        budget.release::<u8>(buckets(&self.long) * BUCKET_BYTES);
    }

    /// Room for one more batch, so that `add_short` need not look.
    #[inline]
    fn make_room(&mut self, budget: &Budget, cancel: &Cancel) -> Result<()> {
        let is_full = 8 * (self.num_short + BATCH) > 5 * self.slots.as_slice().len();
        if is_full { self.grow(budget, cancel) } else { Ok(()) }
    }

    #[cold]
    fn grow(&mut self, budget: &Budget, cancel: &Cancel) -> Result<()> {
        let num_slots = (2 * self.slots.as_slice().len()).max(FIRST_SLOTS);
        budget.reserve::<Slot>(num_slots)?;
        let old = std::mem::replace(&mut self.slots, ZeroedArray::new(num_slots));
        self.num_short = 0;
        for some in old.as_slice().chunks(BATCH) {
            cancel.check()?;
            self.add_slots(some);
        }
        budget.release::<Slot>(old.as_slice().len());
        Ok(())
    }

    /// Count what another table holds; there is room for it. Its order is that of this table, or of two or more
    /// strands of it, so nothing waits for memory.
    fn add_slots(&mut self, slots: &[Slot]) {
        for slot in slots.iter().filter(|slot| slot.key != EMPTY) {
            self.add_short(slot.key, hash(slot.key), slot.count);
        }
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation)] // 32 bits are left
    fn slot_of(&self, hash: u64) -> usize {
        // The upper bits of the product are the good ones; 2^32 slots are 128 GiB.
        (hash >> 32) as usize & (self.slots.as_slice().len() - 1)
    }

    #[inline]
    fn add_short(&mut self, key: u128, hash: u64, count: u64) {
        let mut index = self.slot_of(hash);
        let slots = self.slots.as_mut_slice();
        let mask = slots.len() - 1;
        loop {
            let slot = &mut slots[index & mask];
            if slot.key == key {
                slot.count += count;
                return;
            }
            if slot.key == EMPTY {
                (slot.key, slot.count) = (key, count);
                self.num_short += 1;
                return;
            }
            index += 1;
        }
    }

    #[inline(never)]
    fn add_long(&mut self, piece: &[u8], count: u64, budget: &Budget) -> Result<()> {
        if let Some(known) = self.long.get_mut(piece) {
            *known += count;
            return Ok(());
        }
        budget.reserve::<u8>(allocation(piece.len()))?;
        if self.long.len() == self.long.capacity() {
            // The next insertion doubles the table, and for a moment both are there.
            let num_buckets = buckets(&self.long);
            budget.reserve::<u8>((2 * num_buckets).max(8) * BUCKET_BYTES)?;
            self.long.reserve(1);
            budget.release::<u8>(num_buckets * BUCKET_BYTES);
        }
        self.long.insert(piece.into(), count);
        Ok(())
    }
}

/// A piece and how it is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Piece<'a> {
    /// Its key.
    Short(u128),
    /// Its bytes.
    Long(&'a [u8]),
}

impl Piece<'_> {
    /// Number of bytes.
    #[inline]
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Short(key) => key_len(key),
            Self::Long(bytes) => bytes.len(),
        }
    }

    /// Show its bytes.
    #[inline]
    pub(crate) fn with_bytes<R>(self, show: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Short(key) => show(&(!key).to_le_bytes()[..key_len(key)]),
            Self::Long(bytes) => show(bytes),
        }
    }
}

/// A bucket of the table of long pieces: pointer, length, count, and a byte of its control.
const BUCKET_BYTES: usize = size_of::<(Box<[u8]>, u64)>() + 1;

/// Buckets of a table, which is filled to seven eighths at most.
fn buckets(long: &FxHashMap<Box<[u8]>, u64>) -> usize {
    match long.capacity() {
        0 => 0,
        capacity => (capacity * 8 / 7).next_power_of_two(),
    }
}

/// The bytes of a short piece, followed by 0xff, inverted.
#[inline]
fn key(text: &[u8], start: usize, len: usize) -> u128 {
    let bytes = if let Some(bytes) = text[start..].first_chunk::<KEY_BYTES>() {
        u128::from_le_bytes(*bytes)
    } else {
        let mut bytes = [0; KEY_BYTES];
        bytes[..len].copy_from_slice(&text[start..start + len]);
        u128::from_le_bytes(bytes)
    };
    !bytes & USED[len]
}

#[inline]
fn key_len(key: u128) -> usize {
    KEY_BYTES - key.leading_zeros() as usize / 8
}

/// Which bytes of a key belong to a piece of each length.
const USED: [u128; KEY_BYTES + 1] = {
    let mut used = [u128::MAX; KEY_BYTES + 1];
    let mut len = 0;
    while len < KEY_BYTES {
        used[len] = !(u128::MAX << (8 * len));
        len += 1;
    }
    used
};

/// A product of the two halves, folded: every bit of the key reaches every bit that is used.
#[inline]
#[allow(clippy::cast_possible_truncation)] // the two halves are taken apart
fn hash(key: u128) -> u64 {
    let low = (key as u64) ^ 0x9e37_79b9_7f4a_7c15;
    let high = ((key >> 64) as u64) ^ 0x2d35_8dcc_aa6c_78a5;
    let product = u128::from(low) * u128::from(high);
    (product as u64) ^ ((product >> 64) as u64)
}
