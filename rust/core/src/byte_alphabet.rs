//! The 256 characters that stand for bytes in the vocabulary of a byte-level model (`Ġ` for a blank).

/// The character of each byte: printable bytes stand for themselves, the others follow from U+0100 on.
pub(crate) fn byte_characters() -> [char; 256] {
    let mut characters = ['\0'; 256];
    let mut next = 0x100_u32;
    for byte in 0..=u8::MAX {
        let printable = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
        characters[usize::from(byte)] = if printable {
            char::from(byte)
        } else {
            next += 1;
            char::from_u32(next - 1).unwrap_or(char::REPLACEMENT_CHARACTER)
        };
    }
    characters
}

/// The bytes that a token of the vocabulary stands for. A token with a character outside of the alphabet (an
/// added token with a blank in it) stands for its own UTF-8, as in the `ByteLevel` decoder of `tokenizers`.
pub(crate) fn token_bytes(token: &str, byte_of: &impl Fn(char) -> Option<u8>) -> Box<[u8]> {
    let bytes: Option<Vec<u8>> = token.chars().map(byte_of).collect();
    bytes.unwrap_or_else(|| token.as_bytes().to_vec()).into_boxed_slice()
}
