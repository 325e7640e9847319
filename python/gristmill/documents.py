"""Documents from files on this machine, for the commands: Python, text, JSONL and parquet.

A Python or text file is one document. A JSONL or parquet file has one document a row, in its text column.
"""

from __future__ import annotations

import bisect
import glob
import json
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

from gristmill.errors import EmptyCorpusError, FileFormatError, MissingColumnError, require_extra

TEXT_SUFFIXES = frozenset({".py", ".txt", ".md", ".rst"})
TABLE_SUFFIXES = frozenset({".jsonl", ".parquet"})
PARQUET_ROWS_PER_READ = 1_000


class DocumentFiles:
    """The documents of files, folders and glob patterns, in a fixed order; can be iterated again and again.

    Args:
        inputs: paths or patterns (`src/**/*.py`). A folder stands for all .py, .txt, .md, .rst, .jsonl and
            .parquet files below it; a file named outright is text unless it ends in .jsonl or .parquet.
        text_column: the column of JSONL and parquet files that holds the text.

    Yields raw values: str, bytes where a text is not in its encoding, anything that a row holds. What reads
    them judges them by its `on_bad`. Blank lines of a JSONL file are no rows.

    Raises:
        EmptyCorpusError: an input names no file.
        MissingColumnError, FileFormatError, MissingExtraError: while iterating, for one file.

    Example:
        >>> [type(text).__name__ for text in DocumentFiles([__file__])]
        ['str']
    """

    def __init__(self, inputs: Sequence[str | Path], text_column: str = "text") -> None:
        self.text_column = text_column
        self.source_name = ", ".join(map(str, inputs))
        # dict: an input that two patterns name counts once, and keeps its place
        self.paths = list(dict.fromkeys(path for item in inputs for path in _expand(item)))
        self._first_rows: list[int] = []

    def __iter__(self) -> Iterator[object]:
        self._first_rows = []
        row = 0
        for path in self.paths:
            self._first_rows.append(row)
            for document in self._read(path):
                yield document
                row += 1

    def locate(self, row: int) -> tuple[str, int]:
        """Give the file, and the row in it, of document `row` of the last iteration."""
        index = bisect.bisect_right(self._first_rows, row) - 1
        return str(self.paths[index]), row - self._first_rows[index]

    def _read(self, path: Path) -> Iterator[object]:
        if path.suffix == ".jsonl":
            yield from self._read_jsonl(path)
        elif path.suffix == ".parquet":
            yield from self._read_parquet(path)
        elif path.suffix == ".py":
            text = read_python_source(path)
            yield path.read_bytes() if text is None else text
        else:
            yield path.read_bytes()

    def _read_jsonl(self, path: Path) -> Iterator[object]:
        with path.open("rb") as file:
            # a blank line is no row, to the readers of `datasets` either
            for number, line in enumerate(line for line in file if line.strip()):
                try:
                    row, is_utf8 = _read_line(line)
                except ValueError as error:
                    raise FileFormatError(
                        f"{path}, row {number}: {error} (expected one JSON object a line)"
                    ) from None
                if not isinstance(row, dict):
                    found = type(row).__name__
                    raise FileFormatError(
                        f"{path}, row {number}: a value of type {found} (expected a JSON object)"
                    )
                if self.text_column not in row:
                    raise self._missing_column(f"{path}, row {number}", list(row))
                text = row[self.text_column]
                yield text if is_utf8 else _with_its_bytes(text)

    def _read_parquet(self, path: Path) -> Iterator[object]:
        try:
            import pyarrow
            from pyarrow import parquet
        except ModuleNotFoundError as error:
            raise require_extra("pyarrow", "data", f"reading {path}") from error
        try:
            with parquet.ParquetFile(path) as file:
                if self.text_column not in file.schema_arrow.names:
                    raise self._missing_column(str(path), file.schema_arrow.names)
                for batch in file.iter_batches(PARQUET_ROWS_PER_READ, columns=[self.text_column]):
                    yield from batch.column(0).to_pylist()
        except pyarrow.ArrowInvalid as error:
            raise FileFormatError(f"{path}: {error} (expected a parquet file)") from error

    def _missing_column(self, place: str, columns: list[str]) -> MissingColumnError:
        found = ", ".join(map(repr, columns)) or "no column"
        return MissingColumnError(f"{place}: no column {self.text_column!r} (found {found})")


def read_rows(files: Sequence[str], text_column: str) -> Iterator[dict[str, object]]:
    """Yield rows of files as mappings with one column: `datasets` makes a stream of them, a shard a file."""
    for document in DocumentFiles(files, text_column):
        yield {text_column: document}


def read_python_source(path: Path) -> str | None:
    """Decode a Python file as it declares (PEP 263), line ends as `\\n`; None where that fails.

    Texts that UTF-8 cannot hold (an escape codec may produce lone surrogates) count as undecodable too.
    """
    try:
        with tokenize.open(path) as file:
            text = file.read()
        text.encode("utf-8")
    except (SyntaxError, UnicodeError, LookupError):
        return None
    return text


def _read_line(line: bytes) -> tuple[object, bool]:
    """Read a line of JSON, and say whether it is UTF-8; bytes that are not stand as lone surrogates."""
    try:
        return json.loads(line), True
    except UnicodeDecodeError:
        return json.loads(line.decode("utf-8", "surrogateescape")), False


def _with_its_bytes(text: object) -> object:
    """Return a text of a line that is no UTF-8 as bytes, if it holds such ones: as the file has them."""
    if not isinstance(text, str):
        return text
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate, written as an escape
        return text


def _expand(item: str | Path) -> list[Path]:
    path = Path(item)
    if path.is_dir():
        suffixes = TEXT_SUFFIXES | TABLE_SUFFIXES
        paths = sorted(file for file in path.rglob("*") if file.suffix in suffixes and file.is_file())
    elif path.exists():
        paths = [path]
    else:
        # glob.glob: unlike Path.glob it takes absolute patterns too
        found = glob.glob(str(item), recursive=True)  # noqa: PTH207
        paths = sorted(file for file in map(Path, found) if file.is_file())
    if not paths:
        expected = (
            "expected a file, a folder with .py, .txt, .md, .rst, .jsonl or .parquet files, or a pattern"
        )
        raise EmptyCorpusError(f"{str(item)!r} names no file ({expected})")
    return paths
