//! Packing in lanes as lists, for tests and for fuzzing: all documents at once, no state.

#![allow(clippy::unwrap_used)] // as in tests

use super::Segments;

pub(crate) const EOS: u16 = 9;
pub(crate) const PAD: u16 = 7;

/// Documents as the packer wants them: ids, offsets, bytes (here two for each id).
pub(crate) fn flat(documents: &[Vec<u16>]) -> (Vec<u16>, Vec<i64>, Vec<i64>) {
    let lengths = documents.iter().map(|document| i64::try_from(document.len()).unwrap());
    let mut offsets = vec![0];
    offsets.extend(lengths.clone().scan(0, |end, length| {
        *end += length;
        Some(*end)
    }));
    (documents.concat(), offsets, lengths.map(|length| 2 * length).collect())
}

/// What packing means, without any state: deal the documents out, chop each lane, take the lanes in turn.
pub(crate) fn reference(
    documents: &[Vec<u16>],
    seq_length: usize,
    num_lanes: usize,
    pad: bool,
) -> (Vec<u16>, Vec<i64>) {
    let mut lanes = vec![Vec::new(); num_lanes];
    for (number, document) in documents.iter().enumerate() {
        lanes[number % num_lanes].extend(document.iter().copied().chain([EOS]));
    }
    let chopped: Vec<Vec<&[u16]>> = lanes.iter().map(|lane| lane.chunks(seq_length).collect()).collect();
    let rounds = chopped.iter().map(Vec::len).max().unwrap_or(0);
    let (mut ids, mut num_valid) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for block in chopped.iter().filter_map(|lane| lane.get(round)) {
            if pad || block.len() == seq_length {
                ids.extend_from_slice(block);
                ids.resize(ids.len() + seq_length - block.len(), PAD);
                num_valid.push(i64::try_from(block.len()).unwrap());
            }
        }
    }
    (ids, num_valid)
}

/// As `reference`, for (number of its document, whether it is the document's first token in the block).
pub(crate) fn reference_segments(
    documents: &[Vec<u16>],
    seq_length: usize,
    num_lanes: usize,
    pad: bool,
) -> Vec<Vec<(i64, i32)>> {
    let numbers: Vec<Vec<u16>> =
        (0_u16..).zip(documents).map(|(number, document)| vec![number; document.len()]).collect();
    // Numbers in place of ids; EOS stands for the number of the document before it.
    let mut lanes = vec![Vec::new(); num_lanes];
    for (number, document) in numbers.iter().enumerate() {
        lanes[number % num_lanes].extend(document.iter().map(|&number| i64::from(number)));
        lanes[number % num_lanes].push(i64::try_from(number).unwrap());
    }
    let chopped: Vec<Vec<&[i64]>> = lanes.iter().map(|lane| lane.chunks(seq_length).collect()).collect();
    let rounds = chopped.iter().map(Vec::len).max().unwrap_or(0);
    (0..rounds)
        .flat_map(|round| chopped.iter().filter_map(move |lane| lane.get(round)))
        .filter(|block| pad || block.len() == seq_length)
        .map(|block| {
            let runs = block.chunk_by(|left, right| left == right);
            runs.map(|run| (run[0], i32::try_from(run.len()).unwrap())).collect()
        })
        .collect()
}

/// Of each block, documents and how many tokens it has of each.
pub(crate) fn segments_of(segments: &Segments) -> Vec<Vec<(i64, i32)>> {
    let blocks = (0..segments.num_blocks()).map(|block| segments.of_blocks(block..block + 1));
    let lengths = |block: Segments| {
        assert_eq!((block.cu_seqlens[0], block.documents.len() + 1), (0, block.cu_seqlens.len()));
        let lengths: Vec<i32> = block.cu_seqlens.windows(2).map(|bounds| bounds[1] - bounds[0]).collect();
        block.documents.into_iter().zip(lengths).collect()
    };
    blocks.map(lengths).collect()
}
