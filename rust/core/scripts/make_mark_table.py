r"""Write rust/core/src/unicode_marks.rs: the marks (`\p{M}`) of Unicode 14, which belong to words.

What a mark is comes from the installed `tokenizers`, which code points count from Python 3.11, whose
`unicodedata` is Unicode 14. Run it with that Python:

    python3.11 rust/core/scripts/make_mark_table.py
"""

import unicodedata
from pathlib import Path

from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

_TARGET = Path(__file__).parent.parent / "src" / "unicode_marks.rs"
_RANGES_PER_LINE = 6
_HEAD = r"""//! Made by `rust/core/scripts/make_mark_table.py`: do not edit.
//!
//! `(first, last)`, `last` inclusive, ascending: the marks (`\p{M}`) of Unicode 14.

#[rustfmt::skip]
#[allow(clippy::unreadable_literal)] // code points are known by four to six digits
pub(crate) const UNICODE_14_MARKS: &[(u32, u32)] = &[
"""


def mark_ranges() -> list[tuple[int, int]]:
    """The marks as runs of code points."""
    if unicodedata.unidata_version != "14.0.0":
        raise SystemExit(f"unicodedata is {unicodedata.unidata_version} (expected 14.0.0, as in Python 3.11)")
    assigned = [c for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
    split = Split(Regex(r"\p{M}"), behavior="removed", invert=True)
    ranges: list[tuple[int, int]] = []
    for begin in range(0, len(assigned), 0x2000):
        chunk = assigned[begin : begin + 0x2000]
        for _, (start, _end) in split.pre_tokenize_str("".join(map(chr, chunk))):
            code_point = chunk[start]
            if ranges and ranges[-1][1] == code_point - 1:
                ranges[-1] = (ranges[-1][0], code_point)
            else:
                ranges.append((code_point, code_point))
    return ranges


def main() -> None:
    """Write the file."""
    entries = [f"({first:#07x}, {last:#07x})," for first, last in mark_ranges()]
    lines = (entries[i : i + _RANGES_PER_LINE] for i in range(0, len(entries), _RANGES_PER_LINE))
    _TARGET.write_text(
        _HEAD + "".join(f"    {' '.join(line)}\n" for line in lines) + "];\n", encoding="utf-8"
    )
    print(f"{_TARGET}: {len(entries)} ranges")


if __name__ == "__main__":
    main()
