//! The pattern of cl100k (GPT-3.5 and 4) as `tokenizer.json` files have it, and its kin.
//!
//! ```text
//! (?i:'s|'t|'re|'ve|'m|'ll|'d)     contraction
//! [^\r\n\p{L}\p{N}]?\p{L}+         word, with any one character before it that is no letter, number or newline
//! \p{N}{1,3}                       Qwen: \p{N}
//!  ?[^\s\p{L}\p{N}]+[\r\n]*        signs, with the newlines behind them
//! \s*[\r\n]+                       white space up to its last newline
//! \s+(?!\S)|\s+                    other white space, without its last character where that can join what follows
//! ```
//!
//! By masks, a piece starts at byte i where
//!
//! ```text
//! word     i is the first letter of a run, and the character before is a newline, a number, or a sign that cannot join:
//!          other white space and a lone sign (first of its run, no blank before) belong to the word
//! number   i is the first of its run of numbers (groups of three are counted afterwards)
//! sign     i is the first sign of its run, and no blank is before it
//! white    i is white space, the byte before is not, and i is no newline behind a sign
//! line     i is white space behind a newline, but no newline
//! last     i is white space, but no newline, and something else than white space follows
//! ```
//!
//! ```text
//! text     i  f  (  x  '  S  )  :  \n          a  =  1  2  3  4
//! sign     .  .  1  .  1  .  1  .  .  .  .  .  .  1  .  .  .  .
//! word     1  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .     '(' joins "x", the blank joins "a"
//! line     .  .  .  .  .  .  .  .  .  1  .  .  .  .  .  .  .  .
//! last     .  .  .  .  .  .  .  .  .  .  .  1  .  .  .  .  .  .
//! mended   1  .  1  .  1  .  1  .  .  1  .  1  .  1  1  .  .  1     'if' '(x' ''S' '):\n' '  ' ' a' '=' '123' '4'
//! ```
//!
//! Two things need more than a look at the bytes around, and are rare: white space between two newlines belongs to the
//! piece of the second one, unless a sign took the first; `\s++$` takes all white space at the end of a text. Where they
//! occur, the first character of the line is marked doubtful, and the plain scanner decides (see `boundaries`).

use super::digits::Digits;
use super::rows::{Masks, MoreRows, Rows, before, next};
use super::scan::{Text, contraction_length_in_any_case, is_newline};
use crate::error::Result;
use crate::unicode::Class;

/// What the patterns of this family differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cl100k {
    /// How many numbers are a piece.
    pub digits: Digits,
    /// Whether white space at the end of a text is one piece (`\s++$`, before the alternatives for white space).
    pub final_white_space_whole: bool,
}

impl Cl100k {
    /// Where the piece ends that starts at `start`: the alternatives one by one.
    pub(crate) fn piece_end(self, text: &Text<'_>, start: usize) -> Result<usize> {
        let byte = text.bytes[start];
        if byte == b'\''
            && let Some(length) = contraction_length_in_any_case(&text.bytes[start + 1..])
        {
            return Ok(start + 1 + length);
        }
        let Some((class, width)) = text.class_at(start)? else { return Ok(start) };
        let can_join = !class.is_letter() && class != Class::Number && !is_newline(byte);
        let word = if can_join { start + width } else { start };
        let word_end = text.run_end(word, Class::is_letter)?;
        if word_end > word {
            return Ok(word_end);
        }
        if class == Class::Number {
            return self.digits.piece_end(text, start);
        }
        let signs = start + usize::from(byte == b' ');
        let signs_end = text.run_end(signs, Class::is_sign)?;
        if signs_end > signs {
            return Ok(text.bytes_end(signs_end, is_newline));
        }
        let white = text.white_space(start)?;
        if self.final_white_space_whole && white.end == text.bytes.len() {
            return Ok(white.end);
        }
        Ok(white.newline_end.unwrap_or_else(|| text.white_space_but_one(start, white)))
    }
}

/// The arithmetic above.
pub(crate) struct Cl100kMasks;

impl Masks for Cl100kMasks {
    const MORE: bool = true;

    #[inline(always)]
    #[allow(clippy::inline_always)] // so that it is compiled for the instructions of its caller
    fn find(rows: &mut Rows, num_blocks: usize) {
        for i in 1..=num_blocks {
            rows.more.joining[i] = rows.other[i] & !before(&rows.other, i, 1) & !before(&rows.blank, i, 1);
        }
        for i in 1..=num_blocks {
            let before = |row| before(row, i, 1);
            let (letter, number, white) = (rows.letter[i], rows.number[i], rows.white[i]);
            let newline = rows.more.newline[i];
            let after_newline = before(&rows.more.newline);
            let after_white = before(&rows.white) & !after_newline;
            let sign = rows.more.joining[i];
            let word = letter & !before(&rows.letter) & !after_white & !is_joined(&rows.more, i);
            let first_number = number & !before(&rows.number);
            let first_white = white & !before(&rows.white) & !(newline & before(&rows.other));
            let line = white & !newline & after_newline;
            let follows = next(&rows.letter, i) | next(&rows.number, i) | next(&rows.other, i);
            let last = rows.white_ascii[i] & !newline & follows | rows.white_last[i];
            rows.starts[i] = word | first_number | sign | first_white | line | last;
            rows.candidates[i] = rows.apostrophe[i] & sign & next(&rows.letter, i);
            rows.more.trailing[i] = newline & after_white;
            rows.more.doubtful[i] = 0;
        }
    }
}

/// Where the character before is a joining one: its first byte is 1 to 4 bytes back, inner ones between.
#[inline(always)]
#[allow(clippy::inline_always)] // so that it is compiled for the instructions of its caller
pub(crate) fn is_joined(more: &MoreRows, slot: usize) -> u64 {
    let joining = |distance| before(&more.joining, slot, distance);
    let inner = |distance| before(&more.inner, slot, distance);
    let two = inner(1);
    let three = two & inner(2);
    let four = three & inner(3);
    joining(1) | joining(2) & two | joining(3) & three | joining(4) & four
}

/// Mend the contractions of one segment: `text` from its first byte on. The letter behind the apostrophe starts no piece
/// anyhow, as a lone sign joins it.
pub(crate) fn mend_contractions(rows: &mut Rows, text: &[u8]) {
    rows.for_each_candidate(|rows, bit| {
        if let Some(length) = contraction_length_in_any_case(&text[bit + 1..]) {
            rows.set_start(bit + 1 + length);
        }
    });
}
