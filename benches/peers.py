"""The ways from documents to blocks that are compared: one function each, all with the same output.

A peer is loaded once a round with a vocabulary and a number of threads. What comes back turns batches of
texts into blocks: for each batch a `(k, seq_length)` array of ids, documents joined with EOS, the remainder
carried to the next batch, the last partial block dropped. `ids` gives the ids of one text, to count differing
documents.

To add one: write a function of the same shape and list it in PEERS.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Blocks = Any  # an array or a tensor, (k, seq_length)


@dataclass(frozen=True)
class Loaded:
    """A peer that is ready to be timed."""

    grind: Callable[[Iterable[list[str]]], Iterator[Blocks]]
    ids: Callable[[str], list[int]]


@dataclass(frozen=True)
class Job:
    """What every peer gets."""

    tokenizer_file: Path
    eos_token: str
    seq_length: int
    num_threads: int


@dataclass(frozen=True)
class Peer:
    """One way from documents to blocks.

    Attributes:
        name: as the table shows it.
        load: makes it ready; not timed.
        packages: the distributions whose versions are recorded.
    """

    name: str
    load: Callable[[Job], Loaded]
    packages: tuple[str, ...]


def gristmill(job: Job) -> Loaded:
    from gristmill import Packer, Tokenizer

    tokenizer = Tokenizer.from_file(job.tokenizer_file, eos_token=job.eos_token)

    def grind(batches: Iterable[list[str]]) -> Iterator[Blocks]:
        packer = Packer(tokenizer, job.seq_length, num_threads=job.num_threads)
        for batch in batches:
            packer.push(batch)
            yield packer.take_blocks()

    return Loaded(grind, lambda text: tokenizer.encode(text).tolist())


def hugging_face(job: Job) -> Loaded:
    """The plain way, as tutorials show it: tokenizer call, list extend, slice, tensor."""
    import torch
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(job.tokenizer_file), eos_token=job.eos_token)
    tokenizer.model_max_length = 10**12  # no warning about long texts

    def grind(batches: Iterable[list[str]]) -> Iterator[Blocks]:
        buffer: list[int] = []
        for batch in batches:
            for ids in tokenizer(batch, add_special_tokens=False, return_attention_mask=False)["input_ids"]:
                buffer.extend([*ids, tokenizer.eos_token_id])
            starts = range(0, len(buffer) - job.seq_length + 1, job.seq_length)
            blocks = [torch.tensor(buffer[start : start + job.seq_length]) for start in starts]
            buffer = buffer[len(blocks) * job.seq_length :]
            yield torch.stack(blocks) if blocks else torch.empty((0, job.seq_length), dtype=torch.int64)

    return Loaded(grind, lambda text: tokenizer(text, add_special_tokens=False)["input_ids"])


def tokenizers(job: Job) -> Loaded:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(job.tokenizer_file))
    tokenizer.encode_special_tokens = True
    eos = np.array([tokenizer.token_to_id(job.eos_token)], dtype=np.uint32)

    def encode(batch: list[str]) -> Iterator[NDArray[np.uint32]]:
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            yield np.array(encoding.ids, dtype=np.uint32)
            yield eos

    return Loaded(
        lambda batches: _chop((encode(batch) for batch in batches), job.seq_length),
        lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
    )


def tiktoken(job: Job) -> Loaded:
    """tiktoken on the same vocabulary; rank is id, which asks that ids rise in the order of the merges."""
    import tiktoken as library

    content = json.loads(job.tokenizer_file.read_text(encoding="utf-8"))
    byte_of = {character: byte for byte, character in byte_characters().items()}
    vocabulary: dict[str, int] = content["model"]["vocab"]
    special = {token["content"]: token["id"] for token in content["added_tokens"]}
    ranks = {
        bytes(byte_of[character] for character in token): token_id
        for token, token_id in vocabulary.items()
        if token not in special
    }
    pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
    encoding = library.Encoding("bench", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
    eos = np.array([special[job.eos_token]], dtype=np.uint32)

    def encode_one(text: str) -> NDArray[np.uint32]:
        return encoding.encode_to_numpy(text, disallowed_special=())

    def grind(batches: Iterable[list[str]]) -> Iterator[Blocks]:
        with ThreadPoolExecutor(job.num_threads) as pool:
            encode_all = map if job.num_threads == 1 else pool.map
            documents = (
                (part for ids in encode_all(encode_one, batch) for part in (ids, eos)) for batch in batches
            )
            yield from _chop(documents, job.seq_length)

    return Loaded(grind, lambda text: encode_one(text).tolist())


PEERS = (
    Peer("gristmill", gristmill, ("gristmill",)),
    Peer("hugging face, plain", hugging_face, ("transformers", "tokenizers", "torch")),
    Peer("tokenizers + numpy", tokenizers, ("tokenizers",)),
    Peer("tiktoken + numpy", tiktoken, ("tiktoken",)),
)


def byte_characters() -> dict[int, str]:
    """The printable character that byte-level BPE writes for each byte (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {byte: chr(byte) for byte in printable}
    others = [byte for byte in range(256) if byte not in table]
    return table | {byte: chr(256 + index) for index, byte in enumerate(others)}


def _chop(batches: Iterable[Iterable[NDArray[np.uint32]]], seq_length: int) -> Iterator[NDArray[np.uint32]]:
    carried = np.empty(0, dtype=np.uint32)
    for parts in batches:
        ids = np.concatenate([carried, *parts])
        num_blocks = len(ids) // seq_length
        carried = ids[num_blocks * seq_length :]
        yield ids[: num_blocks * seq_length].reshape(num_blocks, seq_length)
