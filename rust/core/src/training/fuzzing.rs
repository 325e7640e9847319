//! The trainer and the plain one side by side, for tests and for fuzzing.

#![allow(clippy::unwrap_used)] // as in tests: a panic is what tells

use std::sync::Arc;

use super::position::Position;
use super::{Arena, BpeTrainer, Budget, Cancel, Limits, Merger, Progress, Result, Tokens};
use super::{PieceCounts, Splitting, Trained, TrainingOptions, reference};
use crate::unicode::ClassTable;

/// What training means.
pub(crate) fn plain(texts: &[&str], options: &TrainingOptions, classes: &ClassTable) -> Trained {
    reference::train(texts, options, classes)
}

/// Train as usual, then with a first bar of the caller's choice and positions of each width: all have to be equal.
pub(crate) fn fast(texts: &[&str], options: &TrainingOptions, bar: u64) -> impl Iterator<Item = Trained> {
    [
        counted(texts)
            .and_then(|mut trainer| trainer.train_here(options, &Cancel::default(), &Progress::default())),
        train_with_bar::<u32>(texts, options, bar),
        train_with_bar::<usize>(texts, options, bar),
    ]
    .into_iter()
    .map(|trained| trained.unwrap())
}

fn counted(texts: &[&str]) -> Result<BpeTrainer> {
    let mut trainer =
        BpeTrainer::with_classes(Splitting::Gpt2, Arc::new(ClassTable::unicode_14_and_others()), None);
    for some in texts.chunks(7) {
        trainer.push(some, 1, &mut || false)?;
    }
    Ok(trainer)
}

/// The second half of `train`, with a position type and a first bar of the caller's choice.
pub(crate) fn train_with_bar<P: Position>(
    texts: &[&str],
    options: &TrainingOptions,
    bar: u64,
) -> Result<Trained> {
    let (budget, cancel) = (Budget::new(None), Cancel::default());
    let counts = counted(texts)?.counts.pop();
    let counts = counts.unwrap_or_else(|| PieceCounts::new(Splitting::Gpt2));
    let mut tokens = Tokens::new(&options.special_tokens, &options.initial_alphabet, &counts.bytes_seen());
    let arena = Arena::new(&counts, tokens.id_of_byte(), &budget, &cancel)?;
    let limits = Limits {
        vocab_size: options.vocab_size,
        min_count: options.min_frequency.max(1),
        max_token_length: options.max_token_length.unwrap_or(usize::MAX),
    };
    let merger = Merger::<P>::with_bar(arena, &mut tokens, limits, bar, &budget, &cancel)?;
    let pairs = merger.run(&Progress::default())?;
    Ok(Trained { vocabulary: tokens.into_vocabulary(&budget)?, merges: pairs })
}
