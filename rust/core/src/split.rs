//! Stage 1: cut a text into pieces, as the regex of a tokenizer does.
//!
//! ```text
//! GPT-2:   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//!
//! "I'll say  12%\n"  ──►  "I" "'ll" " say" " " " 12" "%" "\n"
//! ```
//!
//! Every character falls into some piece, so the pieces tile the text; and where a piece ends depends on nothing but the
//! text from its start on. `Splitting` names the regexes that are known, `patterns` has their text.
//!
//! ```text
//!              plain, defines the meaning      fast, equal to it
//! gpt2         piece_end: from a start         find: starts of 2 KB by masks   ┐
//! cl100k       to its end, character           (rows, classify)                ├─► boundaries ──► starts
//! o200k, code  by character (scan)             and what they cannot tell       ┘
//! ```

pub(crate) mod boundaries;
pub(crate) mod cl100k;
pub(crate) mod classify;
mod code;
mod digits;
pub(crate) mod gpt2;
mod o200k;
pub(crate) mod patterns;
pub(crate) mod rows;
mod scan;
pub(crate) mod starts;

use crate::error::Result;
use crate::instructions::Instructions;
use crate::unicode::ClassTable;
use boundaries::Boundaries;
use cl100k::Cl100k;
use scan::Text;
use starts::Starts;

/// How texts are cut into pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Splitting {
    /// GPT-2's regex.
    #[default]
    Gpt2,
    /// The regexes of GPT-3.5 and 4 and what was made of them: Llama 3, Qwen 2 and 3.
    Cl100k(Cl100k),
    /// That of GPT-4o, Llama 4 and gpt-oss.
    O200k,
    /// Our own for code.
    Code,
    /// Not at all: a text is one piece.
    Whole,
}

impl Splitting {
    /// Where the piece ends that starts at `start`, which is inside of the text.
    #[inline]
    pub(crate) fn piece_end(self, text: &Text<'_>, start: usize) -> Result<usize> {
        match self {
            Self::Gpt2 => gpt2::piece_end(text, start),
            Self::Cl100k(options) => options.piece_end(text, start),
            Self::O200k => o200k::piece_end(text, start),
            Self::Code => code::piece_end(text, start),
            Self::Whole => Ok(text.bytes.len()),
        }
    }
}

/// Iterator over the pieces of one text, as byte ranges: the plain scanner, which defines the meaning.
#[derive(Debug)]
pub struct Pieces<'a> {
    splitting: Splitting,
    text: Text<'a>,
    start: usize,
}

impl<'a> Pieces<'a> {
    /// The pieces of `text`.
    #[must_use]
    pub fn new(splitting: Splitting, text: &'a str, classes: &'a ClassTable) -> Self {
        Self { splitting, text: Text { bytes: text.as_bytes(), classes }, start: 0 }
    }

    /// The next piece as `(start, end)` in bytes, `None` at the end of the text.
    ///
    /// # Errors
    ///
    /// `UnicodeRestNeeded` at a code point whose class is not known.
    #[inline]
    pub fn next_piece(&mut self) -> Result<Option<(usize, usize)>> {
        let start = self.start;
        if start == self.text.bytes.len() {
            return Ok(None);
        }
        self.start = self.splitting.piece_end(&self.text, start)?;
        Ok(Some((start, self.start)))
    }
}

/// Where the pieces of `text` start, by the plain scanner: what `fast_starts` has to give.
pub fn plain_starts(splitting: Splitting, text: &str, classes: &ClassTable) -> Result<Vec<u32>> {
    let mut pieces = Pieces::new(splitting, text, classes);
    let mut starts = Vec::new();
    while let Some((start, _)) = pieces.next_piece()? {
        starts.push(u32::try_from(start).unwrap_or(u32::MAX));
    }
    Ok(starts)
}

/// Where the pieces of `text` (of at most 2 GiB) start, by the masks. For tests and fuzzing: the encoder takes them 2 KB
/// at a time.
pub fn fast_starts(
    splitting: Splitting,
    instructions: Instructions,
    text: &str,
    classes: &ClassTable,
) -> Result<Vec<u32>> {
    let mut boundaries = Boundaries::new(splitting);
    let mut starts = Starts::default();
    let mut all = Vec::new();
    boundaries.restart(instructions, text.as_bytes(), classes)?;
    while boundaries.next_starts(instructions, text.as_bytes(), classes, &mut starts)? {
        all.extend_from_slice(starts.as_slice());
        starts.clear();
    }
    Ok(all)
}

#[cfg(test)]
pub(crate) mod tests;
