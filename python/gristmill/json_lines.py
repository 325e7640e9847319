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
    if not _is_json_lines(file):
        return None
    with Path(file).open("rb") as lines:
        for number, line in enumerate(lines):
            if reason := _why_bad(line, text_column):
                return number, reason
    return None


def other_columns(file: str, text_column: str) -> list[str] | None:
    """Return the columns of a JSONL file's first row, if none of its rows has the text column; else None.

    To be asked of a file without a bad line.
    """
    if not _is_json_lines(file):
        return None
    found: list[str] | None = None
    with Path(file).open("rb") as lines:
        for line in lines:
            row = json.loads(line) if line.strip() else {}
            if text_column in row:
                return None
            found = found or list(row)
    return found


def _is_json_lines(file: str) -> bool:
    path = Path(file)
    return path.suffix in (".jsonl", ".json") and path.is_file()


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
