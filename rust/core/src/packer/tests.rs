use proptest::prelude::*;

use super::reference::{flat, reference, reference_segments, segments_of};
use super::*;

const EOS: u32 = 9;
const PAD: u32 = 7;

fn push(packer: &mut Packer<u16>, documents: &[Vec<u16>]) {
    let (ids, offsets, num_bytes) = flat(documents);
    packer.push_documents(&ids, &offsets, &num_bytes).unwrap();
}

fn check_balance(packer: &Packer<u16>) {
    let counters = packer.counters();
    assert_eq!(
        counters.totals.tokens,
        counters.tokens_emitted + counters.tokens_carried + counters.tokens_dropped
    );
    assert_eq!(counters.eos_tokens, counters.totals.documents);
}

#[test]
fn the_example_at_the_head() {
    let documents = [vec![1, 2, 3], vec![4], vec![5, 6, 7, 8], vec![]];
    let mut packer = Packer::new(4, EOS, 2).unwrap();
    push(&mut packer, &documents);
    assert_eq!(packer.num_ready_blocks(), 1);
    assert_eq!(packer.take_blocks(10), [1, 2, 3, 9]);
    assert!(packer.take_blocks(10).is_empty());
    let positions = packer.lane_positions();
    let before = Totals { documents: 1, bytes: 6, tokens: 4 };
    assert_eq!(positions[0], LanePosition { document: 2, offset: 0, before });
    assert_eq!(positions[1], LanePosition { document: 1, ..LanePosition::default() });
    let rest = packer.finish(None).unwrap();
    assert_eq!((rest.ids, rest.num_valid), (vec![5, 6, 7, 8], vec![4]));
    assert_eq!((rest.segments.cu_seqlens, rest.segments.documents), (vec![0, 4], vec![2]));
    let counters = packer.counters();
    assert_eq!(counters.totals, Totals { documents: 4, bytes: 16, tokens: 12 });
    assert_eq!((counters.tokens_emitted, counters.tokens_dropped, counters.tokens_carried), (8, 4, 0));
    assert_eq!(packer.finish(None), Err(Error::PackerFinished));
    assert_eq!(packer.push_documents(&[], &[0], &[]), Err(Error::PackerFinished));
    assert_eq!((packer.num_ready_blocks(), packer.take_blocks(1)), (0, vec![]));
}

#[test]
fn padding_fills_the_last_blocks_and_is_counted() {
    let mut packer = Packer::new(4, EOS, 2).unwrap();
    push(&mut packer, &[vec![1, 2, 3, 4], vec![5]]);
    let rest = packer.finish(Some(PAD)).unwrap();
    assert_eq!(rest.ids, [1, 2, 3, 4, 5, 9, 7, 7, 9, 7, 7, 7]);
    assert_eq!(rest.num_valid, [4, 2, 1]);
    assert_eq!(packer.counters().tokens_padding, 5);
    check_balance(&packer);
}

#[test]
fn what_makes_no_sense_is_refused() {
    assert!(matches!(
        Packer::<u16>::new(0, 1, 1),
        Err(Error::InvalidOption { name: "seq_length", value: 0, .. })
    ));
    assert!(matches!(
        Packer::<u16>::new(1, 1, 0),
        Err(Error::InvalidOption { name: "num_lanes", value: 0, .. })
    ));
    assert_eq!(
        Packer::<u16>::new(1, 65_536, 1).unwrap_err(),
        Error::IdDoesNotFit { id: 65_536, max: 65_535 }
    );
    assert!(Packer::<u32>::new(1, 65_536, 1).is_ok());
    let mut packer = Packer::<u16>::new(4, EOS, 1).unwrap();
    for (offsets, num_bytes) in [
        (vec![0], vec![1]),
        (vec![], vec![]),
        (vec![0, 4], vec![1]),
        (vec![2, 1], vec![1]),
        (vec![-1, 1], vec![1]),
    ] {
        let result = packer.push_documents(&[1, 2, 3], &offsets, &num_bytes);
        assert!(matches!(result, Err(Error::InvalidOffsets { .. })), "{offsets:?}");
    }
    assert_eq!(packer.counters(), PackerCounters::default());
    assert_eq!(packer.finish(Some(70_000)), Err(Error::IdDoesNotFit { id: 70_000, max: 65_535 }));
}

