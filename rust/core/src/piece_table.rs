//! Stage 2: pieces to ids, through tables of pieces seen before, at most 256 pieces at a time.
//!
//! ```text
//! starts ──► probe: key, hash, prefetch ──► compare ──► merge what is new ──► emit, 16 bytes a piece
//!            for all 256                    for all     into scratch entries   for all
//! ```
//!
//! Few, slim loops over one batch beat one loop that does everything for a piece: the loads of the table overlap, and
//! nothing but a rare new piece makes the processor guess. A batch is small enough that it never leaves the first cache.
//!
//! The tables are direct-mapped, and what is new always overwrites: memory is fixed, and text that never repeats is as
//! fast in the end as in the beginning. What a key is: see `keys`.
//!
//! The meaning: the ids of a piece are those that merging gives, table or not.

#![allow(clippy::cast_possible_truncation)] // places, lengths and counts are bounded by constants of this file

mod keys;

use keys::{NO_KEY, hash_key, hash_portable, padded_key, probe};

use crate::cancel::Cancel;
use crate::error::Result;
use crate::huge_pages::{self, Plain, ZeroedArray};
use crate::id::TokenId;
use crate::instructions::Instructions;
use crate::merge::ranked::SHORT;
use crate::merge::{Merger, MergerScratch};

/// Most pieces of a batch.
pub(crate) const BATCH: usize = 256;
/// Bytes of a short key.
const WORD: usize = 16;
/// What the copies of a batch may write past its last id, in bytes.
const SLACK: usize = 64;
/// A piece of up to 16 bytes and its ids.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(32))]
struct Entry {
    key: u128,
    /// Ids from the front, their number in the last place: 7 of 16 bits, or 3 of 32.
    ids: [u8; WORD],
}

/// A piece of up to 32 bytes and its ids.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct LongEntry {
    key: [u128; 2],
    /// As above: 15 ids of 16 bits, or 7 of 32.
    ids: [u8; 2 * WORD],
}

/// A piece of up to 126 bytes and its ids: rules of signs, deep indentation, long names.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct LongestEntry {
    bytes: [u8; LONGEST],
    num_bytes: u16,
    /// As above: 63 ids of 16 bits, or 31 of 32.
    ids: [u8; 8 * WORD],
}

/// Bytes of the longest piece that is remembered.
const LONGEST: usize = 126;

// SAFETY: integers only, 32, 64 and 256 bytes, no padding.
unsafe impl Plain for Entry {}
// SAFETY: as above.
unsafe impl Plain for LongEntry {}
// SAFETY: as above.
unsafe impl Plain for LongestEntry {}

/// Tables and working memory of one worker.
#[derive(Debug)]
pub(crate) struct PieceTable<I> {
    instructions: Instructions,
    /// The table, and behind it one scratch entry for each piece of a batch.
    entries: ZeroedArray<Entry>,
    num_entries: usize,
    long_entries: ZeroedArray<LongEntry>,
    longest_entries: ZeroedArray<LongestEntry>,
    batch: Box<Batch>,
    /// Ids of pieces that do not fit an entry, in order.
    spilled: Vec<I>,
    merging: MergerScratch,
}

#[derive(Debug)]
struct Batch {
    keys: [u128; BATCH],
    /// Which entry holds the ids of each piece.
    places: [u32; BATCH],
    /// Pieces whose entry holds another piece.
    misses: [u16; BATCH],
    /// Places that the scratch entries go to afterwards.
    homes: [u32; BATCH],
    /// Pieces that are emitted from `spilled`, and how many ids each has.
    spills: Vec<(usize, usize)>,
}

impl<I: TokenId> PieceTable<I> {
    /// Ids that an entry holds.
    const CAPACITY: usize = WORD / size_of::<I>() - 1;
    const LONG_CAPACITY: usize = 2 * WORD / size_of::<I>() - 1;
    const LONGEST_CAPACITY: usize = 8 * WORD / size_of::<I>() - 1;

    /// Tables of at most `capacity_bytes` (and at least 30 KiB).
    pub(crate) fn with_capacity_bytes(instructions: Instructions, capacity_bytes: usize) -> Self {
        // 99 % of pieces are short, but a long one costs several times as much to merge.
        let power = |bytes: usize, size: usize| 1 << (bytes / size).max(64).ilog2();
        let num_entries: usize = power(capacity_bytes / 4 * 3, size_of::<Entry>());
        let mut table = Self {
            instructions,
            entries: ZeroedArray::new(num_entries + BATCH),
            num_entries,
            long_entries: ZeroedArray::new(power(capacity_bytes / 8, size_of::<LongEntry>())),
            longest_entries: ZeroedArray::new(power(capacity_bytes / 8, size_of::<LongestEntry>())),
            batch: Box::new(Batch {
                keys: [0; BATCH],
                places: [0; BATCH],
                misses: [0; BATCH],
                homes: [0; BATCH],
                spills: Vec::new(),
            }),
            spilled: Vec::new(),
            merging: MergerScratch::default(),
        };
        // An empty entry has the key of pieces too long for one. The only place where they look gets a key that no
        // piece has (the byte 0xfe is in no UTF-8 either), so that they are never found.
        let place = hash_key(instructions, NO_KEY) & (num_entries - 1);
        table.entries.as_mut_slice()[place].key = !u128::from(0xfe_u8) & 0xff;
        table
    }

