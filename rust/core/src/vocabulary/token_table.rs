//! The bytes of all tokens by id, in one piece of memory.
//!
//! ```text
//! bytes   … 20 74 68 65 68 65 …       of all tokens, one behind the other
//! spans   id 262 ──► (start, 4)       where those of each id lie, and whether the file spells them in the byte alphabet
//! ```

use crate::byte_alphabet::{BYTE_OF_CHARACTER, byte_characters};

/// Bytes and spellings of tokens by id.
#[derive(Debug, Clone, Default)]
pub(crate) struct TokenTable {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    num_tokens: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Span {
    start: usize,
    len: u32,
    spelled: Spelled,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Spelled {
    /// No token has this id.
    #[default]
    Nowhere,
    /// Each byte as one character of the byte alphabet.
    InByteAlphabet,
    /// As the text it stands for: an added token with a blank in it.
    AsText,
}

impl TokenTable {
    /// Add a token that the file spells so. One with a character outside of the byte alphabet stands for its own UTF-8, as
    /// in the `ByteLevel` decoder of `tokenizers`. The id must be free.
    pub(crate) fn insert_spelled(&mut self, id: u32, token: &str) {
        let start = self.bytes.len();
        let byte_of = |character: char| BYTE_OF_CHARACTER.get(character as usize).copied().flatten();
        for character in token.chars() {
            let Some(byte) = byte_of(character) else {
                self.bytes.truncate(start);
                self.bytes.extend_from_slice(token.as_bytes());
                return self.end(id, start, Spelled::AsText);
            };
            self.bytes.push(byte);
        }
        self.end(id, start, Spelled::InByteAlphabet);
    }

    /// Add a token of these bytes.
    pub(crate) fn insert(&mut self, id: u32, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.end(id, start, Spelled::InByteAlphabet);
    }

    fn end(&mut self, id: u32, start: usize, spelled: Spelled) {
        let place = id as usize;
        if self.spans.len() <= place {
            self.spans.resize(place + 1, Span::default());
        }
        let len = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.spans[place] = Span { start, len, spelled };
        self.num_tokens += 1;
    }

    /// The bytes of a token, `None` where no token has this id.
    pub(crate) fn get(&self, id: u32) -> Option<&[u8]> {
        let span = *self.spans.get(id as usize)?;
        (span.spelled != Spelled::Nowhere).then(|| self.bytes_of(span))
    }

    fn bytes_of(&self, span: Span) -> &[u8] {
        &self.bytes[span.start..span.start + span.len as usize]
    }

    /// The token as the file spells it.
    pub(crate) fn spelling(&self, id: u32) -> Option<String> {
        let span = *self.spans.get(id as usize)?;
        let bytes = self.bytes_of(span);
        match span.spelled {
            Spelled::Nowhere => None,
            Spelled::AsText => Some(String::from_utf8_lossy(bytes).into_owned()),
            Spelled::InByteAlphabet => {
                let characters = byte_characters();
                Some(bytes.iter().map(|&byte| characters[usize::from(byte)]).collect())
            }
        }
    }

    /// The id of the token that the file spells so.
    pub(crate) fn find(&self, token: &str) -> Option<u32> {
        let mut one = Self::default();
        one.insert_spelled(0, token);
        let (sought, spelled) = (&one.bytes[..], one.spans[0].spelled);
        let place =
            self.spans.iter().position(|span| span.spelled == spelled && self.bytes_of(*span) == sought)?;
        u32::try_from(place).ok()
    }

    /// The ids of tokens that the file spells in the byte alphabet.
    pub(crate) fn ids_in_byte_alphabet(&self) -> Vec<u32> {
        let spelled = |(span, id): (&Span, u32)| (span.spelled == Spelled::InByteAlphabet).then_some(id);
        self.spans.iter().zip(0..).filter_map(spelled).collect()
    }

    /// The largest id, 0 where there is no token.
    pub(crate) fn max_id(&self) -> u32 {
        u32::try_from(self.spans.len()).unwrap_or(u32::MAX).saturating_sub(1)
    }

    pub(crate) fn num_tokens(&self) -> usize {
        self.num_tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_what_the_file_calls_it() {
        let mut table = TokenTable::default();
        for (id, token) in [(3, "Ġthe"), (0, " the"), (5, "é"), (1, "\u{e9}x中"), (2, "")] {
            table.insert_spelled(id, token);
            assert_eq!(table.spelling(id).as_deref(), Some(token));
            assert_eq!(table.find(token), Some(id));
        }
        assert_eq!((table.get(3), table.get(0)), (Some(&b" the"[..]), Some(&b" the"[..])));
        assert_eq!(table.get(5), Some(&b"\xe9"[..]), "a character of the byte alphabet");
        assert_eq!(table.get(1), Some("éx中".as_bytes()), "one outside of it makes a text of all");
        assert_eq!((table.get(2), table.get(4), table.get(6)), (Some(&b""[..]), None, None));
        assert_eq!((table.find("the"), table.spelling(4)), (None, None));
        assert_eq!((table.max_id(), table.num_tokens()), (5, 5));
    }
}
