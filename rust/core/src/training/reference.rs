//! Training as its rules say it, with all pairs counted again before each merge: slow, for tests.

#![allow(clippy::unwrap_used)] // a test

use std::collections::{BTreeMap, BTreeSet};

use super::{Trained, TrainingOptions};
use crate::byte_alphabet::byte_characters;
use crate::split::{Pieces, Splitting};
use crate::unicode::ClassTable;

/// Train on `texts`.
pub(super) fn train(texts: &[&str], options: &TrainingOptions, classes: &ClassTable) -> Trained {
    let characters = byte_characters();
    let mut pieces: BTreeMap<String, u64> = BTreeMap::new();
    for text in texts {
        let mut cut = Pieces::new(Splitting::Gpt2, text, classes);
        while let Some((start, end)) = cut.next_piece().unwrap() {
            let piece = text.as_bytes()[start..end].iter().map(|&byte| characters[usize::from(byte)]);
            *pieces.entry(piece.collect()).or_default() += 1;
        }
    }

    let mut vocabulary: Vec<String> = Vec::new();
    let alphabet: BTreeSet<char> = pieces
        .keys()
        .flat_map(|piece| piece.chars())
        .chain(options.initial_alphabet.iter().copied())
        .collect();
    for token in options.special_tokens.iter().cloned().chain(alphabet.into_iter().map(String::from)) {
        if !vocabulary.contains(&token) {
            vocabulary.push(token);
        }
    }
    let id_of = |vocabulary: &[String], token: &str| vocabulary.iter().position(|known| known == token);
    let mut words: Vec<(Vec<usize>, u64)> = pieces
        .iter()
        .map(|(piece, &count)| {
            let ids = piece.chars().map(|c| id_of(&vocabulary, &c.to_string()).unwrap()).collect();
            (ids, count)
        })
        .collect();

    let mut symbols: BTreeMap<usize, usize> = (0..vocabulary.len()).map(|id| (id, 1)).collect();
    let mut merges = Vec::new();
    while vocabulary.len() < options.vocab_size {
        let mut counts: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        for (word, count) in &words {
            for pair in word.windows(2) {
                *counts.entry((pair[0], pair[1])).or_default() += count;
            }
        }
        let max_token_length = options.max_token_length.unwrap_or(usize::MAX);
        let allowed = |&(left, right): &(usize, usize)| {
            let num_symbols = symbols[&left] + symbols[&right];
            num_symbols == 2 || num_symbols < max_token_length
        };
        // The first of the largest: the map ascends by pair.
        let top = counts.iter().filter(|(pair, _)| allowed(pair)).rev().max_by_key(|(_, count)| **count);
        let Some((&(left, right), &count)) = top else { break };
        if count < options.min_frequency.max(1) {
            break;
        }
        let token = vocabulary[left].clone() + &vocabulary[right];
        let id = id_of(&vocabulary, &token).unwrap_or_else(|| {
            vocabulary.push(token);
            vocabulary.len() - 1
        });
        symbols.insert(id, symbols[&left] + symbols[&right]);
        merges.push((u32::try_from(left).unwrap(), u32::try_from(right).unwrap()));
        for (word, _) in &mut words {
            let mut at = 0;
            while at + 1 < word.len() {
                if (word[at], word[at + 1]) == (left, right) {
                    word.splice(at..at + 2, [id]);
                }
                at += 1;
            }
        }
    }
    Trained { vocabulary, merges }
}
