"""Streams of `datasets` as a source of documents.

A stream keeps its place in objects that its copies share, so each pass gets a chain of its own, built anew by
the public `shard(num_shards=1, index=0)`. A pass starts at the start whatever the stream at hand was told by
`load_state_dict`, and however far somebody else has read it.

The stream's own state is exact for every chain that was tried with datasets 5.2 (files, generators, tables,
`map`, `filter`, `take`, `skip`, `repeat`, `batch`, interleaved, concatenated, split by node). In two cases
rows are counted instead, which is exact, too, but reads everything before again:

- `.shuffle(buffer_size=...)` loses what its buffer held;
- before datasets 5.2, states lose or repeat rows of parquet files and tables, and a stream that was resumed
  once reports the place where it began for ever (measured with 4.0).
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gristmill.errors import FileFormatError, GristmillError, MissingColumnError, ResumeError, SourceError
from gristmill.json_lines import find_bad_line, other_columns
from gristmill.sources import (
    DocumentSource,
    Extent,
    Position,
    Seek,
    SourceReader,
    explain,
    extent_of_files,
    missing_column,
    row_of,
    skip_rows,
)

# Rows that are fetched at once: one by one, a row costs about ten times as much.
_BATCH_ROWS = 128
# Rows that are read again at most, to name the file of a bad one.
_MAX_LOCATED_ROWS = 1_000_000
_SHUFFLE_BUFFERS = frozenset({"BufferShuffledExamplesIterable"})
_FIRST_EXACT_VERSION = (5, 2)


class StreamSource(DocumentSource):
    """A `datasets.IterableDataset`, read in the epoch that it was set to when it was handed in.

    `seek` is "unit": the state names a shard and a row in it, and the shard is read from its start to there.
    """

    def __init__(self, documents: Any, name: str, text_column: str) -> None:
        super().__init__(name, text_column)
        columns = documents.column_names
        if columns is not None and text_column not in columns:
            files = _files(documents)
            raise missing_column(files[0] if files else name, 0, text_column, columns)
        self._documents = documents
        self.epoch = int(documents.epoch)
        self._has_columns = columns is not None
        self.is_batched = _is_batched(documents)
        exact = _installed_version() >= _FIRST_EXACT_VERSION and not _has_shuffle_buffer(documents)
        self.seek: Seek = "unit" if exact else "none"

    def open(self, position: Position | None = None) -> SourceReader:
        """Open a pass at the start, or at a position, through the stream's state where that is exact."""
        state = None if position is None else position.get("stream")
        if position is None or state is None or self.seek == "none":
            reader = _StreamReader(self)
            skip_rows(reader, self.name, row_of(position))
            return reader
        used = position.get("used")
        if not (isinstance(state, dict) and isinstance(state.get("epoch"), int) and isinstance(used, int)):
            raise ResumeError(
                f"{self.name}: the position {position!r:.300} is damaged (expected what position() gave)"
            )
        return _StreamReader(self, position)

    def extent(self) -> Extent:
        """Say how many files there are and how large they are, where they lie on this machine."""
        return extent_of_files(_files(self._documents))

    def locate(self, row: int, value: object) -> tuple[str, int]:
        """Find the file of a row by reading again, where files come one after the other, unchanged."""
        files = _files(self._documents)
        first = 0
        for index, file in enumerate(files if row < _MAX_LOCATED_ROWS else []):
            starts_at = first
            for batch in self._shard(len(files), index).iter(batch_size=_BATCH_ROWS):
                texts = batch[self.text_column]
                if row < first + len(texts):
                    found = texts[row - first]
                    # another value: the stream orders or chooses rows in a way that this does not know
                    is_same = type(found) is type(value) and found == value
                    return (file, row - starts_at) if is_same else (self.name, row)
                first += len(texts)
        return self.name, row

    def missing_column(self, row: int, columns: Iterable[object]) -> MissingColumnError:
        """Build the error for a batch from `row` on without the text column, by file if it can."""
        files = _files(self._documents)
        for index, file in enumerate(files if row < _MAX_LOCATED_ROWS else []):
            for number, row_alone in enumerate(self._shard(len(files), index)):
                if self.text_column not in row_alone:
                    return missing_column(file, number, self.text_column, row_alone)
        return missing_column(self.name, row, self.text_column, columns)

    def explain_failure(self, error: Exception, state: Position) -> None:
        """Say in which file and row `datasets` failed after `state`, where reading its files again tells.

        Raises:
            FileFormatError: it does. MissingColumnError: that file has no text column.
        """
        files = _files(self._documents)
        for index, file in list(enumerate(files))[_shard_index(state) :]:
            try:
                with _no_messages():
                    for _ in self._shard(len(files), index).iter(batch_size=_BATCH_ROWS):
                        pass
            except Exception as failure:
                if type(failure) is not type(error):
                    return
                found = find_bad_line(file, self.text_column)
                columns = None if found else other_columns(file, self.text_column)
                if columns is not None:
                    raise missing_column(file, 0, self.text_column, columns) from error
                place = file if found is None else f"{file}, row {found[0]}"
                said = " ".join(str(error).split())
                reason = f"{type(error).__name__}: {said}" if found is None else found[1]
                raise FileFormatError(
                    f"{place}: {reason} (expected a file that `datasets` can read; it gives no row of such a "
                    "part of a file, so on_bad cannot skip the one)"
                ) from error

    def _shard(self, num_shards: int, index: int) -> Any:
        stream = self._documents.shard(num_shards=num_shards, index=index).with_format(None)
        return stream.select_columns([self.text_column]) if self._has_columns else stream

    def new_stream(self) -> Any:
        """Build a chain of its own, at its start, that gives Python values of the text column."""
        stream = self._documents.shard(num_shards=1, index=0).with_format(None)
        if self._has_columns:
            stream = stream.select_columns([self.text_column])
        stream.set_epoch(self.epoch)
        return stream


