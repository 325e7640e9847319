//! `max_memory` is kept: what the allocator hands out in training never exceeds it by more than small change.

#![allow(clippy::unwrap_used)] // a test

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use gristmill_core::Error;
use gristmill_core::split::Splitting;
use gristmill_core::training::{BpeTrainer, TrainingOptions};

/// Counts the bytes that are out, and the most there ever were.
struct Counting;

static OUT: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let out = OUT.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(out, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        OUT.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Scanner, batches, channels, threads: what does not grow with the texts.
const SMALL_CHANGE: usize = 1 << 20;

/// Words that end ever differently: many distinct pieces, some of them long, some common.
fn texts(num_texts: u64, num_words: u64) -> Vec<String> {
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let word = |number: u64, length: usize| -> String {
        (0..length).map(|place| char::from(b'a' + (number >> (4 * (place % 7)) & 15) as u8)).collect()
    };
    (0..num_texts)
        .map(|_| {
            (0..num_words)
                .map(|_| match random() % 4 {
                    0 => word(random() % 300, 4),
                    1 => word(random() % 70_000, 9),
                    2 => word(random(), 7),
                    _ => word(random(), 19),
                })
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

/// Train with a limit; returns how it ended, the most that the account showed and the most that was out.
fn train(texts: &[String], num_threads: usize, limit: Option<u64>) -> (Result<usize, Error>, usize) {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let before = OUT.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let mut trainer = BpeTrainer::new(Splitting::Gpt2, limit);
    let options = TrainingOptions {
        vocab_size: 6000,
        min_frequency: 0,
        special_tokens: Vec::new(),
        initial_alphabet: Vec::new(),
        max_token_length: None,
    };
    let mut run = || {
        for some in texts.chunks(5) {
            trainer.push(some, num_threads, &mut || false)?;
        }
        trainer.train(&options, &mut |_| false).map(|trained| trained.merges.len())
    };
    let result = run();
    drop(trainer);
    (result, MOST.load(Ordering::Relaxed) - before)
}

/// One test, for the allocator counts all threads of the process.
#[test]
fn no_limit_is_exceeded_and_no_corpus_is_held() {
    let many = texts(40, 4000);
    for num_threads in [1, 3] {
        let (result, most) = train(&many, num_threads, None);
        assert_eq!(result, Ok(6000 - 17));
        assert!(most > 10 << 20, "{most}");
        // From limits that end counting to one that is just enough.
        let (mut refused, mut done) = (0, 0);
        for percent in [1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100, 110, 130] {
            let limit = most * percent / 100;
            let (result, used) = train(&many, num_threads, Some(limit as u64));
            match result {
                Ok(num_merges) => {
                    assert_eq!(num_merges, 6000 - 17);
                    done += 1;
                }
                Err(Error::MemoryLimit { needed, limit: told }) => {
                    assert!(needed > told && told == limit as u64, "{needed} {told} {limit}");
                    refused += 1;
                }
                Err(error) => panic!("{error}"),
            }
            assert!(used <= limit + num_threads * SMALL_CHANGE, "{num_threads} threads, {percent} %: {used}");
        }
        assert!(refused >= 8 && done >= 1, "{refused} refused, {done} done");
    }

    // Ten times as long, no word more: the same peak.
    let once = texts(10, 4000);
    let ten_times: Vec<String> = (0..10).flat_map(|_| once.iter().cloned()).collect();
    let (_, short) = train(&once, 1, None);
    let (_, long) = train(&ten_times, 1, None);
    assert!(long <= short + SMALL_CHANGE, "{long} instead of {short}");
}
