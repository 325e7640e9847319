//! The 256 characters that stand for bytes in the vocabulary of a byte-level model (`Ġ` for a blank).

/// One past the largest character of the alphabet.
const END: usize = 0x144;

static BYTE_CHARACTERS: [char; 256] = {
    let mut characters = ['\0'; 256];
    let mut next = 0x100_u32;
    let mut byte = 0_u8;
    loop {
        let printable = matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
        characters[byte as usize] = if printable {
            byte as char
        } else {
            next += 1;
            match char::from_u32(next - 1) {
                Some(character) => character,
                None => char::REPLACEMENT_CHARACTER,
            }
        };
        if byte == u8::MAX {
            break characters;
        }
        byte += 1;
    }
};

/// The byte of each character of the alphabet, by its code point.
pub(crate) static BYTE_OF_CHARACTER: [Option<u8>; END] = {
    let mut bytes = [None; END];
    let mut byte = 0_u8;
    loop {
        bytes[BYTE_CHARACTERS[byte as usize] as usize] = Some(byte);
        if byte == u8::MAX {
            break bytes;
        }
        byte += 1;
    }
};

/// The character of each byte: printable bytes stand for themselves, the others follow from U+0100 on.
pub(crate) fn byte_characters() -> [char; 256] {
    BYTE_CHARACTERS
}
