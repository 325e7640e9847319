"""Write rust/core/src/unicode_tables.rs: the class of every code point that Unicode 14 assigns.

The classes come from the installed `tokenizers` package (the reference for ids), which code points count as
assigned comes from Python 3.11, whose `unicodedata` is Unicode 14. Run it with that Python:

    python3.11 rust/core/scripts/make_unicode_tables.py
"""

import unicodedata
from pathlib import Path

from gristmill._unicode import classes_of

_TARGET = Path(__file__).parent.parent / "src" / "unicode_tables.rs"
_CLASSES = ("Upper", "Lower", "Letter", "Mark", "Number", "Space", "Other")
_RANGES_PER_LINE = 5
_HEAD = """\
//! Made by `rust/core/scripts/make_unicode_tables.py`: do not edit.
//!
//! `(first, last, class)`, `last` inclusive, of what Unicode 14 assigns: there all releases of `tokenizers`
//! agree. A code point in no range has to be asked for.

use super::unicode::Class::{self, Letter, Lower, Mark, Number, Other, Space, Upper};

#[rustfmt::skip]
#[allow(clippy::unreadable_literal)] // code points are known by four to six digits
pub(crate) const UNICODE_14_RANGES: &[(u32, u32, Class)] = &[
"""


def assigned_ranges() -> list[tuple[int, int, str]]:
    """The assigned code points (surrogates apart) as runs of one class."""
    if unicodedata.unidata_version != "14.0.0":
        raise SystemExit(f"unicodedata is {unicodedata.unidata_version} (expected 14.0.0, as in Python 3.11)")
    assigned = [c for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
    ranges: list[tuple[int, int, str]] = []
    for code_point, number in zip(assigned, classes_of(assigned), strict=True):
        name = _CLASSES[number]
        if ranges and ranges[-1][1] == code_point - 1 and ranges[-1][2] == name:
            ranges[-1] = (ranges[-1][0], code_point, name)
        else:
            ranges.append((code_point, code_point, name))
    return ranges


def main() -> None:
    """Write the file."""
    entries = [f"({first:#07x}, {last:#07x}, {name})," for first, last, name in assigned_ranges()]
    lines = (entries[i : i + _RANGES_PER_LINE] for i in range(0, len(entries), _RANGES_PER_LINE))
    _TARGET.write_text(
        _HEAD + "".join(f"    {' '.join(line)}\n" for line in lines) + "];\n", encoding="utf-8"
    )
    print(f"{_TARGET}: {len(entries)} ranges")


if __name__ == "__main__":
    main()
