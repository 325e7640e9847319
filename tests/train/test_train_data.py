"""Batches and their passes, reading ahead, the log, random states."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from gristmill.errors import CheckpointError
from gristmill.ledger import Ledger
from gristmill.train import rng
from gristmill.train.data import Batch, DatasetBatches, Prefetched, WaitInterruptedError
from gristmill.train.log import cut_log, read_log
from gristmill.train.model import IGNORED
from gristmill.train.signals import StopFlag

# Batches -------------------------------------------------------------------------------------------------


class Samples:
    """Counts up: sample k of pass e is all `100 * e + k`."""

    def __init__(self, num_samples: int) -> None:
        self.num_samples = num_samples
        self.epoch = self.next = 0
        self._start: int | None = None

    @property
    def ledger(self) -> Ledger:
        return Ledger(tokens=self.next, tokens_emitted=self.next)

    def set_epoch(self, epoch: int) -> None:
        self.epoch, self._start = epoch, 0

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        self.next, self._start = self._start or 0, 0
        while self.next < self.num_samples:
            ids = torch.full((4,), 100 * self.epoch + self.next)
            self.next += 1
            yield {"input_ids": ids, "labels": ids.clone()}

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "next": self.next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch, self._start = state["epoch"], state["next"]


def firsts(batches: list[Batch]) -> list[list[int]]:
    return [
        [
            int(ids[0]) if int(labels[0]) != IGNORED else -1
            for ids, labels in zip(b.input_ids, b.labels, strict=True)
        ]
        for b in batches
    ]


def test_passes_end_their_last_batch_and_count_their_ledgers() -> None:
    batches = list(DatasetBatches(Samples(5), 2, num_passes=2))
    assert firsts(batches) == [[0, 1], [2, 3], [4, -1], [100, 101], [102, 103], [104, -1]]
    assert [batch.epoch for batch in batches] == [0, 0, 1, 1, 1, 2]
    assert [batch.ledger["tokens"] for batch in batches if batch.ledger] == [2, 4, 5, 7, 9, 10]
    even = list(DatasetBatches(Samples(4), 2))
    assert firsts(even) == [[0, 1], [2, 3], []]  # the empty one brings the account of the whole pass
    assert even[-1].epoch == 1


@pytest.mark.parametrize("num_samples", [4, 5])
def test_batches_go_on_after_any_batch(num_samples: int) -> None:
    whole = list(DatasetBatches(Samples(num_samples), 2, num_passes=3))
    for place, batch in enumerate(whole):
        resumed = DatasetBatches(Samples(num_samples), 2, num_passes=3)
        resumed.load_state_dict(json.loads(json.dumps(batch.state)))
        rest = list(resumed)
        if len(whole[place].input_ids) == 0 or (num_samples % 2 and (place + 1) % 3 == 0):
            rest = rest[1:]  # the end of a pass is told again, with nothing in it
        assert firsts(rest) == firsts(whole[place + 1 :])
        assert [b.ledger for b in rest] == [b.ledger for b in whole[place + 1 :]]


def numbered(count: int) -> Iterator[Batch]:
    for number in range(count):
        ids = torch.full((1, 4), number)
        yield Batch(input_ids=ids, labels=ids, epoch=0, state={"next": number + 1})


@pytest.mark.parametrize("depth", [1, 3])
def test_reading_ahead_keeps_order_and_states(depth: int) -> None:
    with Prefetched(numbered(10), depth) as batches:
        found = [(int(batch.input_ids[0, 0]), batch.state["next"]) for batch in batches]
    assert found == [(number, number + 1) for number in range(10)]


def test_reading_ahead_is_bounded_and_ends() -> None:
    taken = []

    def source() -> Iterator[Batch]:
        for batch in numbered(1000):
            taken.append(batch.state["next"])
            yield batch

    batches = Prefetched(source(), 3)
    iterator = iter(batches)
    next(iterator)
    time.sleep(0.3)
    assert 4 <= len(taken) <= 5  # one handed out, three in the queue, one in hand
    batches.close()
    batches.close()
    assert "gristmill-reader" not in [thread.name for thread in threading.enumerate()]


def test_what_fails_in_the_reader_is_raised_as_it_is() -> None:
    def source() -> Iterator[Batch]:
        yield from numbered(2)
        raise ZeroDivisionError("in the thread")

    with Prefetched(source(), 5) as batches:
        iterator = iter(batches)
        next(iterator)
        next(iterator)
        with pytest.raises(ZeroDivisionError, match="in the thread"):
            next(iterator)


def test_a_wait_for_a_slow_source_can_be_interrupted() -> None:
    release = threading.Event()

    def source() -> Iterator[Batch]:
        release.wait(20)
        yield from numbered(1)

    with Prefetched(source(), 1, should_stop=lambda: True) as batches:
        started = time.monotonic()
        with pytest.raises(WaitInterruptedError):
            next(iter(batches))
        assert time.monotonic() - started < 2
        release.set()


# Log -----------------------------------------------------------------------------------------------------


def test_the_log_is_cut_at_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [{"kind": "start", "step": 0}, {"kind": "step", "step": 1, "loss": 0.1 + 0.2}]
    lines += [{"kind": "step", "step": 2}, {"kind": "evaluation", "step": 2}, {"kind": "step", "step": 3}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    for torn in ("", '{"kind": "step", "st', '{"kind": "step", "step": 4}', "7\n"):
        path.write_text(text + torn)
        assert cut_log(path, 2, evaluated_step=2) == 1 + bool(torn)
        assert read_log(path) == lines[:4]
        assert path.read_text().endswith("\n")
    assert cut_log(path, 2, evaluated_step=None) == 1  # the evaluation that the checkpoint does not know
    assert read_log(path) == lines[:3]
    assert cut_log(path, 2) == 0
    assert cut_log(path, -1) == 3
    assert path.read_text() == ""
    assert cut_log(tmp_path / "none", 3) == 0


# Random states -------------------------------------------------------------------------------------------


def draw() -> list[float]:
    drawn = [float(torch.rand(())), float(np.random.rand()), random.random()]
    return [*drawn, float(np.random.standard_normal()), random.gauss(0, 1)]


def test_random_states_go_through_tensors() -> None:
    rng.seed_all(5)
    draw()  # leaves half a pair in both gauss caches
    saved = rng.capture(torch.device("cpu"))
    first = [draw() for _ in range(3)]
    rng.seed_all(6)
    tensors = safetensors.torch.load(saved)
    rng.restore(tensors, torch.device("cpu"))
    assert [draw() for _ in range(3)] == first
    with pytest.raises(CheckpointError, match="'torch_cpu' is missing"):
        rng.restore({}, torch.device("cpu"))


def test_derived_seeds_differ() -> None:
    seeds = {rng.derive_seed(seed, purpose, step, rank) for seed in (0, 1) for purpose in "ab"
             for step in (0, 1) for rank in (0, 1)}  # fmt: skip
    assert len(seeds) == 16
    assert rng.derive_seed(0, "run", 0, 0) == 8431164493261536201


# Stop signals --------------------------------------------------------------------------------------------


def test_signals_set_the_flag_and_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    stop = StopFlag().install()
    try:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert (stop.requested, stop.signal_name) == (True, "SIGTERM")
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "torchrun passes a Ctrl-C on a second time")
        os.kill(os.getpid(), signal.SIGINT)
        monkeypatch.delenv("TORCHELASTIC_RUN_ID")
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        stop.restore()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
