"""Batches for the trainer, each with the position after it, read ahead by a thread.

    ConstantLengthDataset ──► DatasetBatches ──► Prefetched ──► the loop
       one rank's blocks        groups them        a thread,      trains on a batch,
                                                   a queue        then remembers its state

The trainer takes any iterable of `Batch`, each of which says its position. What is saved with a checkpoint is
the state that came with the last batch trained on, so it never matters how far ahead the thread has read.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from gristmill.ledger import Ledger
from gristmill.train.model import IGNORED


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One rank's share of one global batch.

    Attributes:
        input_ids: `(sequences, seq_length)`, int64; sequence s of the global batch is row
            `s // world_size` of rank `s % world_size`.
        labels: as input_ids, -100 where nothing is to be predicted; a sequence of nothing else fills up.
        epoch: times that the corpus had been read through before the last of these sequences.
        state: JSON that says where to go on after this global batch, the same on every rank.
        ledger: account of what has been read so far, JSON; None where the source keeps none.
    """

    input_ids: torch.Tensor
    labels: torch.Tensor
    epoch: int
    state: dict[str, Any]
    ledger: dict[str, Any] | None = None


class SampleSource(Protocol):
    """What `DatasetBatches` reads: `gristmill.ConstantLengthDataset`, or another that does the same."""

    @property
    def epoch(self) -> int:
        """Times that the corpus had been read through before the last sample."""
        ...

    @property
    def ledger(self) -> Ledger:
        """Account of what this pass has read."""
        ...

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield this rank's samples: `input_ids` and `labels`, `(seq_length,)`, int64."""
        ...

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next pass is."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Say where to go on after the last sample."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on there."""
        ...


class DatasetBatches:
    """Groups the samples of one rank into its shares of global batches, pass after pass.

    A source that never ends is one pass. Of a finite one, each pass is an epoch, shuffled anew, and ends its
    last batch: that one is filled up with sequences that count nothing. So the batches do not depend on how
    many ranks share them. After the last sample of a pass comes a batch that is filled up or empty, whose
    ledger is the whole account of the pass.

    Args:
        samples: this rank's samples.
        num_sequences: its share of a global batch.
        num_passes: how many times to read a finite source.
    """

    def __init__(self, samples: SampleSource, num_sequences: int, num_passes: int = 1) -> None:
        self._samples = samples
        self._num_sequences = num_sequences
        self._num_passes = num_passes
        self._pass = 0
        self._ledger_before: dict[str, Any] | None = None
        self._is_loaded = False

    def __iter__(self) -> Iterator[Batch]:
        while self._pass < self._num_passes:
            if not self._is_loaded:
                self._samples.set_epoch(self._pass)
            self._is_loaded = False
            yield from self._one_pass()
            self._ledger_before = self._ledger()
            self._pass += 1

    def _one_pass(self) -> Iterator[Batch]:
        gathered: list[Mapping[str, torch.Tensor]] = []
        filler: dict[str, torch.Tensor] | None = None
        for sample in self._samples:
            gathered.append(sample)
            if len(gathered) == self._num_sequences:
                yield self._batch(gathered)
                gathered = []
            if filler is None:
                filler = {
                    "input_ids": torch.zeros_like(sample["input_ids"]),
                    "labels": torch.full_like(sample["labels"], IGNORED),
                }
        if gathered and filler is not None:
            gathered += [filler] * (self._num_sequences - len(gathered))
        yield self._batch(gathered, has_ended=True)

    def _batch(self, samples: list[Mapping[str, torch.Tensor]], has_ended: bool = False) -> Batch:
        empty = torch.zeros((0, 0), dtype=torch.int64)
        return Batch(
            input_ids=torch.stack([sample["input_ids"] for sample in samples]) if samples else empty,
            labels=torch.stack([sample["labels"] for sample in samples]) if samples else empty,
            epoch=self._pass + 1 if has_ended else self._samples.epoch,
            state={
                "pass": self._pass,
                "ledger_before": self._ledger_before,
                "samples": self._samples.state_dict(),
            },
            ledger=self._ledger(),
        )

    def _ledger(self) -> dict[str, Any]:
        return add_ledgers(self._ledger_before, self._samples.ledger.to_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the batch that came with `state`; before iterating.

        Raises:
            ResumeError: the state is of another tokenizer, or of other options.
        """
        self._samples.load_state_dict(state["samples"])
        self._pass = state["pass"]
        self._ledger_before = state["ledger_before"]
        self._is_loaded = True


def add_ledgers(first: Mapping[str, Any] | None, second: Mapping[str, Any]) -> dict[str, Any]:
    """Add the accounts of two passes, figure by figure.

    Example:
        >>> add_ledgers({"tokens": 3, "skipped": {"null": 1}}, {"tokens": 4, "skipped": {"empty": 2}})
        {'tokens': 7, 'skipped': {'null': 1, 'empty': 2}}
    """
    if first is None:
        return dict(second)
    total: dict[str, Any] = {}
    for key in {**first, **second}:
        if isinstance(second.get(key, first.get(key)), Mapping):
            total[key] = add_ledgers(first.get(key), second.get(key, {}))
        else:
            total[key] = first.get(key, 0) + second.get(key, 0)
    return total


class WaitInterruptedError(Exception):
    """The wait for a batch ended because the run is to stop."""


@dataclass(frozen=True)
class _Failure:
    error: Exception


_END = object()


class Prefetched:
    """Reads batches ahead in a thread, at most `depth` of them.

    What fails in the thread is raised where the batch is asked for, as it is. Leave it with `close()`, or use
    it in a `with` statement.

    Args:
        source: the batches.
        depth: how many may wait, 1 or more.
        should_stop: asked ten times a second while waiting; if so, `WaitInterruptedError` is raised.
    """

    def __init__(
        self, source: Iterable[Batch], depth: int, should_stop: Callable[[], bool] = lambda: False
    ) -> None:
        self._source = source
        self._should_stop = should_stop
        self._queue: queue.Queue[object] = queue.Queue(maxsize=depth)
        self._closing = threading.Event()
        # a daemon: a failing rank must be able to leave while the thread waits for a slow source
        self._thread = threading.Thread(target=self._read, name="gristmill-reader", daemon=True)

    def __enter__(self) -> Prefetched:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Batch]:
        if self._thread.ident is None:
            self._thread.start()
        while True:
            item = self._next()
            if item is _END:
                return
            if isinstance(item, _Failure):
                raise item.error
            assert isinstance(item, Batch)
            yield item

    def close(self) -> None:
        """Stop reading and let go of what was read ahead; may be called twice.

        Waits up to 5 seconds for the thread, which ends between two batches.
        """
        self._closing.set()
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _next(self) -> object:
        while True:
            try:
                return self._queue.get(timeout=0.1)
            except queue.Empty:
                if self._should_stop():
                    raise WaitInterruptedError from None

    def _put(self, item: object) -> bool:
        while not self._closing.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def _read(self) -> None:
        try:
            for batch in self._source:
                if not self._put(batch):
                    return
        except Exception as error:
            self._put(_Failure(error))
        else:
            self._put(_END)
