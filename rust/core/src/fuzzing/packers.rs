//! The packers: documents pushed and blocks taken in any rhythm, stopped and resumed, against lists.

use arbitrary::{Result as Read, Unstructured};

use crate::best_fit::{BestFitPacker, reference as best_fit};
use crate::packer::{Packer, reference};

/// Either packer.
pub fn packer(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let _ = match input.arbitrary() {
        Ok(true) => with_best_fit(&mut input),
        _ => in_lanes(&mut input),
    };
}

fn in_lanes(input: &mut Unstructured<'_>) -> Read<()> {
    let seq_length = input.int_in_range(1..=9_usize)?;
    let num_lanes = input.int_in_range(1..=4_usize)?;
    let pads = input.arbitrary::<bool>()?;
    let new_packer = || Packer::<u16>::new(seq_length, reference::EOS.into(), num_lanes).unwrap();
    let mut packer = new_packer();
    let mut documents: Vec<Vec<u16>> = Vec::new();
    let mut ids: Vec<u16> = Vec::new();
    // Of each block; None where it was taken without.
    let mut segments = Vec::new();
    while !input.is_empty() {
        let choice = input.int_in_range(0..=9_u8)?;
        match choice {
            0..=4 => {
                let some = some_documents(input)?;
                let (flat, offsets, num_bytes) = reference::flat(&some);
                if choice == 0 && num_lanes == 1 {
                    let carried = usize::try_from(packer.counters().tokens_carried).unwrap();
                    let mut out = vec![0; carried + flat.len() + some.len()];
                    let num_bytes = Some(num_bytes.as_slice());
                    let count = packer.pack_documents(&flat, &offsets, num_bytes, 99, &mut out).unwrap();
                    ids.extend(&out[..count * seq_length]);
                    segments.resize(segments.len() + count, None);
                } else {
                    packer.push_documents(&flat, &offsets, &num_bytes).unwrap();
                }
                documents.extend(some);
            }
            5..=7 => {
                let most = input.int_in_range(0..=5_usize)?;
                let ready = packer.num_ready_blocks();
                let taken = match choice {
                    5 => packer.take_blocks(most),
                    6 => {
                        let mut out = vec![0; most * seq_length + seq_length / 2];
                        let count = packer.take_into(&mut out);
                        out.truncate(count * seq_length);
                        out
                    }
                    _ => {
                        let blocks = packer.take_with_segments(most);
                        segments.extend(reference::segments_of(&blocks.segments).into_iter().map(Some));
                        blocks.ids
                    }
                };
                assert_eq!(taken.len(), ready.min(most) * seq_length);
                ids.extend(taken);
                segments.resize(ids.len() / seq_length, None);
            }
            _ => {
                // Another packer goes on from where this one stands: what it needs is pushed again.
                let positions = packer.lane_positions();
                let first = positions.iter().map(|position| position.document).min().unwrap_or(0);
                let first = first.min(packer.next_document());
                let mut resumed = new_packer();
                resumed.resume(packer.next_block(), first, &positions).unwrap();
                let again = &documents[usize::try_from(first).unwrap()..];
                let (flat, offsets, num_bytes) = reference::flat(again);
                resumed.push_documents(&flat, &offsets, &num_bytes).unwrap();
                assert_eq!((resumed.counters(), resumed.lane_positions()), (packer.counters(), positions));
                packer = resumed;
            }
        }
        let counters = packer.counters();
        assert_eq!(counters.totals.documents, documents.len() as u64);
        assert_eq!(counters.tokens_emitted, ids.len() as u64);
        assert_eq!(counters.totals.tokens, counters.tokens_emitted + counters.tokens_carried);
    }
    let rest = packer.finish(pads.then_some(reference::PAD.into())).unwrap();
    segments.extend(reference::segments_of(&rest.segments).into_iter().map(Some));
    let num_taken = ids.len() / seq_length;
    ids.extend(&rest.ids);

    let (expected, num_valid) = reference::reference(&documents, seq_length, num_lanes, pads);
    assert_eq!(ids, expected);
    assert_eq!(rest.num_valid, num_valid[num_taken..]);
    let expected = reference::reference_segments(&documents, seq_length, num_lanes, pads);
    assert_eq!(segments.len(), expected.len());
    for (found, expected) in segments.iter().zip(&expected) {
        assert!(found.as_ref().is_none_or(|found| found == expected), "{found:?} instead of {expected:?}");
    }
    let counters = packer.counters();
    assert_eq!(counters.tokens_carried, 0);
    assert_eq!(counters.totals.tokens, counters.tokens_emitted + counters.tokens_dropped);
    assert_eq!(counters.tokens_padding + counters.tokens_emitted, ids.len() as u64);
    Ok(())
}

fn with_best_fit(input: &mut Unstructured<'_>) -> Read<()> {
    let seq_length = input.int_in_range(1..=70_usize)?;
    let window = input.int_in_range(1..=20_usize)?;
    let (eos, pad) = (best_fit::EOS.into(), best_fit::PAD.into());
    let new_packer = || BestFitPacker::<u16>::new(seq_length, eos, pad, window).unwrap();
    let mut packer = new_packer();
    let mut documents: Vec<Vec<u16>> = Vec::new();
    let mut blocks = Vec::new();
    while !input.is_empty() {
        match input.int_in_range(0..=7_u8)? {
            0..=4 => {
                let some = some_documents(input)?;
                let (ids, offsets, num_bytes) = reference::flat(&some);
                packer.push_documents(&ids, &offsets, &num_bytes).unwrap();
                documents.extend(some);
            }
            5 | 6 => {
                let most = input.int_in_range(0..=5_usize)?;
                blocks.extend(best_fit::blocks_of(&packer.take(most), seq_length));
            }
            _ => {
                let state = packer.state();
                let mut resumed = new_packer();
                resumed.set_state(state.clone()).unwrap();
                assert_eq!((resumed.counters(), resumed.state()), (packer.counters(), state));
                packer = resumed;
            }
        }
        let counters = packer.counters();
        assert_eq!(counters.totals.documents, documents.len() as u64);
        assert_eq!(counters.totals.tokens, counters.tokens_emitted + counters.tokens_carried);
    }
    blocks.extend(best_fit::blocks_of(&packer.finish().unwrap(), seq_length));
    assert_eq!(blocks, best_fit::reference(&documents, seq_length, window));
    let counters = packer.counters();
    assert_eq!((counters.tokens_carried, counters.totals.tokens), (0, counters.tokens_emitted));
    Ok(())
}

/// Up to five documents of up to 40 ids, none of which is EOS or padding.
fn some_documents(input: &mut Unstructured<'_>) -> Read<Vec<Vec<u16>>> {
    (0..input.int_in_range(0..=4_u8)?)
        .map(|_| Ok((0..input.int_in_range(0..=40_u16)?).map(|id| id + 10).collect()))
        .collect()
}
