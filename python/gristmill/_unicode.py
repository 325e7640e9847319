"""What `\\p{L}`, `\\p{N}` and `\\s` mean to the installed `tokenizers` package, asked once per process.

The own engine has tables compiled in for the code points that Unicode 14 assigns. What later versions of
Unicode assign, each release of `tokenizers` sees by its own tables; so at the first such code point the
compiled module calls `class_ranges`.
"""

from __future__ import annotations

from functools import cache

from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

_FIRST_SURROGATE, _NUM_SURROGATES, _NUM_CODE_POINTS = 0xD800, 0x800, 0x110000
# In the order of the classes of rust/core/src/unicode.rs.
_CLASSES = (r"\p{L}", r"\p{N}", r"\s")


@cache
def class_ranges() -> list[tuple[int, int, int]]:
    """Return the ranges of code points that are letters, numbers or white space to `tokenizers`.

    Returns:
        `(first, last, class)` with `last` inclusive; class 0 is a letter, 1 a number, 2 white space. Whatever
        is in no range is none of them. About 0.1 s, then cached.

    Example:
        >>> (ord("a"), ord("z"), 0) in class_ranges()
        True
    """
    code_points = "".join(map(chr, range(_FIRST_SURROGATE)))
    code_points += "".join(map(chr, range(_FIRST_SURROGATE + _NUM_SURROGATES, _NUM_CODE_POINTS)))
    ranges = []
    for number, pattern in enumerate(_CLASSES):
        # invert=True removes what does not match, so that the spans left are the runs of the class.
        split = Split(Regex(f"{pattern}+"), behavior="removed", invert=True)
        for _, (start, end) in split.pre_tokenize_str(code_points):
            # The string has no surrogates: places past them lie 2,048 before their code point.
            # No run crosses that gap: Hangul Jamo Extended-B ends before it, private use begins after it.
            shift = _NUM_SURROGATES if start >= _FIRST_SURROGATE else 0
            ranges.append((start + shift, end - 1 + shift, number))
    return ranges
