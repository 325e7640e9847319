"""The whole state of a run, into a checkpoint and out of it again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from gristmill.errors import CheckpointError, CheckpointWriteError
from gristmill.train import rng
from gristmill.train.checkpoint import (
    Checkpoint,
    load_model,
    model_tensors,
    prune_checkpoints,
    write_checkpoint,
)
from gristmill.train.distributed import Ranks
from gristmill.train.optimizer import load_optimizer, optimizer_groups, optimizer_tensors
from gristmill.train.step import Stepper

_STATE_VERSION = 1


@dataclass(kw_only=True)
class Progress:
    """How far a run has come; all of it goes into a checkpoint.

    Attributes:
        step: optimizer steps taken.
        epoch: times that the corpus had been read through, as of the last batch trained on.
        num_tokens: tokens predicted, over all ranks.
        loss: of the last step, mean −ln p before it; None before the first.
        token_digest: SHA-256 chained over the steps' token digests: what was trained on, in order.
        evaluated_step: step of the last finished evaluation.
        evaluation: its figures.
        seconds: spent since the first step, over all resumptions.
        data: state of the data after the last batch trained on; None before the first.
        ledger: account of the documents read up to there.
    """

    step: int = 0
    epoch: int = 0
    num_tokens: int = 0
    loss: float | None = None
    token_digest: str = ""
    evaluated_step: int | None = None
    evaluation: dict[str, Any] | None = None
    seconds: float = 0.0
    data: dict[str, Any] | None = None
    ledger: dict[str, Any] | None = None

    def chain_digest(self, parts: Sequence[int]) -> str:
        """Take a step's token digest into the chain; return the step's as hex."""
        text = "".join(f"{part:016x}" for part in parts)
        self.token_digest = hashlib.sha256(f"{self.token_digest}{text}".encode()).hexdigest()
        return text


def digest_tokens(
    input_ids: torch.Tensor, is_counted: Sequence[bool], step: int, ranks: Ranks
) -> tuple[int, int]:
    """Hash (step, place in the global batch, token ids) of each sequence, and add the hashes up.

    The sum over all ranks is the step's token digest: it shows any token that differs, is missing or stands
    in another place, and does not depend on how many ranks shared the batch.

    Args:
        input_ids: `(sequences, seq_length)`, this rank's share.
        is_counted: False for sequences that only fill up.
        step: number of the step.
        ranks: row r of rank k is sequence `r * world_size + k`.
    """
    first = second = 0
    for row, (ids, counted) in enumerate(zip(input_ids.cpu(), is_counted, strict=True)):
        if counted:
            place = row * ranks.world_size + ranks.rank
            digest = hashlib.sha256(
                f"{step}/{place}/".encode() + ids.numpy().astype("<i8").tobytes()
            ).digest()
            # 48 bits each: the sum over 2**15 sequences still fits an int64
            first += int.from_bytes(digest[:6], "little")
            second += int.from_bytes(digest[6:12], "little")
    return first, second


def save_run(
    root: Path,
    *,
    stepper: Stepper,
    progress: Progress,
    ranks: Ranks,
    identity: Mapping[str, Any],
    keep_last: int | None,
) -> None:
    """Write a checkpoint of all ranks; all call it together, after a step.

    Args:
        root: the folder of checkpoints.
        stepper: model, optimizer, scaler.
        progress: how far the run has come.
        ranks: who takes part; rank 0 writes.
        identity: `config` and `tokenizer_fingerprint`, which a resumption is compared with.
        keep_last: checkpoints that are kept.

    Raises:
        CheckpointWriteError: it could not be written; every rank raises, older checkpoints are as they were.
    """
    states = ranks.gather_bytes(rng.capture(ranks.device))
    failure: Exception | None = None
    if ranks.is_first:
        try:
            write_checkpoint(root, _collect(stepper, progress, ranks, identity, states))
            prune_checkpoints(root, keep_last)
        except OSError as error:
            failure = CheckpointWriteError(
                f"the checkpoint of step {progress.step} could not be written: {error}"
            )
            failure.__cause__ = error
    ranks.raise_together(failure, f"saving step {progress.step}")


def _collect(
    stepper: Stepper, progress: Progress, ranks: Ranks, identity: Mapping[str, Any], rng_states: list[bytes]
) -> Checkpoint:
    groups = optimizer_groups(stepper.optimizer)
    return Checkpoint(
        model=model_tensors(stepper.model),
        optimizer=optimizer_tensors(stepper.optimizer),
        optimizer_groups=groups,
        rng={
            f"rank{rank}/{name}": tensor
            for rank, data in enumerate(rng_states)
            for name, tensor in safetensors.torch.load(data).items()
        },
        state={
            "version": _STATE_VERSION,
            "step": progress.step,
            # always 0: checkpoints are written between optimizer steps, nothing accumulated is pending
            "micro_step": 0,
            "world_size": ranks.world_size,
            "precision": stepper.precision,
            # the rate is a pure function of the step; the last one is written for the reader
            "schedule": {"next_step": progress.step, "last_learning_rate": groups[0]["lr"]},
            "scaler": stepper.scaler.state_dict(),
            "progress": asdict(progress),
            **identity,
        },
    )


def load_run(checkpoint: Checkpoint, *, stepper: Stepper, ranks: Ranks, seed: int) -> tuple[Progress, str]:
    """Put a checkpoint into model, optimizer, scaler and this rank's random states.

    At another number of ranks the random states are derived from (seed, step, rank): the same batches follow,
    with other dropout.

    Args:
        checkpoint: a verified one, of this run.
        stepper: of a model of the same shape.
        ranks: who takes part now.
        seed: the run's, for random states that have to be derived.

    Returns:
        How far the run has come, and a sentence on the random states for the log.

    Raises:
        CheckpointError: the state fits no run of this version.
    """
    state = checkpoint.state
    if state.get("version") != _STATE_VERSION:
        raise CheckpointError(
            f"the checkpoint's state has version {state.get('version')} (expected {_STATE_VERSION})"
        )
    load_model(stepper.model, checkpoint.model)
    load_optimizer(stepper.optimizer, checkpoint.optimizer, checkpoint.optimizer_groups)
    if stepper.scaler.is_enabled() and state["scaler"]:
        stepper.scaler.load_state_dict(state["scaler"])
    try:
        progress = Progress(**state["progress"])
    except TypeError as error:
        raise CheckpointError(f"the checkpoint's progress is of another form: {error}") from error
    rng.seed_all(rng.derive_seed(seed, "resume", progress.step, ranks.rank))
    if state["world_size"] != ranks.world_size:
        return progress, (
            f"random states derived from seed {seed}, step {progress.step} and rank, "
            f"as there were {state['world_size']} ranks and are {ranks.world_size}"
        )
    prefix = f"rank{ranks.rank}/"
    own = {name.removeprefix(prefix): t for name, t in checkpoint.rng.items() if name.startswith(prefix)}
    rng.restore(own, ranks.device)
    return progress, "random states restored"
