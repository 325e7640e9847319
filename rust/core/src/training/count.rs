//! Stage 1 of training: how often each distinct piece occurs.
//!
//! ```text
//! "the cat, the hat"  ──►  "the" 1   " cat" 1   "," 1   " the" 1   " hat" 1
//!
//! a piece of at most 16 bytes is its own key:   20 74 68 65 ff ff ff ff ff ff ff ff ff ff ff ff
//! ```
//!
//! The byte 0xff is in no UTF-8, so the key needs no length. Longer pieces (about one in a hundred) are counted
//! aside. Each thread has its own counts; at the end one absorbs the others.

use rustc_hash::FxHashMap;

use super::budget::Budget;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::instructions::Instructions;
use crate::split::boundaries::Boundaries;
use crate::split::starts::Starts;
use crate::split::{Pieces, Splitting};
use crate::unicode::ClassTable;
use crate::worker::MAX_TEXT;

/// The longest piece that is its own key.
const KEY_BYTES: usize = 16;
/// The key of no piece: one of length 0.
const EMPTY: u128 = u128::MAX;
/// Pieces that are looked up together: their table lines are on the way from memory at the same time. They and
/// their hashes stay in the first-level cache.
const BATCH: usize = 256;
const FIRST_SLOTS: usize = 1 << 10;

/// The distinct pieces seen by one thread and their counts.
#[derive(Debug, Default)]
pub(crate) struct PieceCounts {
    splitting: Splitting,
    /// Open addressing, linear probing; a power of two, at most half full.
    slots: Vec<Slot>,
    num_short: usize,
    long: FxHashMap<Box<[u8]>, u64>,
    splitter: Option<Box<Splitter>>,
}

