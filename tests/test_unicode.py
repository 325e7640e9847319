"""Code points that Unicode 14 does not assign: what the installed `tokenizers` takes them for, asked once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests import samples
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

from gristmill import _unicode
from gristmill.tokenizer import Tokenizer

PATTERNS = (r"[\p{Lu}\p{Lt}]", r"\p{Ll}", r"[\p{Lm}\p{Lo}]", r"\p{M}", r"\p{N}", r"\s")

# In a process of its own: another test may have met them.
ASKED_SCRIPT = """
import sys
from gristmill import _unicode
from gristmill.tokenizer import Tokenizer

answer = _unicode.classes_of
_unicode.classes_of = lambda characters: print(*map(hex, map(ord, characters))) or answer(characters)
json = open(sys.argv[1], encoding="utf-8").read()
for text in ("a\\U000e0d0c \\u1c8ab", "\\u1c8a\\U000e0d0c", "\\U000e0d0d"):
    print(*Tokenizer.from_str(json).encode(text))
"""


def plain_class(code_point: int) -> int:
    for number, pattern in enumerate(PATTERNS):
        if Split(Regex(pattern), behavior="removed", invert=True).pre_tokenize_str(chr(code_point)):
            return number
    return len(PATTERNS)


def test_the_classes_are_those_of_each_character_alone() -> None:
    """Every 97th code point of the planes that have some, in an order that mixes them."""
    code_points = [code for code in range(0, 0x32000, 97) if not 0xD800 <= code < 0xE000]
    mixed = sorted(code_points, key=lambda code: code * 2_654_435_761 % 2**32)
    assert list(_unicode.classes_of("".join(map(chr, mixed)))) == [plain_class(code) for code in mixed]
    assert _unicode.classes_of("\u0378\U000e0d0c\u0378") == b"\6\6\6"
    assert _unicode.classes_of("") == b""


def test_each_is_asked_for_once_in_a_process(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    """What one tokenizer learned, the next ones know."""
    path = tmp_path / "tokenizer.json"
    path.write_text(tiny_tokenizer.to_str(), encoding="utf-8")
    command = [sys.executable, "-c", ASKED_SCRIPT, str(path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    reference = samples.reference(tiny_tokenizer.to_str())
    texts = ("a\U000e0d0c \u1c8ab", "\u1c8a\U000e0d0c", "\U000e0d0d")
    ids = [" ".join(map(str, reference.encode(text, add_special_tokens=False).ids)) for text in texts]
    assert lines == ["0x1c8a 0xe0d0c", ids[0], ids[1], "0xe0d0d", ids[2]]
