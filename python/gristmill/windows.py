"""The order of documents: windows of rows, epoch after epoch, each window permuted by a key.

    rows of an epoch   0 1 2 3 4 5 6 7 8        shuffle_window=4
    windows            0 1 2 3|4 5 6 7|8
    order              2 0 3 1|5 4 7 6|8         permuted under (seed, "window", epoch, index of the window)

A window is the smallest stretch that a resumed run reads again: no buffer's contents have to be saved.
Without shuffling, windows only serve that purpose, and are small.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gristmill import _native
from gristmill.corpus import DocumentSource, Position, SourceReader
from gristmill.errors import EmptyCorpusError, ResumeError
from gristmill.ledger import empty_message

_logger = logging.getLogger("gristmill.order")

# Rows in a window of an order that is not shuffled.
PLAIN_WINDOW = 128
# Characters of each document that a window's digest looks at, besides its length.
_DIGEST_CHARACTERS = 32


@dataclass(frozen=True)
class WindowMark:
    """Where a window starts: all that is needed to read on from there. Part of a saved state.

    Attributes:
        epoch, index: which window.
        row: number of its first row in the epoch.
        position: the source's position there; None at the start of an epoch.
        first_document: number of the first document that the window gives.
        epoch_first_document: number of the first document of the epoch.
        skipped: rows left out before the window, by kind, since the run began.
        digest: what the window's rows hash to; None before they were read.
    """

    epoch: int
    index: int = 0
    row: int = 0
    position: Position | None = None
    first_document: int = 0
    epoch_first_document: int = 0
    skipped: Mapping[str, int] | None = None
    digest: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: object) -> WindowMark:
        """Read it back.

        Raises:
            ResumeError: it is none.
        """
        names = [each.name for each in fields(cls)]
        if not isinstance(saved, dict) or sorted(saved) != sorted(names):
            raise ResumeError(f"the state's window is {saved!r:.200} (expected an object with {names})")
        for name in ("epoch", "index", "row", "first_document", "epoch_first_document"):
            check_number(f"window.{name}", saved[name])
        position, skipped, digest = saved["position"], saved["skipped"], saved["digest"]
        if not isinstance(skipped, dict | None) or not isinstance(digest, str | None):
            raise ResumeError(f"the state's window has skipped={skipped!r:.100} and digest={digest!r:.100}")
        for kind, count in (skipped or {}).items():
            check_number(f"window.skipped.{kind}", count)
        if (position is None) != (saved["row"] == 0):
            raise ResumeError(
                f"the state's window is at row {saved['row']} with the position {position!r:.200}"
            )
        if position is not None and (not isinstance(position, dict) or position.get("row") != saved["row"]):
            raise ResumeError(f"the state's window has the position {position!r:.200}, not at its row")
        return cls(**saved)


@dataclass(frozen=True)
class Window:
    """Rows that were read, in the order of the run.

    Attributes:
        mark: where it starts.
        texts: raw values.
        order: `(len(texts),)`, int64: text i comes from row `mark.row + order[i]`; None for the plain order.
    """

    mark: WindowMark
    texts: list[object]
    order: NDArray[np.int64] | None

    def row(self, index: int) -> int:
        """Return the row of the source that text `index` comes from."""
        return self.mark.row + (index if self.order is None else int(self.order[index]))


class WindowReader:
    """Reads the windows of a source one after the other, from a mark on.

    Args:
        source: the corpus.
        num_rows: rows in a window.
        seed: shuffles each window; None leaves the order as it is.
        infinite: start a new epoch when one ends.
        mark: where to begin.
    """

    def __init__(
        self, source: DocumentSource, num_rows: int, seed: int | None, infinite: bool, mark: WindowMark
    ) -> None:
        self._source = source
        self._num_rows = num_rows
        self._seed = seed
        self._infinite = infinite
        self._next = mark
        self._reader: SourceReader | None = None
        self._ended = False

    def read(self, next_document: int, skipped: Mapping[str, int]) -> Window | None:
        """Read the next window; None at the end of a finite corpus.

        Args:
            next_document: number of the document that comes next.
            skipped: rows left out so far.

        Raises:
            EmptyCorpusError: a whole epoch had no document.
            ResumeError: the window that a resumed run begins with is not the one that was read then.
        """
        while not self._ended:
            mark = self._next
            if self._reader is None:
                self._reader = self._source.open(mark.position)
            position = self._reader.position() if mark.row else None
            # One by one: a window is permuted, and hashed by characters.
            rows = list(self._reader.read(self._num_rows))
            if rows or mark.digest is not None:  # a resumed run finds its rows, or says that they are gone
                return self._window(rows, position, next_document, skipped)
            self._end_epoch(next_document, skipped)
        return None

    def _window(
        self, rows: list[object], position: Position | None, next_document: int, skipped: Mapping[str, int]
    ) -> Window:
        expected = self._next
        digest = _digest(rows)
        if expected.digest is not None and digest != expected.digest:
            rows, position = self._count_to(expected)
            digest = expected.digest
        mark = WindowMark(
            epoch=expected.epoch,
            index=expected.index,
            row=expected.row,
            position=position,
            first_document=next_document,
            epoch_first_document=expected.epoch_first_document,
            skipped=dict(skipped),
            digest=digest,
        )
        self._next = WindowMark(
            epoch=mark.epoch,
            index=mark.index + 1,
            row=mark.row + len(rows),
            epoch_first_document=mark.epoch_first_document,
        )
        if self._seed is None:
            return Window(mark, rows, None)
        order = _native.permutation(self._seed, "window", mark.epoch, mark.index, len(rows))
        return Window(mark, [rows[row] for row in order.tolist()], order)

    def _count_to(self, mark: WindowMark) -> tuple[list[object], Position | None]:
        """Reach a window by counting rows, because the source's own state led elsewhere."""
        if mark.position is not None and set(mark.position) != {"row"}:
            _logger.warning(
                "%s: its own state leads to other rows than were read at row %d; rows are counted instead",
                self._source.name,
                mark.row,
            )
            self._reader = self._source.open({"row": mark.row})
            rows = list(self._reader.read(self._num_rows))
            if _digest(rows) == mark.digest:
                return rows, {"row": mark.row}
        raise ResumeError(
            f"{self._source.name}: window {mark.index} of epoch {mark.epoch} (rows from {mark.row} on) is "
            "not what was read when the state was saved (expected the same documents in the same order)"
        )

    def _end_epoch(self, next_document: int, skipped: Mapping[str, int]) -> None:
        mark = self._next
        num_documents = next_document - mark.epoch_first_document
        if not num_documents:
            raise EmptyCorpusError(empty_message(self._source.name, skipped if mark.row else {}))
        self._ended = not self._infinite
        _logger.info(
            "epoch %d is read: %d documents in %d rows%s",
            mark.epoch,
            num_documents,
            mark.row,
            "" if self._ended else f"; epoch {mark.epoch + 1} begins",
        )
        if not self._ended:
            self._next = WindowMark(epoch=mark.epoch + 1, epoch_first_document=next_document)
            self._reader = None


def check_number(name: str, value: object) -> int:
    """Return a count of a saved state.

    Raises:
        ResumeError: it is no whole number, or out of range.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise ResumeError(f"the state has {name} = {value!r:.100} (expected an integer of at least 0)")
    return value


def _digest(rows: list[object]) -> str:
    """Hash lengths and first characters: another order or corpus shows, at little cost, and no text."""
    parts = [
        f"{len(row)}:{row[:_DIGEST_CHARACTERS]!r}" if isinstance(row, str | bytes) else type(row).__name__
        for row in rows
    ]
    return hashlib.blake2b("\n".join(parts).encode("ascii", "backslashreplace"), digest_size=8).hexdigest()
