//! Added tokens that are not special: they match in a text before it is cut into pieces.
//!
//! As in `tokenizers`: of all that match at the leftmost place the longest counts, special ones take part. A special
//! token that is found is text here, but what lies inside of it is not looked at again.

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::error::{Result, invalid};

/// One added token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AddedPattern {
    pub(crate) id: u32,
    /// What it matches.
    pub(crate) text: String,
    pub(crate) special: bool,
    /// It takes the white space before it.
    pub(crate) takes_left: bool,
    /// It takes the white space behind it.
    pub(crate) takes_right: bool,
}

/// Finds some added tokens in texts.
#[derive(Debug, Clone)]
pub(crate) struct AddedTokens {
    automaton: AhoCorasick,
    patterns: Vec<AddedPattern>,
}

impl AddedTokens {
    /// `None` where all are special, so that nothing would be found. The texts differ, none is empty.
    pub(crate) fn new(patterns: Vec<AddedPattern>) -> Result<Option<Self>> {
        if patterns.iter().all(|pattern| pattern.special) {
            return Ok(None);
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns.iter().map(|pattern| &pattern.text))
            .map_err(|error| invalid(format!("added_tokens: {error} (expected fewer or shorter ones)")))?;
        Ok(Some(Self { automaton, patterns }))
    }

    /// The tokens in a text: id and bytes, in order. They do not overlap.
    pub(crate) fn find<'t>(&'t self, text: &'t str) -> impl Iterator<Item = (u32, Range<usize>)> + 't {
        let mut last_end = 0;
        self.automaton.find_iter(text).filter_map(move |found| {
            let pattern = &self.patterns[found.pattern().as_usize()];
            if pattern.special {
                return None;
            }
            let (mut start, mut end) = (found.start(), found.end());
            if pattern.takes_left {
                // The white space may belong to the token before.
                start = text[..start].trim_end().len().max(last_end);
            }
            if pattern.takes_right {
                end = text.len() - text[end..].trim_start().len();
            }
            last_end = end;
            Some((pattern.id, start..end))
        })
    }
}
