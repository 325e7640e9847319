"""How far the training of a tokenizer has come: documents and bytes counted, merges learned, the time left.

    counters, merges ──► TrainingProgress ──► bars of `rich`     on a terminal, where rich is installed
                                          └─► plain lines        on a terminal, where it is not

The base install has no library for bars. Nothing is written where the stream is no terminal.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Protocol, Self, TextIO


class TrainingProgress:
    """Shows two stages, counting and merging; a context, which leaves the terminal in order whatever happens.

    Args:
        shown: whether to show anything at all.
        num_documents: how many there will be, if that is known: only then can the time left be told.
        stream: where to write, standard error by default; nothing is written if it is no terminal.

    Example:
        >>> with TrainingProgress(shown=False, num_documents=None) as progress:
        ...     progress.counted({"documents": 1, "bytes": 10})
    """

    def __init__(self, shown: bool, num_documents: int | None, stream: TextIO | None = None) -> None:
        stream = sys.stderr if stream is None else stream
        self._display: _Display | None = None
        if shown and stream.isatty():
            self._display = _bars(stream) or _Lines(stream)
        self._num_documents = num_documents
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._display is not None:
            self._display.close()

    def counted(self, counters: dict[str, int], end: bool = False) -> None:
        """Show how much was counted."""
        documents = counters["documents"]
        text = f"{documents:,} documents, {counters['bytes'] / 1e6:,.1f} MB counted"
        self._show(text, documents, self._num_documents, end)

    def merged(self, num_merges: int, most: int, end: bool = False) -> None:
        """Show how many merges were learned; there are at most `most`."""
        self._show(f"{num_merges:,} of at most {most:,} merges", num_merges, most, end)

    def _show(self, text: str, done: int, total: int | None, end: bool) -> None:
        if self._display is None:
            return
        seconds = time.monotonic() - self._started
        if end:
            self._display.end(f"{text} in {seconds:.1f} s")
            self._started = time.monotonic()
        else:
            # A length that proves too short is no length.
            known = total if total and done <= total else None
            left = seconds * (known - done) / done if known and done else None
            self._display.update(text, done, known, left)


class _Display(Protocol):
    """One stage after the other."""

    def update(self, text: str, done: int, total: int | None, seconds_left: float | None) -> None: ...

    def end(self, text: str) -> None: ...

    def close(self) -> None: ...


class _Lines:
    """A plain line every two seconds, and one at the end of a stage."""

    _SECONDS_BETWEEN = 2.0

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._next = time.monotonic() + self._SECONDS_BETWEEN

    def update(self, text: str, done: int, total: int | None, seconds_left: float | None) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._SECONDS_BETWEEN
            self._write(text if seconds_left is None else f"{text}, {seconds_left:.0f} s left")

    def end(self, text: str) -> None:
        self._write(text)

    def close(self) -> None:
        pass

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class _Bars:
    """A bar of `rich` for the stage; its text stays when the stage is over."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[left]}"),
            console=Console(file=stream),
            transient=True,
        )
        self._task: Any = None

    def update(self, text: str, done: int, total: int | None, seconds_left: float | None) -> None:
        left = "" if seconds_left is None else f"{seconds_left:.0f} s left"
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task(text, total=total, left=left)
        self._progress.update(self._task, description=text, completed=done, total=total, left=left)

    def end(self, text: str) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        self._progress.console.print(text, highlight=False)

    def close(self) -> None:
        self._progress.stop()


def _bars(stream: TextIO) -> _Bars | None:
    """Return bars, if `rich` is installed."""
    try:
        return _Bars(stream)
    except ModuleNotFoundError:
        return None
