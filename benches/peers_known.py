"""The libraries that everybody has: the plain Hugging Face way, `tokenizers` and tiktoken."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peers import Batch, Blocks, Job, Loaded, byte_characters, chop_parts

GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"


def hugging_face(job: Job) -> Loaded:
    """The plain way, as tutorials show it: tokenizer call, list extend, slice, tensor."""
    import torch
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(job.tokenizer_file), eos_token=job.eos_token)
    tokenizer.model_max_length = 10**12  # no warning about long texts
    torch.set_num_threads(job.num_threads)

    def encode(batch: Batch) -> list[list[int]]:
        lists: list[list[int]] = tokenizer(batch, add_special_tokens=False, return_attention_mask=False)[
            "input_ids"
        ]
        return lists

    def grind(batches: Iterable[Batch]) -> Iterator[Blocks]:
        buffer: list[int] = []
        for batch in batches:
            for ids in encode(batch):
                buffer.extend([*ids, tokenizer.eos_token_id])
            starts = range(0, len(buffer) - job.seq_length + 1, job.seq_length)
            blocks = [torch.tensor(buffer[start : start + job.seq_length]) for start in starts]
            buffer = buffer[len(blocks) * job.seq_length :]
            yield torch.stack(blocks) if blocks else torch.empty((0, job.seq_length), dtype=torch.int64)

    return Loaded(grind, encode, encode)


def tokenizers(job: Job) -> Loaded:
    """What every id is compared with."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(job.tokenizer_file))
    tokenizer.encode_special_tokens = True

    def lists(batch: Batch) -> list[list[int]]:
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False)]

    def encode(batch: Batch) -> Iterator[NDArray[np.uint32]]:
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            yield np.array(encoding.ids, dtype=np.uint32)

    eos_token_id = tokenizer.token_to_id(job.eos_token)
    return Loaded(
        lambda batches: chop_parts(map(encode, batches), eos_token_id, job.seq_length),
        encode,
        lists,
        eos_token_id,
    )


def tiktoken(job: Job) -> Loaded:
    """tiktoken on the same vocabulary; rank is id, which asks that ids rise in the order of the merges.

    Its pattern for GPT-2 with possessive repeats, as the package has it. On several threads one document is a
    task of a thread pool, as in its own `encode_batch`.
    """
    encoding, special = tiktoken_encoding(job)

    def encode_one(text: str) -> NDArray[np.uint32]:
        ids: NDArray[np.uint32] = encoding.encode_to_numpy(text, disallowed_special=())
        return ids

    def encode(batch: Batch) -> list[NDArray[np.uint32]]:
        if job.num_threads == 1:
            return [encode_one(text) for text in batch]
        with ThreadPoolExecutor(job.num_threads) as pool:
            return list(pool.map(encode_one, batch))

    def lists(batch: Batch) -> list[list[int]]:
        if job.num_threads == 1:
            return [encoding.encode_ordinary(text) for text in batch]
        all_ids: list[list[int]] = encoding.encode_ordinary_batch(batch, num_threads=job.num_threads)
        return all_ids

    eos_token_id = special[job.eos_token]
    return Loaded(
        lambda batches: chop_parts(map(encode, batches), eos_token_id, job.seq_length), encode, lists
    )


def tiktoken_encoding(job: Job) -> tuple[Any, dict[str, int]]:
    """Give tiktoken's encoding of a `tokenizer.json` with GPT-2's pattern, and the ids of special tokens."""
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
    encoding = library.Encoding("bench", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens=special)
    return encoding, special
