//! Stage 2: pieces to ids, through tables of pieces seen before, at most 512 pieces at a time.
//!
//! ```text
//! starts ──► probe: key, hash, prefetch ──► compare ──► find or merge the others ──► emit, 16 bytes a piece
//!            for all 512                    for all     into scratch entries          for all
//! ```
//!
//! Few, slim loops over one batch beat one loop that does everything for a piece: the loads of the table overlap, and
//! nothing but a rare piece makes the processor guess. A batch is small enough that it never leaves the first cache.
//!
//! What the first look does not find is looked for elsewhere:
//!
//! ```text
//! up to 16 bytes                  in the entry beside (the same 64 bytes, so it is in the cache already)
//! up to 32 bytes, up to 15 ids    in the table of long entries
//! up to 126 bytes, up to 63 ids   in the table of longest entries
//! ```
//!
//! An entry holds up to 7 ids. Of a piece that has more it holds their number, and which long entry has the ids; if that
//! holds another piece by now, the piece is merged again. (7, 15, 16 and 63 ids of 16 bits are 3, 7, 8 and 31 of 32.)
//!
//! A new piece goes to its first place and pushes what was there to
//! the place beside, whose piece is forgotten: memory is fixed, and text that never repeats is as fast in the end as in
//! the beginning. What a key is: see `keys`.
//!
//! The meaning: the ids of a piece are those that merging gives, table or not.
//!
//! Past 500 lines, because the three tables are looked at in one order that is only seen in one place.

#![allow(clippy::cast_possible_truncation)] // places, lengths and counts are bounded by constants of this file

mod ids;
mod keys;

use ids::{
    copy_at_least_a_word, count_of, ids_of, ids_of_tokens, refer, referred, set_id, spill, with_count,
};
use keys::{NO_KEY, hash_key, hash_portable, padded_key, probe, whole_key};

use crate::cancel::Cancel;
use crate::error::Result;
use crate::huge_pages::{self, Plain, ZeroedArray, prefetch};
use crate::id::TokenId;
use crate::instructions::Instructions;
use crate::merge::{Merger, MergerScratch, ShortPiece, ShortTokens};

/// Most pieces of a batch.
pub(crate) const BATCH: usize = 512;
/// Bytes of a short key.
const WORD: usize = 16;
/// Bytes of a long key.
const LONG: usize = 2 * WORD;
/// What the copies of a batch may write past its last id, in bytes.
const SLACK: usize = 64;
/// A piece of up to 16 bytes and its ids.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(32))]
struct Entry {
    key: u128,
    /// Ids from the front, their number in the last place: 7 of 16 bits, or 3 of 32. If there are more, the number of the
    /// long entry that has them stands in front; or, where there is no key, that of the first spilled one.
    ids: [u8; WORD],
}

/// A piece of up to 32 bytes and its ids.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct LongEntry {
    key: [u128; 2],
    /// As above: 15 ids of 16 bits, or 7 of 32. One more where the entry of the piece has their number.
    ids: [u8; LONG],
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
    /// Ids of pieces that have more than an entry holds.
    spilled: Vec<I>,
    merging: MergerScratch,
}

#[derive(Debug)]
struct Batch {
    keys: [u128; BATCH],
    /// Which entry holds the ids of each piece.
    places: [u32; BATCH],
    /// Pieces with more ids than an entry holds (the upper half), and where these begin in the output, counted from those
    /// of the first (the lower half).
    many: [u64; BATCH],
    /// Pieces whose entry holds another piece.
    misses: [u16; BATCH],
    /// Scratch entries in use.
    num_scratch: usize,
    /// Scratch entries that are kept: which one, and where.
    kept: Vec<(usize, u32)>,
    /// Pieces of up to 32 bytes to be merged, and what they became.
    wanted: Vec<Wanted>,
    pieces: Vec<ShortPiece>,
    merged: Vec<ShortTokens>,
}

/// A piece that is in no table.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    piece: usize,
    key: [u128; 2],
    long_place: usize,
    num_bytes: usize,
}