class _StreamReader(SourceReader):
    """Reads batches; its position is the state before the batch at hand, and how much of that is used up."""

    def __init__(self, source: StreamSource, position: Position | None = None) -> None:
        self._source = source
        self._stream = source.new_stream()
        # Until it is iterated, a stream says the epoch that it was made with, not the one it is set to.
        self._state = _plain(self._stream.state_dict(), source.name) | {"epoch": source.epoch}
        self._row = row_of(position)
        self._batch: list[object] = []
        self._used = 0
        to_drop = 0
        if position is not None:
            self._state = position["stream"]
            # A state of another epoch would be ignored without a word.
            self._stream.set_epoch(self._state["epoch"])
            self._stream.load_state_dict(self._state)
            to_drop = int(position["used"])
        self._batches: Iterator[Mapping[str, list[object]]] = self._stream.iter(batch_size=_BATCH_ROWS)
        self._next_state = self._state
        while to_drop and self._fetch():
            self._used = min(to_drop, len(self._batch))
            to_drop -= self._used

    def read(self, max_documents: int) -> list[object]:
        texts: list[object] = []
        while len(texts) < max_documents:
            if self._used == len(self._batch) and not self._fetch():
                break
            part = self._batch[self._used : self._used + max_documents - len(texts)]
            texts += part
            self._used += len(part)
            self._row += len(part)
        return texts

    def read_apart(self, max_rows: int) -> list[object]:
        if not self._source.is_batched:
            return self.read(max_rows)
        documents: list[object] = []
        while not documents and (rows := self.read(max_rows)):  # rows may be empty lists
            for row in rows:
                documents += row if isinstance(row, list | tuple) else [row]
        return documents

    def position(self) -> Position:
        position: Position = {"row": self._row}
        if self._source.seek != "none":
            used_up = self._used == len(self._batch)
            position["stream"] = self._next_state if used_up else self._state
            position["used"] = 0 if used_up else self._used
        return position

    def _fetch(self) -> bool:
        """Get the next batch; False at the end."""
        self._state = self._next_state
        self._batch, self._used = [], 0
        try:
            batch = next(self._batches, None)
        except GristmillError:  # of a reader of ours, which names file and row
            raise
        except Exception as error:
            self._source.explain_failure(error, self._state)
            explain(error, f"{self._source.name}, rows from {self._row} on")
            raise
        if batch is None:
            self._batches = iter(())
            return False
        self._batch = self._column(batch)
        self._next_state = _plain(self._stream.state_dict(), self._source.name)
        return True

    def _column(self, batch: Mapping[str, list[object]]) -> list[object]:
        if self._source.text_column not in batch:
            raise self._source.missing_column(self._row, batch)
        return list(batch[self._source.text_column])


