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

pub(crate) mod boundaries;
pub(crate) mod classify;

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

    #[inline]
    fn piece_end(&self, start: usize) -> Result<usize> {
        let (class, width) = self.class_at(start);
        let after = start + width;
        match class {
            Class::Letter | Class::Number => Ok(self.run_end(class, after)),
            Class::Space => {
                // One blank belongs to the run that follows it: ` ?\p{L}+` and its like.
                if self.bytes[start] == b' ' && after < self.bytes.len() {
                    let (next, next_width) = self.class_at(after);
                    return match next {
                        Class::Space => Ok(self.white_space_end(start, after)),
                        Class::Unassigned => Err(self.unassigned(after)),
                        _ => Ok(self.run_end(next, after + next_width)),
                    };
                }
                Ok(self.white_space_end(start, after))
            }
            Class::Other => {
                if self.bytes[start] == b'\''
                    && let Some(length) = contraction_length(&self.bytes[after..])
                {
                    return Ok(after + length);
                }
                Ok(self.run_end(class, after))
            }
            Class::Unassigned => Err(self.unassigned(start)),
        }
    }

    /// `\s+(?!\S)|\s+`: white space leaves its last character to the word that follows, if it can spare it.
    fn white_space_end(&self, start: usize, after: usize) -> usize {
        let mut last = start;
        let mut end = after;
        while end < self.bytes.len() {
            let (next, width) = self.class_at(end);
            if next != Class::Space {
                return if last > start { last } else { end };
            }
            last = end;
            end += width;
        }
        end
    }

    /// Where the run of `class` that includes all before `position` ends. It also ends at a character whose class
    /// is not known, perhaps too early; but then that character is the next piece's start, and the call fails.
    #[inline]
    fn run_end(&self, class: Class, mut position: usize) -> usize {
        while position < self.bytes.len() {
            let (next, width) = self.class_at(position);
            if next != class {
                break;
            }
            position += width;
        }
        position
    }

    #[inline]
    fn class_at(&self, position: usize) -> (Class, usize) {
        let byte = self.bytes[position];
        if byte < 0x80 {
            return (ASCII_CLASSES[usize::from(byte)], 1);
        }
        let (code_point, width) = decode(self.bytes, position);
        (self.classes.of(code_point), width)
    }

    #[cold]
    fn unassigned(&self, position: usize) -> Error {
        Error::UnicodeRestNeeded { code_point: decode(self.bytes, position).0 }
    }
}

/// Length of the contraction after an apostrophe: `s t m d re ve ll`, lower case only.
pub(crate) fn contraction_length(rest: &[u8]) -> Option<usize> {
    match rest {
        [b's' | b't' | b'm' | b'd', ..] => Some(1),
        [b'r' | b'v', b'e', ..] | [b'l', b'l', ..] => Some(2),
        _ => None,
    }
}

/// ASCII without the two-level table: most text is ASCII.
const ASCII_CLASSES: [Class; 128] = {
    let mut classes = [Class::Other; 128];
    let mut byte = 0_u8;
    while byte < 128 {
        // No 0x1c to 0x1f here: they are `str.isspace` in Python, but not `\s`.
        classes[byte as usize] = match byte {
            b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
            b'0'..=b'9' => Class::Number,
            b' ' | 0x09..=0x0d => Class::Space,
            _ => Class::Other,
        };
        byte += 1;
    }
    classes
};

#[cfg(test)]
pub(crate) mod tests;
