//! Counters as JSON, so that shards can be measured apart and put together later.

use serde::{Deserialize, Serialize};

use super::columns::{NUM_COLUMNS, Row};
use super::outliers::{DocumentSize, NUM_KEPT, Outliers};
use super::type_sample::TypeSample;
use super::{MetricCounters, MetricOptions, NUM_GROUPS, SAMPLED_RULES};
use crate::error::{Error, Result};

/// A change of what is counted, or of a hash, gets a new number.
const VERSION: u32 = 2;
/// More ids than any vocabulary has: a damaged file must not ask for all memory.
const MAX_VOCAB_SIZE: usize = 1 << 24;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    version: u32,
    options: MetricOptions,
    /// Those that are not all 0.
    groups: Vec<(usize, Vec<u64>)>,
    /// Of the ids that occurred.
    token_counts: Vec<(usize, u64)>,
    type_samples: Vec<SavedSample>,
    worst: Vec<(u64, u64, u64)>,
    best: Vec<(u64, u64, u64)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedSample {
    overflowed: bool,
    words: Vec<(u64, Option<String>)>,
}

impl MetricCounters {
    /// The counters as JSON.
    ///
    /// # Errors
    ///
    /// `InvalidOffsets` should JSON refuse them, which nothing in them asks for.
    pub fn to_json(&self) -> Result<String> {
        let sizes =
            |kept: &[DocumentSize]| kept.iter().map(|size| (size.row, size.bytes, size.tokens)).collect();
        let saved = Saved {
            version: VERSION,
            options: self.options.clone(),
            groups: (self.groups.iter().enumerate())
                .filter(|(_, row)| row.iter().any(|&sum| sum > 0))
                .map(|(number, row)| (number, row.to_vec()))
                .collect(),
            token_counts: (self.token_counts.iter().copied().enumerate())
                .filter(|&(_, count)| count > 0)
                .collect(),
            type_samples: (self.type_samples.iter())
                .map(|sample| SavedSample {
                    overflowed: sample.overflowed(),
                    words: sample.words().map(|(hash, word)| (hash, word.map(str::to_owned))).collect(),
                })
                .collect(),
            worst: sizes(&self.outliers.worst),
            best: sizes(&self.outliers.best),
        };
        serde_json::to_string(&saved).map_err(|error| refused(&error.to_string()))
    }

    /// Counters from `to_json`.
    ///
    /// # Errors
    ///
    /// `InvalidOffsets` for what is no such JSON.
    pub fn from_json(json: &str) -> Result<Self> {
        let saved: Saved = serde_json::from_str(json).map_err(|error| refused(&error.to_string()))?;
        if saved.version != VERSION {
            return Err(refused(&format!("their version is {} (expected {VERSION})", saved.version)));
        }
        if saved.options.vocab_size > MAX_VOCAB_SIZE {
            return Err(refused(&format!("their vocab_size is {}", saved.options.vocab_size)));
        }
        if saved.type_samples.len() != SAMPLED_RULES.len() {
            return Err(refused(&format!("they have {} samples of words", saved.type_samples.len())));
        }
        let mut counters = Self::new(saved.options);
        for (number, row) in saved.groups {
            let row: Row = row.try_into().map_err(|row: Vec<u64>| {
                refused(&format!("a group has {} sums (expected {NUM_COLUMNS})", row.len()))
            })?;
            let group = counters.groups.get_mut(number);
            *group.ok_or_else(|| {
                refused(&format!("there is a group {number} (expected less than {NUM_GROUPS})"))
            })? = row;
        }
        for (id, count) in saved.token_counts {
            let place = counters.token_counts.get_mut(id);
            *place
                .ok_or_else(|| refused(&format!("there is an id {id}, which is not below vocab_size")))? =
                count;
        }
        for (sample, saved) in counters.type_samples.iter_mut().zip(saved.type_samples) {
            *sample = TypeSample::from_parts(saved.words, saved.overflowed);
        }
        let sizes = |kept: Vec<(u64, u64, u64)>| {
            kept.into_iter()
                .take(NUM_KEPT)
                .map(|(row, bytes, tokens)| DocumentSize { row, bytes, tokens })
                .collect()
        };
        counters.outliers = Outliers { worst: sizes(saved.worst), best: sizes(saved.best) };
        Ok(counters)
    }
}

fn refused(reason: &str) -> Error {
    Error::InvalidOffsets { reason: format!("saved counters cannot be read: {reason}") }
}