/// A packer that stands at block 3, and its positions.
fn stopped() -> (Vec<Vec<u16>>, Packer<u16>) {
    let documents = vec![vec![1; 6], vec![2; 5], vec![3; 2], vec![4; 3]];
    let mut packer = Packer::new(4, EOS, 2).unwrap();
    push(&mut packer, &documents);
    packer.take_blocks(3);
    (documents, packer)
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let (documents, stopped) = stopped();
    let positions = stopped.lane_positions();
    let resumed = |next_block, next_document, positions: &[LanePosition]| {
        let mut packer = Packer::<u16>::new(4, EOS, 2).unwrap();
        packer.resume(next_block, next_document, positions).map(|()| packer)
    };
    let refused = |result: Result<Packer<u16>>| match result {
        Err(Error::InvalidResume { reason }) => assert!(reason.contains("expected"), "{reason}"),
        other => panic!("expected InvalidResume, found {other:?}"),
    };
    assert!(resumed(3, 0, &positions).is_ok());
    refused(resumed(4, 0, &positions)); // another number of blocks
    refused(resumed(3, 0, &positions[..1])); // another number of lanes
    refused(resumed(3, 3, &positions)); // documents that are needed would be missing
    let mut other = positions.clone();
    other[1].document += 2;
    refused(resumed(3, 0, &other));
    assert!(
        matches!(stopped.clone().resume(3, 0, &positions), Err(Error::InvalidResume { .. })),
        "not fresh"
    );
    // Another corpus: the document that was cut is too short now, or never comes.
    let cut = usize::try_from(positions[1].document).unwrap();
    assert!(positions[1].offset > 0);
    let mut packer = resumed(3, 0, &positions).unwrap();
    let mut shorter = documents.clone();
    shorter[cut].truncate(1);
    let (ids, offsets, num_bytes) = flat(&shorter);
    let untouched = packer.counters();
    assert!(matches!(packer.push_documents(&ids, &offsets, &num_bytes), Err(Error::InvalidResume { .. })));
    assert_eq!(packer.counters(), untouched, "all documents are taken, or none");
    assert!(matches!(packer.finish(None), Err(Error::InvalidResume { .. })));
}

/// Documents, some empty, some longer than a block, no id being EOS.
pub(crate) fn documents() -> impl Strategy<Value = Vec<Vec<u16>>> {
    let document = prop_oneof![
        1 => Just(Vec::new()),
        6 => proptest::collection::vec(0..7_u16, 0..9),
        1 => proptest::collection::vec(0..7_u16, 20..40),
    ];
    proptest::collection::vec(document, 0..30)
}