def _files(stream: Any) -> list[str]:
    """The files that a stream reads one after the other, a shard each; none where that is not known."""
    link: Any = getattr(stream, "_ex_iterable", None)
    while getattr(link, "ex_iterable", None) is not None:
        link = link.ex_iterable
    arguments = getattr(link, "kwargs", None) or {}
    for name in ("original_files", "base_files", "files"):
        files = arguments.get(name)
        if isinstance(files, list) and files and all(isinstance(file, str) for file in files):
            return files if len(files) == stream.num_shards else []
    return []


def _shard_index(state: Any) -> int:
    """The shard that a stream's state stands in; 0 where it does not say."""
    if not isinstance(state, Mapping):
        return 0
    index = state.get("shard_idx")
    return index if isinstance(index, int) else max(map(_shard_index, state.values()), default=0)


@contextlib.contextmanager
def _no_messages() -> Iterator[None]:
    """Keep `datasets` from logging a failure once more that was met before."""
    children = [
        child
        for name, child in logging.root.manager.loggerDict.items()
        if name.startswith("datasets.") and isinstance(child, logging.Logger) and not child.disabled
    ]
    for child in children:
        child.disabled = True
    try:
        yield
    finally:
        for child in children:
            child.disabled = False


def _installed_version() -> tuple[int, ...]:
    """The first two numbers of the version of `datasets` that is loaded; (0,) where it has none."""
    found = re.match(r"(\d+)\.(\d+)", str(getattr(sys.modules.get("datasets"), "__version__", "")))
    return tuple(map(int, found.groups())) if found else (0,)


def _has_shuffle_buffer(stream: Any) -> bool:
    """Whether a link of the chain is a shuffle buffer; also where the chain cannot be looked at."""
    return any(link is None or type(link).__name__ in _SHUFFLE_BUFFERS for link in _links(stream))


def _is_batched(stream: Any) -> bool:
    """Whether a link of the chain is one that `.batch()` made: its rows are lists of what were rows.

    A column of lists looks the same in the features. What tells the two apart is the function of the link,
    one of datasets' own (`_batch_fn`, `_batch_arrow_table`, ... in 5.2).
    """
    for link in _links(stream):
        function = getattr(link, "function", None)
        function = getattr(function, "func", function)  # a partial
        is_theirs = str(getattr(function, "__module__", "")).startswith("datasets.")
        if is_theirs and getattr(function, "__name__", "").lstrip("_").startswith("batch"):
            return True
    return False


def _links(stream: Any) -> Iterator[Any]:
    """The links of a stream's chain; None for one that cannot be looked at."""
    links: list[Any] = [getattr(stream, "_ex_iterable", None)]
    while links:
        link = links.pop()
        yield link
        links += list(getattr(link, "ex_iterables", None) or [])
        if getattr(link, "ex_iterable", None) is not None:
            links.append(link.ex_iterable)


def _plain(value: Any, name: str) -> Any:
    """Copy a state as JSON has it: some links put numpy values into theirs."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part, name) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, name) for part in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist(), name)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise SourceError(
        f"{name}: its state holds a value of type {type(value).__name__} (expected numbers, texts, lists)"
    )
