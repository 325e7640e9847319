"""A run from its configuration: tokenizer, data, model, state; then the loop; then the exported model.

    <output_dir>/
        config.yaml     the resolved configuration
        tokenizer/      a copy of the tokenizer
        log.jsonl       what happened, step by step
        tensorboard/    the same for TensorBoard, where it is installed
        checkpoints/    step-00000100/ ...
        model/          the trained model, once the run is finished
        result.json     outcome and final figures

All ranks read the same folders: on several machines, the run's folder, the tokenizer and the corpora must
lie on a file system that they share.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from gristmill import durable
from gristmill.errors import ConfigError, EmptyCorpusError
from gristmill.ledger import Ledger
from gristmill.tokenizer import Tokenizer
from gristmill.train import rng
from gristmill.train.arguments import save_config
from gristmill.train.checkpoint import (
    Checkpoint,
    find_checkpoint,
    has_checkpoints,
    read_checkpoint,
    set_aside,
)
from gristmill.train.compatibility import refuse_other_run
from gristmill.train.config import RunConfig, check_world_size
from gristmill.train.corpora import open_corpus, train_dataset, validation_samples
from gristmill.train.data import Batch, DatasetBatches, Prefetched
from gristmill.train.distributed import Ranks, num_ranks, start_ranks
from gristmill.train.evaluate import Evaluation, evaluate_model, sample_completions
from gristmill.train.log import LOG_FILE, RunLog, cut_log
from gristmill.train.loop import Outcome, Trainer
from gristmill.train.model import build_model, check_tokenizer, export_model, model_size
from gristmill.train.run_lock import RunLock
from gristmill.train.saving import Progress, load_run
from gristmill.train.signals import EXIT_STOPPED, StopFlag
from gristmill.train.step import Stepper

CHECKPOINTS = "checkpoints"
MODEL = "model"
TOKENIZER = "tokenizer"
RESULT = "result.json"


def run_training(config: RunConfig, *, resume: bool = False, stop: StopFlag | None = None) -> int:
    """Train as configured, in this rank; all ranks that `torchrun` started call it.

    Args:
        config: what the run is told.
        resume: go on from the newest good checkpoint; where there is none, start.
        stop: says when to stop; by default nothing does.

    Returns:
        The exit code: 0 finished, 75 stopped with a checkpoint.

    Raises:
        ConfigError: the configuration does not fit the machine, the ranks, the corpora or the folder.
        ResumeError: the checkpoint belongs to another configuration or tokenizer.
        TokenizerError: the tokenizer is unreadable or unfit.
        EmptyCorpusError: the corpus has no document, or gives no block.
        CheckpointError: no checkpoint is good, or one cannot be written.
        RankError: another rank failed or died.

    Example:
        >>> run_training(config, resume=True)  # doctest: +SKIP
        0
    """
    # Before the ranks meet: the first one to refuse would else leave while another still waits for it.
    check_world_size(config, num_ranks())
    ranks = start_ranks(config.training.device, config.training.timeout_s, config.training.num_threads)
    run = _Run(config, ranks, stop or StopFlag())
    try:
        trainer = run.prepare(resume)
        outcome = trainer.run()
        if outcome == "finished" and not trainer.progress.step:
            raise EmptyCorpusError(
                f"data.train gives no block of {config.data.seq_length} tokens: no step was made (expected a "
                "longer corpus, a smaller data.seq_length, or data.final=pad, which keeps partial blocks)"
            )
        run.finish(trainer, outcome)
    finally:
        run.close()
    ranks.close()
    return 0 if outcome == "finished" else EXIT_STOPPED


class _Run:
    """The parts of a run, in one rank."""

    def __init__(self, config: RunConfig, ranks: Ranks, stop: StopFlag) -> None:
        self.config = config
        self.ranks = ranks
        self.stop = stop
        self.folder = Path(config.training.output_dir)
        self.log: RunLog | None = None
        self._prefetched: Prefetched | None = None
        self._lock: RunLock | None = None
        with ranks.together("reading the tokenizer"):
            self.tokenizer = Tokenizer.from_pretrained(config.data.tokenizer)
            check_tokenizer(self.tokenizer)
        self.vocab_size = self.tokenizer.max_token_id + 1

    def prepare(self, resume: bool) -> Trainer:
        """Build everything, and put a checkpoint into it where there is one to go on from."""
        config, ranks = self.config, self.ranks
        found, damaged = self._find_checkpoint(resume)
        checkpoint: Checkpoint | None = None
        changes: list[str] = []
        with ranks.together("reading the checkpoint"):
            if found is not None:
                checkpoint = read_checkpoint(found)
                changes = refuse_other_run(checkpoint.state, config, self.tokenizer.fingerprint)
        stepper = self._build_stepper()
        with ranks.together("preparing the data and the state"):
            open_one = functools.partial(
                open_corpus,
                streaming=config.data.streaming,
                text_column=config.data.text_column,
                on_bad=config.data.on_bad,
            )
            documents = open_one("data.train", config.data.train)
            train = train_dataset(documents, self.tokenizer, config, ranks)
            grouped = DatasetBatches(
                train,
                config.training.global_batch_size // ranks.world_size,
                config.training.num_epochs or 1,
            )
            batches: Iterable[Batch] = grouped
            if checkpoint is None:
                progress, random_states = Progress(), "random states seeded"
                rng.seed_all(rng.derive_seed(config.training.seed, "run", 0, ranks.rank))
            else:
                seed = config.training.seed
                progress, random_states = load_run(checkpoint, stepper=stepper, ranks=ranks, seed=seed)
                if progress.data is not None:
                    grouped.load_state_dict(progress.data)
            if config.data.prefetch_batches:
                batches = self._prefetched = Prefetched(
                    grouped, config.data.prefetch_batches, lambda: self.stop.requested
                )
            evaluate = None
            if config.data.validation is not None:
                validation = open_one("data.validation", config.data.validation)
                evaluate = functools.partial(self._evaluate, stepper, validation)
        with ranks.together("opening the run's folder"):
            if ranks.is_first:
                self._open_folder(progress, is_resumed=checkpoint is not None)
                self._tell_start(stepper, progress, found, changes, random_states, damaged)
        return Trainer(
            config=config,
            ranks=ranks,
            stepper=stepper,
            progress=progress,
            batches=batches,
            checkpoints=self.folder / CHECKPOINTS,
            identity={"config": config.to_dict(), "tokenizer_fingerprint": self.tokenizer.fingerprint},
            evaluate=evaluate,
            sample=functools.partial(self._sample, stepper) if config.evaluation.prompts else None,
            log=self.log,
            stop=self.stop,
            saved_step=None if checkpoint is None else progress.step,
        )

    def finish(self, trainer: Trainer, outcome: Outcome) -> None:
        """Export the model of a finished run, and write the result."""
        with self.ranks.together("writing the result"):
            if self.log is None:
                return
            progress, model = trainer.progress, trainer.stepper.model
            if outcome == "finished":
                export_model(model, self.tokenizer, self.folder / MODEL, vocab_size=self.vocab_size)
            result = {
                "outcome": outcome,
                "signal": self.stop.signal_name or None,
                "step": progress.step,
                "epoch": progress.epoch,
                "num_tokens": progress.num_tokens,
                "num_parameters": model_size(model),
                "loss": progress.loss,
                "evaluation": progress.evaluation,
                "token_digest": progress.token_digest,
                "ledger": progress.ledger,
                "seconds": progress.seconds,
            }
            durable.write_json(self.folder / RESULT, result)
            self.log.record("end", progress.step, outcome=outcome, ledger=progress.ledger)
            if outcome == "stopped":
                self.log.say(f"{self.stop.signal_name}: stopped at step {progress.step}; go on with --resume")
                return
            self.log.say(f"{progress.step} steps, {progress.num_tokens:,} tokens in {progress.seconds:.0f} s")
            if progress.ledger is not None:
                self.log.say(str(Ledger(**progress.ledger)))
            self.log.say(f"model: {self.folder / MODEL}")

    def close(self) -> None:
        """Let go of the reader thread, the log and the folder."""
        if self._prefetched is not None:
            self._prefetched.close()
        if self.log is not None:
            self.log.close()
        if self._lock is not None:
            self._lock.release()

    def _find_checkpoint(self, resume: bool) -> tuple[Path | None, list[tuple[str, str]]]:
        """Let rank 0 choose, so that all ranks go on from the same one; damaged ones are renamed."""
        root = self.folder / CHECKPOINTS
        chosen: str | None = None
        damaged: list[tuple[str, str]] = []
        with self.ranks.together("looking for a checkpoint"):
            if self.folder.exists() and not self.folder.is_dir():
                raise ConfigError(
                    f"training.output_dir is {str(self.folder)!r}, a file (expected a folder, or a new name)"
                )
            if self.ranks.is_first:
                self._lock = RunLock(self.folder)
            if self.ranks.is_first and not resume and has_checkpoints(root):
                raise ConfigError(
                    f"training.output_dir is {str(self.folder)!r}, which holds checkpoints of a run "
                    "(expected a new folder, or --resume to go on)"
                )
            if self.ranks.is_first:
                durable.remove_leftovers(root)
                found = find_checkpoint(root)
                damaged = [(str(set_aside(folder)), reason) for folder, reason in found.damaged]
                chosen = None if found.newest is None else found.newest.name
        name = self.ranks.from_first(chosen)
        return (None if name is None else root / name), damaged

    def _build_stepper(self) -> Stepper:
        config, ranks = self.config, self.ranks
        with ranks.together("building the model"):
            # the same weights on every rank; what comes after has a seed for each rank
            rng.seed_all(rng.derive_seed(config.training.seed, "model", 0, 0))
            model = build_model(
                config.model,
                vocab_size=self.vocab_size,
                seq_length=config.data.seq_length,
                eos_token_id=self.tokenizer.require_eos(),
            )
            torch.nn.Module.to(model, ranks.device)
        return Stepper(model, config.training, ranks, self.vocab_size)

    def _open_folder(self, progress: Progress, is_resumed: bool) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        durable.remove_leftovers(self.folder)
        save_config(self.folder / "config.yaml", self.config)
        self.tokenizer.save_pretrained(self.folder / TOKENIZER)
        cut_log(self.folder / LOG_FILE, progress.step if is_resumed else -1, progress.evaluated_step)
        self.log = RunLog(self.folder, self.config.logging, progress.step, self.config.training.max_steps)

    def _tell_start(
        self,
        stepper: Stepper,
        progress: Progress,
        found: Path | None,
        changes: list[str],
        random_states: str,
        damaged: list[tuple[str, str]],
    ) -> None:
        assert self.log is not None
        for folder, reason in damaged:
            self.log.record("damaged", progress.step, renamed_to=folder, reason=reason)
            self.log.say(f"a damaged checkpoint was passed over and renamed to {folder}: {reason}")
        num_parameters = model_size(stepper.model)
        told: dict[str, Any] = {
            "world_size": self.ranks.world_size,
            "device": str(self.ranks.device),
            "precision": stepper.precision,
            "num_parameters": num_parameters,
            "tokenizer_fingerprint": self.tokenizer.fingerprint,
            "random_states": random_states,
        }
        self.log.say(
            f"{num_parameters:,} parameters, {self.vocab_size:,} token ids, "
            f"{self.ranks.world_size} rank(s) on {self.ranks.device.type} in {stepper.precision}"
        )
        if found is None:
            self.log.record("start", progress.step, **told)
            self.log.say(f"starting from the beginning; {random_states}")
        else:
            self.log.record("resume", progress.step, checkpoint=found.name, changed=changes, **told)
            self.log.say(f"going on from {found}; {random_states}")
            for change in changes:
                self.log.say(f"  changed since: {change}")

    def _evaluate(self, stepper: Stepper, documents: Any) -> Evaluation | None:
        config = self.config
        return evaluate_model(
            stepper.model,
            validation_samples(documents, self.tokenizer, config, self.ranks),
            vocab_size=self.vocab_size,
            token_byte_lengths=self.tokenizer.token_byte_lengths(),
            micro_batch_size=config.evaluation.micro_batch_size or config.training.micro_batch_size,
            ranks=self.ranks,
            autocast=stepper.autocast,
            should_stop=lambda: self.stop.requested,
        )

    def _sample(self, stepper: Stepper, step: int) -> dict[str, str]:
        evaluation = self.config.evaluation
        texts = sample_completions(
            stepper.model,
            self.tokenizer,
            evaluation.prompts,
            num_new_tokens=evaluation.num_new_tokens,
            temperature=evaluation.temperature,
            seed=rng.derive_seed(self.config.training.seed, "samples", step, 0),
        )
        return dict(zip(evaluation.prompts, texts, strict=True))
