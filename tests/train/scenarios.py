"""What forked ranks do in tests (see zygote.py): called in every rank; an exit code may be returned."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from gristmill import Tokenizer, durable
from gristmill.errors import GristmillError
from gristmill.train import evaluate, model as models, run, step as steps
from gristmill.train.__main__ import main
from gristmill.train.arguments import parse_arguments
from gristmill.train.config import (
    CheckpointConfig,
    CorpusConfig,
    DataConfig,
    LoggingConfig,
    ModelConfig,
    RunConfig,
    TrainingConfig,
)
from gristmill.train.corpora import open_corpus, validation_samples
from gristmill.train.data import Batch, Prefetched
from gristmill.train.distributed import start_ranks
from gristmill.train.log import RunLog
from gristmill.train.loop import Trainer
from gristmill.train.rng import seed_all
from gristmill.train.saving import Progress
from gristmill.train.signals import StopFlag

VOCAB_SIZE = 61
SHAPE = ModelConfig(n_layer=2, n_head=2, n_embd=16)


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def tiny_model(seed: int = 0, seq_length: int = 16) -> Any:
    seed_all(seed)
    return models.build_model(SHAPE, vocab_size=VOCAB_SIZE, seq_length=seq_length, eos_token_id=0)


def uneven_batch(num_sequences: int, seq_length: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences of which 1 to all positions count, so that wrong weights show."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, VOCAB_SIZE, (num_sequences, seq_length), generator=generator)
    labels = ids.clone()
    valid = torch.randint(2, seq_length + 1, (num_sequences,), generator=generator)
    for row, count in enumerate(valid.tolist()):
        labels[row, count:] = models.IGNORED
    return ids, labels


# Single parts --------------------------------------------------------------------------------------------


def take_a_step(out: str, micro_batch_size: int) -> None:
    """Take one step over the same global batch; rank 0 writes gradients, their norm and the loss."""
    config = TrainingConfig(
        output_dir="unused",
        max_steps=1,
        global_batch_size=6,
        micro_batch_size=micro_batch_size,
        max_grad_norm=None,
        device="cpu",
        timeout_s=20,
    )
    ranks = start_ranks("cpu", 20, 1)
    stepper = steps.Stepper(tiny_model(), config, ranks, VOCAB_SIZE)
    ids, labels = uneven_batch(6, 16, seed=3)
    num_tokens = models.num_predicted(labels)
    own = slice(ranks.rank, None, ranks.world_size)
    result = stepper.take(ids[own], labels[own], num_tokens, 0)
    figures = [ranks.sum_floats([result.nll])[0] / num_tokens, result.gradient_norm]
    if ranks.is_first:
        gradients = {name: p.grad for name, p in stepper.model.named_parameters() if p.grad is not None}
        safetensors.torch.save_file(
            gradients | {"figures": torch.tensor(figures, dtype=torch.float64)}, Path(out)
        )
    ranks.close()


def exchange(out: str) -> None:
    """Exercise the collectives, and failures that only one rank has."""
    ranks = start_ranks("cpu", 20, 1)
    found: dict[str, Any] = {
        "integers": ranks.sum_integers([ranks.rank, 2**40 + ranks.rank]),
        "floats": ranks.sum_floats([0.1 * ranks.rank]),
        "bytes": [part.decode() for part in ranks.gather_bytes(b"x" * ranks.rank)],
        "json": ranks.gather_json({"rank": ranks.rank, "text": "ü\ud800"}),
        "first": ranks.from_first(["from", ranks.rank]),
    }
    try:
        with ranks.together("testing"):
            if ranks.rank == 1:
                int("broken here")
    except (GristmillError, ValueError) as error:
        found["failure"] = f"{type(error).__name__}: {error}"
    Path(f"{out}{ranks.rank}").write_text(json.dumps(found))
    ranks.close()


def evaluate_uneven(out: str, num_sequences: int, stop_rank: int | None = None) -> None:
    """Evaluate made-up blocks shared by the ranks."""
    ranks = start_ranks("cpu", 20, 1)
    ids, labels = uneven_batch(num_sequences, 16, seed=1)
    while len(ids) % ranks.world_size:
        ids = torch.cat([ids, ids[:1]])
        labels = torch.cat([labels, torch.full_like(labels[:1], models.IGNORED)])
    own = range(ranks.rank, len(ids), ranks.world_size)
    found = evaluate.evaluate_model(
        tiny_model(),
        ({"input_ids": ids[row], "labels": labels[row]} for row in own),
        vocab_size=VOCAB_SIZE,
        token_byte_lengths=(torch.arange(VOCAB_SIZE) % 7).numpy(),
        micro_batch_size=2,
        ranks=ranks,
        should_stop=lambda: ranks.rank == stop_rank,
    )
    Path(f"{out}{ranks.rank}").write_text(json.dumps(None if found is None else found.to_dict()))
    ranks.close()


def evaluate_validation(arguments: list[str], out: str) -> None:
    """Evaluate an untrained model on the validation corpus of a configuration, as a run does."""
    config, _ = parse_arguments(arguments)
    ranks = start_ranks("cpu", 20, 1)
    assert config.data.validation is not None
    tokenizer = Tokenizer.from_pretrained(config.data.tokenizer)
    documents = open_corpus("data.validation", config.data.validation, config.data.streaming)
    seed_all(0)
    model = models.build_model(
        SHAPE, vocab_size=tokenizer.max_token_id + 1, seq_length=config.data.seq_length, eos_token_id=0
    )
    found = evaluate.evaluate_model(
        model,
        validation_samples(documents, tokenizer, config, ranks),
        vocab_size=tokenizer.max_token_id + 1,
        token_byte_lengths=tokenizer.token_byte_lengths(),
        micro_batch_size=2,
        ranks=ranks,
    )
    assert found is not None
    Path(f"{out}{ranks.rank}").write_text(json.dumps(found.to_dict()))
    ranks.close()


# The loop over made-up batches ---------------------------------------------------------------------------


class MadeUpBatches:
    """Batches that are a function of their number; `fate` says what happens at which number."""

    def __init__(self, num_batches: int, own_rank: int, world_size: int, fate: dict[str, int]) -> None:
        self.num_batches = num_batches
        self.rank, self.world_size = own_rank, world_size
        self.fate = fate
        self.next = 0

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.next = state["next"]

    def __iter__(self) -> Iterator[Batch]:
        while self.next < self.num_batches:
            number = self.next
            if number == self.fate.get("fail"):
                raise ValueError(f"batch {number} is broken")
            ids, labels = uneven_batch(6, 16, seed=number)
            if number == self.fate.get("empty"):
                labels = torch.full_like(labels, models.IGNORED)
            self.next += 1
            own = slice(self.rank, None, self.world_size)
            yield Batch(input_ids=ids[own], labels=labels[own], epoch=number // 4, state={"next": self.next})


def train_made_up(
    folder: str,
    num_batches: int = 8,
    max_steps: int | None = None,
    fate: dict[str, dict[str, int]] | None = None,
    prefetch: int = 0,
    full_disk_at: int | None = None,
    group_timeout_s: float = 20,
) -> int:
    """Run the loop; `fate` maps a rank to what happens to it at which batch or step.

    Batches: fail, empty, end. Steps: stop (SIGTERM), die (SIGKILL), hang.
    """
    config = RunConfig(
        model=SHAPE,
        data=DataConfig(tokenizer="unused", train=CorpusConfig(path="unused"), seq_length=16),
        training=TrainingConfig(
            output_dir=folder,
            max_steps=max_steps,
            num_epochs=1,
            schedule="constant",
            global_batch_size=6,
            micro_batch_size=2,
            device="cpu",
            timeout_s=group_timeout_s,
        ),
        checkpoint=CheckpointConfig(every_steps=2, keep_last=None),
        logging=LoggingConfig(tensorboard=False, console=False),
    )
    ranks = start_ranks("cpu", group_timeout_s, 1)
    own_fate = (fate or {}).get(str(ranks.rank), {})
    stop = StopFlag().install()
    source: Any = MadeUpBatches(own_fate.get("end", num_batches), ranks.rank, ranks.world_size, own_fate)
    if prefetch:
        source = Prefetched(source, prefetch, lambda: stop.requested)
    log = RunLog(Path(folder), config.logging, 0, max_steps) if ranks.is_first else None
    trainer = Trainer(
        config=config,
        ranks=ranks,
        stepper=steps.Stepper(tiny_model(), config.training, ranks, VOCAB_SIZE),
        progress=Progress(),
        batches=source,
        checkpoints=Path(folder) / "checkpoints",
        identity={"config": config.to_dict(), "tokenizer_fingerprint": "unused"},
        log=log,
        stop=stop,
    )
    take = trainer.stepper.take

    def taking(*arguments: Any) -> Any:
        if arguments[3] == own_fate.get("stop"):
            os.kill(os.getpid(), signal.SIGTERM)
        if arguments[3] == own_fate.get("hang"):
            time.sleep(8)
        if arguments[3] == own_fate.get("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        return take(*arguments)

    trainer.stepper.take = taking  # type: ignore[method-assign]
    if full_disk_at is not None and ranks.is_first:
        durable.set_fault_hook(fail_from("write", full_disk_at))
    try:
        outcome = trainer.run()
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    ranks.close()
    return {"finished": 0, "stopped": 75}[outcome]


def fail_from(operation: str, count: int) -> Any:
    """A hook that stands for a disk that is full from the n-th operation of a kind on."""
    seen = 0

    def hook(name: str, path: Path) -> None:
        nonlocal seen
        seen += name == operation
        if seen >= count and name == operation:
            raise OSError(28, "No space left on device", str(path))

    return hook


# Whole runs ----------------------------------------------------------------------------------------------


def run_main(
    arguments: list[str],
    record: str | None = None,
    kill: dict[str, int] | None = None,
    die_at_operation: int | None = None,
    signal_at: dict[str, int] | None = None,
    signal_in_evaluation: int | None = None,
    signal_at_start: int | None = None,
) -> int:
    """Run `python -m gristmill.train` in this rank.

    Args:
        arguments: the command line.
        record: prefix of files that get `{"step", "ids"}` of every step, one a rank.
        kill: `{"rank": r, "step": s}`: SIGKILL on that rank once it has taken step s.
        die_at_operation: rank 0 dies before its n-th write, fsync or rename inside a save.
        signal_at: as `kill`, SIGTERM, before the step.
        signal_in_evaluation: rank that gets SIGINT in the middle of its first evaluation.
        signal_at_start: rank that gets SIGTERM before the first batch.
    """
    own_take = steps.Stepper.take

    def take(self: Any, input_ids: torch.Tensor, labels: torch.Tensor, num_tokens: int, step: int) -> Any:
        if signal_at == {"rank": rank(), "step": step + 1}:
            os.kill(os.getpid(), signal.SIGTERM)
        result = own_take(self, input_ids, labels, num_tokens, step)
        if record is not None:
            durable.append_line(
                Path(f"{record}{rank()}"),
                json.dumps({"step": step + 1, "ids": input_ids.tolist(), "labels": labels.tolist()}),
            )
        if kill == {"rank": rank(), "step": step + 1}:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    steps.Stepper.take = take  # type: ignore[method-assign]
    if die_at_operation is not None and rank() == 0:
        _die_inside_a_save(die_at_operation)
    if signal_in_evaluation == rank():
        own_evaluate = evaluate.evaluate_model

        def evaluate_and_signal(model: Any, samples: Any, **options: Any) -> Any:
            def signalling() -> Iterator[Any]:
                for number, sample in enumerate(samples):
                    if number == 2:  # between two micro-batches
                        os.kill(os.getpid(), signal.SIGINT)
                    yield sample

            return own_evaluate(model, signalling(), **options)

        run.evaluate_model = evaluate_and_signal  # type: ignore[attr-defined]
    if signal_at_start == rank():
        own_prepare = run._Run.prepare

        def prepare(self: Any, resume: bool) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            return own_prepare(self, resume)

        run._Run.prepare = prepare  # type: ignore[method-assign]
    return main(arguments)


def _die_inside_a_save(count: int) -> None:
    seen = 0

    def hook(operation: str, path: Path) -> None:
        nonlocal seen
        # the log is written between saves, and is no part of one
        if "checkpoints" in path.parts and path.name != "log.jsonl":
            seen += 1
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)

    durable.set_fault_hook(hook)