    /// Append the ids of the pieces that `starts` cuts `text` into: piece i is `text[starts[i]..starts[i + 1]]`, at most
    /// `BATCH` of them, none empty.
    pub(crate) fn encode_batch(
        &mut self,
        merger: &Merger,
        text: &[u8],
        starts: &[u32],
        ids: &mut Vec<I>,
        cancel: &Cancel,
    ) -> Result<()> {
        let num_pieces = starts.len() - 1;
        assert!(num_pieces <= BATCH, "a batch is too large");
        let mask = self.num_entries - 1;
        let entries = self.entries.as_slice();
        probe(self.instructions, text, starts, &mut self.batch, entries, mask);
        let num_misses = compare(&mut self.batch, num_pieces, entries);
        let num_scratch = self.fill_misses(merger, text, starts, num_misses, cancel)?;
        self.emit(num_pieces, ids);
        let entries = self.entries.as_mut_slice();
        for (scratch, &home) in self.batch.homes[..num_scratch].iter().enumerate() {
            entries[home as usize] = entries[self.num_entries + scratch];
        }
        Ok(())
    }

    /// Merge the pieces that the table lacks: into scratch entries where they fit, else into `spilled`.
    fn fill_misses(
        &mut self,
        merger: &Merger,
        text: &[u8],
        starts: &[u32],
        num_misses: usize,
        cancel: &Cancel,
    ) -> Result<usize> {
        let mut num_scratch = 0;
        self.spilled.clear();
        self.batch.spills.clear();
        for miss in 0..num_misses {
            let index = usize::from(self.batch.misses[miss]);
            let (start, end) = (starts[index] as usize, starts[index + 1] as usize);
            let piece = &text[start..end];
            if piece.len() > WORD {
                let before = self.spilled.len();
                self.encode_long(merger, piece, cancel)?;
                self.batch.spills.push((index, self.spilled.len() - before));
                continue;
            }
            let mut tokens = [0; SHORT];
            let count = merger.merge_short(self.instructions, piece, &mut self.merging, &mut tokens);
            if count > Self::CAPACITY {
                self.spilled.extend(tokens[..count].iter().map(|&token| I::from_u32(token)));
                self.batch.spills.push((index, count));
                continue;
            }
            let place = self.num_entries + num_scratch;
            let entry = &mut self.entries.as_mut_slice()[place];
            entry.key = self.batch.keys[index];
            let entry_ids = ids_of::<I>(&mut entry.ids);
            for (id, &token) in entry_ids.iter_mut().zip(&tokens[..count]) {
                *id = I::from_u32(token);
            }
            entry_ids[Self::CAPACITY] = I::from_u32(count as u32);
            self.batch.homes[num_scratch] = self.batch.places[index];
            self.batch.places[index] = place as u32;
            num_scratch += 1;
        }
        Ok(num_scratch)
    }

    /// Append the ids of one piece that is too long for any table.
    pub(crate) fn encode_huge(
        &mut self,
        merger: &Merger,
        piece: &[u8],
        ids: &mut Vec<I>,
        cancel: &Cancel,
    ) -> Result<()> {
        merger.merge_long(self.instructions, piece, &mut self.merging, ids, cancel)
    }

    /// Append the ids of a piece of more than 16 bytes to `spilled`.
    fn encode_long(&mut self, merger: &Merger, piece: &[u8], cancel: &Cancel) -> Result<()> {
        if piece.len() > LONGEST {
            return merger.merge_long(self.instructions, piece, &mut self.merging, &mut self.spilled, cancel);
        }
        if piece.len() > 2 * WORD {
            return self.encode_longest(merger, piece, cancel);
        }
        let (first, rest) = piece.split_at(WORD);
        let key = [padded_key(first), padded_key(rest)];
        let entries = self.long_entries.as_mut_slice();
        let hash = hash_portable(key[0]) ^ hash_portable(key[1]).rotate_left(23);
        let place = hash as usize & (entries.len() - 1);
        let entry = &mut entries[place];
        if entry.key != key {
            let mut tokens = [0; SHORT];
            let count = merger.merge_short(self.instructions, piece, &mut self.merging, &mut tokens);
            let external = tokens[..count].iter().map(|&token| I::from_u32(token));
            if count > Self::LONG_CAPACITY {
                self.spilled.extend(external);
                return Ok(());
            }
            entry.key = key;
            let entry_ids = ids_of::<I>(&mut entry.ids);
            for (slot, id) in entry_ids.iter_mut().zip(external) {
                *slot = id;
            }
            entry_ids[Self::LONG_CAPACITY] = I::from_u32(count as u32);
        }
        let entry_ids = ids_of::<I>(&mut entry.ids);
        let count = entry_ids[Self::LONG_CAPACITY].to_u32() as usize;
        self.spilled.extend_from_slice(&entry_ids[..count]);
        Ok(())
    }

