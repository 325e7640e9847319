"""One optimizer step: forward and backward over micro-batches, clipping, AdamW; DDP where there are ranks."""

from __future__ import annotations

import contextlib
import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel
from transformers import GPT2LMHeadModel

from gristmill.errors import ConfigError, DivergedError
from gristmill.train.config import Precision, TrainingConfig
from gristmill.train.distributed import Ranks
from gristmill.train.model import IGNORED, gpt2_logits, token_nll
from gristmill.train.optimizer import build_optimizer, learning_rate, set_learning_rate


@dataclass(frozen=True)
class StepResult:
    """What a step found.

    Attributes:
        nll: sum of −ln p over this rank's predicted tokens, before the step.
        learning_rate: that the step was taken with.
        gradient_norm: over all parameters before clipping, the same on every rank; infinite or NaN where a
            float16 step was skipped, for the scaler to find a smaller factor.
    """

    nll: float
    learning_rate: float
    gradient_norm: float


def choose_precision(precision: Precision, device: torch.device) -> Precision:
    """Resolve "auto": bfloat16 on CUDA devices that have it, float16 on the others, float32 on the CPU.

    Raises:
        ConfigError: float16 was asked for on the CPU, where there is no scaler for it.

    Example:
        >>> choose_precision("auto", torch.device("cpu"))
        'float32'
    """
    if device.type != "cuda":
        if precision == "float16":
            raise ConfigError(
                "training.precision is 'float16' on the CPU (expected auto, float32 or bfloat16)"
            )
        return "float32" if precision == "auto" else precision
    if precision != "auto":
        return precision
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


class Stepper:
    """Takes optimizer steps.

    The loss of a step is the sum of −ln p over all predicted tokens of the global batch, over all ranks and
    micro-batches, divided by their number: how a batch is cut up does not weigh any token differently.

    Args:
        model: the GPT-2, on the ranks' device.
        config: the optimization.
        ranks: who takes part.
        vocab_size: ids of the tokenizer.
    """

    def __init__(self, model: GPT2LMHeadModel, config: TrainingConfig, ranks: Ranks, vocab_size: int) -> None:
        self.model = model
        self.optimizer = build_optimizer(model, config)
        self.precision = choose_precision(config.precision, ranks.device)
        self.scaler = torch.amp.GradScaler(ranks.device.type, enabled=self.precision == "float16")
        self._config = config
        self._ranks = ranks
        self._vocab_size = vocab_size
        self._parallel: DistributedDataParallel | None = None
        if ranks.world_size > 1:
            with ranks.naming_dead_ranks("sharing the model"):
                self._parallel = DistributedDataParallel(
                    model,
                    device_ids=[ranks.device.index] if ranks.device.type == "cuda" else None,
                    gradient_as_bucket_view=True,
                )
                self._settle_buckets()

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context that forward passes run in."""
        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self._ranks.device.type, dtype=getattr(torch, self.precision))

    def take(self, input_ids: torch.Tensor, labels: torch.Tensor, num_tokens: int, step: int) -> StepResult:
        """Take optimizer step `step` (counted from 0) on this rank's share of a global batch.

        Args:
            input_ids: `(sequences, seq_length)`, int64; as many sequences on every rank.
            labels: the same, -100 where nothing is predicted.
            num_tokens: predicted tokens of the global batch over all ranks, 1 or more.
            step: says which learning rate.

        Raises:
            DivergedError: the gradient is not finite, and no scaler is there to handle it.
            RankError: another rank died or did not answer.
        """
        rate = learning_rate(step, self._config)
        set_learning_rate(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        self.model.train()
        with self._ranks.naming_dead_ranks(f"taking step {step + 1}"):
            nll = self._backward(input_ids, labels, self._ranks.world_size / num_tokens)
        self.scaler.unscale_(self.optimizer)
        norm = float(
            torch.nn.utils.clip_grad_norm_(
                self.model.parameters(), self._config.max_grad_norm or math.inf
            ).item()
        )
        if not math.isfinite(norm) and not self.scaler.is_enabled():
            raise DivergedError(
                f"step {step + 1}: the gradient norm is {norm}, the loss of this rank {nll / num_tokens} "
                f"(expected finite values; the learning rate is {rate:g})"
            )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return StepResult(nll, rate, norm)

    def _backward(self, input_ids: torch.Tensor, labels: torch.Tensor, weight: float) -> float:
        # DDP averages the gradients of the ranks; `weight` holds world_size to make a sum of it
        size = self._config.micro_batch_size
        starts = range(0, len(input_ids), size)
        total = torch.zeros((), dtype=torch.float64, device=self._ranks.device)
        for start in starts:
            micro_ids = input_ids[start : start + size].to(self._ranks.device, non_blocking=True)
            micro_labels = labels[start : start + size].to(self._ranks.device, non_blocking=True)
            # the forward pass too: DDP decides there whether backward will synchronize
            with self._synchronizing(start == starts[-1]):
                with self.autocast():
                    logits = gpt2_logits(self._parallel or self.model, micro_ids, self._vocab_size)
                nll = token_nll(logits, micro_labels).sum()
                self.scaler.scale(nll * weight).backward()  # type: ignore[no-untyped-call]
            total += nll.detach()
        return float(total.item())

    def _synchronizing(self, is_last: bool) -> AbstractContextManager[Any]:
        if self._parallel is None or is_last:
            return contextlib.nullcontext()
        return self._parallel.no_sync()

    def _settle_buckets(self) -> None:
        # DDP puts gradients into other buckets after its first backward pass, and with three ranks or more
        # the order of a sum follows the buckets. Without this, the first step after a resumption would
        # differ in its last bits from the same step of an unbroken run.
        ids = torch.zeros((1, 2), dtype=torch.int64, device=self._ranks.device)
        logits = gpt2_logits(self._parallel or self.model, ids, self._vocab_size)
        token_nll(logits, torch.full_like(ids, IGNORED)).sum().backward()  # type: ignore[no-untyped-call]
        self.optimizer.zero_grad(set_to_none=True)
