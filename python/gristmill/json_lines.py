"""Looking for the line of a JSONL file that a reader stumbled over."""

from __future__ import annotations

import json
from pathlib import Path


def find_bad_line(file: str, text_column: str) -> tuple[int, str] | None:
    """Return the number of the first bad row of a JSONL file on this machine, from 0, and what is bad.

    None where the file is of another kind, cannot be opened, or has no such row.

    Example:
        >>> find_bad_line("no-such-file.jsonl", "text") is None
        True
    """
    path = Path(file)
    if path.suffix not in (".jsonl", ".json") or not path.is_file():
        return None
    with path.open("rb") as lines:
        for number, line in enumerate(lines):
            if reason := _why_bad(line, text_column):
                return number, reason
    return None


def _why_bad(line: bytes, text_column: str) -> str | None:
    if not line.strip():
        return None
    try:
        row = json.loads(line)
    except UnicodeDecodeError as error:
        return f"invalid UTF-8 at byte {error.start} of the line"
    except ValueError as error:
        return f"no JSON: {error}"
    if not isinstance(row, dict):
        return f"a value of type {type(row).__name__}, no JSON object"
    # the text first: whatever else is wrong, this is what is read
    for column in sorted(row, key=lambda name: name != text_column):
        value = row[column]
        try:
            if isinstance(value, str):
                value.encode("utf-8")
        except UnicodeEncodeError as error:
            found = f"U+{ord(value[error.start]):04X}"
            return f"a lone surrogate {found} at character {error.start} of column {column!r}"
    return None
