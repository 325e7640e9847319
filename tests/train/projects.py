"""A small corpus, tokenizer and configuration to run, and what a run is compared by."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gristmill import Tokenizer, train_tokenizer
from gristmill.train.log import read_log

NUM_LANES = 4
GLOBAL_BATCH_SIZE = 6
MAX_STEPS = 24
CHECKPOINT_EVERY = 5
_WORDS = ["def", "return", "x", "foo", "bar", "import", "class", "self", "(", ")", ":", "\n", "    ", "é"]


@dataclass(frozen=True)
class Project:
    """Where things lie, and the documents of the training corpus."""

    folder: Path
    documents: list[str]

    @property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.from_pretrained(self.folder / "tokenizer")

    def arguments(self, output: Path, *flags: str) -> list[str]:
        """The command line of a run into `output`."""
        return ["--config", str(self.folder / "run.yaml"), f"--training.output_dir={output}", *flags]


@dataclass(frozen=True)
class Unbroken:
    """A run of two ranks that nothing disturbed, and what each step of it was trained on."""

    output: Path
    batches: dict[int, list[list[int]]]


def make_project(folder: Path) -> Project:
    """Write corpus, tokenizer and run.yaml; every document differs, one is empty."""
    rng = random.Random(0)
    documents = [
        " ".join(rng.choice(_WORDS) for _ in range(rng.randint(1, 60))) + f" #{number}"
        for number in range(45)
    ]
    documents[7] = ""
    train, validation = documents[:30], documents[30:]
    for name, part in (("train", train), ("validation", validation)):
        lines = "".join(json.dumps({"text": text}) + "\n" for text in part)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    tokenizer = train_tokenizer(documents, vocab_size=300, show_progress=False)
    tokenizer.save_pretrained(folder / "tokenizer")
    config = {
        "model": {"n_layer": 2, "n_head": 2, "n_embd": 32, "dropout": 0.1},
        "data": {
            "tokenizer": str(folder / "tokenizer"),
            "train": {"path": "json", "data_files": str(folder / "train.jsonl")},
            "validation": {"path": "json", "data_files": str(folder / "validation.jsonl")},
            "seq_length": 32,
            "num_lanes": NUM_LANES,
            "shuffle": True,
            "shuffle_window": 8,
            "seed": 3,
            "num_threads": 1,
        },
        "training": {
            "output_dir": "replaced by a flag",
            "max_steps": MAX_STEPS,
            "global_batch_size": GLOBAL_BATCH_SIZE,
            "micro_batch_size": 2,
            "learning_rate": 1e-2,
            "warmup_steps": 3,
            "device": "cpu",
            "num_threads": 1,
            "timeout_s": 30,
        },
        "evaluation": {"every_steps": 8, "num_batches": 2, "prompts": ["def ", ""], "num_new_tokens": 4},
        "checkpoint": {"every_steps": CHECKPOINT_EVERY, "keep_last": 2},
        "logging": {"tensorboard": False, "console": False},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    return Project(folder, train)


# What must be the same, bit for bit; times and speeds are not.
_COMPARED = ("epoch", "loss", "learning_rate", "gradient_norm", "num_tokens", "token_digest")


def trace(output: Path) -> list[dict[str, Any]]:
    """The loss trace and token digests of a run, with its evaluations and samples."""
    kept = []
    for record in read_log(output / "log.jsonl"):
        if record["kind"] == "step":
            kept.append({"step": record["step"]} | {name: record[name] for name in _COMPARED})
        elif record["kind"] in ("evaluation", "samples", "epoch"):
            kept.append(record)
    return kept


def records(output: Path, kind: str) -> list[dict[str, Any]]:
    """The records of one kind in a run's log."""
    return [record for record in read_log(output / "log.jsonl") if record["kind"] == kind]


def result(output: Path) -> dict[str, Any]:
    """The final figures of a run, without times; of a ledger what was delivered, not what was read ahead."""
    found: dict[str, Any] = json.loads((output / "result.json").read_text())
    found["delivered"] = found["ledger"] and found["ledger"]["tokens_emitted"]
    return {name: value for name, value in found.items() if name not in ("seconds", "signal", "ledger")}


def ledger_of(output: Path) -> dict[str, Any]:
    """The ledger of a run."""
    found: dict[str, Any] = json.loads((output / "result.json").read_text())["ledger"]
    return found


def recorded(prefix: Path, world_size: int) -> dict[int, list[list[int]]]:
    """What each step was trained on: the sequences of its global batch, in order; redone steps must agree."""
    shares: dict[tuple[int, int], list[list[int]]] = {}
    for rank in range(world_size):
        for line in Path(f"{prefix}{rank}").read_text().splitlines():
            entry = json.loads(line)
            share = shares.setdefault((entry["step"], rank), entry["ids"])
            assert share == entry["ids"], f"step {entry['step']} of rank {rank} was redone with other tokens"
    steps = sorted({step for step, _ in shares})
    return {
        step: [shares[step, place % world_size][place // world_size] for place in range(GLOBAL_BATCH_SIZE)]
        for step in steps
    }


def documents_in_order(batches: dict[int, list[list[int]]], tokenizer: Tokenizer) -> Iterator[str]:
    """Put blocks back together to documents, in their order; ends before the first partial one."""
    lanes: list[list[int]] = [[] for _ in range(NUM_LANES)]
    number = 0
    for step in sorted(batches):
        for block in batches[step]:
            lanes[number % NUM_LANES] += block
            number += 1
    queues = [_split(lane, tokenizer.require_eos()) for lane in lanes]
    document = 0
    while True:
        ids = next(queues[document % NUM_LANES], None)
        if ids is None:
            return
        yield tokenizer.decode(ids)
        document += 1


def _split(ids: list[int], eos: int) -> Iterator[list[int]]:
    start = 0
    for place, token_id in enumerate(ids):
        if token_id == eos:
            yield ids[start:place]
            start = place + 1
