//! A pattern for code, of our own.
//!
//! ```text
//! [^\r\n\p{L}\p{N}]?\p{L}+                words, as in cl100k
//! \p{N}                                   each digit alone
//!  ?[^\s\p{L}\p{N}]+(?:[\r\n]\s*)?        signs; at the end of a line with the newline and the next line's indentation
//! \s+                                     white space whole: a newline with the indentation behind it
//! ```
//!
//! White space goes with what is before it, never with the word behind it, unless it is a single character. There are
//! no contractions: `'self'` is no `'s`.
//!
//! By masks, a piece starts at byte i where
//!
//! ```text
//! word     i is the first letter of a run, and the character before is neither a lone sign nor lone white space
//! number   i is a number (the first of a run here; the others by `digits`)
//! sign     i is the first sign of its run, and no lone blank is before it
//! white    i is white space, the byte before is not, and i is no newline behind a sign
//! ```
//!
//! ```text
//! text     i  f     x  :  \n          r  e  t     1  2
//! lone     .  .  1  .  .  .  .  .  .  .  .  .  1  .  .      white space of one character, but no newline
//! sign     .  .  .  .  1  .  .  .  .  .  .  .  .  .  .
//! white    .  .  1  .  .  .  .  .  .  .  .  .  1  .  .      the newline belongs to ":"
//! starts   1  .  1  .  1  .  .  .  .  1  .  .  1  1  1      'if' ' x' ':\n   ' 'ret' ' ' '1' '2'
//! ```

use super::cl100k::is_joined;
use super::digits::Digits;
use super::rows::{Masks, Rows, before, next};
use super::scan::{Text, is_newline};
use crate::error::Result;
use crate::unicode::Class;

/// How the pattern cuts numbers.
pub(crate) const DIGITS: Digits = Digits::One;

/// Where the piece ends that starts at `start`: the alternatives one by one.
pub(crate) fn piece_end(text: &Text<'_>, start: usize) -> Result<usize> {
    let byte = text.bytes[start];
    let Some((class, width)) = text.class_at(start)? else { return Ok(start) };
    let can_join = !class.is_letter() && class != Class::Number && !is_newline(byte);
    let word = if can_join { start + width } else { start };
    let word_end = text.run_end(word, Class::is_letter)?;
    if word_end > word {
        return Ok(word_end);
    }
    if class == Class::Number {
        return DIGITS.piece_end(text, start);
    }
    let signs = start + usize::from(byte == b' ');
    let signs_end = text.run_end(signs, Class::is_sign)?;
    if signs_end > signs && !is_newline(text.byte(signs_end)) {
        return Ok(signs_end);
    }
    let white = if signs_end > signs { signs_end } else { start };
    Ok(text.white_space(white)?.end)
}

/// The arithmetic above.
pub(crate) struct CodeMasks;

impl Masks for CodeMasks {
    const MORE: bool = true;

    #[inline(always)]
    #[allow(clippy::inline_always)] // so that it is compiled for the instructions of its caller
    fn find(rows: &mut Rows, num_blocks: usize) {
        for i in 1..=num_blocks {
            let one_byte = rows.white_ascii[i] & !rows.more.newline[i] & !next(&rows.white, i);
            rows.more.lone[i] = (one_byte | rows.white_last[i]) & !before(&rows.white, i, 1);
        }
        for i in 1..=num_blocks {
            let after_lone_blank = before(&rows.more.lone, i, 1) & before(&rows.blank, i, 1);
            let sign = rows.other[i] & !before(&rows.other, i, 1) & !after_lone_blank;
            rows.more.joining[i] = sign | rows.more.lone[i];
            rows.starts[i] = sign;
        }
        for i in 1..=num_blocks {
            let before = |row| before(row, i, 1);
            let word = rows.letter[i] & !before(&rows.letter) & !is_joined(&rows.more, i);
            let number = rows.number[i] & !before(&rows.number);
            let absorbed = rows.more.newline[i] & before(&rows.other);
            let white = rows.white[i] & !before(&rows.white) & !absorbed;
            rows.starts[i] |= word | number | white;
        }
    }
}
