//! Each stage alone, over the sources of this crate: `cargo bench -p gristmill-core`.
//!
//! The text is small and seen again and again, so caches are warm: these figures compare one version of a stage
//! with another. Documents to blocks on distinct text, beside other packages, is `benches/packing_speed.py`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use gristmill_core::cancel::Cancel;
use gristmill_core::encoder::{Encoder, Scratch};
use gristmill_core::instructions::Instructions;
use gristmill_core::merge::{MergeScratch, MergeTable};
use gristmill_core::packer::Packer;
use gristmill_core::split::{Pieces, Splitting};
use gristmill_core::stages;
use gristmill_core::unicode::ClassTable;
use gristmill_core::vocabulary::Vocabulary;
use rustc_hash::FxHashMap;

const SOURCES: [&str; 6] = [
    include_str!("../src/encoder.rs"),
    include_str!("../src/metrics.rs"),
    include_str!("../src/packer.rs"),
    include_str!("../src/tokenizer_json.rs"),
    include_str!("../src/unicode.rs"),
    include_str!("../src/vocabulary.rs"),
];

fn pieces<'t>(text: &'t str, classes: &ClassTable) -> Vec<&'t [u8]> {
    let mut scanner = Pieces::new(Splitting::Gpt2, text, classes);
    let mut pieces = Vec::new();
    while let Ok(Some((start, end))) = scanner.next_piece() {
        pieces.push(&text.as_bytes()[start..end]);
    }
    pieces
}

/// A vocabulary for this text: the commonest pair again and again, counted anew each time.
fn train(text: &str, classes: &ClassTable, num_merges: u32) -> Vocabulary {
    let mut words: Vec<Vec<u32>> =
        pieces(text, classes).iter().map(|piece| piece.iter().map(|&byte| byte.into()).collect()).collect();
    let mut merges = Vec::new();
    for merged in 256..256 + num_merges {
        let mut counts: FxHashMap<(u32, u32), u32> = FxHashMap::default();
        for pair in words.iter().flat_map(|word| word.windows(2)) {
            *counts.entry((pair[0], pair[1])).or_default() += 1;
        }
        let Some((&(left, right), _)) = counts.iter().max_by_key(|&(pair, count)| (*count, *pair)) else {
            break;
        };
        merges.push((left, right));
        for word in &mut words {
            let mut place = 0;
            while place + 1 < word.len() {
                if (word[place], word[place + 1]) == (left, right) {
                    word.splice(place..=place + 1, [merged]);
                }
                place += 1;
            }
        }
    }
    Vocabulary::from_merges(&merges).unwrap_or_else(|error| panic!("{error}"))
}

fn bench_stages(criterion: &mut Criterion) {
    let text = SOURCES.concat();
    let classes = ClassTable::unicode_14();
    let vocabulary = train(&text, &classes, 1000);
    let table = MergeTable::new(&vocabulary);
    let encoder = Encoder::new(vocabulary);
    let cancel = Cancel::default();
    let distinct = {
        let mut distinct = pieces(&text, &classes);
        distinct.sort_unstable();
        distinct.dedup();
        distinct
    };
    let random_letters: Vec<u8> = gristmill_core::order::Permutation::new(1, 1 << 16)
        .iter()
        .map(|number| b'a' + u8::try_from(number % 26).unwrap_or(0))
        .collect();

    let mut group = criterion.benchmark_group("stages");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group
        .bench_function("split plainly", |bencher| bencher.iter(|| pieces(black_box(&text), &classes).len()));
    let instructions = Instructions::fastest();
    group.bench_function("classifier", |bencher| {
        bencher.iter(|| stages::classify_text(instructions, black_box(&text), &classes));
    });
    group.bench_function("classifier and boundaries", |bencher| {
        bencher.iter(|| stages::boundaries(instructions, black_box(&text), &classes));
    });
    // The fast stages have to give what the plain one does, or their times say nothing.
    let starts = stages::boundaries(instructions, &text, &classes).unwrap_or_default();
    let found: Vec<&[u8]> =
        starts.windows(2).map(|pair| &text.as_bytes()[pair[0] as usize..pair[1] as usize]).collect();
    assert_eq!(found, pieces(&text, &classes));
    let mut lookup = stages::Lookup::new(instructions, encoder.vocabulary());
    let mut looked_up: Vec<u16> = Vec::new();
    group.bench_function("lookup", |bencher| {
        bencher.iter(|| {
            looked_up.clear();
            lookup.encode(black_box(&text), &starts, &mut looked_up, &cancel)
        });
    });

    let mut scratch = Scratch::default();
    let mut ids: Vec<u16> = Vec::new();
    let result = encoder.encode_into(&text, &mut scratch, &mut ids, &cancel);
    assert!(looked_up.is_empty() || looked_up == ids);
    assert_eq!(
        result.map(|()| encoder.vocabulary().decode(ids.iter().map(|&id| id.into()))),
        Ok(Ok(text.clone().into_bytes()))
    );
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            ids.clear();
            encoder.encode_into(black_box(&text), &mut scratch, &mut ids, &cancel)
        });
    });

    let mut merge = MergeScratch::default();
    group.throughput(Throughput::Bytes(distinct.iter().map(|piece| piece.len() as u64).sum()));
    group.bench_function("merge distinct pieces", |bencher| {
        bencher.iter(|| {
            ids.clear();
            distinct.iter().try_for_each(|piece| table.merge_into(piece, &mut merge, &mut ids, &cancel))
        });
    });
    group.throughput(Throughput::Bytes(random_letters.len() as u64));
    group.bench_function("merge one long piece", |bencher| {
        bencher.iter(|| {
            ids.clear();
            table.merge_into(black_box(&random_letters), &mut merge, &mut ids, &cancel)
        });
    });

    // Ready ids, documents of 1,000 tokens, in and out.
    let documents: Vec<u16> =
        (0..1_000_000_u32).map(|number| u16::try_from(number % 50_000).unwrap_or(0)).collect();
    let offsets: Vec<i64> = (0..=1000).map(|document| document * 1000).collect();
    let num_bytes = vec![4000; 1000];
    for num_lanes in [1, 16] {
        group.throughput(Throughput::Bytes(2 * documents.len() as u64));
        group.bench_function(format!("pack in {num_lanes} lanes"), |bencher| {
            bencher.iter_batched(
                || Packer::<u16>::new(1024, 50_256, num_lanes),
                |packer| {
                    let mut packer = packer?;
                    packer.push_documents(&documents, &offsets, &num_bytes)?;
                    Ok::<_, gristmill_core::Error>(packer.take_blocks(usize::MAX))
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, bench_stages);
criterion_main!(benches);
