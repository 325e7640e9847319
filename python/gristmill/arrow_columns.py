"""Columns of text in Arrow memory as sources of documents: read where they lie, no value becomes an object.

    what                                                         seek    how it is read
    has a length (Array, ChunkedArray, Table, RecordBatch, …)    exact   all arrays taken at once, none copied
    or gives one array (`__arrow_c_array__` alone)
    a datasets.Dataset, or a column of one                       exact   slices, through its Arrow format
    else: RecordBatchReader and other streams                    none    array by array, once

Anything counts that has `__arrow_c_array__` or `__arrow_c_stream__`, the Arrow PyCapsule interface. The
compiled module reads it by itself, so pyarrow is not needed. Types: string, large_string, string_view,
binary, large_binary, binary_view, dictionaries of those, and null. Of tables, the text column is taken.

Streams of `datasets` stay what they are (streams.py): iterated in its Arrow format they go through another
chain of iterables, whose states are not those of the chain that was tested to resume exactly.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, cast

from gristmill import _native
from gristmill.sources import (
    DocumentSource,
    Position,
    Seek,
    SequenceSource,
    SourceReader,
    missing_column,
    one_pass,
    row_of,
)

# The types of `datasets.Value` whose Arrow memory is the text.
_TEXT_DTYPES = frozenset({"string", "large_string", "string_view", "binary", "large_binary", "binary_view"})


def has_arrow(documents: object) -> bool:
    """Return whether an object has the Arrow PyCapsule interface.

    Example:
        >>> has_arrow(["a", "b"])
        False
    """
    return hasattr(documents, "__arrow_c_array__") or hasattr(documents, "__arrow_c_stream__")


def column_of_data_set(texts: object) -> tuple[Any, str] | None:
    """Return data set and name of a column of a `datasets.Dataset` (`dataset["text"]`); None for all else."""
    datasets = sys.modules.get("datasets")
    source, name = getattr(texts, "source", None), getattr(texts, "column_name", None)
    if datasets is not None and isinstance(name, str) and isinstance(source, datasets.Dataset):
        return source, name
    return None


def in_arrow(texts: Any) -> Any:
    """Return texts that lie in Arrow memory as `_native.ArrowTexts`, and everything else as it is.

    Raises:
        SourceError: a type that is no text, or a table. ArrowDataError: what contradicts itself.
    """
    if isinstance(texts, list | tuple | str | bytes | _native.ArrowTexts):
        return texts
    column = column_of_data_set(texts)
    if column is not None:
        texts = column[0].with_format("arrow")[column[1]]
        if not has_arrow(texts):  # a later `datasets` wraps it once more
            texts = texts[:]
    return _native.ArrowTexts(texts) if has_arrow(texts) else texts


class ArrowSource(SequenceSource):
    """Arrow arrays that are at hand, whole: read by index, without a copy."""

    in_arrow = True

    def __init__(self, documents: object, name: str, text_column: str) -> None:
        self._texts = _native.ArrowTexts(documents, text_column)
        super().__init__(cast(Sequence[object], self._texts), name, text_column)

    def rows(self, start: int, count: int) -> Sequence[object]:
        """Return up to `count` rows from row `start` on, of the same memory."""
        return cast(Sequence[object], self._texts[start : start + count])

    def rows_apart(self, start: int, count: int) -> tuple[int, Sequence[object]]:
        """Return up to `count` rows: in Arrow memory each is one text."""
        rows = self.rows(start, count)
        return len(rows), rows


class ArrowStreamSource(DocumentSource):
    """A stream of Arrow arrays: one pass, no position to come back to."""

    seek: Seek = "none"
    repeatable = False
    in_arrow = True

    def __init__(self, documents: object, name: str, text_column: str) -> None:
        super().__init__(name, text_column)
        self._documents: object | None = documents

    def open(self, position: Position | None = None) -> SourceReader:
        """Open the one pass there is."""
        if position is not None and row_of(position):
            raise one_pass(self.name, "cannot be resumed")
        if self._documents is None:
            raise one_pass(self.name, "was read before and cannot be read again")
        documents, self._documents = self._documents, None
        return _ArrowStreamReader(_native.ArrowStream(documents, self.text_column))


class _ArrowStreamReader(SourceReader):
    def __init__(self, arrays: _native.ArrowStream) -> None:
        self._arrays = arrays
        self._waiting: _native.ArrowTexts | None = None
        self._row = 0

    def read(self, max_documents: int) -> Sequence[object]:
        parts: list[_native.ArrowTexts] = []
        missing = max_documents
        while missing:
            array = self._waiting if self._waiting is not None else next(self._arrays, None)
            if array is None:
                break
            parts.append(array[:missing])
            self._waiting = array[missing:] if len(array) > missing else None
            missing -= len(parts[-1])
        if not parts:
            return []
        texts = parts[0] if len(parts) == 1 else _native.ArrowTexts.joined(parts)
        self._row += len(texts)
        return cast(Sequence[object], texts)

    def position(self) -> Position:
        return {"row": self._row}


class TableSource(SequenceSource):
    """A map-style `datasets.Dataset`: read by index, its text column alone, in Arrow memory if it is text."""

    def __init__(self, documents: Any, name: str, text_column: str) -> None:
        if text_column not in documents.column_names:
            raise missing_column(name, 0, text_column, documents.column_names)
        super().__init__(documents, name, text_column)
        table = documents.select_columns([text_column])
        # Lists of texts, and features that are decoded (JSON), are read as Python values.
        feature = documents.features[text_column]
        kind = feature.dtype if type(feature).__name__ == "Value" else ""
        self.in_arrow = kind in _TEXT_DTYPES
        self._table = table.with_format("arrow" if self.in_arrow else None)

    def rows(self, start: int, count: int) -> Sequence[object]:
        """Return up to `count` texts from row `start` on."""
        rows = self._table[start : start + count]
        if self.in_arrow:
            return cast(Sequence[object], _native.ArrowTexts(rows, self.text_column))
        return list(rows[self.text_column])

    def rows_apart(self, start: int, count: int) -> tuple[int, Sequence[object]]:
        """Return up to `count` rows as they are: a list in a column stands for nothing but itself."""
        rows = self.rows(start, count)
        return len(rows), rows
