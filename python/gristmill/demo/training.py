"""The demo's training: a configuration, torchrun, and what the trained model writes."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gristmill import durable
from gristmill.demo.launch import num_usable_cores, run_trainer
from gristmill.demo.settings import DemoSettings
from gristmill.demo.stages import Stages
from gristmill.errors import GristmillError

if TYPE_CHECKING:
    from gristmill.tokenizer import Tokenizer


class TrainingFailedError(GristmillError, RuntimeError):
    """The trainer ended without a result."""


def train(folder: Path, settings: DemoSettings, tokenizer: Tokenizer, stages: Stages, lock: int) -> None:
    """Train the GPT-2, go on with a training that was interrupted, or keep one that is finished.

    Raises:
        TrainingFailedError: torchrun ended with another status than 0.
        KeyboardInterrupt: interrupted; the trainer wrote a checkpoint.
    """
    import yaml

    run = folder / "run"
    inputs = asdict(settings) | {
        "tokenizer": tokenizer.fingerprint,
        "train": durable.sha256_file(folder / "corpus" / "train.jsonl"),
        "validation": durable.sha256_file(folder / "corpus" / "validation.jsonl"),
    }
    inputs.pop("prompts")  # they are completed after the training
    key = stages.key(inputs)
    if stages.found("training", key) is not None:
        print(f"(found a finished training of {settings.max_steps:,} steps, not trained again)")
        return
    # A run that was begun with other inputs cannot be gone on with.
    if stages.found("training-begun", key) is None and run.exists():
        print("(the settings or the corpus have changed: the training starts over)")
        shutil.rmtree(run)
    num_ranks = min(2, num_usable_cores())
    head = f"# torchrun --nproc-per-node {num_ranks} -m gristmill.train --config run.yaml (in this folder)\n"
    config = yaml.safe_dump(settings.run_config(num_ranks), sort_keys=False)
    durable.write_text(folder / "run.yaml", head + config)
    stages.finish("training-begun", key, {})
    print(f"torchrun, {num_ranks} {'ranks' if num_ranks > 1 else 'rank'} over gloo", flush=True)
    status = run_trainer(folder, num_ranks, lock)
    if status != 0:
        raise TrainingFailedError(
            f"the trainer ended with status {status} (expected 0; its messages stand above, its log in "
            f"{run / 'log.jsonl'}). `gristmill demo` goes on from the newest checkpoint"
        )
    stages.finish("training", key, read_result(folder))


def read_result(folder: Path) -> dict[str, Any]:
    """Read the final figures that the trainer wrote."""
    result: dict[str, Any] = json.loads((folder / "run" / "result.json").read_text(encoding="utf-8"))
    return result


def show_completions(folder: Path, settings: DemoSettings) -> None:
    """Print what the trained model makes of the prompts."""
    from gristmill.generate import SamplingOptions, format_side_by_side, sample_text

    options = SamplingOptions(num_return_sequences=1, max_new_tokens=48, temperature=0.7, top_p=0.95)
    print(format_side_by_side(sample_text(folder / "run" / "model", settings.prompts, options)))
