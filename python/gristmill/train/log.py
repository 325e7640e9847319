"""What a run tells: JSON lines always, TensorBoard where it is installed, the console on rank 0.

    log.jsonl, one object a line:
        {"kind": "step", "step": 7, "epoch": 0, "loss": 5.1, "token_digest": "...", ...}
        kinds: start, resume, step, epoch, evaluation, samples, checkpoint, damaged, stop, end

Numbers are written in full, so that two runs can be compared bit for bit. On resuming, a torn last line and
all lines past the checkpoint's step are cut off.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gristmill import durable
from gristmill.train.config import LoggingConfig

LOG_FILE = "log.jsonl"
_OF_EVALUATION = ("evaluation", "samples")
_SCALARS = ("loss", "learning_rate", "gradient_norm", "tokens_per_second", "perplexity", "bits_per_byte")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the records of a log; lines that are no JSON objects (a torn last one) are left out.

    Example:
        >>> durable.write_text("/tmp/gristmill-doc.jsonl", '{"kind": "step", "step": 1}\\n{"kind": "st')
        >>> read_log(Path("/tmp/gristmill-doc.jsonl"))
        [{'kind': 'step', 'step': 1}]
    """
    records = []
    for line in path.read_bytes().split(b"\n"):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def cut_log(path: Path, step: int, evaluated_step: int | None = None) -> int:
    """Keep what a log says up to a checkpoint; return how many lines were cut off.

    Args:
        path: the log; nothing happens where there is none.
        step: the checkpoint's; -1 cuts everything.
        evaluated_step: the step of the last evaluation that the checkpoint knows; later ones come again.

    Raises:
        OSError: the log cannot be written; it is as it was.
    """
    if not path.exists():
        return 0
    data = path.read_bytes()
    last_evaluation = -1 if evaluated_step is None else evaluated_step
    kept = [
        record
        for record in read_log(path)
        if record.get("step", 0) <= (last_evaluation if record.get("kind") in _OF_EVALUATION else step)
    ]
    num_lines = sum(1 for line in data.split(b"\n") if line)
    if len(kept) < num_lines or (data and not data.endswith(b"\n")):
        durable.write_text(path, "".join(_line(record) + "\n" for record in kept))
    return num_lines - len(kept)


class RunLog:
    """Writes the log of one run; only rank 0 makes one.

    Args:
        folder: the run's folder.
        config: where to tell.
        step: optimizer steps taken so far.
        max_steps: for the bar; None if not known.
    """

    def __init__(self, folder: Path, config: LoggingConfig, step: int, max_steps: int | None) -> None:
        self._path = folder / LOG_FILE
        self._writer = _tensorboard(folder, step) if config.tensorboard else None
        self._console = _Progress(config, step, max_steps) if config.console else None

    def record(self, kind: str, step: int, **values: Any) -> None:
        """Append a record; scalars of steps and evaluations go to TensorBoard too.

        Raises:
            OSError: the line could not be written.
        """
        durable.append_line(self._path, _line({"kind": kind, "step": step, **values}))
        if self._writer is not None and kind in ("step", "evaluation"):
            for name in _SCALARS:
                if values.get(name) is not None:
                    self._writer.add_scalar(f"{kind}/{name}", values[name], step)
        if self._console is not None and kind == "step":
            self._console.step(step, values)

    def say(self, text: str) -> None:
        """Print a line on the console, above the bar."""
        if self._console is not None:
            self._console.say(text)

    def close(self) -> None:
        """Flush, and leave the bar as it stands."""
        if self._writer is not None:
            self._writer.close()
        if self._console is not None:
            self._console.close()


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, allow_nan=False)


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        return None
    # events past the checkpoint are hidden from the reader, who cannot cut its files
    return SummaryWriter(log_dir=str(folder / "tensorboard"), purge_step=step + 1)


class _Progress:
    """A bar on a terminal; elsewhere a line every few seconds."""

    def __init__(self, config: LoggingConfig, step: int, max_steps: int | None) -> None:
        self._console = Console(soft_wrap=True, highlight=False)
        self._interval_s = config.console_interval_s
        self._last_line = time.monotonic() - self._interval_s
        self._max_steps = max_steps
        self._first_step, self._started = step, time.monotonic()
        self._bar: Progress | None = None
        self._task = TaskID(0)
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("step {task.completed}" + (f"/{max_steps}" if max_steps else "")),
                BarColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._bar.add_task("", total=max_steps, completed=step, figures="")
            self._bar.start()

    def step(self, step: int, values: dict[str, Any]) -> None:
        figures = f"loss {values['loss'] or math.nan:.4f}  {values['tokens_per_second']:,.0f} tokens/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, figures=figures)
            return
        now = time.monotonic()
        if now - self._last_line >= self._interval_s or step == self._max_steps:
            self._last_line = now
            total = f"/{self._max_steps}" if self._max_steps else ""
            self.say(f"step {step}{total}  {figures}{self._time_left(step, now)}")

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _time_left(self, step: int, now: float) -> str:
        taken = step - self._first_step
        if self._max_steps is None or taken <= 0:
            return ""
        seconds = (now - self._started) / taken * (self._max_steps - step)
        return f"  {int(seconds // 60)}:{int(seconds % 60):02d} left"
