r"""What `\p{Lu}`, `\p{N}`, `\s` and their like mean to the installed `tokenizers` package.

The own engine has tables compiled in for the code points that Unicode 14 assigns. What later versions of
Unicode assign, each release of `tokenizers` sees by its own tables; so the compiled module calls `classes_of`
for those that it meets, once a process for each.
"""

from __future__ import annotations

from tokenizers import Regex
from tokenizers.normalizers import Replace

# In the order of the classes of rust/core/src/unicode.rs, each as it stands between brackets.
_CLASSES = (r"\p{Lu}\p{Lt}", r"\p{Ll}", r"\p{Lm}\p{Lo}", r"\p{M}", r"\p{N}", r"\s")
_ANY = r"\p{L}\p{M}\p{N}\s"
# Places are counted through the text, so short texts are faster than one of all code points.
_CHUNK = 0x800


def classes_of(characters: str) -> bytes:
    """Return the class of each of some characters, a byte each.

    Returns:
        0 for a letter of upper or title case, 1 for lower case, 2 for a letter without case, 3 for a mark, 4
        for a number, 5 for white space, 6 for none of them.

    Example:
        >>> list(classes_of("Aa1 !"))
        [0, 1, 4, 5, 6]
    """
    # Nearly all that are asked for have no class at all, which one question shows.
    some = _those_in(_ANY, characters)
    class_of = {
        character: number for number, names in enumerate(_CLASSES) for character in _those_in(names, some)
    }
    none = len(_CLASSES)
    if not class_of:
        return bytes([none]) * len(characters)
    return bytes(class_of.get(character, none) for character in characters)


def _those_in(names: str, characters: str) -> str:
    """Return the characters that one of the named classes has, in order.

    A normalizer that takes all others out: it asks the same regular expressions as pre-tokenizers do, and is
    three times as fast, for it makes no pieces.
    """
    take_out = Replace(Regex(f"[^{names}]+"), "")
    starts = range(0, len(characters), _CHUNK)
    return "".join(take_out.normalize_str(characters[start : start + _CHUNK]) for start in starts)