/// Documents on both sides of what is copied in chunks.
pub(crate) fn long_documents() -> impl Strategy<Value = Vec<Vec<u16>>> {
    let document = prop_oneof![
        3 => proptest::collection::vec(0..7_u16, 0..70),
        1 => proptest::collection::vec(0..7_u16, 200..300),
    ];
    proptest::collection::vec(document, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// However documents are batched and blocks are taken: the blocks of the reference, and a balanced account.
    #[test]
    fn blocks_depend_on_the_documents_alone(
        documents in documents(),
        seq_length in 1..9_usize,
        num_lanes in 1..6_usize,
        steps in proptest::collection::vec((0..5_usize, 0..4_usize), 0..30),
        pad: bool,
    ) {
        let mut packer = Packer::<u16>::new(seq_length, EOS, num_lanes).unwrap();
        let (mut ids, mut num_valid, mut bounds) = (Vec::new(), Vec::new(), Vec::new());
        let mut rest = documents.as_slice();
        for (step, (num_pushed, num_taken)) in steps.into_iter().chain([(usize::MAX, 1)]).enumerate() {
            let (now, later) = rest.split_at(num_pushed.min(rest.len()));
            rest = later;
            push(&mut packer, now);
            let ready = packer.num_ready_blocks();
            let taken = if step % 2 == 0 {
                let blocks = packer.take_with_segments(num_taken);
                bounds.extend(segments_of(&blocks.segments));
                prop_assert_eq!(blocks.num_valid.len() * seq_length, blocks.ids.len());
                blocks.ids
            } else {
                let mut out = vec![0; (num_taken + 1) * seq_length - 1];
                let count = packer.take_into(&mut out);
                bounds.resize(bounds.len() + count, Vec::new()); // not asked for
                out.truncate(count * seq_length);
                out
            };
            prop_assert_eq!(taken.len(), ready.min(num_taken) * seq_length);
            num_valid.resize(num_valid.len() + taken.len() / seq_length, i64::try_from(seq_length).unwrap());
            ids.extend(taken);
            prop_assert_eq!(packer.next_block(), num_valid.len() as u64);
            check_balance(&packer);
        }
        let last = packer.finish(pad.then_some(PAD)).unwrap();
        ids.extend(last.ids);
        num_valid.extend(last.num_valid);
        bounds.extend(segments_of(&last.segments));
        let expected = reference_segments(&documents, seq_length, num_lanes, pad);
        prop_assert_eq!(bounds.len(), expected.len());
        for (found, expected) in bounds.into_iter().zip(expected) {
            prop_assert!(found.is_empty() || found == expected, "{:?}, {:?}", found, expected);
        }
        prop_assert_eq!((ids, num_valid.clone()), reference(&documents, seq_length, num_lanes, pad));
        check_balance(&packer);
        let counters = packer.counters();
        prop_assert_eq!(counters.tokens_carried, 0);
        prop_assert_eq!(counters.totals.documents, documents.len() as u64);
        prop_assert_eq!(counters.tokens_emitted, num_valid.iter().sum::<i64>().unsigned_abs());
        prop_assert!(!pad || counters.tokens_dropped == 0);
    }

    /// Documents and blocks in one step, mixed with the two steps: the blocks of the reference, the same account.
    #[test]
    fn packing_in_one_step_is_pushing_and_taking(
        documents in prop_oneof![documents(), long_documents()],
        seq_length in prop_oneof![1..9_usize, 30..300_usize],
        steps in proptest::collection::vec((0..5_usize, 0..3_usize), 0..30),
    ) {
        let mut packer = Packer::<u16>::new(seq_length, EOS, 1).unwrap();
        let mut plain = packer.clone();
        let (mut ids, mut expected) = (Vec::new(), Vec::new());
        let mut rest = documents.as_slice();
        for (num_pushed, way) in steps.into_iter().chain([(usize::MAX, 0)]) {
            let (now, later) = rest.split_at(num_pushed.min(rest.len()));
            rest = later;
            push(&mut plain, now);
            match way {
                0 | 1 => {
                    let (flat_ids, offsets, num_bytes) = flat(now);
                    let needed = plain.num_ready_blocks();
                    let mut out = vec![5; (needed + way) * seq_length + way];
                    if needed > 0 {
                        let before = packer.clone();
                        let room = out.len() - way * (seq_length + 1) - 1;
                        let result = packer.pack_documents(&flat_ids, &offsets, None, 9, &mut out[..room]);
                        prop_assert_eq!(result, Err(Error::OutputTooSmall {
                            needed: needed as u64,
                            room: (room / seq_length) as u64,
                        }));
                        prop_assert_eq!(packer.counters(), before.counters());
                    }
                    let count = packer.pack_documents(&flat_ids, &offsets, Some(&num_bytes), 9, &mut out).unwrap();
                    prop_assert_eq!(count, needed);
                    ids.extend_from_slice(&out[..count * seq_length]);
                    expected.extend(plain.take_blocks(usize::MAX));
                }
                _ => {
                    push(&mut packer, now);
                    ids.extend(packer.take_blocks(1));
                    expected.extend(plain.take_blocks(1));
                }
            }
            prop_assert_eq!(packer.counters(), plain.counters());
            prop_assert_eq!(packer.lane_positions(), plain.lane_positions());
            prop_assert_eq!(packer.next_document(), plain.next_document());
            prop_assert_eq!(packer.next_block(), plain.next_block());
        }
        prop_assert_eq!(&ids, &expected);
        prop_assert_eq!(packer.finish(Some(PAD)), plain.finish(Some(PAD)));
        prop_assert_eq!(packer.counters(), plain.counters());
    }

    /// The loop for wide registers against the one for any machine; ids behind the last document are nobody's.
    #[test]
    fn joining_is_the_same_with_and_without_wide_registers(
        documents in long_documents(),
        start in 0..40_usize,
        room in 0..3000_usize,
        behind in proptest::collection::vec(any::<u16>(), 0..70),
        max_id in 4..8_u32,
    ) {
        let (mut ids, offsets, _) = flat(&documents);
        let largest = ids.iter().copied().max().map_or(0, u32::from);
        ids.extend(behind);
        let joined = crate::join::Documents::new(&ids, &offsets, max_id).unwrap();
        let (mut plain, mut wide) = (vec![1; start + room], vec![1; start + room]);
        let result = joined.join_with(EOS.try_into().unwrap(), &mut plain, start);
        prop_assert_eq!(&joined.join(EOS.try_into().unwrap(), &mut wide, start), &result);
        prop_assert_eq!(result.is_ok(), largest <= max_id);
        if let Ok((num_whole, end)) = result {
            let expected: Vec<u16> =
                documents[..num_whole].iter().flat_map(|document| document.iter().copied().chain([9])).collect();
            prop_assert_eq!(&plain[start..end], &expected);
            prop_assert_eq!(&wide[start..end], &expected);
            prop_assert!(num_whole == documents.len() || end + documents[num_whole].len() + 1 > start + room);
        }
    }

    /// Offsets and ids that are wrong: refused as a whole, by the one step as by the two.
    #[test]
    fn wrong_offsets_and_ids_change_nothing(
        documents in long_documents(),
        seq_length in 1..300_usize,
        place: prop::sample::Index,
        value in prop_oneof![-2..2000_i64, Just(i64::MIN), Just(i64::MAX)],
        as_id: bool,
    ) {
        let (mut ids, mut offsets, num_bytes) = flat(&documents);
        if as_id {
            prop_assume!(!ids.is_empty());
            let place = place.index(ids.len());
            ids[place] = 100;
        } else {
            let place = place.index(offsets.len());
            offsets[place] = value;
        }
        let mut packer = Packer::<u16>::new(seq_length, EOS, 1).unwrap();
        push(&mut packer, &documents[..documents.len() / 2]);
        packer.take_blocks(usize::MAX);
        let mut two_steps = packer.clone();
        let before = packer.clone();
        let expected = two_steps.push_documents(&ids, &offsets, &num_bytes);
        let mut out = vec![0; 2 * seq_length + ids.len() + offsets.len() + 4000];
        let result = packer.pack_documents(&ids, &offsets, Some(&num_bytes), 99, &mut out);
        match expected {
            Ok(()) if as_id => prop_assert_eq!(&result, &Err(Error::IdDoesNotFit { id: 100, max: 99 })),
            Ok(()) => prop_assert!(result.is_ok(), "{:?}", result),
            Err(_) => prop_assert!(matches!(result, Err(Error::InvalidOffsets { .. })), "{:?}", result),
        }
        if result.is_err() {
            prop_assert_eq!(packer.counters(), before.counters());
            prop_assert_eq!(packer.lane_positions(), before.lane_positions());
            prop_assert_eq!(packer.finish(Some(PAD)), before.clone().finish(Some(PAD)));
        }
    }

    /// Stop anywhere, go on from any document that no lane is past: the same blocks and the same account.
    #[test]
    fn a_resumed_packer_equals_an_unbroken_one(
        documents in documents(),
        seq_length in 1..9_usize,
        num_lanes in 1..5_usize,
        pushed: prop::sample::Index,
        taken in 0..40_usize,
        anchor: prop::sample::Index,
        pad: bool,
    ) {
        let pad = pad.then_some(PAD);
        let mut unbroken = Packer::<u16>::new(seq_length, EOS, num_lanes).unwrap();
        let num_pushed = pushed.index(documents.len() + 1);
        push(&mut unbroken, &documents[..num_pushed]);
        unbroken.take_blocks(taken);
        let positions = unbroken.lane_positions();
        let earliest = positions.iter().map(|position| position.document).min().unwrap();
        let first = anchor.index(usize::try_from(earliest).unwrap() + 1).min(documents.len());

        let mut resumed = Packer::<u16>::new(seq_length, EOS, num_lanes).unwrap();
        resumed.resume(unbroken.next_block(), first as u64, &positions).unwrap();
        prop_assert_eq!(resumed.lane_positions(), positions);
        check_balance(&resumed);
        for document in &documents[first..] {
            push(&mut resumed, std::slice::from_ref(document));
            check_balance(&resumed);
        }
        push(&mut unbroken, &documents[num_pushed..]);
        prop_assert_eq!(resumed.counters(), unbroken.counters());
        prop_assert_eq!(resumed.lane_positions(), unbroken.lane_positions());
        prop_assert_eq!(resumed.next_document(), unbroken.next_document());
        prop_assert_eq!(resumed.take_blocks(3), unbroken.take_blocks(3));
        prop_assert_eq!(resumed.lane_positions(), unbroken.lane_positions());
        prop_assert_eq!(resumed.finish(pad), unbroken.finish(pad));
        prop_assert_eq!(resumed.counters(), unbroken.counters());
    }
}
