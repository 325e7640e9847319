"""Packing ids that are ready, and best-fit: `python benches/packing_alone.py [--quick]`.

    joining   one flat array of uint16 with offsets, in batches ──► blocks of 1,024, EOS after each document
    fitting   documents side by side in blocks, longest first ──► blocks, their documents' bounds, the waste

One process, one core, the same arrays for everybody; each way is checked against the plain one before
anything is timed. The documents are random ids: nothing here looks at what they are.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpus import EOS_TOKEN
from options import Options, parse
from report import header, run_part
from vocabularies import vocabulary_file

SEQ_LENGTH = 1024
AVERAGE_LENGTHS = (10, 100, 1_000)
# What the target speaks of; the ways that make objects of ids get less of it.
NUM_TOKENS = 16_000_000
TOKENS_PER_BATCH = 1_000_000
SLOW_SHARE = 16
PACKAGES = ("numpy", "pyarrow", "trl", "datasets", "seqpacker")


def installed(name: str) -> bool:
    """Whether a peer is there; one that is not is left out and named."""
    return importlib.util.find_spec(name) is not None


Ids = NDArray[np.uint16]


@dataclass(frozen=True)
class Documents:
    """Documents in one flat array, without EOS; `offsets` has one more than there are documents."""

    ids: Ids
    offsets: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    def first(self, share: int) -> Documents:
        """The first part of them, one of `share` parts."""
        count = max(1, (len(self.offsets) - 1) // share)
        return Documents(self.ids[: self.offsets[count]], self.offsets[: count + 1])

    def batches(self, num_tokens: int) -> list[Documents]:
        """About so many tokens in each, as they lie."""
        marks = np.arange(0, self.offsets[-1], num_tokens)
        cuts = np.unique([*np.searchsorted(self.offsets, marks), len(self.offsets) - 1])
        return [
            Documents(
                self.ids[self.offsets[start] : self.offsets[end]],
                self.offsets[start : end + 1] - self.offsets[start],
            )
            for start, end in pairwise(cuts.tolist())
        ]


def make_documents(average_length: int, num_tokens: int, max_id: int) -> Documents:
    """Random ids; lengths spread as those of files are, from none to many times the average."""
    random = np.random.default_rng(average_length)
    sigma = 1.0
    count = num_tokens // average_length
    lengths = random.lognormal(np.log(average_length) - sigma**2 / 2, sigma, count).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Documents(random.integers(1, max_id, offsets[-1], dtype=np.uint16), offsets)


# Joining -------------------------------------------------------------------------------------------------

# A way gets batches and yields the blocks of each; the last, partial block stays out.
Join = Callable[[list[Any]], Iterator[NDArray[Any]]]


@dataclass(frozen=True)
class Way:
    """One way of joining: `prepare` puts a batch into its form, which is not timed."""

    name: str
    join: Join
    prepare: Callable[[Documents], Any] = lambda batch: batch
    slow: bool = False


def joining_ways(tokenizer: Any, room: int) -> list[Way]:
    """Return all ways; `room` blocks is the most that a batch gives."""
    import pyarrow as pa

    from gristmill import Packer

    eos = tokenizer.require_eos()
    out = np.zeros((room, SEQ_LENGTH), np.uint16)

    def one_copy(batches: list[Documents]) -> Iterator[Ids]:
        packer = Packer(tokenizer, SEQ_LENGTH)
        for batch in batches:
            yield packer.pack_documents(batch.ids, batch.offsets, out=out)

    def two_copies(batches: list[Documents]) -> Iterator[Ids]:
        packer = Packer(tokenizer, SEQ_LENGTH)
        for batch in batches:
            packer.push_documents(batch.ids, batch.offsets)
            yield packer.take_blocks()

    def with_numpy(batches: list[Documents]) -> Iterator[Ids]:
        rest = np.empty(0, np.uint16)
        for batch in batches:
            joined = np.concatenate([rest, np.insert(batch.ids, batch.offsets[1:], eos)])
            whole = len(joined) // SEQ_LENGTH * SEQ_LENGTH
            rest = joined[whole:]
            yield joined[:whole].reshape(-1, SEQ_LENGTH)

    def with_lists(batches: list[list[list[int]]]) -> Iterator[NDArray[Any]]:
        buffer: list[int] = []
        for batch in batches:
            for document in batch:
                buffer.extend(document)
                buffer.append(eos)
            whole = len(buffer) // SEQ_LENGTH * SEQ_LENGTH
            blocks = [buffer[start : start + SEQ_LENGTH] for start in range(0, whole, SEQ_LENGTH)]
            buffer = buffer[whole:]
            yield np.array(blocks, np.uint16).reshape(-1, SEQ_LENGTH)

    def with_pyarrow(batches: list[pa.ListArray]) -> Iterator[NDArray[Any]]:
        rest = pa.array([], pa.uint16())
        one = pa.array([eos], pa.uint16())
        for batch in batches:
            values, ends = batch.flatten(), batch.offsets.to_numpy()[1:]
            places = np.insert(np.arange(len(values)), ends, len(values))
            joined = pa.concat_arrays([rest, pa.concat_arrays([values, one]).take(pa.array(places))])
            whole = len(joined) // SEQ_LENGTH * SEQ_LENGTH
            rest = joined.slice(whole)
            blocks = pa.FixedSizeListArray.from_arrays(joined.slice(0, whole), SEQ_LENGTH)
            yield blocks.flatten().to_numpy().reshape(-1, SEQ_LENGTH)

    def in_arrow(batch: Documents) -> pa.ListArray:
        return pa.ListArray.from_arrays(batch.offsets.astype(np.int32), batch.ids)

    def in_lists(batch: Documents) -> list[list[int]]:
        return [batch.ids[start:end].tolist() for start, end in pairwise(batch.offsets.tolist())]

    return [
        Way("gristmill, pack_documents(out=)", one_copy),
        Way("gristmill, push_documents and take_blocks", two_copies),
        Way("numpy: insert, concatenate, reshape", with_numpy),
        Way("pyarrow: take, FixedSizeListArray", with_pyarrow, in_arrow),
        Way("Python lists", with_lists, in_lists, slow=True),
    ]


def with_trl(documents: Documents, tokenizer: Any, strategy: str, batch_size: int) -> Any:
    """Prepare TRL's packing of a data set; EOS is in it already, for TRL puts none."""
    import datasets
    import pyarrow as pa
    import trl

    joined = np.insert(documents.ids, documents.offsets[1:], tokenizer.require_eos())
    offsets = documents.offsets + np.arange(len(documents.offsets))
    column = pa.ListArray.from_arrays(offsets.astype(np.int32), joined)
    data = datasets.Dataset(pa.table({"input_ids": column}))
    options = {"keep_in_memory": True, "load_from_cache_file": False, "batch_size": batch_size}
    return lambda: trl.pack_dataset(data, SEQ_LENGTH, strategy, map_kwargs=options)


