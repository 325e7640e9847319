//! What the plain scanners share: characters with their classes, runs of them, contractions.

use crate::error::{Error, Result};
use crate::unicode::{Class, ClassTable, decode};

/// A text and the classes of its characters. All positions are bytes, at the start of a character or at the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) classes: &'a ClassTable,
}

/// A run of white space.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WhiteSpace {
    /// Where its last character starts.
    pub(crate) last: usize,
    /// Where its last `[\r\n]` ends, if it has one.
    pub(crate) newline_end: Option<usize>,
    pub(crate) end: usize,
}

impl Text<'_> {
    /// The byte at `position`; 0 at the end, which is no byte that a pattern asks for.
    #[inline]
    pub(crate) fn byte(&self, position: usize) -> u8 {
        self.bytes.get(position).copied().unwrap_or(0)
    }

    /// Class and length of the character at `position`, `None` at the end of the text.
    ///
    /// # Errors
    ///
    /// `UnicodeRestNeeded` where it has no class yet.
    #[inline]
    pub(crate) fn class_at(&self, position: usize) -> Result<Option<(Class, usize)>> {
        let Some(&byte) = self.bytes.get(position) else { return Ok(None) };
        if byte < 0x80 {
            return Ok(Some((ASCII_CLASSES[usize::from(byte)], 1)));
        }
        let (code_point, width) = decode(self.bytes, position);
        match self.classes.of(code_point) {
            Class::Unassigned => Err(Error::UnicodeRestNeeded { code_point }),
            class => Ok(Some((class, width))),
        }
    }

    /// Where the run of such characters ends that starts at `position`; it may be empty.
    #[inline]
    pub(crate) fn run_end(&self, mut position: usize, is_inside: impl Fn(Class) -> bool) -> Result<usize> {
        while let Some((class, width)) = self.class_at(position)? {
            if !is_inside(class) {
                break;
            }
            position += width;
        }
        Ok(position)
    }

    /// Where a run of such bytes ends; they are ASCII.
    pub(crate) fn bytes_end(&self, position: usize, is_inside: impl Fn(u8) -> bool) -> usize {
        let rest = &self.bytes[position..];
        position + rest.iter().take_while(|&&byte| is_inside(byte)).count()
    }

    /// The white space from `start` on, where some is.
    pub(crate) fn white_space(&self, start: usize) -> Result<WhiteSpace> {
        let mut found = WhiteSpace { last: start, newline_end: None, end: start };
        while let Some((Class::Space, width)) = self.class_at(found.end)? {
            found.last = found.end;
            found.end += width;
            if is_newline(self.bytes[found.last]) {
                found.newline_end = Some(found.end);
            }
        }
        Ok(found)
    }

    /// `\s+(?!\S)|\s+`: white space leaves its last character to what follows, if it can spare it.
    pub(crate) fn white_space_but_one(&self, start: usize, found: WhiteSpace) -> usize {
        if found.end < self.bytes.len() && found.last > start { found.last } else { found.end }
    }
}

/// `[\r\n]`
#[inline]
pub(crate) fn is_newline(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

/// Length of the contraction after an apostrophe: `s t m d re ve ll`, lower case only.
pub(crate) fn contraction_length(rest: &[u8]) -> Option<usize> {
    match rest {
        [b's' | b't' | b'm' | b'd', ..] => Some(1),
        [b'r' | b'v', b'e', ..] | [b'l', b'l', ..] => Some(2),
        _ => None,
    }
}

/// As above in any case, as `(?i:...)` of `tokenizers` has it: the long s (U+017F) is an s there. No other
/// character outside of ASCII folds to one of these letters.
pub(crate) fn contraction_length_in_any_case(rest: &[u8]) -> Option<usize> {
    let lower = [0, 1].map(|place| rest.get(place).map_or(0, u8::to_ascii_lowercase));
    match rest {
        [0xc5, 0xbf, ..] => Some(2),
        _ => contraction_length(&lower),
    }
}

/// ASCII without the two-level table: most text is ASCII.
const ASCII_CLASSES: [Class; 128] = {
    let mut classes = [Class::Other; 128];
    let mut byte = 0_u8;
    while byte < 128 {
        // No 0x1c to 0x1f here: they are `str.isspace` in Python, but not `\s`.
        classes[byte as usize] = match byte {
            b'a'..=b'z' => Class::Lower,
            b'A'..=b'Z' => Class::Upper,
            b'0'..=b'9' => Class::Number,
            b' ' | 0x09..=0x0d => Class::Space,
            _ => Class::Other,
        };
        byte += 1;
    }
    classes
};
