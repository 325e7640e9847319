"""The ways from documents to blocks that are compared, all with the same output. PEERS lists them.

A peer is loaded once a pass with a vocabulary and a number of threads; its `grind` turns batches of texts
into blocks: for each batch a `(k, seq_length)` array of ids, documents joined with EOS, the remainder
carried to the next batch, the last partial block dropped. Each goes the fastest way that its package offers:
flat ids with offsets where there are such (peers_flat.py), else one array a document (peers_known.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Blocks = Any  # an array or a tensor, (k, seq_length)
Batch = Any  # a list of `str`, or an Arrow array of them


@dataclass(frozen=True)
class Job:
    """What every peer gets."""

    tokenizer_file: Path
    eos_token: str
    seq_length: int
    num_threads: int


@dataclass(frozen=True)
class Loaded:
    """A peer that is ready to be timed.

    Attributes:
        grind: batches to blocks.
        ids: the ids of one batch, an array or list a document; to compare documents. Not timed.
        lists: the same as Python lists, by the fastest way to have them; None where nobody would.
        eos_token_id: told by the reference, whose ids are joined once more, by the plainest code.
    """

    grind: Callable[[Iterable[Batch]], Iterator[Blocks]]
    ids: Callable[[Batch], Iterable[Any]]
    lists: Callable[[Batch], list[list[int]]] | None = None
    eos_token_id: int | None = None


@dataclass(frozen=True)
class Peer:
    """One way from documents to blocks.

    Attributes:
        name: as the table shows it.
        load: makes it ready; not timed.
        packages: the distributions whose versions are recorded.
        folder: installed in a folder of its own, because another peer has the same module name.
        environment: variables of its process.
        share: the part of the text that it is timed on, for those that would take the whole evening; rates
            are compared. Ids are compared on every document all the same, unless `checks_share`.
        arrow: takes Arrow arrays of strings instead of lists of `str`.
        competes: False for gristmill in another dress: it is no peer to beat.
    """

    name: str
    load: Callable[[Job], Loaded]
    packages: tuple[str, ...]
    folder: str | None = None
    environment: tuple[tuple[str, str], ...] = ()
    share: float = 1.0
    checks_share: bool = False
    arrow: bool = False
    competes: bool = True


def byte_characters() -> dict[int, str]:
    """The printable character that byte-level BPE writes for each byte (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {byte: chr(byte) for byte in printable}
    others = [byte for byte in range(256) if byte not in table]
    return table | {byte: chr(256 + index) for index, byte in enumerate(others)}


def smallest_dtype(largest_id: int) -> type[np.uint16 | np.uint32]:
    """Ids of 16 bits halve the memory that is written; every peer is given them where they are enough."""
    return np.uint16 if largest_id <= np.iinfo(np.uint16).max else np.uint32


def chop(
    batches: Iterable[tuple[NDArray[Any], NDArray[Any]]], eos_token_id: int, dtype: type, seq_length: int
) -> Iterator[NDArray[Any]]:
    """Turn (flat ids, offsets of the documents in them) into blocks: one copy, by slices."""
    carried = np.empty(0, dtype=dtype)
    for ids, offsets in batches:
        ends = offsets.tolist()
        joined = np.empty(len(carried) + ends[-1] - ends[0] + len(ends) - 1, dtype=dtype)
        joined[: len(carried)] = carried
        place, start = len(carried), ends[0]
        for end in ends[1:]:
            stop = place + end - start
            joined[place:stop] = ids[start:end]
            joined[stop] = eos_token_id
            place, start = stop + 1, end
        num_blocks = place // seq_length
        carried = joined[num_blocks * seq_length :]
        yield joined[: num_blocks * seq_length].reshape(num_blocks, seq_length)


def chop_parts(
    batches: Iterable[Iterable[NDArray[Any]]], eos_token_id: int, seq_length: int
) -> Iterator[NDArray[Any]]:
    """The same of one array a document."""
    eos = np.array([eos_token_id], dtype=np.uint32)
    carried = np.empty(0, dtype=np.uint32)
    for documents in batches:
        ids = np.concatenate([carried, *(part for document in documents for part in (document, eos))])
        num_blocks = len(ids) // seq_length
        carried = ids[num_blocks * seq_length :]
        yield ids[: num_blocks * seq_length].reshape(num_blocks, seq_length)


def _all_peers() -> tuple[Peer, ...]:
    from peers_flat import fastokens, gigatoken, gristmill, snaptokens
    from peers_known import hugging_face, tiktoken, tokenizers

    def dressed(name: str, instructions: str) -> Peer:
        environment = (("GRISTMILL_INSTRUCTIONS", instructions),)
        return Peer(name, gristmill, ("gristmill",), environment=environment, competes=False)

    return (
        Peer("gristmill", gristmill, ("gristmill",), competes=False),
        dressed("gristmill, AVX2", "avx2"),
        dressed("gristmill, portable", "portable"),
        Peer("gristmill, Arrow", gristmill, ("gristmill", "pyarrow"), arrow=True, competes=False),
        Peer("gigatoken", gigatoken, ("gigatoken",), folder="gigatoken"),
        Peer("gigatoken-cachefix", gigatoken, ("gigatoken-cachefix",), folder="gigatoken-cachefix"),
        Peer("fastokens", fastokens, ("fastokens",)),
        Peer("snaptokens", snaptokens, ("snaptokens",)),
        Peer("tiktoken + numpy", tiktoken, ("tiktoken",), share=0.2),
        Peer("tokenizers + numpy", tokenizers, ("tokenizers",), share=0.05),
        Peer(
            "hugging face, plain",
            hugging_face,
            ("transformers", "tokenizers", "torch"),
            share=0.03,
            checks_share=True,
        ),
    )


PEERS = _all_peers()
