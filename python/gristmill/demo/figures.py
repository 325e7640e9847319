"""The figure that can fail: bits per byte of the GPT-2 beside those of the bigram, on the same positions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gristmill.demo.bigram import BigramModel, BigramScore
from gristmill.demo.training import read_result
from gristmill.errors import GristmillError
from gristmill.train.config import CorpusConfig
from gristmill.train.model import IGNORED

if TYPE_CHECKING:
    import torch

    from gristmill.tokenizer import Tokenizer

# `(num_blocks, seq_length)` ids, and `(num_blocks,)` how many of them are real
Blocks = tuple[NDArray[np.uint16], NDArray[np.int64]]


class ComparisonError(GristmillError, RuntimeError):
    """The two models were not scored on the same positions."""


@dataclass(frozen=True)
class Comparison:
    """Both models on the validation part.

    Attributes:
        gpt2_bits_per_byte: as the trainer's last evaluation found it.
        num_parameters: size of the GPT-2.
        bigram: the bigram's score.
        num_training_blocks: blocks that the bigram was fitted on, the whole training part.
        num_seen_blocks: blocks that the GPT-2 was trained on.
    """

    gpt2_bits_per_byte: float
    num_parameters: int
    bigram: BigramScore
    num_training_blocks: int
    num_seen_blocks: int

    @property
    def is_lower(self) -> bool:
        """Whether the GPT-2 has fewer bits per byte. A figure that is no number is not lower."""
        return self.gpt2_bits_per_byte < self.bigram.bits_per_byte

    @property
    def verdict(self) -> str:
        """The outcome in one sentence."""
        gpt2, bigram = self.gpt2_bits_per_byte, self.bigram.bits_per_byte
        if self.is_lower:
            return (
                f"The GPT-2 is better than the bigram by {1 - gpt2 / bigram:.1%}: "
                f"{gpt2:.4f} to {bigram:.4f} validation bits per byte."
            )
        return (
            f"The demo has failed: the GPT-2 is not better than the bigram, {gpt2:.4f} to {bigram:.4f} "
            "validation bits per byte (expected fewer; it may need more steps)."
        )

    def __str__(self) -> str:
        from gristmill.generate import format_size

        gpt2 = f"GPT-2, {format_size(self.num_parameters)}"
        bigram = "bigram, interpolated Kneser-Ney, 0.75"
        return "\n".join(
            [
                f"{self.bigram.num_predicted:,} predicted tokens, {self.bigram.num_bytes:,} bytes of text",
                f"{gpt2:<40}{self.gpt2_bits_per_byte:8.4f}  after {self.num_seen_blocks:,} blocks",
                f"{bigram:<40}{self.bigram.bits_per_byte:8.4f}  after {self.num_training_blocks:,} blocks",
            ]
        )


def compare(folder: Path, tokenizer: Tokenizer) -> Comparison:
    """Fit the bigram on the training blocks and score it where the GPT-2 was scored.

    The blocks are those of the trainer's own data sets: one epoch of the training part, and the validation
    part. So the bigram has seen all that the GPT-2 could have seen, whether the training came so far or not.

    Raises:
        ComparisonError: the trainer counted other positions or bytes.
    """
    result: dict[str, Any] = read_result(folder)
    lengths = tokenizer.token_byte_lengths()
    assert lengths is not None, "the demo's tokenizer is a byte-level BPE"
    (train_blocks, train_valid), (validation_blocks, validation_valid) = read_blocks(folder, tokenizer)
    bigram = BigramModel(train_blocks, tokenizer.max_token_id + 1, num_valid=train_valid)
    score = bigram.score(validation_blocks, lengths, validation_valid)
    evaluation: dict[str, Any] = result["evaluation"]
    for name, here in (("num_tokens", score.num_predicted), ("num_bytes", score.num_bytes)):
        if evaluation[name] != here:
            raise ComparisonError(
                f"{name} of the trainer's evaluation is {evaluation[name]:,}, of the bigram's {here:,} "
                "(expected the same)"
            )
    return Comparison(
        gpt2_bits_per_byte=evaluation["bits_per_byte"],
        num_parameters=result["num_parameters"],
        bigram=score,
        num_training_blocks=len(train_blocks),
        num_seen_blocks=result["num_tokens"] // (train_blocks.shape[1] - 1),
    )


def read_blocks(folder: Path, tokenizer: Tokenizer) -> tuple[Blocks, Blocks]:
    """Read the blocks of the training part (one epoch, shuffled as in the run) and of the validation part."""
    from gristmill.train.arguments import parse_arguments
    from gristmill.train.corpora import open_corpus, train_dataset, validation_samples
    from gristmill.train.distributed import Ranks

    config, _ = parse_arguments(["--config", str(folder / "run" / "config.yaml")])
    one_epoch = replace(config, training=replace(config.training, num_epochs=1))

    def documents(part: str) -> Any:
        file = str(folder / "corpus" / f"{part}.jsonl")  # the configuration's path is relative to the folder
        return open_corpus(f"data.{part}", CorpusConfig(path="json", data_files=file), streaming=True)

    train = train_dataset(documents("train"), tokenizer, one_epoch, Ranks())
    validation = validation_samples(documents("validation"), tokenizer, one_epoch, Ranks())
    return _gather(train), _gather(validation)


def _gather(samples: Iterable[dict[str, torch.Tensor]]) -> Blocks:
    """Stack samples to blocks `(num_blocks, seq_length)`, with the number of real ids of each."""
    blocks, num_valid = [], []
    for sample in samples:
        blocks.append(sample["input_ids"].numpy().astype(np.uint16))
        num_valid.append(int((sample["labels"] != IGNORED).sum()))
    return np.stack(blocks), np.array(num_valid, dtype=np.int64)
