"""The engines that give the ids of a whole batch in one piece; imported where they are used."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peers import Batch, Blocks, Job, Loaded, chop, smallest_dtype

Flat = tuple[NDArray[Any], NDArray[Any]]


def gristmill(job: Job) -> Loaded:
    from gristmill import Packer, Tokenizer

    tokenizer = Tokenizer.from_file(job.tokenizer_file, eos_token=job.eos_token)

    def grind(batches: Iterable[Batch]) -> Iterator[Blocks]:
        packer = Packer(tokenizer, job.seq_length, num_threads=job.num_threads)
        for batch in batches:
            packer.push(batch)
            yield packer.take_blocks()

    def ids(batch: Batch) -> list[NDArray[Any]]:
        return list(tokenizer.encode_batch(batch, num_threads=job.num_threads))

    return Loaded(grind, ids, lambda batch: [document.tolist() for document in ids(batch)])


def gigatoken(job: Job) -> Loaded:
    """Both gigatoken and its fork.

    Measured here: lists of `str` are as fast as lists of bytes, and faster than one joined buffer with a
    separator; on one thread `parallel=False` is a fifth faster than a pool of one.
    """
    from gigatoken import Tokenizer

    tokenizer = Tokenizer(job.tokenizer_file)
    parallel = job.num_threads > 1

    def encode(batch: Batch) -> Flat:
        layout = tokenizer.encode_batch(batch, parallel=parallel).layout
        return np.asarray(layout.content.data), np.asarray(layout.offsets.data)

    return _flat(job, encode, lambda batch: tokenizer.encode_batch_list(batch, parallel=parallel))


def fastokens(job: Job) -> Loaded:
    from fastokens import Tokenizer

    tokenizer = Tokenizer.from_file(str(job.tokenizer_file))

    def encode(batch: Batch) -> Flat:
        return _from_bytes(tokenizer.encode_batch_flat(batch, split_special_tokens=True))

    def lists(batch: Batch) -> list[list[int]]:
        return [encoding.ids for encoding in tokenizer.encode_batch(batch, split_special_tokens=True)]

    return _flat(job, encode, lists)


def snaptokens(job: Job) -> Loaded:
    from snaptokens import Tokenizer

    tokenizer = Tokenizer.from_file(str(job.tokenizer_file))

    def encode(batch: Batch) -> Flat:
        return _from_bytes(tokenizer.encode_batch_flat(batch))

    return _flat(job, encode, lambda batch: [encoding.ids for encoding in tokenizer.encode_batch(batch)])


def _from_bytes(answer: tuple[bytes, bytes]) -> Flat:
    ids, offsets = answer
    return np.frombuffer(ids, np.uint32), np.frombuffer(offsets, np.uint64)


def _flat(job: Job, encode: Callable[[Batch], Flat], lists: Callable[[Batch], list[list[int]]]) -> Loaded:
    content = json.loads(job.tokenizer_file.read_text(encoding="utf-8"))
    vocabulary: dict[str, int] = content["model"]["vocab"]
    added = {token["content"]: token["id"] for token in content["added_tokens"]}
    eos_token_id = added[job.eos_token]
    dtype = smallest_dtype(max(*vocabulary.values(), *added.values()))

    def grind(batches: Iterable[Batch]) -> Iterator[Blocks]:
        return chop(map(encode, batches), eos_token_id, dtype, job.seq_length)

    def ids(batch: Batch) -> list[NDArray[Any]]:
        flat, offsets = encode(batch)
        return np.split(flat, offsets[1:-1].astype(np.int64))

    return Loaded(grind, ids, lists)
