"""Tables of plain text that stay aligned where characters are two columns wide or none (CJK, combining)."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun, which gets an s where it is not one.

    Example:
        >>> count_of(1, "document"), count_of(2500, "document")
        ('1 document', '2,500 documents')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def display_width(text: str) -> int:
    """Return how many columns a terminal takes for a text.

    Example:
        >>> display_width("abc"), display_width("北京"), display_width("e\\u0301")
        (3, 4, 1)
    """
    return sum(_character_width(character) for character in text)


def format_table(rows: Sequence[Sequence[str]], align: str = "") -> str:
    """Lay rows out in columns, two blanks between them.

    Args:
        rows: cells; a row may be shorter than others.
        align: a character for each column, `<` (left, the default) or `>` (right).

    Example:
        >>> print(format_table([["token", "id"], ["def", "266"]], "<>"))
        token   id
        def    266
    """
    num_columns = max((len(row) for row in rows), default=0)
    widths = [
        max((display_width(row[column]) for row in rows if column < len(row)), default=0)
        for column in range(num_columns)
    ]
    lines = []
    for row in rows:
        cells = []
        for column, cell in enumerate(row):
            padding = " " * (widths[column] - display_width(cell))
            cells.append(padding + cell if align[column : column + 1] == ">" else cell + padding)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _character_width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
