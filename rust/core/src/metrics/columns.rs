//! What is counted of one document: a row of integers, which add up over documents.

use super::noise::Noise;
use super::words::WordRule;

/// Integers of one row.
pub const NUM_COLUMNS: usize = FIRST_OF_NOISES + Noise::ALL.len() * COLUMNS_OF_A_NOISE;

pub(crate) const DOCUMENTS: usize = 0;
pub(crate) const BYTES: usize = 1;
pub(crate) const CHARACTERS: usize = 2;
pub(crate) const LINES: usize = 3;
pub(crate) const CODE_LINES: usize = 4;
pub(crate) const TOKENS: usize = 5;
pub(crate) const UNKNOWN_TOKENS: usize = 6;
pub(crate) const BYTE_FALLBACK_TOKENS: usize = 7;
pub(crate) const REFERENCE_TOKENS: usize = 8;
pub(crate) const PARALLEL_TOKENS: usize = 9;
const FIRST_OF_RULES: usize = 10;
const COLUMNS_OF_A_RULE: usize = 3;
const FIRST_OF_NOISES: usize = FIRST_OF_RULES + WordRule::ALL.len() * COLUMNS_OF_A_RULE;
const COLUMNS_OF_A_NOISE: usize = 5;

/// The counts of a document, or sums of them.
pub type Row = [u64; NUM_COLUMNS];

/// Where a row keeps what belongs to a rule of words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WordColumns {
    pub(crate) words: usize,
    pub(crate) tokens_in_words: usize,
    pub(crate) continued_words: usize,
}

impl WordColumns {
    pub(crate) const fn of(rule: WordRule) -> Self {
        let first = FIRST_OF_RULES + rule as usize * COLUMNS_OF_A_RULE;
        Self { words: first, tokens_in_words: first + 1, continued_words: first + 2 }
    }
}

/// Where a row keeps what belongs to a noise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoiseColumns {
    /// Words of the noised text (runs of non-whitespace).
    pub(crate) words: usize,
    /// Tokens of the noised text that cover a word.
    pub(crate) tokens_in_words: usize,
    /// Tokens of the noised text.
    pub(crate) tokens: usize,
    /// Edits that turn the one ids into the others, stretch by stretch.
    pub(crate) edits: usize,
    /// The longer of the two lengths in tokens, stretch by stretch.
    pub(crate) longer: usize,
}

impl NoiseColumns {
    pub(crate) const fn of(noise: Noise) -> Self {
        let first = FIRST_OF_NOISES + noise as usize * COLUMNS_OF_A_NOISE;
        Self {
            words: first,
            tokens_in_words: first + 1,
            tokens: first + 2,
            edits: first + 3,
            longer: first + 4,
        }
    }
}

/// The names of the columns, in order.
#[must_use]
pub fn column_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "documents",
        "bytes",
        "characters",
        "lines",
        "code_lines",
        "tokens",
        "unknown_tokens",
        "byte_fallback_tokens",
        "reference_tokens",
        "parallel_tokens",
    ]
    .map(str::to_owned)
    .into();
    for rule in WordRule::ALL {
        for count in ["words", "tokens_in_words", "continued_words"] {
            names.push(format!("{count}_{}", rule.name()));
        }
    }
    for noise in Noise::ALL {
        for count in ["words", "tokens_in_words", "tokens", "edits", "longer"] {
            names.push(format!("{count}_{}_noise", noise.name()));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_its_name() {
        let names = column_names();
        assert_eq!(names.len(), NUM_COLUMNS);
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), NUM_COLUMNS);
        assert_eq!(names[BYTE_FALLBACK_TOKENS], "byte_fallback_tokens");
        assert_eq!(names[PARALLEL_TOKENS], "parallel_tokens");
        assert_eq!(names[WordColumns::of(WordRule::Unicode).continued_words], "continued_words_unicode");
        assert_eq!(names[NoiseColumns::of(Noise::Misspelling).words], "words_misspelling_noise");
        assert_eq!(names[NoiseColumns::of(Noise::Homoglyphs).longer], "longer_homoglyphs_noise");
    }
}
