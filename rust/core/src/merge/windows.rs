//! Long pieces under any list of merges: chunks, joined as `seams` says.

use super::queue::QueueScratch;
use super::seams::{Joined, Mend, Run};
use super::{MergeScratch, MergeTable};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::id::TokenId;

/// Bytes merged alone. Small enough to stay in the nearest cache, long enough that seams are rare.
pub(super) const CHUNK: usize = 4096;

/// Append the tokens of `piece` to `ids`, made from chunks of `chunk_length` bytes.
pub(super) fn merge<I: TokenId>(
    table: &MergeTable,
    piece: &[u8],
    chunk_length: usize,
    scratch: &mut MergeScratch,
    ids: &mut Vec<I>,
    cancel: &Cancel,
) -> Result<()> {
    let MergeScratch { queue, tokens, window, recent } = scratch;
    let mut form = Form { table, queue };
    let base = ids.len();
    let mut joined = Joined::new(ids, base, recent);
    for (number, chunk) in piece.chunks(chunk_length).enumerate() {
        cancel.check()?;
        tokens.clear();
        form.merge(chunk, tokens);
        joined.join(&mut form, piece, number * chunk_length, tokens, window);
        joined.write(&form, 0);
    }
    Ok(())
}

/// How the general merger mends seams. Its tokens are ids.
pub(super) struct Form<'a> {
    pub(super) table: &'a MergeTable,
    pub(super) queue: &'a mut QueueScratch,
}

impl Mend for Form<'_> {
    fn merge(&mut self, bytes: &[u8], tokens: &mut Vec<u32>) {
        self.table.merge_whole(bytes, self.queue, tokens);
    }

    fn merge_run(&mut self, _: u8, _: usize) -> Option<Run> {
        None
    }

    fn valid(&mut self, piece: &[u8], at: usize, left: u32, right: u32) -> bool {
        let bytes = &piece[at - self.len_of(left)..at + self.len_of(right)];
        let mut tokens = Vec::with_capacity(bytes.len());
        self.merge(bytes, &mut tokens);
        tokens == [left, right]
    }

    fn len_of(&self, token: u32) -> usize {
        self.table.length(token)
    }

    fn external(&self, token: u32) -> u32 {
        token
    }

    fn internal(&self, id: u32) -> u32 {
        id
    }
}