/// 32 bytes, so that no slot lies across two cache lines.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
struct Slot {
    key: u128,
    count: u64,
}

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
        Self { splitting, ..Self::default() }
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
            self.prefetch(hash);
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
        for some in other.slots.chunks(BATCH) {
            cancel.check()?;
            self.make_room(budget, cancel)?;
            for slot in some.iter().filter(|slot| slot.key != EMPTY) {
                self.add_short(slot.key, hash(slot.key), slot.count);
            }
        }
        budget.release::<Slot>(other.slots.len());
        for (piece, count) in other.long {
            cancel.check()?;
            self.add_long(&piece, count, budget)?;
            budget.release::<u8>(piece.len() + LONG_OVERHEAD);
        }
        Ok(())
    }

    /// Number of distinct pieces.
    pub(crate) fn num_distinct(&self) -> usize {
        self.num_short + self.long.len()
    }

    /// All pieces with their counts, in no particular order.
    #[cfg(test)]
    pub(crate) fn for_each(&self, mut show: impl FnMut(&[u8], u64)) {
        for slot in self.slots.iter().filter(|slot| slot.key != EMPTY) {
            show(&slot.key.to_le_bytes()[..key_len(slot.key)], slot.count);
        }
        self.long.iter().for_each(|(piece, &count)| show(piece, count));
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
        let mut note = |bytes: &[u8]| bytes.iter().for_each(|&byte| seen[usize::from(byte)] = true);
        for slot in self.slots.iter().filter(|slot| slot.key != EMPTY) {
            note(&slot.key.to_le_bytes()[..key_len(slot.key)]);
        }
        self.long.keys().for_each(|piece| note(piece));
        seen
    }

    /// Count and number of every piece of two bytes or more. A short piece has the number of its slot, the long
    /// ones follow in the order of `long_pieces`.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (u64, usize)> {
        let short = self.slots.iter().enumerate();
        let short = short.filter(|(_, slot)| slot.key != EMPTY && key_len(slot.key) > 1);
        let long = self.long.values().enumerate();
        short
            .map(|(index, slot)| (slot.count, index))
            .chain(long.map(|(index, &count)| (count, self.slots.len() + index)))
    }

    /// The pieces that are no keys.
    pub(crate) fn long_pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.long.keys().map(|piece| &**piece)
    }

    /// Bytes of the piece with this number.
    pub(crate) fn piece_len(&self, long: &[&[u8]], number: usize) -> usize {
        match self.slots.get(number) {
            Some(slot) => key_len(slot.key),
            None => long[number - self.slots.len()].len(),
        }
    }

    /// Show the piece with this number.
    #[inline]
    pub(crate) fn with_piece(&self, long: &[&[u8]], number: usize, show: impl FnOnce(&[u8])) {
        match self.slots.get(number) {
            Some(slot) => show(&slot.key.to_le_bytes()[..key_len(slot.key)]),
            None => show(long[number - self.slots.len()]),
        }
    }

    /// Drop the table and tell the budget.
    pub(crate) fn free(self, budget: &Budget) {
        budget.release::<Slot>(self.slots.len());
        for piece in self.long.keys() {
            budget.release::<u8>(piece.len() + LONG_OVERHEAD);
        }
    }

    /// Room for one more batch, so that `add_short` need not look.
    #[inline]
    fn make_room(&mut self, budget: &Budget, cancel: &Cancel) -> Result<()> {
        if 2 * (self.num_short + BATCH) > self.slots.len() { self.grow(budget, cancel) } else { Ok(()) }
    }

    #[cold]
    fn grow(&mut self, budget: &Budget, cancel: &Cancel) -> Result<()> {
        let num_slots = (2 * self.slots.len()).max(FIRST_SLOTS);
        budget.reserve::<Slot>(num_slots)?;
        let old = std::mem::replace(&mut self.slots, vec![Slot { key: EMPTY, count: 0 }; num_slots]);
        self.num_short = 0;
        for some in old.chunks(BATCH) {
            cancel.check()?;
            for slot in some.iter().filter(|slot| slot.key != EMPTY) {
                self.add_short(slot.key, hash(slot.key), slot.count);
            }
        }
        budget.release::<Slot>(old.len());
        Ok(())
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation)] // 32 bits are left
    fn slot_of(&self, hash: u64) -> usize {
        // The upper bits of the product are the good ones; 2^32 slots are 128 GiB.
        (hash >> 32) as usize & (self.slots.len() - 1)
    }

    #[inline]
    fn prefetch(&self, hash: u64) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a prefetch reads nothing and cannot fault; the address is that of a slot in the table.
            unsafe { _mm_prefetch(self.slots.as_ptr().add(self.slot_of(hash)).cast(), _MM_HINT_T0) };
        }
    }

    #[inline]
    fn add_short(&mut self, key: u128, hash: u64, count: u64) {
        let mask = self.slots.len() - 1;
        let mut index = self.slot_of(hash);
        loop {
            let slot = &mut self.slots[index & mask];
            if slot.key == key {
                slot.count += count;
                return;
            }
            if slot.key == EMPTY {
                *slot = Slot { key, count };
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
        budget.reserve::<u8>(piece.len() + LONG_OVERHEAD)?;
        self.long.insert(piece.into(), count);
        Ok(())
    }
}

/// What a long piece costs besides its bytes: its entry in a table that is between 7/16 and 7/8 full, and the
/// allocator's own.
const LONG_OVERHEAD: usize = 64;

/// The bytes of a short piece, followed by 0xff.
#[inline]
fn key(text: &[u8], start: usize, len: usize) -> u128 {
    let bytes = if let Some(bytes) = text[start..].first_chunk::<KEY_BYTES>() {
        u128::from_le_bytes(*bytes)
    } else {
        let mut bytes = [0; KEY_BYTES];
        bytes[..len].copy_from_slice(&text[start..start + len]);
        u128::from_le_bytes(bytes)
    };
    bytes | PADDING[len]
}

fn key_len(key: u128) -> usize {
    KEY_BYTES - key.leading_ones() as usize / 8
}

const PADDING: [u128; KEY_BYTES + 1] = {
    let mut padding = [0; KEY_BYTES + 1];
    let mut len = 0;
    while len < KEY_BYTES {
        padding[len] = u128::MAX << (8 * len);
        len += 1;
    }
    padding
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