    /// As above, for 33 to 126 bytes.
    fn encode_longest(&mut self, merger: &Merger, piece: &[u8], cancel: &Cancel) -> Result<()> {
        let entries = self.longest_entries.as_mut_slice();
        let hash = piece
            .chunks(WORD)
            .fold(piece.len() as u64, |hash, word| hash_portable(padded_key(word) ^ u128::from(hash) << 32));
        let place = hash as usize & (entries.len() - 1);
        let entry = &mut entries[place];
        if entry.bytes.get(..usize::from(entry.num_bytes)) == Some(piece) {
            let known = ids_of::<I>(&mut entry.ids);
            let count = known[Self::LONGEST_CAPACITY].to_u32() as usize;
            self.spilled.extend_from_slice(&known[..count]);
            return Ok(());
        }
        let before = self.spilled.len();
        merger.merge_long(self.instructions, piece, &mut self.merging, &mut self.spilled, cancel)?;
        let new = &self.spilled[before..];
        if new.len() <= Self::LONGEST_CAPACITY {
            entry.bytes[..piece.len()].copy_from_slice(piece);
            entry.num_bytes = piece.len() as u16;
            let known = ids_of::<I>(&mut entry.ids);
            known[..new.len()].copy_from_slice(new);
            known[Self::LONGEST_CAPACITY] = I::from_u32(new.len() as u32);
        }
        Ok(())
    }

    /// Copy the ids of all pieces, in order: 16 bytes each without a look at the count, which only moves the end on.
    fn emit(&mut self, num_pieces: usize, ids: &mut Vec<I>) {
        huge_pages::reserve(ids, num_pieces * Self::CAPACITY + self.spilled.len() + SLACK);
        let entries = self.entries.as_slice();
        let mut spilled = &self.spilled[..];
        let mut from = 0;
        let ends = self.batch.spills.iter().copied().chain([(num_pieces, 0)]);
        for (end, num_spilled) in ends {
            let mut len = ids.len();
            let output = ids.as_mut_ptr();
            for &place in &self.batch.places[from..end] {
                debug_assert!((place as usize) < entries.len());
                // SAFETY: places are made by `probe` and `fill_misses`, both inside of the table.
                let entry = unsafe { entries.get_unchecked(place as usize) };
                // SAFETY: at most CAPACITY ids a piece and the spilled ones are ever added, and the reserve has room for
                // one whole copy more. The entry's last place holds a count of at most CAPACITY.
                unsafe {
                    output.add(len).cast::<[u8; WORD]>().write_unaligned(entry.ids);
                    len += (&raw const entry.ids).cast::<I>().add(Self::CAPACITY).read().to_u32() as usize;
                }
            }
            // SAFETY: the ids up to here were written above, inside of the capacity.
            unsafe { ids.set_len(len) };
            let (head, tail) = spilled.split_at(num_spilled);
            ids.extend_from_slice(head);
            spilled = tail;
            from = end + 1;
        }
    }
}

/// The bytes of an entry as ids.
fn ids_of<I: TokenId>(bytes: &mut [u8]) -> &mut [I] {
    // SAFETY: ids are plain integers; the slices that are no whole ids or not aligned are left out, and are empty, as an
    // entry's ids start at a multiple of 16 bytes.
    unsafe { bytes.align_to_mut::<I>().1 }
}

/// Collect the pieces whose entry holds another piece. No branch: a miss moves the end of the list on.
fn compare(batch: &mut Batch, num_pieces: usize, entries: &[Entry]) -> usize {
    let mut num_misses = 0;
    for i in 0..num_pieces {
        debug_assert!((batch.places[i] as usize) < entries.len());
        // SAFETY: `probe` has masked every place; at most one miss a piece.
        unsafe {
            let entry = entries.get_unchecked(*batch.places.get_unchecked(i) as usize);
            *batch.misses.get_unchecked_mut(num_misses) = i as u16;
            num_misses += usize::from(entry.key != *batch.keys.get_unchecked(i));
        }
    }
    num_misses
}
