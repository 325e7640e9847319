use proptest::prelude::*;

use super::reference::{EOS, PAD, blocks_of, reference};
use super::*;
use crate::packer::reference::flat;
use crate::packer::tests::{documents, long_documents};

fn packer(seq_length: usize, window: usize) -> BestFitPacker<u16> {
    BestFitPacker::new(seq_length, EOS.into(), PAD.into(), window).unwrap()
}

fn push(packer: &mut BestFitPacker<u16>, documents: &[Vec<u16>]) {
    let (ids, offsets, num_bytes) = flat(documents);
    packer.push_documents(&ids, &offsets, &num_bytes).unwrap();
}

fn check_balance(packer: &BestFitPacker<u16>) {
    let PackerCounters { totals, eos_tokens, tokens_emitted, tokens_carried, .. } = packer.counters();
    assert_eq!((totals.tokens, totals.documents), (tokens_emitted + tokens_carried, eos_tokens));
}

#[test]
fn the_example_at_the_head() {
    let mut packer = packer(8, 4);
    push(&mut packer, &[vec![0; 10], vec![1; 2], vec![2; 4]]);
    assert_eq!((packer.num_ready_blocks(), packer.counters().tokens_carried), (1, 19));
    assert_eq!(blocks_of(&packer.take(5), 8), [(vec![0; 8], vec![(0, 8)])]);
    push(&mut packer, &[vec![3; 3]]);
    let blocks = packer.take(5);
    let expected = [
        (vec![2, 2, 2, 2, EOS, 0, 0, EOS], vec![(2, 5), (0, 3)]),
        (vec![3, 3, 3, EOS, 1, 1, EOS, PAD], vec![(3, 4), (1, 3)]),
    ];
    assert_eq!(blocks_of(&blocks, 8), expected);
    assert_eq!(blocks.num_valid, [8, 7]);
    let counters = packer.counters();
    assert_eq!((counters.totals.tokens, counters.tokens_emitted, counters.tokens_padding), (23, 23, 1));
    assert_eq!(packer.finish().unwrap(), Blocks::default());
    assert_eq!(packer.finish(), Err(Error::PackerFinished));
    assert_eq!(packer.push_documents(&[], &[0], &[]), Err(Error::PackerFinished));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let name = |result: Result<BestFitPacker<u16>>| match result {
        Err(Error::InvalidOption { name, .. }) => name,
        other => panic!("expected InvalidOption, found {other:?}"),
    };
    assert_eq!(name(BestFitPacker::new(0, 1, 1, 1)), "seq_length");
    assert_eq!(name(BestFitPacker::new((1 << 20) + 1, 1, 1, 1)), "seq_length");
    assert_eq!(name(BestFitPacker::new(4, 1, 1, 0)), "window");
    assert_eq!(name(BestFitPacker::new(4, 1, 1, (1 << 24) + 1)), "window");
    let too_large = Error::IdDoesNotFit { id: 70_000, max: 65_535 };
    assert_eq!(BestFitPacker::<u16>::new(4, 1, 70_000, 1).unwrap_err(), too_large);
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let mut stopped = packer(8, 4);
    push(&mut stopped, &[vec![0; 10], vec![1; 2]]);
    let state = stopped.state();
    assert_eq!(packer(8, 4).set_state(state.clone()), Ok(()));
    let changes: [fn(&mut BestFitState<u16>); 5] = [
        |state| state.window_documents = 4,
        |state| state.pieces.lengths[0].1 = 8,
        |state| state.pieces.ids.truncate(1),
        |state| state.ready.ids.truncate(1),
        |state| state.tokens_emitted += 1,
    ];
    for change in changes {
        let mut other = state.clone();
        change(&mut other);
        assert!(matches!(packer(8, 4).set_state(other), Err(Error::InvalidResume { .. })));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// However documents are batched and blocks are taken, with a stop anywhere: the blocks of the reference.
    #[test]
    fn blocks_are_those_of_the_reference(
        documents in prop_oneof![documents(), long_documents()],
        seq_length in prop_oneof![1..9_usize, 60..200_usize, Just(5000)],
        window in prop_oneof![1..5_usize, Just(1000)],
        steps in proptest::collection::vec((0..5_usize, 0..4_usize, any::<bool>()), 0..30),
    ) {
        let mut filled = packer(seq_length, window);
        let mut found = Vec::new();
        let mut rest = documents.as_slice();
        for (num_pushed, num_taken, stopped) in steps.into_iter().chain([(usize::MAX, 1, false)]) {
            let (now, later) = rest.split_at(num_pushed.min(rest.len()));
            rest = later;
            push(&mut filled, now);
            let ready = filled.num_ready_blocks();
            let blocks = blocks_of(&filled.take(num_taken), seq_length);
            prop_assert_eq!(blocks.len(), ready.min(num_taken));
            found.extend(blocks);
            check_balance(&filled);
            if stopped {
                let mut resumed = packer(seq_length, window);
                resumed.set_state(filled.state()).unwrap();
                prop_assert_eq!(resumed.counters(), filled.counters());
                filled = resumed;
            }
        }
        found.extend(blocks_of(&filled.finish().unwrap(), seq_length));
        check_balance(&filled);
        prop_assert_eq!(filled.counters().tokens_carried, 0);

        // Every token of every document once, in order within the document.
        let mut tokens = vec![Vec::new(); documents.len()];
        for (ids, segments) in &found {
            let mut start = 0;
            for &(document, length) in segments {
                let end = start + usize::try_from(length).unwrap();
                tokens[usize::try_from(document).unwrap()].extend_from_slice(&ids[start..end]);
                start = end;
            }
            prop_assert!(ids[start..].iter().all(|&id| id == PAD));
        }
        for (tokens, document) in tokens.iter().zip(&documents) {
            prop_assert_eq!(tokens.split_last(), Some((&EOS, document.as_slice())));
        }
        let padding: usize = found.len() * seq_length - tokens.iter().map(Vec::len).sum::<usize>();
        prop_assert_eq!(filled.counters().tokens_padding, padding as u64);
        prop_assert_eq!(found, reference(&documents, seq_length, window));
    }

    /// The tree of masks against a plain list, for rooms of several levels.
    #[test]
    fn the_least_room_is_found(
        seq_length in prop_oneof![Just(1_usize), 2..200_usize, 4000..5000_usize, Just(300_000)],
        steps in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..200),
    ) {
        let mut rooms = Rooms::new(seq_length);
        let mut plain: Vec<(usize, usize)> = Vec::new();
        for (block, (place, taken)) in steps.into_iter().enumerate() {
            let length = place.index(seq_length);
            if taken {
                let least = plain.iter().map(|&(_, room)| room).filter(|&room| room >= length.max(1)).min();
                let expected = least.and_then(|least| plain.iter().rposition(|&(_, room)| room == least));
                let expected = expected.map(|position| plain.remove(position));
                prop_assert_eq!(rooms.take(length.max(1)), expected);
            } else {
                rooms.put(block, length);
                if length > 0 {
                    plain.push((block, length));
                }
            }
        }
    }
}
