"""The 256 characters in which byte-level tokenizers spell bytes, so that every token is printable text.

Bytes that print as themselves in Latin-1 keep their character; the others get U+0100, U+0101, ... in order
(Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, in its published code).

    byte   0x41  0x20  0x0a  0xe9
    spelt  A     Ġ     Ċ     é
"""

from __future__ import annotations


def _byte_characters() -> tuple[str, ...]:
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    shifted = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in printable else next(shifted)) for byte in range(256))


# The character of each byte, by byte.
BYTE_CHARACTERS = _byte_characters()
# To Latin-1, where a byte is its own character. It lacks the one for what is not in the alphabet.
_TO_LATIN_1 = dict.fromkeys(range(0x100), "\uffff") | {
    ord(character): chr(byte) for byte, character in enumerate(BYTE_CHARACTERS)
}


def bytes_of_token(token: str) -> bytes:
    """Return the bytes that a token of a byte-level vocabulary spells.

    A token with a character outside of the alphabet (an added one, with a blank perhaps) stands for its own
    UTF-8, as the decoder of `tokenizers` has it.

    Example:
        >>> bytes_of_token("Ġdef"), bytes_of_token("<a b>")
        (b' def', b'<a b>')
    """
    try:
        return token.translate(_TO_LATIN_1).encode("latin-1")
    except UnicodeEncodeError:
        return token.encode("utf-8")


def readable(data: bytes) -> str:
    """Return bytes as text for people: white space and control characters escaped, stray bytes as `\\\\xNN`.

    Example:
        >>> readable(b"  def\\n"), readable("é".encode()), readable(b"\\xc3")
        ('  def\\\\n', 'é', '\\\\xc3')
    """
    text = data.decode("utf-8", errors="surrogateescape")
    return "".join(_readable_character(character) for character in text)


def _readable_character(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    if character == "\\" or not character.isprintable():
        return character.encode("unicode_escape").decode("ascii")
    return character
