//! Stage 1: cut a text into pieces, as the regex of GPT-2 does.
//!
//! ```text
//! 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//!
//! "I'll say  12%\n"  ──►  "I" "'ll" " say" " " " 12" "%" "\n"
//! ```
//!
//! Every character falls into some piece, so the pieces tile the text. This is the plain scanner that defines
//! the meaning; a faster one has to equal it.

use crate::error::{Error, Result};
use crate::unicode::{Class, ClassTable, decode};

/// Iterator over the pieces of one text, as byte ranges.
#[derive(Debug)]
pub struct Pieces<'a> {
    bytes: &'a [u8],
    classes: &'a ClassTable,
    start: usize,
}

impl<'a> Pieces<'a> {
    /// The pieces of `text`.
    #[must_use]
    pub fn new(text: &'a str, classes: &'a ClassTable) -> Self {
        Self { bytes: text.as_bytes(), classes, start: 0 }
    }

    /// The next piece as `(start, end)` in bytes, `None` at the end of the text.
    ///
    /// # Errors
    ///
    /// `UnicodeRestNeeded` at a code point whose class is not known.
    #[inline]
    pub fn next_piece(&mut self) -> Result<Option<(usize, usize)>> {
        let start = self.start;
        if start == self.bytes.len() {
            return Ok(None);
        }
        self.start = self.piece_end(start)?;
        Ok(Some((start, self.start)))
    }

    fn piece_end(&self, start: usize) -> Result<usize> {
        let (class, width) = self.class_at(start)?;
        let after = start + width;
        match class {
            Class::Space => {
                // One blank belongs to the run that follows it: ` ?\p{L}+` and its like.
                if self.bytes[start] == b' ' && after < self.bytes.len() {
                    let (next, next_width) = self.class_at(after)?;
                    if next != Class::Space {
                        return Ok(self.run_end(next, after + next_width)?.0);
                    }
                }
                self.white_space_end(start, after)
            }
            Class::Other if self.bytes[start] == b'\'' => {
                if let Some(length) = contraction_length(&self.bytes[after..]) {
                    return Ok(after + length);
                }
                Ok(self.run_end(class, after)?.0)
            }
            _ => Ok(self.run_end(class, after)?.0),
        }
    }

    /// `\s+(?!\S)|\s+`: white space leaves its last character to the word that follows, if it can spare it.
    fn white_space_end(&self, start: usize, after: usize) -> Result<usize> {
        let (end, last) = self.run_end(Class::Space, after)?;
        let last = last.unwrap_or(start);
        Ok(if end < self.bytes.len() && last > start { last } else { end })
    }

    /// Where the run of `class` that includes all before `position` ends, and where its last character that was
    /// seen here starts.
    #[inline]
    fn run_end(&self, class: Class, mut position: usize) -> Result<(usize, Option<usize>)> {
        let mut last = None;
        while position < self.bytes.len() {
            let (next, width) = self.class_at(position)?;
            if next != class {
                break;
            }
            last = Some(position);
            position += width;
        }
        Ok((position, last))
    }

    #[inline]
    fn class_at(&self, position: usize) -> Result<(Class, usize)> {
        let byte = self.bytes[position];
        if byte < 0x80 {
            return Ok((ASCII_CLASSES[usize::from(byte)], 1));
        }
        let (code_point, width) = decode(self.bytes, position);
        match self.classes.of(code_point) {
            Class::Unassigned => Err(Error::UnicodeRestNeeded { code_point }),
            class => Ok((class, width)),
        }
    }
}

/// Length of the contraction after an apostrophe: `s t m d re ve ll`, lower case only.
fn contraction_length(rest: &[u8]) -> Option<usize> {
    match rest {
        [b's' | b't' | b'm' | b'd', ..] => Some(1),
        [b'r' | b'v', b'e', ..] | [b'l', b'l', ..] => Some(2),
        _ => None,
    }
}

/// ASCII without the two-level table: most text is ASCII.
const ASCII_CLASSES: [Class; 128] = {
    let mut classes = [Class::Other; 128];
    let mut byte = 0;
    while byte < 128 {
        // No 0x1c to 0x1f here: they are `str.isspace` in Python, but not `\s`.
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
            b'0'..=b'9' => Class::Number,
            b' ' | 0x09..=0x0d => Class::Space,
            _ => Class::Other,
        };
        byte += 1;
    }
    classes
};
