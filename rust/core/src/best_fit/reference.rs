//! Best-fit packing by looking at every block for every piece, for tests and for fuzzing.

#![allow(clippy::unwrap_used)] // as in tests

use crate::packer::Blocks;
use crate::packer::reference::segments_of;

pub(crate) const EOS: u16 = 9;
pub(crate) const PAD: u16 = 8;

/// A block as the reference has it: its ids, and (document, number of tokens) of each piece.
pub(crate) type Block = (Vec<u16>, Vec<(i64, i32)>);

/// What best-fit decreasing means, by looking at every block for every piece.
pub(crate) fn reference(documents: &[Vec<u16>], seq_length: usize, window: usize) -> Vec<Block> {
    let mut done = Vec::new();
    let mut first = 0_i64;
    for documents in documents.chunks(window) {
        let mut pieces = Vec::new();
        for (number, document) in (first..).zip(documents) {
            let tokens: Vec<u16> = document.iter().copied().chain([EOS]).collect();
            for piece in tokens.chunks(seq_length) {
                if piece.len() == seq_length {
                    done.push((piece.to_vec(), vec![(number, i32::try_from(seq_length).unwrap())]));
                } else {
                    pieces.push((number, piece.to_vec()));
                }
            }
        }
        first += i64::try_from(documents.len()).unwrap();
        pieces.sort_by_key(|(_, piece)| std::cmp::Reverse(piece.len()));
        let mut blocks: Vec<Block> = Vec::new();
        let mut used_at: Vec<usize> = Vec::new();
        for (time, (number, piece)) in pieces.into_iter().enumerate() {
            let best = (0..blocks.len())
                .filter(|&block| blocks[block].0.len() + piece.len() <= seq_length)
                .max_by_key(|&block| (blocks[block].0.len(), used_at[block]));
            let best = best.unwrap_or_else(|| {
                blocks.push((Vec::new(), Vec::new()));
                used_at.push(time);
                blocks.len() - 1
            });
            used_at[best] = time;
            blocks[best].1.push((number, i32::try_from(piece.len()).unwrap()));
            blocks[best].0.extend(piece);
        }
        done.extend(blocks);
    }
    for (ids, _) in &mut done {
        ids.resize(seq_length, PAD);
    }
    done
}

pub(crate) fn blocks_of(blocks: &Blocks<u16>, seq_length: usize) -> Vec<Block> {
    let segments = segments_of(&blocks.segments);
    assert_eq!(
        (segments.len(), blocks.ids.len()),
        (blocks.num_valid.len(), blocks.num_valid.len() * seq_length)
    );
    for (segments, &num_valid) in segments.iter().zip(&blocks.num_valid) {
        assert_eq!(segments.iter().map(|&(_, length)| i64::from(length)).sum::<i64>(), num_valid);
    }
    blocks.ids.chunks(seq_length).map(<[u16]>::to_vec).zip(segments).collect()
}
