//! NFC, with the tables that `tokenizers` has: those of its own crate, whose Unicode is not that of the standard library.
//!
//! Nearly all text is in NFC already, so what is looked for is a place where it might not be:
//!
//! ```text
//! text       c a f e ́   a u   l a i t      ASCII is passed over, 64 bytes at a time
//! safe       1 1 1 1 .  1 1 1 1 1 1 1 1     starts a character of its own and stays as it is (NFC_Quick_Check=Yes, ccc=0)
//! stretch          └──┘                     from the safe one before to the next: normalized, the rest is copied
//! ```
//!
//! In front of a safe character a text can be cut: nothing before it composes with it or changes places with it. So
//! stretches between safe characters are normalized alone. The meaning is `plain` below.

use std::borrow::Cow;
use std::sync::OnceLock;

use unicode_normalization_alignments::char::canonical_combining_class;
use unicode_normalization_alignments::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::unicode::decode;

const BLOCK: usize = 256;
const NUM_BLOCKS: usize = 0x11_0000 / BLOCK;

/// A text in NFC; the text itself where it is so already.
pub(crate) fn nfc(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut normalized = String::new();
    // What lies before is in `normalized`, or is as it was if that is empty.
    let mut num_done = 0;
    // Where the last safe character starts.
    let mut last_safe = 0;
    let mut position = 0;
    while position < bytes.len() {
        position = ascii_end(bytes, position);
        if position == bytes.len() {
            break;
        }
        let (code_point, width) = decode(bytes, position);
        if is_safe(code_point) {
            last_safe = position;
            position += width;
            continue;
        }
        if position > 0 && bytes[position - 1] < 0x80 {
            last_safe = position - 1;
        }
        let mut end = position + width;
        while end < bytes.len() {
            let (code_point, width) = decode(bytes, end);
            if is_safe(code_point) {
                break;
            }
            end += width;
        }
        let stretch = &text[last_safe..end];
        if is_nfc_quick(stretch.chars()) != IsNormalized::Yes {
            let composed: String = plain(stretch);
            if composed != stretch {
                normalized.push_str(&text[num_done..last_safe]);
                normalized.push_str(&composed);
                num_done = end;
            }
        }
        (last_safe, position) = (end, end);
    }
    if num_done == 0 {
        return Cow::Borrowed(text);
    }
    normalized.push_str(&text[num_done..]);
    Cow::Owned(normalized)
}

/// The meaning of `nfc`.
fn plain(text: &str) -> String {
    text.nfc().map(|(character, _)| character).collect()
}

/// Where the run of ASCII ends that starts at `position`.
fn ascii_end(bytes: &[u8], mut position: usize) -> usize {
    const STRIDE: usize = 64;
    while let Some(stride) = bytes[position..].first_chunk::<STRIDE>() {
        if !stride.is_ascii() {
            break;
        }
        position += STRIDE;
    }
    bytes[position..].iter().position(|byte| !byte.is_ascii()).map_or(bytes.len(), |length| position + length)
}

/// Whether a text can be cut in front of this character, and the character stays as it is.
fn is_safe(code_point: u32) -> bool {
    // By block, made when one of its characters is met.
    static BLOCKS: [OnceLock<Box<[bool; BLOCK]>>; NUM_BLOCKS] = [const { OnceLock::new() }; NUM_BLOCKS];
    let place = code_point as usize;
    let block = BLOCKS[place / BLOCK].get_or_init(|| {
        let first = code_point - code_point % 256;
        Box::new(std::array::from_fn(|offset| {
            let character = u32::try_from(offset).ok().and_then(|offset| char::from_u32(first + offset));
            character.is_some_and(|character| {
                canonical_combining_class(character) == 0
                    && is_nfc_quick(std::iter::once(character)) == IsNormalized::Yes
            })
        }))
    });
    block[place % BLOCK]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn character() -> impl Strategy<Value = char> {
        prop_oneof![
            any::<char>(),
            proptest::sample::select("aeou\u{e9}\u{ac00}\u{1100}\u{1161}\u{11a8}\u{301}\u{323}\u{344}\u{340}\u{958}\u{93c}\u{915}\u{fb1d}\u{2126}\u{212b}\u{1d6}\u{fc}\u{308}\u{304}\u{345} \u{3099}\u{304b}\n".chars().collect::<Vec<_>>()),
            (0x300_u32..0x370).prop_filter_map("a surrogate", char::from_u32),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn it_is_what_the_crate_gives_for_the_whole_text(
            start in 0_usize..70,
            characters in prop::collection::vec(character(), 0..40),
        ) {
            let text = "x".repeat(start) + &characters.iter().collect::<String>();
            let expected = plain(&text);
            prop_assert_eq!(matches!(nfc(&text), Cow::Borrowed(_)), expected == text);
            prop_assert_eq!(nfc(&text), expected);
        }
    }

    #[test]
    fn every_character_alone_and_between_others() {
        for character in char::MIN..=char::MAX {
            for text in [
                format!("{character}"),
                format!("a{character}\u{301}"),
                format!("\u{301}{character}か\u{3099}"),
            ] {
                assert_eq!(nfc(&text), plain(&text), "{text:?}");
            }
        }
    }
}
