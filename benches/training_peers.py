"""The trainers that are compared: for each, what is not timed, then what is, then its merges as bytes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpus import EOS_TOKEN as EOS

Merges = list[tuple[bytes, bytes]]
Training = Callable[[], Any]


def bytes_of(token: str) -> bytes:
    from gristmill.byte_alphabet import bytes_of_token

    return bytes_of_token(token)


def gristmill(
    texts: list[str], vocab_size: int, num_threads: int
) -> tuple[Training, Callable[[Any], Merges]]:
    # Imports are not timed: these two come with the package's public face.
    import numpy  # noqa: F401
    import tokenizers  # noqa: F401

    from gristmill._native import BpeTrainer
    from gristmill.byte_alphabet import BYTE_CHARACTERS

    def train() -> Any:
        trainer = BpeTrainer()
        for start in range(0, len(texts), 1000):
            trainer.push_texts(texts[start : start + 1000], num_threads, False)
        return trainer.train(vocab_size, 0, [EOS], BYTE_CHARACTERS)

    def merges(result: Any) -> Merges:
        tokens, pairs = result
        return [(bytes_of(tokens[left]), bytes_of(tokens[right])) for left, right in pairs.tolist()]

    return train, merges


def gristmill_tokenizer(
    texts: list[str], vocab_size: int, num_threads: int
) -> tuple[Training, Callable[[Any], Merges]]:
    """The public call, which gives a `Tokenizer` ready to encode."""
    from gristmill import train_tokenizer

    def train() -> Any:
        return train_tokenizer(texts, vocab_size, num_threads=num_threads, show_progress=False)

    return train, lambda result: pairs_of(result.parsed_json()["model"]["merges"])


def tokenizers(texts: list[str], vocab_size: int, _: int) -> tuple[Training, Callable[[Any], Merges]]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    def train() -> Any:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[EOS],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return tokenizer

    return train, lambda result: pairs_of(json.loads(result.to_str())["model"]["merges"])


def gigatoken(texts: list[str], vocab_size: int, _: int) -> tuple[Training, Callable[[Any], Merges]]:
    """Takes bytes, documents apart by a separator; joining them is not timed."""
    from gigatoken import train_bpe

    joined = EOS.encode().join(text.encode() for text in texts)
    texts.clear()  # its memory is not to be counted twice

    def train() -> Any:
        return train_bpe(joined, vocab_size, [EOS], separator=EOS.encode())

    return train, lambda result: [(bytes(left), bytes(right)) for left, right in result[1]]


def gigabpe(texts: list[str], vocab_size: int, num_threads: int) -> tuple[Training, Callable[[Any], Merges]]:
    """Reads files; writing one is not timed. One for all documents: with many it is several times slower."""
    from gigabpe import train_bpe

    files = [str(Path(tempfile.mkdtemp()) / "documents.txt")]
    Path(files[0]).write_bytes("\n".join(texts).encode())
    texts.clear()

    def train() -> Any:
        return train_bpe(files, vocab_size, special_tokens=[EOS], threads=num_threads)

    return train, lambda result: pairs_of(result[1])


def rustbpe(texts: list[str], vocab_size: int, _: int) -> tuple[Training, Callable[[Any], Merges]]:
    """Gives ranks, not merges; other ties."""
    from rustbpe import Tokenizer

    pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

    def train() -> Any:
        tokenizer = Tokenizer()
        tokenizer.train_from_iterator(iter(texts), vocab_size - 1, pattern=pattern)
        return tokenizer

    return train, lambda _: []


PEERS = {
    "gristmill": gristmill,
    "gristmill.train_tokenizer": gristmill_tokenizer,
    "tokenizers": tokenizers,
    "gigatoken": gigatoken,
    "gigabpe": gigabpe,
    "rustbpe": rustbpe,
}


def pairs_of(merges: Any) -> Merges:
    return [(bytes_of(left), bytes_of(right)) for left, right in merges]