impl<I: TokenId> PieceTable<I> {
    /// Ids that an entry holds.
    const CAPACITY: usize = WORD / size_of::<I>() - 1;
    const LONG_CAPACITY: usize = LONG / size_of::<I>() - 1;
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
                many: [0; BATCH],
                misses: [0; BATCH],
                num_scratch: 0,
                kept: Vec::new(),
                wanted: Vec::new(),
                pieces: Vec::new(),
                merged: Vec::new(),
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
        self.batch.num_scratch = 0;
        self.batch.kept.clear();
        self.spilled.clear();
        if num_misses > 0 {
            let num_longest = self.look_beside(text, starts, num_misses);
            self.look_in_long_table();
            self.look_in_longest_table(merger, text, starts, num_longest, cancel)?;
            self.merge_wanted(merger, text, starts);
        }
        self.emit(merger, text, starts, ids);
        self.keep_scratch();
        Ok(())
    }

    /// Short pieces that are found in the entry beside are done. Others of up to 32 bytes are wanted from the long table,
    /// which is prefetched; still longer ones stay in the list of misses, whose new length is returned.
    fn look_beside(&mut self, text: &[u8], starts: &[u32], num_misses: usize) -> usize {
        let entries = self.entries.as_slice();
        let long_entries = self.long_entries.as_slice();
        let Batch { keys, places, misses, wanted, .. } = &mut *self.batch;
        let mut num_longest = 0;
        wanted.clear();
        for miss in 0..num_misses {
            let piece = usize::from(misses[miss]);
            let (start, end) = (starts[piece] as usize, starts[piece + 1] as usize);
            let (key, hash) = if end - start <= WORD {
                let (key, place) = (keys[piece], places[piece] ^ 1);
                if entries[place as usize].key == key {
                    places[piece] = place;
                    continue;
                }
                ([key, 0], hash_portable(key))
            } else if end - start <= LONG {
                let key = [whole_key(text, start, start + WORD), whole_key(text, start + WORD, end)];
                (key, hash_portable(key[0]) ^ hash_portable(key[1]).rotate_left(23))
            } else {
                misses[num_longest] = piece as u16;
                num_longest += 1;
                continue;
            };
            let long_place = hash as usize & (long_entries.len() - 1);
            prefetch(&long_entries[long_place]);
            wanted.push(Wanted { piece, key, long_place, num_bytes: end - start });
        }
        num_longest
    }

    /// Pieces that are in the long table are no longer wanted.
    fn look_in_long_table(&mut self) {
        let mut num_left = 0;
        for number in 0..self.batch.wanted.len() {
            let wanted = self.batch.wanted[number];
            let LongEntry { key, ids } = self.long_entries.as_slice()[wanted.long_place];
            if wanted.num_bytes > WORD && key == wanted.key {
                let count = count_of::<I, LONG>(&ids);
                let first = self.spilled.len();
                spill(&mut self.spilled, &ids);
                self.put(wanted.piece, first, count);
            } else {
                self.batch.wanted[num_left] = wanted;
                num_left += 1;
            }
        }
        self.batch.wanted.truncate(num_left);
    }

    /// Find or merge the pieces of more than 32 bytes, and find those of more than 16 that have too many ids for the long
    /// table.
    fn look_in_longest_table(
        &mut self,
        merger: &Merger,
        text: &[u8],
        starts: &[u32],
        num_longest: usize,
        cancel: &Cancel,
    ) -> Result<()> {
        for miss in 0..num_longest {
            let piece = usize::from(self.batch.misses[miss]);
            let bytes = &text[starts[piece] as usize..starts[piece + 1] as usize];
            if self.find_longest(piece, bytes) {
                continue;
            }
            let first = self.spilled.len();
            merger.merge_long(self.instructions, bytes, &mut self.merging, &mut self.spilled, cancel)?;
            self.remember_longest(bytes, first);
            self.put(piece, first, self.spilled.len() - first);
        }
        let mut num_left = 0;
        self.batch.pieces.clear();
        for number in 0..self.batch.wanted.len() {
            let wanted = self.batch.wanted[number];
            let start = starts[wanted.piece] as usize;
            if wanted.num_bytes > WORD
                && self.find_longest(wanted.piece, &text[start..start + wanted.num_bytes])
            {
                continue;
            }
            self.batch.wanted[num_left] = wanted;
            num_left += 1;
            let words = wanted.key.map(|word| (!word).to_le_bytes());
            self.batch.pieces.push(ShortPiece::from_words(words, wanted.num_bytes));
        }
        self.batch.wanted.truncate(num_left);
        Ok(())
    }

    /// Merge what is in no table, and remember it.
    fn merge_wanted(&mut self, merger: &Merger, text: &[u8], starts: &[u32]) {
        let Batch { pieces, merged, .. } = &mut *self.batch;
        if pieces.is_empty() {
            return;
        }
        if merged.len() < pieces.len() {
            merged.resize(pieces.len(), ShortTokens::default());
        }
        merger.merge_short(self.instructions, pieces, &mut self.merging, merged);
        for number in 0..self.batch.wanted.len() {
            let Wanted { piece, key, long_place, num_bytes } = self.batch.wanted[number];
            let count = self.batch.merged[number].count;
            let tokens = &self.batch.merged[number].tokens;
            if num_bytes <= WORD && count <= Self::LONG_CAPACITY + 1 {
                let ids = if count <= Self::CAPACITY {
                    with_count::<I, WORD>(ids_of_tokens::<I, WORD>(tokens), count)
                } else {
                    let ids = ids_of_tokens::<I, LONG>(tokens);
                    self.long_entries.as_mut_slice()[long_place] = LongEntry { key, ids };
                    refer::<I>(long_place, count)
                };
                let home = self.batch.places[piece];
                let slot = self.put_scratch(piece, Entry { key: key[0], ids });
                self.batch.kept.push((slot, home));
                continue;
            }
            let first = self.spilled.len();
            self.spilled.extend(tokens[..count].iter().map(|&token| I::from_u32(token)));
            if num_bytes > WORD && count <= Self::LONG_CAPACITY {
                let ids = with_count::<I, LONG>(ids_of_tokens::<I, LONG>(tokens), count);
                self.long_entries.as_mut_slice()[long_place] = LongEntry { key, ids };
            } else if num_bytes > WORD {
                self.remember_longest(&text[starts[piece] as usize..starts[piece + 1] as usize], first);
            }
            self.put(piece, first, count);
        }
    }

    /// From here on, `piece` has its ids in this scratch entry. Gives its number.
    fn put_scratch(&mut self, piece: usize, entry: Entry) -> usize {
        let slot = self.batch.num_scratch;
        self.batch.num_scratch += 1;
        self.batch.places[piece] = (self.num_entries + slot) as u32;
        self.entries.as_mut_slice()[self.num_entries + slot] = entry;
        slot
    }

    /// The ids of `piece` are `count` of the spilled ones: a scratch entry gets them or, if they are too many, where they
    /// are. As many as it has room for lie behind the first in any case.
    fn put(&mut self, piece: usize, first: usize, count: usize) {
        if self.spilled.len() < first + Self::CAPACITY {
            self.spilled.resize(first + Self::CAPACITY, I::default());
        }
        let mut ids = [0; WORD];
        for (place, &id) in self.spilled[first..first + Self::CAPACITY].iter().enumerate() {
            set_id(&mut ids, place, id);
        }
        let ids = if count <= Self::CAPACITY {
            with_count::<I, WORD>(ids, count)
        } else {
            refer::<I>(first, count)
        };
        self.put_scratch(piece, Entry { key: NO_KEY, ids });
    }

    /// Short pieces that were merged take their first places, and push what was there to the places beside.
    fn keep_scratch(&mut self) {
        let entries = self.entries.as_mut_slice();
        for &(slot, home) in &self.batch.kept {
            let new = entries[self.num_entries + slot];
            let old = entries[home as usize];
            // An empty entry must not move: see `with_capacity_bytes`. A piece that is twice in a batch needs one place.
            if old.key != NO_KEY && old.key != new.key {
                entries[home as usize ^ 1] = old;
            }
            entries[home as usize] = new;
        }
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

    /// Append the ids of a part of a piece, merged alone.
    pub(crate) fn encode_part(
        &mut self,
        merger: &Merger,
        part: &[u8],
        ids: &mut Vec<I>,
        cancel: &Cancel,
    ) -> Result<()> {
        merger.merge_part(self.instructions, part, &mut self.merging, ids, cancel)
    }

    /// Whether the table of longest entries has these bytes; then `piece` gets the ids of them.
    fn find_longest(&mut self, piece: usize, bytes: &[u8]) -> bool {
        let Some(place) = self.longest_place(bytes) else { return false };
        let entry = &self.longest_entries.as_slice()[place];
        if entry.bytes.get(..usize::from(entry.num_bytes)) != Some(bytes) {
            return false;
        }
        let first = self.spilled.len();
        spill(&mut self.spilled, &entry.ids);
        self.put(piece, first, count_of::<I, { 8 * WORD }>(&self.longest_entries.as_slice()[place].ids));
        true
    }

    fn longest_place(&self, bytes: &[u8]) -> Option<usize> {
        if bytes.len() > LONGEST {
            return None;
        }
        let hash = bytes
            .chunks(WORD)
            .fold(bytes.len() as u64, |hash, word| hash_portable(padded_key(word) ^ u128::from(hash) << 32));
        Some(hash as usize & (self.longest_entries.as_slice().len() - 1))
    }

    /// Keep the ids that were spilled from `first` on, where they fit.
    fn remember_longest(&mut self, bytes: &[u8], first: usize) {
        let new = &self.spilled[first..];
        if new.len() > Self::LONGEST_CAPACITY {
            return;
        }
        if let Some(place) = self.longest_place(bytes) {
            let entry = &mut self.longest_entries.as_mut_slice()[place];
            entry.bytes[..bytes.len()].copy_from_slice(bytes);
            entry.num_bytes = bytes.len() as u16;
            let mut ids = [0; 8 * WORD];
            for (place, &id) in new.iter().enumerate() {
                set_id(&mut ids, place, id);
            }
            entry.ids = with_count::<I, { 8 * WORD }>(ids, new.len());
        }
    }

    /// Append the ids of all pieces, in order: 16 bytes each without a look at the count, which only moves the end on. Then
    /// those of the few pieces that have more.
    fn emit(&mut self, merger: &Merger, text: &[u8], starts: &[u32], ids: &mut Vec<I>) {
        let num_pieces = starts.len() - 1;
        huge_pages::reserve(ids, num_pieces * WORD + self.spilled.len() + SLACK);
        let output = ids.spare_capacity_mut();
        let entries = self.entries.as_slice();
        let mut len = 0;
        let mut num_many = 0;
        for (&place, piece) in self.batch.places[..num_pieces].iter().zip((0..).step_by(1 << 32)) {
            debug_assert!((place as usize) < entries.len() && len + WORD / size_of::<I>() <= output.len());
            // SAFETY: places are made by `probe`, `look_beside` and `put_scratch`, all inside of the table. A piece has as
            // many ids as bytes at most, so that the reserve has room for those of pieces of up to 16 bytes; what longer
            // ones have is among the spilled, if it is more than an entry holds; and for one whole copy behind the last.
            unsafe {
                let entry = entries.get_unchecked(place as usize);
                output.as_mut_ptr().add(len).cast::<[u8; WORD]>().write_unaligned(entry.ids);
                let count = (&raw const entry.ids).cast::<I>().add(Self::CAPACITY).read().to_u32() as usize;
                *self.batch.many.get_unchecked_mut(num_many) = piece | len as u64;
                num_many += usize::from(count > Self::CAPACITY);
                len += count;
            }
        }
        for number in 0..num_many {
            let many = self.batch.many[number];
            let (piece, begin) = ((many >> 32) as usize, many as u32 as usize);
            let from = self.many_ids(merger, text, starts, piece);
            copy_at_least_a_word(from, &mut output[begin..begin + from.len()]);
        }
        // SAFETY: all of them were written: 16 bytes of each piece, and all of those that have more.
        unsafe { ids.set_len(ids.len() + len) };
    }

    /// The ids of a piece that has more than its entry holds.
    fn many_ids(&mut self, merger: &Merger, text: &[u8], starts: &[u32], piece: usize) -> &[I] {
        let Entry { key, ids } = self.entries.as_slice()[self.batch.places[piece] as usize];
        let (first, count) = referred::<I>(&ids);
        if key == NO_KEY {
            return &self.spilled[first..first + count];
        }
        let entry = &mut self.long_entries.as_mut_slice()[first];
        if entry.key != [key, 0] {
            // Another piece has it by now.
            let bytes = &text[starts[piece] as usize..starts[piece + 1] as usize];
            let mut again = [ShortTokens::default()];
            merger.merge_short(self.instructions, &[ShortPiece::new(bytes)], &mut self.merging, &mut again);
            assert_eq!(again[0].count, count, "a piece has other ids than it had");
            *entry = LongEntry { key: [key, 0], ids: ids_of_tokens::<I, LONG>(&again[0].tokens) };
        }
        &ids_of::<I>(&entry.ids)[..count]
    }
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

#[cfg(test)]
mod tests;
