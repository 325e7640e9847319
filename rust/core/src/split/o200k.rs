//! The pattern of o200k (GPT-4o).
//!
//! ```text
//! [^\r\n\p{L}\p{N}]?U*D+(?i:'s|'t|'re|'ve|'m|'ll|'d)?      U = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]
//! [^\r\n\p{L}\p{N}]?U+D*(?i:'s|'t|'re|'ve|'m|'ll|'d)?      D = [\p{Ll}\p{Lm}\p{Lo}\p{M}]
//! \p{N}{1,3}
//!  ?[^\s\p{L}\p{N}]+[\r\n/]*
//! \s*[\r\n]+
//! \s+(?!\S)|\s+
//! ```
//!
//! A word is letters and marks, cut before a capital behind a small letter; a contraction behind it belongs to it. Numbers,
//! signs and white space are those of cl100k, whose masks (see there) these are, with
//!
//! ```text
//! word     i is the first letter or mark of a run, and so on as in cl100k
//! capital  i is a letter of upper case, the byte before one of lower case
//! ```
//!
//! ```text
//! text     i  t  '  s     a  H  T  M  L  P  a  r  s  e  r  !
//! word     1  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .
//! capital  .  .  .  .  .  .  1  .  .  .  .  .  .  .  .  .  .
//! mended   1  .  .  .  1  .  1  .  .  .  .  .  .  .  .  .  1     'it's' ' a' 'HTMLParser' '!'
//! ```
//!
//! What is rare is left to the plain scanner: capitals behind letters without case (the regex may have to give back),
//! marks behind signs (they join the sign, or it joins them), a slash behind a newline (`[\r\n/]*`), a contraction right
//! behind another, and the white space that cl100k leaves to it.

use super::cl100k::is_joined;
use super::digits::Digits;
use super::rows::{Masks, Rows, before, next};
use super::scan::{Text, contraction_length_in_any_case, is_newline};
use crate::error::Result;
use crate::unicode::Class;

/// How the pattern cuts numbers.
pub(crate) const DIGITS: Digits = Digits::Three;

/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
fn is_upper(class: Class) -> bool {
    matches!(class, Class::Upper | Class::Letter | Class::Mark)
}

/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
fn is_lower(class: Class) -> bool {
    matches!(class, Class::Lower | Class::Letter | Class::Mark)
}

/// Where the piece ends that starts at `start`: the alternatives one by one.
pub(crate) fn piece_end(text: &Text<'_>, start: usize) -> Result<usize> {
    let byte = text.bytes[start];
    let Some((class, width)) = text.class_at(start)? else { return Ok(start) };
    let can_join = !class.is_letter() && class != Class::Number && !is_newline(byte);
    let joined = can_join.then_some(start + width);
    for word in [small_word_end, capital_word_end] {
        for first in joined.into_iter().chain([start]) {
            if let Some(end) = word(text, first)? {
                return Ok(contraction_end(text, end));
            }
        }
    }
    if class == Class::Number {
        return DIGITS.piece_end(text, start);
    }
    let signs = start + usize::from(byte == b' ');
    let signs_end = text.run_end(signs, Class::is_sign)?;
    if signs_end > signs {
        return Ok(text.bytes_end(signs_end, |byte| is_newline(byte) || byte == b'/'));
    }
    let white = text.white_space(start)?;
    Ok(white.newline_end.unwrap_or_else(|| text.white_space_but_one(start, white)))
}

/// `U*D+`: U takes all it can. Where D then has nothing, U gives back up to its last character that D takes as well.
fn small_word_end(text: &Text<'_>, start: usize) -> Result<Option<usize>> {
    let mut end = start;
    let mut shared_end = None;
    while let Some((class, width)) = text.class_at(end)?.filter(|&(class, _)| is_upper(class)) {
        end += width;
        if is_lower(class) {
            shared_end = Some(end);
        }
    }
    let lower_end = text.run_end(end, is_lower)?;
    Ok(if lower_end > end { Some(lower_end) } else { shared_end })
}

/// `U+D*`
fn capital_word_end(text: &Text<'_>, start: usize) -> Result<Option<usize>> {
    let end = text.run_end(start, is_upper)?;
    if end == start { Ok(None) } else { text.run_end(end, is_lower).map(Some) }
}

fn contraction_end(text: &Text<'_>, end: usize) -> usize {
    if text.byte(end) == b'\''
        && let Some(length) = contraction_length_in_any_case(&text.bytes[end + 1..])
    {
        return end + 1 + length;
    }
    end
}

/// The arithmetic above.
pub(crate) struct O200kMasks;

impl Masks for O200kMasks {
    const MORE: bool = true;

    #[inline(always)]
    #[allow(clippy::inline_always)] // so that it is compiled for the instructions of its caller
    fn find(rows: &mut Rows, num_blocks: usize) {
        // From here on letters are letters and marks, and others are without marks.
        for i in 1..=num_blocks + 1 {
            rows.letter[i] |= rows.more.mark[i];
            rows.other[i] &= !rows.more.mark[i];
        }
        for i in 1..=num_blocks {
            rows.more.joining[i] = rows.other[i] & !before(&rows.other, i, 1) & !before(&rows.blank, i, 1);
        }
        for i in 1..=num_blocks {
            let before = |row| before(row, i, 1);
            let (letter, number, white) = (rows.letter[i], rows.number[i], rows.white[i]);
            let (upper, newline) = (rows.more.upper[i], rows.more.newline[i]);
            let after_newline = before(&rows.more.newline);
            let after_white = before(&rows.white) & !after_newline;
            let after_letter = before(&rows.letter);
            let after_lower = before(&rows.more.lower);
            let sign = rows.more.joining[i];
            let word = letter & !after_letter & !after_white & !is_joined(&rows.more, i);
            let capital = upper & after_lower;
            let first_number = number & !before(&rows.number);
            let first_white = white & !before(&rows.white) & !(newline & before(&rows.other));
            let line = white & !newline & after_newline;
            let follows = next(&rows.letter, i) | next(&rows.number, i) | next(&rows.other, i);
            let last = rows.white_ascii[i] & !newline & follows | rows.white_last[i];
            rows.starts[i] = word | capital | first_number | sign | first_white | line | last;
            rows.candidates[i] = rows.apostrophe[i] & after_letter & next(&rows.letter, i);
            rows.more.trailing[i] = newline & after_white;
            rows.more.doubtful[i] = upper & after_letter & !after_lower & !before(&rows.more.upper)
                | rows.more.mark[i] & before(&rows.other)
                | rows.more.slash[i] & after_newline;
        }
    }
}

/// Mend the contractions of one segment, whose first byte is `first_byte` of `text`. `contraction_end` is where the last
/// one ended, as a byte of the text.
pub(crate) fn mend_contractions(
    rows: &mut Rows,
    text: &[u8],
    first_byte: usize,
    contraction_end: &mut usize,
) {
    rows.for_each_candidate(|rows, bit| {
        let apostrophe = first_byte + bit;
        let Some(length) = contraction_length_in_any_case(&text[apostrophe + 1..]) else { return };
        if *contraction_end == apostrophe {
            // "a's't": the second one may belong to no word.
            rows.set_doubtful(bit);
        }
        *contraction_end = apostrophe + 1 + length;
        // A capital behind a small letter among its letters, too.
        (bit..=bit + length).for_each(|bit| rows.clear_start(bit));
        rows.set_start(bit + 1 + length);
    });
}