def measure_joining(tokenizer: Any, average_length: int, num_tokens: int, rounds: int) -> dict[str, Any]:
    """Check and time every way of joining, and copying the same bytes, in turn."""
    documents = make_documents(average_length, num_tokens, tokenizer.require_eos())
    batches = documents.batches(TOKENS_PER_BATCH)
    few = documents.first(SLOW_SHARE).batches(TOKENS_PER_BATCH)
    room = max((batch.ids.size + len(batch.offsets)) // SEQ_LENGTH + 1 for batch in batches)
    ways = joining_ways(tokenizer, room)
    prepared = {way.name: [way.prepare(batch) for batch in (few if way.slow else batches)] for way in ways}
    expected = np.insert(documents.ids, documents.offsets[1:], tokenizer.require_eos())
    for way in ways:
        blocks = np.concatenate([part.copy() for part in way.join(prepared[way.name])])
        if not np.array_equal(blocks.reshape(-1), expected[: blocks.size]) or not blocks.size:
            raise AssertionError(f"{way.name} gives other blocks")
    calls: dict[str, Callable[[], object]] = {}
    num_bytes: dict[str, int] = {}
    if installed("trl"):
        few_documents = documents.first(SLOW_SHARE)
        trl = with_trl(few_documents, tokenizer, "wrapped", len(few_documents.offsets))
        found = np.concatenate(trl().with_format("numpy")["input_ids"][:])
        if not np.array_equal(found, expected[: found.size]):
            raise AssertionError("TRL's wrapped gives other blocks")
        calls["TRL, wrapped"] = trl
        num_bytes["TRL, wrapped"] = 2 * few_documents.ids.size
    for way in ways:
        num_bytes[way.name] = 2 * sum(batch.ids.size for batch in (few if way.slow else batches))
    num_bytes["memcpy"] = 2 * documents.ids.size
    target = np.zeros(max(batch.ids.size for batch in batches), np.uint16)

    def copy() -> None:
        for batch in batches:
            ctypes.memmove(target.ctypes.data, batch.ids.ctypes.data, 2 * batch.ids.size)

    def run(way: Way) -> Callable[[], None]:
        def consume() -> None:
            for _ in way.join(prepared[way.name]):
                pass

        return consume

    calls["memcpy"] = copy
    calls |= {way.name: run(way) for way in ways}
    seconds = rounds_of(calls, rounds)
    rates = {name: [num_bytes[name] / second for second in times] for name, times in seconds.items()}
    return {
        "average_length": average_length,
        "documents": len(documents.offsets) - 1,
        "bytes": 2 * documents.ids.size,
        "rounds": rounds,
        "ways": [
            {
                "way": name,
                "gigabytes_per_second": statistics.median(own) / 1e9,
                "share_of_memcpy": statistics.median(
                    rate / copied for rate, copied in zip(own, rates["memcpy"], strict=True)
                ),
                "seconds": seconds[name],
                "bytes": num_bytes[name],
            }
            for name, own in rates.items()
        ],
    }


# Fitting -------------------------------------------------------------------------------------------------


def measure_fitting(tokenizer: Any, average_length: int, num_tokens: int, rounds: int) -> dict[str, Any]:
    """Check and time best-fit packing, and say how much of the blocks is padding."""
    from gristmill import Packer

    documents = make_documents(average_length, num_tokens, tokenizer.require_eos())
    num_documents = len(documents.offsets) - 1
    lengths = documents.lengths + 1
    total = int(lengths.sum())
    pieces = np.concatenate([np.full(int((lengths // SEQ_LENGTH).sum()), SEQ_LENGTH), lengths % SEQ_LENGTH])
    pieces = pieces[pieces > 0]

    def by_gristmill(window: int) -> Any:
        packer = Packer(tokenizer, SEQ_LENGTH, strategy="best_fit", window=window)
        packer.push_documents(documents.ids, documents.offsets)
        return packer.finish()

    windows = {f"gristmill, window {window:,}": window for window in (1_000, 8_192, num_documents)}
    for window in windows.values():
        check_fitting(by_gristmill(window), documents, tokenizer.require_eos())
    calls: dict[str, Callable[[], object]] = {
        name: lambda window=window: by_gristmill(window) for name, window in windows.items()
    }
    if installed("trl"):
        for batch_size in (1_000, num_documents):
            name = f"TRL bfd_split, batches of {batch_size:,}"
            calls[name] = with_trl(documents, tokenizer, "bfd_split", batch_size)
        calls["TRL bfd, batches of 1,000 (cuts off)"] = with_trl(documents, tokenizer, "bfd", 1_000)
    if installed("seqpacker"):
        import seqpacker

        for strategy in ("obfd", "bfd"):
            name = f"seqpacker {strategy}: lengths alone"
            calls[name] = lambda strategy=strategy: seqpacker.pack_sequences(pieces, SEQ_LENGTH, strategy)
    figures = {}
    for name, call in calls.items():
        result = call()
        if name.startswith("gristmill"):
            num_blocks, kept = len(result), int(result.num_valid.sum())  # type: ignore[arg-type, attr-defined]
        elif name.startswith("TRL"):
            num_blocks, kept = len(result), sum(map(sum, result["seq_lengths"]))  # type: ignore[arg-type, index]
        else:
            num_blocks, kept = len(result.bins), int(pieces.sum())  # type: ignore[attr-defined]
        figures[name] = {
            "blocks": num_blocks,
            "padding_share": 1 - kept / (num_blocks * SEQ_LENGTH),
            "tokens_lost": total - kept,
        }
    seconds = rounds_of(calls, rounds)
    return {
        "average_length": average_length,
        "documents": num_documents,
        "tokens": total,
        "rounds": rounds,
        "ways": [
            {
                "way": name,
                "million_tokens_per_second": total / statistics.median(times) / 1e6,
                "seconds": times,
                **figures[name],
            }
            for name, times in seconds.items()
        ],
    }


def check_fitting(packed: Any, documents: Documents, eos: int) -> None:
    """Every token of every document once, in order within its document."""
    ends = np.delete(packed.cu_seqlens, packed.cu_seqlens_offsets[:-1]).astype(np.int64)
    starts = np.delete(packed.cu_seqlens, packed.cu_seqlens_offsets[1:] - 1).astype(np.int64)
    block_of = np.repeat(np.arange(len(packed)), np.diff(packed.cu_seqlens_offsets) - 1)
    # The pieces of a document stand in blocks of rising numbers.
    order = np.argsort(packed.segment_documents, kind="stable")
    flat = packed.blocks.reshape(-1)
    parts = [
        flat[block * SEQ_LENGTH + start : block * SEQ_LENGTH + end]
        for block, start, end in zip(block_of[order], starts[order], ends[order], strict=True)
    ]
    if not np.array_equal(np.concatenate(parts), np.insert(documents.ids, documents.offsets[1:], eos)):
        raise AssertionError("best-fit packing gives other tokens")


# The run -------------------------------------------------------------------------------------------------


def rounds_of(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in each round; every round begins with another one."""
    names = list(calls)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            started = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - started)
    return seconds


@contextlib.contextmanager
def on_one_core() -> Iterator[None]:
    """Stay on one core, and keep pyarrow from starting threads."""
    import datasets
    import pyarrow as pa

    cores, threads = os.sched_getaffinity(0), pa.cpu_count()
    os.sched_setaffinity(0, {min(cores)})
    pa.set_cpu_count(1)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        pa.set_cpu_count(threads)


def measure(options: Options) -> dict[str, Any]:
    """Measure joining and fitting at every average length."""
    from gristmill import Tokenizer

    tokenizer = Tokenizer.from_file(vocabulary_file("gpt2", "python"), eos_token=EOS_TOKEN)
    num_tokens = NUM_TOKENS // (8 if options.quick else 1)
    rounds = options.rounds if options.quick else 2 * options.rounds + 1
    versions = {
        name: importlib.metadata.version(name) if installed(name) else "not installed" for name in PACKAGES
    }
    with on_one_core():
        joining = [measure_joining(tokenizer, length, num_tokens, rounds) for length in AVERAGE_LENGTHS]
        fitting = [
            measure_fitting(tokenizer, length, num_tokens // 8, options.rounds)
            for length in (100, 300, 1_000)
        ]
    return header("packing", versions) | {
        "seq_length": SEQ_LENGTH,
        "tokens_per_batch": TOKENS_PER_BATCH,
        "joining": joining,
        "fitting": fitting,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run this part alone."""
    return run_part("packing", measure, parse(arguments, __doc__))


if __name__ == "__main__":
    sys.exit(main())
