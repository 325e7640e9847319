//! GPT-2's pattern.
//!
//! ```text
//! 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//! ```
//!
//! By masks, a piece starts at byte i where
//!
//! ```text
//! word     i is a letter, number or other, the byte before has another class, and is not a blank
//!          (a blank before a word belongs to it: ` ?\p{L}+`)
//! white    i is white space and the byte before is not
//! last     i is white space, the last of its run, and something follows it (`\s+(?!\S)` gives it back)
//! ```
//!
//! ```text
//! text     d  o  n  '  t     s  a  y           1  2
//! letter   1  1  1  .  1  .  1  1  1  .  .  .  .  .
//! white    .  .  .  .  .  1  .  .  .  1  1  1  .  .
//! word     1  .  .  1  1  .  .  .  .  .  .  .  .  .     "s" and "1" have a blank before them
//! white    .  .  .  .  .  1  .  .  .  1  .  .  .  .
//! last     .  .  .  .  .  1  .  .  .  .  .  1  .  .
//! mended   1  .  .  1  .  1  .  .  .  1  .  1  .  .     'don' ''t' ' say' '  ' ' 12'
//! ```
//!
//! Contractions are mended afterwards, one by one: an apostrophe that starts a piece and is followed by `s`, `t`,
//! `m`, `d`, `re`, `ve` or `ll` ends its piece after them, and the letter after it starts none. No mending
//! touches another: the letters lie inside one run, which starts no other piece.

use super::rows::{Masks, Rows, before, next};
use super::scan::{Text, contraction_length};
use crate::error::Result;
use crate::unicode::Class;

/// Where the piece ends that starts at `start`.
#[inline]
pub(crate) fn piece_end(text: &Text<'_>, start: usize) -> Result<usize> {
    if text.bytes[start] == b'\''
        && let Some(length) = contraction_length(&text.bytes[start + 1..])
    {
        return Ok(start + 1 + length);
    }
    let word = start + usize::from(text.bytes[start] == b' ');
    match text.class_at(word)? {
        Some((Class::Number, _)) => text.run_end(word, |class| class == Class::Number),
        Some((class, _)) if class.is_letter() => text.run_end(word, Class::is_letter),
        Some((class, _)) if class.is_sign() => text.run_end(word, Class::is_sign),
        _ => Ok(text.white_space_but_one(start, text.white_space(start)?)),
    }
}

/// The arithmetic above.
pub(crate) struct Gpt2Masks;

impl Masks for Gpt2Masks {
    const MORE: bool = false;

    #[inline(always)]
    #[allow(clippy::inline_always)] // so that it is compiled for the instructions of its caller
    fn find(rows: &mut Rows, num_blocks: usize) {
        for i in 1..=num_blocks {
            let before = |row| before(row, i, 1);
            let (letter, number, other) = (rows.letter[i], rows.number[i], rows.other[i]);
            let change = letter & !before(&rows.letter)
                | number & !before(&rows.number)
                | other & !before(&rows.other);
            let word = change & !before(&rows.blank);
            let white = rows.white[i] & !before(&rows.white);
            let follows = next(&rows.letter, i) | next(&rows.number, i) | next(&rows.other, i);
            let last = rows.white_ascii[i] & follows | rows.white_last[i];
            let starts = word | white | last;
            rows.starts[i] = starts;
            rows.candidates[i] = rows.apostrophe[i] & starts & next(&rows.letter, i);
        }
    }
}

/// Mend the contractions of one segment: `text` from its first byte on.
pub(crate) fn mend_contractions(rows: &mut Rows, text: &[u8]) {
    rows.for_each_candidate(|rows, bit| {
        if let Some(length) = contraction_length(&text[bit + 1..]) {
            rows.clear_start(bit + 1);
            rows.set_start(bit + 1 + length);
        }
    });
}
