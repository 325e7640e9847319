r"""What `\p{Lu}`, `\p{N}`, `\s` and their like mean to the installed `tokenizers` package.

The own engine has tables compiled in for the code points that Unicode 14 assigns. What later versions of
Unicode assign, each release of `tokenizers` sees by its own tables; so the compiled module calls `classes_of`
for those that it meets, once a process for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

# In the order of the classes of rust/core/src/unicode.rs.
_CLASSES = (r"[\p{Lu}\p{Lt}]", r"\p{Ll}", r"[\p{Lm}\p{Lo}]", r"\p{M}", r"\p{N}", r"\s")
_ANY = r"[\p{L}\p{M}\p{N}\s]"
# Places are found by counting through the text, so short texts are faster than one of all code points.
_CHUNK = 0x800


def classes_of(code_points: Sequence[int]) -> list[int]:
    """Return the class of each of some code points (no surrogates).

    Returns:
        0 for a letter of upper or title case, 1 for lower case, 2 for a letter without case, 3 for a mark, 4
        for a number, 5 for white space, 6 for none of them.

    Example:
        >>> classes_of([ord("A"), ord("a"), ord("1"), ord(" "), ord("!")])
        [0, 1, 4, 5, 6]
    """
    classes = [len(_CLASSES)] * len(code_points)
    # Nearly all that are asked for have no class at all, which one question shows.
    places = list(_matches(_ANY, code_points))
    found = [code_points[place] for place in places]
    for number, pattern in enumerate(_CLASSES):
        for match in _matches(pattern, found):
            classes[places[match]] = number
    return classes


def _matches(pattern: str, code_points: Sequence[int]) -> Iterator[int]:
    """Yield the places of the code points that a pattern of one character matches."""
    split = Split(Regex(pattern), behavior="removed", invert=True)
    for begin in range(0, len(code_points), _CHUNK):
        text = "".join(map(chr, code_points[begin : begin + _CHUNK]))
        for _, (start, end) in split.pre_tokenize_str(text):
            yield from range(begin + start, begin + end)
