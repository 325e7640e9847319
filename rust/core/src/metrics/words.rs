//! What a word is, by three rules, in the plain form that defines them. `blocks` finds the same by masks.

use std::ops::Range;

use crate::unicode::{Class, ClassTable};
use crate::unicode_marks::UNICODE_14_MARKS;

/// A rule of what a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordRule {
    /// A maximal run of characters that are not white space (`\s`).
    Whitespace,
    /// A maximal run of letters, marks, numbers (`\p{L}`, `\p{M}`, `\p{N}`) and `_`, where it begins with a letter or `_`.
    Identifiers,
    /// A maximal run of letters, marks and numbers.
    Unicode,
}

impl WordRule {
    /// All of them, by number.
    pub const ALL: [Self; 3] = [Self::Whitespace, Self::Identifiers, Self::Unicode];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Whitespace => "whitespace",
            Self::Identifiers => "identifiers",
            Self::Unicode => "unicode",
        }
    }
}

/// `\p{L}`
#[inline]
pub(crate) fn is_letter(class: Class) -> bool {
    class == Class::Letter
}

/// `\p{M}`
pub(crate) fn is_mark(code_point: u32) -> bool {
    let place = UNICODE_14_MARKS.partition_point(|&(_, last)| last < code_point);
    UNICODE_14_MARKS.get(place).is_some_and(|&(first, _)| first <= code_point)
}

/// Letter, mark or number.
#[inline]
pub(crate) fn is_word_character(code_point: u32, classes: &ClassTable) -> bool {
    let class = classes.of(code_point);
    is_letter(class) || class == Class::Number || (code_point >= 0x80 && is_mark(code_point))
}

/// A word: where it lies in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) bytes: Range<usize>,
    pub(crate) characters: Range<usize>,
}

/// The words of a text.
pub(crate) fn words<'a>(
    text: &'a str,
    rule: WordRule,
    classes: &'a ClassTable,
) -> impl Iterator<Item = Word> + 'a {
    let belongs = move |character: char| {
        let code_point = u32::from(character);
        match rule {
            WordRule::Whitespace => classes.of(code_point) != Class::Space,
            WordRule::Identifiers => character == '_' || is_word_character(code_point, classes),
            WordRule::Unicode => is_word_character(code_point, classes),
        }
    };
    let begins = move |character: char| {
        rule != WordRule::Identifiers || character == '_' || is_letter(classes.of(character.into()))
    };
    let mut characters = text.char_indices().enumerate();
    std::iter::from_fn(move || {
        loop {
            let (number, (start, first)) = characters.find(|&(_, (_, character))| belongs(character))?;
            let mut end = (number + 1, start + first.len_utf8());
            for (number, (place, character)) in characters.by_ref() {
                if !belongs(character) {
                    break;
                }
                end = (number + 1, place + character.len_utf8());
            }
            if begins(first) {
                return Some(Word { bytes: start..end.1, characters: number..end.0 });
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, rule: WordRule) -> Vec<&str> {
        let classes = ClassTable::unicode_14();
        words(text, rule, &classes).map(|word| &text[word.bytes]).collect()
    }

    #[test]
    fn goldens() {
        let text = "x_1 = 2nd(self.größe)\u{a0}हिन्दी _ e\u{301}t 3";
        assert_eq!(
            found(text, WordRule::Whitespace),
            ["x_1", "=", "2nd(self.größe)", "हिन्दी", "_", "e\u{301}t", "3"]
        );
        assert_eq!(found(text, WordRule::Identifiers), ["x_1", "self", "größe", "हिन्दी", "_", "e\u{301}t"]);
        assert_eq!(
            found(text, WordRule::Unicode),
            ["x", "1", "2nd", "self", "größe", "हिन्दी", "e\u{301}t", "3"]
        );
        assert!(found(" \n", WordRule::Whitespace).is_empty());
    }

    #[test]
    fn marks() {
        assert!(is_mark(0x301) && is_mark(0x93f) && is_mark(0xe01ef));
        assert!(!is_mark(0x2ff) && !is_mark(0x61) && !is_mark(0xe01f0) && !is_mark(u32::MAX));
    }
}
