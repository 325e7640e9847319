"""The ranks of a run: how they start, agree, and learn that one of them failed.

Whatever is agreed travels as numbers or as JSON in bytes, over gloo on the CPU: no pickle, and no wait
for a CUDA device. Gradients go over nccl there. Each wait has an end: the process group's timeout.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist

from gristmill.errors import ConfigError, RankError
from gristmill.train.config import Device


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among the processes of a run; alone by default.

    Attributes:
        rank: 0 to world_size - 1; rank 0 writes.
        world_size: processes of the run.
        local_world_size: those of them on this machine.
        device: where this rank computes.
        timeout_s: seconds that it waits for another rank.

    Example:
        >>> Ranks().sum_integers([3, 4])
        [3, 4]
    """

    rank: int = 0
    world_size: int = 1
    local_world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    timeout_s: float = 120.0

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def sum_integers(self, values: Sequence[int]) -> list[int]:
        """Add up each value over the ranks; all call it together, with as many values.

        Raises:
            RankError: another rank died or did not answer.
        """
        return self._sum(torch.tensor(list(values), dtype=torch.int64)).tolist()

    def sum_floats(self, values: Sequence[float]) -> list[float]:
        """Add up each value over the ranks, in float64.

        Raises:
            RankError: another rank died or did not answer.
        """
        return self._sum(torch.tensor(list(values), dtype=torch.float64)).tolist()

    def _sum(self, values: torch.Tensor) -> torch.Tensor:
        if self.world_size > 1:
            with self.naming_dead_ranks("adding up"):
                dist.all_reduce(values)
        return values

    def gather_bytes(self, data: bytes) -> list[bytes]:
        """Return the bytes of every rank, in order of rank, on every rank.

        Raises:
            RankError: another rank died or did not answer.
        """
        if self.world_size == 1:
            return [data]
        with self.naming_dead_ranks("gathering"):
            own_size = torch.tensor([len(data)], dtype=torch.int64)
            sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world_size)]
            dist.all_gather(sizes, own_size)
            lengths = [int(size.item()) for size in sizes]
            padded = torch.zeros(max(1, *lengths), dtype=torch.uint8)
            if data:
                padded[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            parts = [torch.zeros_like(padded) for _ in range(self.world_size)]
            dist.all_gather(parts, padded)
        return [part[:length].numpy().tobytes() for part, length in zip(parts, lengths, strict=True)]

    def gather_json(self, value: object) -> list[Any]:
        """Return the JSON value of every rank, in order of rank, on every rank.

        Raises:
            RankError: another rank died or did not answer.
        """
        return [json.loads(part) for part in self.gather_bytes(json.dumps(value).encode("utf-8"))]

    def from_first(self, value: object) -> Any:
        """Return rank 0's JSON value on every rank; what the others give is ignored.

        Raises:
            RankError: another rank died or did not answer.
        """
        return self.gather_json(value if self.is_first else None)[0] if self.world_size > 1 else value

    @contextlib.contextmanager
    def together(self, what: str) -> Iterator[None]:
        """Run a block on all ranks; if it fails on one, all raise, none waits for the other in vain.

        Raises:
            RankError: on the ranks where the block went well, if it failed elsewhere.
            Exception: on a rank where the block failed, that failure.
        """
        failure: Exception | None = None
        try:
            yield
        except RankError:  # told to all already, or beyond telling
            raise
        except Exception as error:
            failure = error
        self.raise_together(failure, what)

    def raise_together(self, failure: Exception | None, what: str) -> None:
        """Exchange failures; raise the own one, or a `RankError` that names another rank's.

        Raises:
            RankError: another rank failed.
            Exception: the failure given.
        """
        told = None if failure is None else f"{type(failure).__name__}: {failure}"
        try:
            failures = self.gather_json(told)
        except RankError:
            if failure is not None:
                raise failure from None
            raise
        if failure is not None:
            raise failure
        for rank, other in enumerate(failures):
            if other is not None:
                raise RankError(f"rank {self.rank}: rank {rank} failed while {what}: {other}")

    @contextlib.contextmanager
    def naming_dead_ranks(self, what: str) -> Iterator[None]:
        """Turn what the process group raises when a rank is gone into a `RankError`."""
        try:
            yield
        except RuntimeError as error:
            # gloo has no class of its own for it, and an out-of-memory error must keep its name
            if self.world_size == 1 or not (isinstance(error, dist.DistError) or "gloo" in str(error)):
                raise
            raise RankError(
                f"rank {self.rank} of {self.world_size}: another rank died, or did not answer within "
                f"{self.timeout_s:g} s, while {what}: {_first_line(error)}"
            ) from error

    def close(self) -> None:
        """Leave the process group; all ranks call it together, at a good end alone."""
        if self.world_size > 1:
            with self.naming_dead_ranks("leaving"):
                dist.barrier()
                dist.destroy_process_group()


def start_ranks(device: Device, timeout_s: float, num_threads: int | None = None) -> Ranks:
    """Join the process group that `torchrun` describes in the environment; without one, be alone.

    On the CPU the cores of a machine are shared among its ranks, unless `num_threads` is given.

    Raises:
        ConfigError: `device` is not there.
        RankError: the other ranks did not come within `timeout_s` seconds.
    """
    world_size = num_ranks()
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    local_world_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    chosen = _choose_device(device, local_rank)
    torch.set_num_threads(num_threads or cores_per_rank(local_world_size))
    ranks = Ranks(
        rank=int(os.environ.get("RANK", "0")),
        world_size=world_size,
        local_world_size=local_world_size,
        device=chosen,
        timeout_s=timeout_s,
    )
    if world_size > 1:
        try:
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo",
                timeout=datetime.timedelta(seconds=timeout_s),
            )
        except (RuntimeError, ValueError) as error:
            raise RankError(
                f"rank {ranks.rank} of {world_size}: the ranks did not meet within {timeout_s:g} s: "
                f"{_first_line(error)}"
            ) from error
    return ranks


def num_ranks() -> int:
    """Return how many ranks `torchrun` says that there are, before they have met; 1 without it.

    Example:
        >>> num_ranks()
        1
    """
    return int(os.environ.get("WORLD_SIZE", "1"))


def _first_line(error: Exception) -> str:
    """Return what an error says; gloo adds a stack of its own."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def cores_per_rank(local_world_size: int) -> int:
    """Return the cores of this machine that one of its ranks may use, at least 1.

    Example:
        >>> cores_per_rank(10**6)
        1
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // local_world_size)


def _choose_device(device: Device, local_rank: int) -> torch.device:
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if local_rank >= count:
        raise ConfigError(
            f"training.device is {device!r}, but there are {count} CUDA devices for local rank {local_rank} "
            "(expected one for each rank of a machine)"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)
