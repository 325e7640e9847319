"""The loop: fetch, agree, step, tell, evaluate, save; until the steps or the data end, or a signal comes.

    ┌► fetch ─► agree ─► step ─► log ─► evaluate? ─► checkpoint? ─┐
    └──────────────────────────────────────────────────────────────┘

"Agree" is one small sum over the ranks before each step: predicted tokens (the loss is divided by all of
them), token digest, and how many ranks want to stop, have failed, or have no data left. So all ranks take the
same steps, end at the same one, and none waits for one that has left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from gristmill.train.config import RunConfig
from gristmill.train.data import Batch, WaitInterruptedError
from gristmill.train.distributed import Ranks
from gristmill.train.evaluate import Evaluation
from gristmill.train.log import RunLog
from gristmill.train.model import IGNORED, num_predicted
from gristmill.train.saving import Progress, digest_tokens, save_run
from gristmill.train.signals import StopFlag
from gristmill.train.step import Stepper
from gristmill.train.timer import Timer

Outcome = Literal["finished", "stopped"]


class Trainer:
    """Drives one run, in one of its ranks.

    Args:
        config: what the run is told.
        ranks: who takes part.
        stepper: model and optimizer, at the state of `progress`.
        progress: how far the run has come.
        batches: this rank's batches, at the state of `progress`.
        checkpoints: folder of checkpoints.
        identity: `config` and `tokenizer_fingerprint`, saved with each checkpoint.
        evaluate: measures the model, None if it was interrupted; None where nothing is measured.
        sample: completions by prompt; called on rank 0 alone.
        log: where to tell; None on the other ranks.
        stop: says when to stop.
        saved_step: step of the checkpoint that the run was resumed from.
    """

    def __init__(
        self,
        *,
        config: RunConfig,
        ranks: Ranks,
        stepper: Stepper,
        progress: Progress,
        batches: Iterable[Batch],
        checkpoints: Path,
        identity: Mapping[str, Any],
        evaluate: Callable[[], Evaluation | None] | None = None,
        sample: Callable[[int], dict[str, str]] | None = None,
        log: RunLog | None = None,
        stop: StopFlag | None = None,
        saved_step: int | None = None,
    ) -> None:
        self.config = config
        self.ranks = ranks
        self.stepper = stepper
        self.progress = progress
        self._batches = batches
        self._checkpoints = checkpoints
        self._identity = identity
        self._evaluate = evaluate
        self._sample = sample
        self._log = log
        self._stop = stop or StopFlag()
        self._saved_step = saved_step
        # what failed on this rank alone; told to the others when they next agree
        self._failure: Exception | None = None
        self._timer = Timer()
        self._told_epoch = progress.epoch

    def run(self) -> Outcome:
        """Train until the end or a stop signal; the last state is in a checkpoint then.

        Raises:
            RankError: another rank failed or died.
            CheckpointError: a checkpoint could not be written.
            DivergedError: the loss is not finite.
            Exception: what the data or the log raised on this rank.
        """
        self._timer.restart()
        outcome = self._steps()
        if outcome == "finished" and self._evaluation_is_missing() and not self._run_evaluation():
            outcome = "stopped"
        if self._saved_step != self.progress.step:
            self._save()
        self._raise_failures()
        return outcome

    def _steps(self) -> Outcome:
        # a stop may have come between a step and its evaluation
        if self._is_due(self.config.evaluation.every_steps) and not self._run_evaluation():
            return "stopped"
        iterator = iter(self._batches)
        while self.config.training.max_steps is None or self.progress.step < self.config.training.max_steps:
            batch, has_ended = self._fetch(iterator)
            counts = self._agree(batch, has_ended)
            if counts.stopping:
                return "stopped"
            if counts.ended == self.ranks.world_size:
                return "finished"
            if counts.num_tokens > 0:
                self._take_step(batch, counts)
            elif batch is not None:  # nothing to learn from: go on, having consumed it
                self._consume(batch)
                self._tell_epoch()
            if counts.num_tokens > 0 and not self._after_step():
                return "stopped"
        return "finished"

    def _fetch(self, iterator: Iterator[Batch]) -> tuple[Batch | None, bool]:
        try:
            return next(iterator), False
        except StopIteration:
            return None, True
        except WaitInterruptedError:  # the stop flag is set, and is told next
            return None, False
        except Exception as error:
            self._failure = self._failure or error
            return None, False

    def _agree(self, batch: Batch | None, has_ended: bool) -> _Counts:
        num_tokens, digest = 0, (0, 0)
        if batch is not None:
            num_tokens = num_predicted(batch.labels)
            is_counted = (batch.labels != IGNORED).any(dim=1).tolist()
            digest = digest_tokens(batch.input_ids, is_counted, self.progress.step, self.ranks)
        sums = self.ranks.sum_integers(
            [num_tokens, *digest, self._stop.requested, has_ended, self._failure is not None]
        )
        counts = _Counts(*sums)
        if counts.failed:
            self.ranks.raise_together(self._failure, f"preparing step {self.progress.step + 1}")
        return counts

    def _take_step(self, batch: Batch | None, counts: _Counts) -> None:
        has_data = batch is not None and len(batch.input_ids) > 0
        input_ids, labels = (batch.input_ids, batch.labels) if batch and has_data else self._filler()
        result = self.stepper.take(input_ids, labels, counts.num_tokens, self.progress.step)
        progress = self.progress
        progress.step += 1
        progress.num_tokens += counts.num_tokens
        if batch is not None:
            self._consume(batch)
        digest = progress.chain_digest((counts.digest_first, counts.digest_second))
        self._timer.count(counts.num_tokens)
        every = self.config.logging.every_steps
        if progress.step % every == 0 or progress.step == self.config.training.max_steps:
            (nll,) = self.ranks.sum_floats([result.nll])
            progress.loss = _finite(nll / counts.num_tokens)
            self._tell(
                "step",
                epoch=progress.epoch,
                loss=progress.loss,
                learning_rate=result.learning_rate,
                gradient_norm=_finite(result.gradient_norm),
                num_tokens=progress.num_tokens,
                tokens_per_second=self._timer.tokens_per_second(),
                token_digest=digest,
            )
        self._tell_epoch()

    def _consume(self, batch: Batch) -> None:
        self.progress.data = batch.state
        self.progress.epoch = batch.epoch
        self.progress.ledger = batch.ledger

    def _tell_epoch(self) -> None:
        if self.progress.epoch > self._told_epoch:
            self._told_epoch = self.progress.epoch
            self._tell("epoch", epoch=self.progress.epoch)
            self._say(f"step {self.progress.step}: {self.progress.epoch} epoch(s) done")

    def _filler(self) -> tuple[torch.Tensor, torch.Tensor]:
        # this rank's data has ended, another's has not: it takes part with no weight
        count = self.config.training.global_batch_size // self.ranks.world_size
        ids = torch.zeros((count, self.config.data.seq_length), dtype=torch.int64)
        return ids, torch.full_like(ids, IGNORED)

    def _after_step(self) -> bool:
        """Evaluate and save where it is time; False if a stop signal came during the evaluation."""
        if self._is_due(self.config.evaluation.every_steps) and not self._run_evaluation():
            return False
        if self._saved_step != self.progress.step and _divides(
            self.config.checkpoint.every_steps, self.progress.step
        ):
            self._save()
        return True

    def _is_due(self, every_steps: int | None) -> bool:
        return _divides(every_steps, self.progress.step) and self._evaluation_is_missing()

    def _evaluation_is_missing(self) -> bool:
        return self._evaluate is not None and self.progress.evaluated_step != self.progress.step

    def _run_evaluation(self) -> bool:
        """Measure and sample; False if a stop signal came first, which leaves no trace of it."""
        assert self._evaluate is not None
        self._raise_failures()
        with self._timer.paused():
            found = self._evaluate()
            if found is None:
                return False
            step = self.progress.step
            self.progress.evaluated_step = step
            self.progress.evaluation = found.to_dict()
            self._tell("evaluation", **found.to_dict())
            per_byte = "" if found.bits_per_byte is None else f", {found.bits_per_byte:.4f} bits per byte"
            self._say(
                f"step {step}: validation loss {found.loss:.4f}, perplexity {found.perplexity:.2f}{per_byte} "
                f"over {found.num_tokens:,} tokens"
            )
            if self._sample is not None and self._log is not None:
                self._guard(self._tell_samples)
        return True

    def _tell_samples(self) -> None:
        assert self._sample is not None
        completions = self._sample(self.progress.step)
        self._tell("samples", completions=completions)
        for prompt, text in completions.items():
            self._say(f"  {prompt!r} -> {text!r}")

    def _save(self) -> None:
        self._raise_failures()
        with self._timer.paused():
            self.progress.seconds += self._timer.take_seconds()
            save_run(
                self._checkpoints,
                stepper=self.stepper,
                progress=self.progress,
                ranks=self.ranks,
                identity=self._identity,
                keep_last=self.config.checkpoint.keep_last,
            )
        self._saved_step = self.progress.step
        self._tell("checkpoint")

    def _tell(self, kind: str, **values: Any) -> None:
        log = self._log
        if log is not None:
            self._guard(lambda: log.record(kind, self.progress.step, **values))

    def _say(self, text: str) -> None:
        if self._log is not None:
            self._log.say(text)

    def _guard(self, work: Callable[[], None]) -> None:
        """Do what only this rank does; a failure is kept until all ranks can be told."""
        try:
            work()
        except Exception as error:
            self._failure = self._failure or error

    def _raise_failures(self) -> None:
        self.ranks.raise_together(self._failure, f"working on step {self.progress.step}")


class _Counts(NamedTuple):
    """The sums over the ranks that are agreed before a step."""

    num_tokens: int
    digest_first: int
    digest_second: int
    stopping: int
    ended: int
    failed: int


def _divides(every_steps: int | None, step: int) -> bool:
    return every_steps is not None and step > 0 and step % every_steps == 0


def _finite(value: float) -> float | None:
    # a float16 step that the scaler skipped has no finite figures, and JSON has no word for them
    return value if math.isfinite(value) else None
