"""Where documents come from, behind one interface: read on, say the position, open again at a position.

    documents            seek     what resuming costs
    list, any Sequence   exact    nothing
    datasets.Dataset     exact    nothing (arrow_columns.py)
    Arrow arrays         exact    nothing (arrow_columns.py); a stream of them: as an iterator
    datasets stream      unit     its current shard is read again from the start (`reshard()`: small ones)
    any re-iterable      none     everything before the position is read again and thrown away
    iterator, generator  none     can be read once: no second epoch, no resuming

A position is small JSON: always the number of rows read, and for a stream the stream's own state. So a corpus
may be resumed through another kind of source, as long as it gives the same rows.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from gristmill.errors import GristmillError, MissingColumnError, ResumeError, SourceError

Seek = Literal["exact", "unit", "none"]
Position = dict[str, Any]
# What is known of a corpus without reading it, small JSON: "rows"; or "files", "bytes" and a digest "names".
Extent = dict[str, Any]

_logger = logging.getLogger("gristmill.corpus")

# Rows thrown away at once while skipping.
_SKIP_ROWS = 1000

_TEXT_TYPES = frozenset((str, bytes))


class SourceReader(ABC):
    """One pass over a source, possibly from its middle."""

    @abstractmethod
    def read(self, max_documents: int) -> Sequence[object]:
        """Return the next raw values, as many as asked unless the end is reached, `[]` at the end."""

    def read_apart(self, max_rows: int) -> Sequence[object]:
        """Return the documents of the next rows: a row that is a list or a tuple stands for those in it.

        Such rows alone: a list that a column of a row holds is one bad document. `[]` only at the end.
        """
        return self.read(max_rows)

    @abstractmethod
    def position(self) -> Position:
        """Return where the pass stands, as small JSON: opening the source there reads what comes next."""


class DocumentSource(ABC):
    """A corpus that passes can be opened on.

    Attributes:
        name: how errors call it.
        text_column: the column of rows that holds the text; rows that are no mapping are the text.
        seek: what opening at a position costs; see the table at the head of this module.
        repeatable: whether a second pass can be opened.
        in_arrow: whether what is read lies in Arrow memory (`_native.ArrowTexts`), each row one text.
    """

    seek: Seek
    repeatable = True
    in_arrow = False

    def __init__(self, name: str, text_column: str) -> None:
        self.name = name
        self.text_column = text_column

    @abstractmethod
    def open(self, position: Position | None = None) -> SourceReader:
        """Open a pass at the start, or at what a reader's `position()` said.

        Raises:
            SourceError: the source cannot be read (again, or from there).
            ResumeError: the source has fewer rows than the position says.
        """

    def locate(self, row: int, value: object) -> tuple[str, int]:
        """Say where row `row`, which holds `value`, came from: the file and its row, where that is known."""
        return self.name, row

    def extent(self) -> Extent:
        """Say how much there is, as far as that is known without reading: to notice that a corpus changed."""
        return {}

    def texts(self, rows: Sequence[object], first_row: int) -> list[object]:
        """Take the text column of rows that are mappings; everything else is its own text."""
        if are_texts(rows) or not any(isinstance(row, Mapping) for row in rows):
            return list(rows)
        return [
            self._column(row, first_row + index) if isinstance(row, Mapping) else row
            for index, row in enumerate(rows)
        ]

    def texts_apart(self, rows: Sequence[object], first_row: int) -> list[object]:
        """Take the text column as `texts` does, and the texts out of rows that are lists or tuples."""
        if are_texts(rows):
            return list(rows)
        documents: list[object] = []
        for index, row in enumerate(rows):
            if isinstance(row, list | tuple):
                documents += row
            elif isinstance(row, Mapping):
                documents.append(self._column(row, first_row + index))
            else:
                documents.append(row)
        return documents

    def _column(self, row: Mapping[str, object], number: int) -> object:
        if self.text_column not in row:
            raise missing_column(self.name, number, self.text_column, row)
        return row[self.text_column]


def are_texts(rows: Sequence[object]) -> bool:
    """Say whether all rows are plainly `str` or `bytes`; types are asked, as asking each row costs more."""
    return _TEXT_TYPES.issuperset(map(type, rows))


class SequenceSource(DocumentSource):
    """A list, a tuple or any other `Sequence`: read by index."""

    seek: Seek = "exact"

    def __init__(self, documents: Sequence[object], name: str, text_column: str) -> None:
        super().__init__(name, text_column)
        self._documents = documents

    def open(self, position: Position | None = None) -> SourceReader:
        """Open a pass at any row, at no cost."""
        row = row_of(position)
        if row > len(self._documents):
            raise _too_short(self.name, len(self._documents), row)
        return _SequenceReader(self, row)

    def extent(self) -> Extent:
        """Say how many rows there are."""
        return {"rows": len(self._documents)}

    def rows(self, start: int, count: int) -> Sequence[object]:
        """Return up to `count` texts from row `start` on."""
        return self.texts(self.raw_rows(start, count), start)

    def rows_apart(self, start: int, count: int) -> tuple[int, Sequence[object]]:
        """Return how many rows from row `start` on were read, up to `count`, and the documents in them."""
        rows = self.raw_rows(start, count)
        return len(rows), self.texts_apart(rows, start)

    def raw_rows(self, start: int, count: int) -> Sequence[object]:
        """Return up to `count` rows from row `start` on, as they are."""
        documents = self._documents
        if isinstance(documents, list | tuple):
            return documents[start : start + count]
        return [documents[row] for row in range(start, min(start + count, len(documents)))]


class _SequenceReader(SourceReader):
    def __init__(self, source: SequenceSource, row: int) -> None:
        self._source = source
        self._row = row

    def read(self, max_documents: int) -> Sequence[object]:
        with self._explained():
            rows = self._source.rows(self._row, max_documents)
        self._row += len(rows)
        return rows if len(rows) else []

    def read_apart(self, max_rows: int) -> Sequence[object]:
        documents: Sequence[object] = []
        num_rows = 1
        while num_rows and not len(documents):  # rows may be empty lists
            with self._explained():
                num_rows, documents = self._source.rows_apart(self._row, max_rows)
            self._row += num_rows
        return documents

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            explain(error, f"{self._source.name}, row {self._row}")
            raise

    def position(self) -> Position:
        return {"row": self._row}


class IterableSource(DocumentSource):
    """An object whose `__iter__` starts anew each time: a position is reached by reading up to it."""

    seek: Seek = "none"

    def __init__(self, documents: Iterable[object], name: str, text_column: str) -> None:
        super().__init__(name, text_column)
        self._documents = documents

    def open(self, position: Position | None = None) -> SourceReader:
        """Open a pass at the start, and read up to the position."""
        try:
            reader = _IteratorReader(self, iter(self._documents))
        except Exception as error:
            explain(error, f"{self.name}, row 0")
            raise
        skip_rows(reader, self.name, row_of(position))
        return reader

    def locate(self, row: int, value: object) -> tuple[str, int]:
        """Ask the iterable itself, where it knows files."""
        locate = getattr(self._documents, "locate", None)
        return super().locate(row, value) if locate is None else locate(row)


class IteratorSource(DocumentSource):
    """An iterator or generator: one pass, no position to come back to."""

    seek: Seek = "none"
    repeatable = False

    def __init__(self, documents: Iterator[object], name: str, text_column: str) -> None:
        super().__init__(name, text_column)
        self._documents = documents
        self._opened = False

    def open(self, position: Position | None = None) -> SourceReader:
        """Open the one pass there is."""
        if position is not None and row_of(position):
            raise one_pass(self.name, "cannot be resumed")
        if self._opened:
            raise one_pass(self.name, "was read before and cannot be read again")
        self._opened = True
        return _IteratorReader(self, self._documents)


class _IteratorReader(SourceReader):
    def __init__(self, source: DocumentSource, iterator: Iterator[object]) -> None:
        self._source = source
        self._iterator = iterator
        self._row = 0
        self._ended = False

    def read(self, max_documents: int) -> list[object]:
        rows = self._next_rows(max_documents)
        texts = self._source.texts(rows, self._row)
        self._row += len(rows)
        return texts

    def read_apart(self, max_rows: int) -> list[object]:
        documents: list[object] = []
        while not documents and (rows := self._next_rows(max_rows)):  # rows may be empty lists
            documents = self._source.texts_apart(rows, self._row)
            self._row += len(rows)
        return documents

    def _next_rows(self, max_rows: int) -> list[object]:
        if self._ended:  # an iterator that ended is never asked again: some would start anew
            return []
        rows: list[object] = []
        try:
            rows.extend(itertools.islice(self._iterator, max_rows))
        except Exception as error:
            explain(error, f"{self._source.name}, row {self._row + len(rows)}")
            raise
        self._ended = len(rows) < max_rows
        return rows

    def position(self) -> Position:
        return {"row": self._row}


def skip_rows(reader: SourceReader, name: str, num_rows: int) -> None:
    """Read and throw away the rows before a position, and say in the log what that cost.

    Raises:
        ResumeError: the source ends before.
    """
    if not num_rows:
        return
    started = time.monotonic()
    skipped = 0
    while skipped < num_rows:
        count = len(reader.read(min(_SKIP_ROWS, num_rows - skipped)))
        if not count:
            raise _too_short(name, skipped, num_rows)
        skipped += count
    _logger.info(
        "%s cannot seek: %d rows were read again and thrown away in %.1f s",
        name,
        num_rows,
        time.monotonic() - started,
    )


def extent_of_files(files: Sequence[str]) -> Extent:
    """Return the extent of files on this machine; nothing where there is none, or one lies elsewhere.

    Folders do not count: a corpus may be moved.

    Example:
        >>> extent_of_files(["https://host/corpus.jsonl"])
        {}
    """
    try:
        sizes = [(Path(file).name, Path(file).stat().st_size) for file in files]
    except OSError:
        return {}
    if not sizes:
        return {}
    names = hashlib.blake2b(json.dumps(sizes).encode("utf-8"), digest_size=8).hexdigest()
    return {"files": len(sizes), "bytes": sum(size for _, size in sizes), "names": names}


def refuse_other_extent(name: str, saved: Extent, found: Extent) -> None:
    """Refuse to go on in a corpus that is not as large as the one that a state was saved over.

    What only one of the two knows is not compared: a stream of files does not know its rows, a list no files.

    Raises:
        ResumeError: says both sizes.
    """
    known = [key for key in ("rows", "files", "bytes", "names") if key in saved and key in found]
    if all(saved[key] == found[key] for key in known):
        return

    def told(extent: Extent) -> str:
        sizes = ((extent[key], key) for key in known if key != "names")
        return ", ".join(f"{size:,} {key.removesuffix('s') if size == 1 else key}" for size, key in sizes)

    here, before = told(found), told(saved)
    if here == before:
        here += ", of other names, sizes or order,"
    raise ResumeError(
        f"{name} has {here} but had {before} when the state was saved (expected the same documents in the "
        "same order)"
    )


def missing_column(name: str, row: int, column: str, columns: Iterable[object]) -> MissingColumnError:
    """Build the error for a row that lacks the text column."""
    found = ", ".join(map(repr, columns)) or "no column"
    return MissingColumnError(f"{name}, row {row}: no column {column!r} (found {found}; set text_column)")


def one_pass(name: str, problem: str) -> SourceError:
    """Build the error for an iterator that is asked to start again."""
    return SourceError(
        f"{name} {problem}: an iterator can be read once (expected a list, a datasets data set, or an object "
        "whose __iter__ starts anew each time)"
    )


def row_of(position: Position | None) -> int:
    """Return the number of rows before a position."""
    return 0 if position is None else int(position["row"])


def _too_short(name: str, num_rows: int, row: int) -> ResumeError:
    return ResumeError(
        f"{name} has {num_rows} rows, but the state stands at row {row} (expected the source that the state "
        "was saved with)"
    )


def explain(error: Exception, place: str) -> None:
    """Note on an exception of a source where it came up; the caller raises it again.

    Raises:
        SourceError: it is a stray StopIteration, which would end our loops as if the corpus had ended there.
    """
    if isinstance(error, StopIteration):
        raise SourceError(
            f"{place}: reading raised StopIteration where no iterator ends (expected a row, or an exception "
            "that says what is wrong)"
        ) from error
    if not isinstance(error, GristmillError):
        error.add_note(f"while gristmill read {place}")
