r"""What `\p{L}`, `\p{N}` and `\s` mean to the installed `tokenizers` package, asked once per process.

The own engine has tables compiled in for the code points that Unicode 14 assigns. What later versions of
Unicode assign, each release of `tokenizers` sees by its own tables; so at the first such code point the
compiled module calls `class_ranges`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

# In the order of the classes of rust/core/src/unicode.rs.
_CLASSES = (r"\p{L}", r"\p{N}", r"\s")
_SURROGATES = range(0xD800, 0xE000)
_NUM_CODE_POINTS = 0x110000
# Places are found by counting through the text, so short texts are faster than one of all code points.
_CHUNK = 0x2000


@cache
def class_ranges() -> list[tuple[int, int, int]]:
    """Return the ranges of code points that are letters, numbers or white space to `tokenizers`.

    Returns:
        `(first, last, class)` with `last` inclusive; class 0 is a letter, 1 a number, 2 white space. Whatever
        is in no range is none of them. About 0.2 s, then cached.

    Example:
        >>> (ord("a"), ord("z"), 0) in class_ranges()
        True
    """
    # One pass cuts all code points into runs of one class or of none, a second one asks for the class of each
    # run's first character only: a third of the time of asking for every class everywhere.
    runs = list(_runs())
    firsts = "".join(chr(first) for first, _ in runs)
    return sorted(
        (*runs[place], number)
        for number, pattern in enumerate(_CLASSES)
        for _, (start, end) in Split(Regex(pattern), behavior="removed", invert=True).pre_tokenize_str(firsts)
        for place in range(start, end)
    )


def classes_of(code_points: Sequence[int]) -> list[int]:
    """Return the class of each of some code points (no surrogates): as in `class_ranges`, 3 for none of them.

    Training asks for the few that it meets: all of them take longer than counting 100 MB.

    Example:
        >>> classes_of([ord("a"), ord("1"), ord(" "), ord("!")])
        [0, 1, 2, 3]
    """
    classes = [len(_CLASSES)] * len(code_points)
    for number, pattern in enumerate(_CLASSES):
        split = Split(Regex(pattern), behavior="removed", invert=True)
        for begin in range(0, len(code_points), _CHUNK):
            text = "".join(map(chr, code_points[begin : begin + _CHUNK]))
            for _, (start, end) in split.pre_tokenize_str(text):
                classes[begin + start : begin + end] = [number] * (end - start)
    return classes


def _runs() -> Iterator[tuple[int, int]]:
    split = Split(Regex("|".join(f"{pattern}+" for pattern in _CLASSES)), behavior="isolated")
    for begin in range(0, _NUM_CODE_POINTS, _CHUNK):
        # Surrogates are no characters; they fill one chunk, or its end.
        code_points = [c for c in range(begin, begin + _CHUNK) if c not in _SURROGATES]
        for _, (start, end) in split.pre_tokenize_str("".join(map(chr, code_points))):
            yield code_points[start], code_points[end - 1]
