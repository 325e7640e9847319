"""Measuring a model: loss, perplexity and bits per byte over the same blocks every time; and a few samples.

Sequence s of the blocks belongs to rank s mod world_size. Sums of −ln p, of tokens and of bytes are added up
over the ranks before anything is divided, so the number of ranks does not change what is measured.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GPT2LMHeadModel

from gristmill.train.distributed import Ranks
from gristmill.train.model import IGNORED, gpt2_logits, token_nll

if TYPE_CHECKING:
    from gristmill.tokenizer import Tokenizer

# exp() of more overflows; a perplexity of that size says "broken" all the same
_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        loss: mean −ln p of the predicted tokens, in nats.
        perplexity: exp(loss).
        bits_per_byte: sum of −log2 p over the UTF-8 bytes of the predicted tokens (EOS has none, and is in
            the sum); None where the tokenizer has no byte lengths.
        num_tokens: predicted tokens, labels 2 to seq_length of each block.
        num_bytes: their bytes.
    """

    loss: float
    perplexity: float
    bits_per_byte: float | None
    num_tokens: int
    num_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return asdict(self)


def evaluate_model(
    model: torch.nn.Module,
    samples: Iterable[Mapping[str, torch.Tensor]],
    *,
    vocab_size: int,
    token_byte_lengths: NDArray[np.int32] | None = None,
    micro_batch_size: int = 8,
    ranks: Ranks | None = None,
    autocast: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
    should_stop: Callable[[], bool] = lambda: False,
) -> Evaluation | None:
    """Measure a model on blocks; all ranks call it together, each with its own blocks.

    Args:
        model: a GPT-2, not wrapped; left in the mode (train or eval) that it was in.
        samples: this rank's blocks, `input_ids` and `labels` of `(seq_length,)`; as many on every rank.
        vocab_size: ids of the tokenizer; the model's padding rows get no probability.
        token_byte_lengths: bytes of each id, `(vocab_size,)`.
        micro_batch_size: blocks of one forward pass.
        ranks: who takes part; alone by default.
        autocast: the context of each forward pass.
        should_stop: asked by each rank after each micro-batch; once one says True, all leave.

    Returns:
        The figures over all ranks, the same on each; None if the evaluation was left.

    Raises:
        ValueError: there is no token to predict.
        RankError: another rank failed.

    Example:
        >>> evaluate_model(model, samples, vocab_size=300).loss  # doctest: +SKIP
        5.703
    """
    ranks = Ranks() if ranks is None else ranks
    lengths = (
        None if token_byte_lengths is None else torch.from_numpy(np.asarray(token_byte_lengths, np.int64))
    )
    nll, num_tokens, num_bytes = 0.0, 0, 0
    iterator = iter(samples)
    with _evaluating(model), torch.no_grad():
        while True:
            failure: Exception | None = None
            labels: torch.Tensor | None = None
            try:
                micro_batch = _take(iterator, micro_batch_size)
                if micro_batch:
                    input_ids = torch.stack([sample["input_ids"] for sample in micro_batch]).to(ranks.device)
                    labels = torch.stack([sample["labels"] for sample in micro_batch])
                    with autocast():
                        logits = gpt2_logits(model, input_ids, vocab_size)
                    # summed in float64: the order of the blocks must not show
                    nll += float(token_nll(logits, labels.to(ranks.device)).double().sum().item())
                    predicted = labels[:, 1:][labels[:, 1:] != IGNORED]
                    num_tokens += predicted.numel()
                    num_bytes += 0 if lengths is None else int(lengths[predicted].sum().item())
            except Exception as error:
                failure = error
            running, stopping, failing = ranks.sum_integers(
                [labels is not None, should_stop(), failure is not None]
            )
            if failing:
                ranks.raise_together(failure, "evaluating")
            if stopping:
                return None
            if not running:
                break
    (nll,) = ranks.sum_floats([nll])
    num_tokens, num_bytes = ranks.sum_integers([num_tokens, num_bytes])
    if num_tokens == 0:
        raise ValueError("the evaluation found no token to predict (expected one block at least)")
    loss = nll / num_tokens
    return Evaluation(
        loss=loss,
        perplexity=math.exp(min(loss, _LARGEST_EXPONENT)),
        bits_per_byte=nll / math.log(2) / num_bytes if num_bytes else None,
        num_tokens=num_tokens,
        num_bytes=num_bytes,
    )


def sample_completions(
    model: GPT2LMHeadModel,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    *,
    num_new_tokens: int,
    temperature: float,
    seed: int,
) -> list[str]:
    """Complete each prompt once, without touching the random states of the run.

    Args:
        model: a GPT-2, not wrapped; left in the mode that it was in.
        tokenizer: its tokenizer.
        prompts: texts; an empty one begins at the EOS token, as a new document does.
        num_new_tokens: at most; a completion ends at EOS.
        temperature: 0 takes the likeliest token.
        seed: of a generator of its own.

    Returns:
        The completions, without their prompts.
    """
    generator = torch.Generator().manual_seed(seed)
    eos = tokenizer.require_eos()
    vocab_size = tokenizer.max_token_id + 1
    device = next(model.parameters()).device
    completions = []
    with _evaluating(model), torch.no_grad():
        for prompt in prompts:
            ids = [int(token_id) for token_id in tokenizer.encode(prompt)] or [eos]
            new: list[int] = []
            while len(new) < num_new_tokens and (not new or new[-1] != eos):
                # GPT-2's positions are absolute: beyond the context, the window is read anew
                window = torch.tensor([(ids + new)[-model.config.n_positions :]], device=device)
                logits = gpt2_logits(model, window, vocab_size)[0, -1].cpu()
                if temperature == 0:
                    new.append(int(logits.argmax().item()))
                else:
                    probabilities = torch.softmax(logits / temperature, dim=-1)
                    new.append(int(torch.multinomial(probabilities, 1, generator=generator).item()))
            completions.append(tokenizer.decode([token_id for token_id in new if token_id != eos]))
    return completions


@contextlib.contextmanager
def _evaluating(model: torch.nn.Module) -> Any:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _take(iterator: Any, count: int) -> list[Mapping[str, torch.Tensor]]:
    taken = []
    for _ in range(count):
        sample = next(iterator, None)
        if sample is None:
            break
        taken.append(sample)
    return taken
