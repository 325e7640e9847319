"""Interrupted = uninterrupted, bit for bit: losses, gradient norms, token digests, evaluations, samples.

Two gloo ranks with one thread each, shuffling, infinite data, dropout. Faults rows 1 (3 kills) and 4.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest
import torch
from tests.train.launching import Zygote
from tests.train.projects import (
    CHECKPOINT_EVERY,
    MAX_STEPS,
    Project,
    Unbroken,
    documents_in_order,
    ledger_of,
    recorded,
    records,
    result,
    trace,
)

from gristmill.train.checkpoint import find_checkpoint, read_checkpoint

SEED = 20


def test_the_unbroken_run(unbroken: Unbroken, project: Project) -> None:
    steps = records(unbroken.output, "step")
    assert [record["step"] for record in steps] == list(range(1, MAX_STEPS + 1))
    assert steps[-1]["loss"] < steps[0]["loss"] - 0.5
    assert [record["step"] for record in records(unbroken.output, "evaluation")] == [8, 16, 24]
    found = result(unbroken.output)
    assert found["outcome"] == "finished"
    assert found["step"] == MAX_STEPS
    ledger = ledger_of(unbroken.output)
    assert ledger["tokens"] == ledger["tokens_emitted"] + ledger["tokens_carried"] + ledger["tokens_dropped"]
    assert ledger["eos_tokens"] == ledger["documents_packed"]
    folders = sorted(path.name for path in (unbroken.output / "checkpoints").iterdir())
    assert folders == ["step-00000020", "step-00000024"]
    # each rank drops out by random numbers of its own
    states = read_checkpoint(unbroken.output / "checkpoints" / folders[-1]).rng
    (name,) = {key.removeprefix("rank0/") for key in states if key.startswith("rank0/torch")}
    assert not torch.equal(states[f"rank0/{name}"], states[f"rank1/{name}"])


def test_every_document_of_an_epoch_is_seen_once(unbroken: Unbroken, project: Project) -> None:
    seen = list(documents_in_order(unbroken.batches, project.tokenizer))
    size = len(project.documents)
    epochs = [seen[start : start + size] for start in range(0, len(seen) - size + 1, size)]
    assert len(epochs) >= 2
    for epoch in epochs:
        assert Counter(epoch) == Counter(project.documents)
    assert epochs[0] != epochs[1]
    assert epochs[0] != project.documents


def test_killed_three_times(zygote: Zygote, project: Project, unbroken: Unbroken, tmp_path: Path) -> None:
    """SIGKILL to a rank between checkpoints at three seeded points, one of them past the end of an epoch."""
    shared_memory = set(Path("/dev/shm").glob("torch_*"))
    rng = random.Random(SEED)
    epoch_end = records(unbroken.output, "epoch")[0]["step"]
    points = [
        rng.randrange(1, CHECKPOINT_EVERY),
        rng.randrange(CHECKPOINT_EVERY + 1, epoch_end),
        rng.randrange(max(epoch_end, 2 * CHECKPOINT_EVERY) + 1, MAX_STEPS),
    ]
    assert points == sorted(points)
    kills = [{"rank": rng.randrange(2), "step": step} for step in points]
    output, ids = tmp_path / "run", str(tmp_path / "ids")
    arguments = project.arguments(output, "--resume")
    for kill in kills:
        codes = [1, 1]
        codes[kill["rank"]] = -9
        ended = zygote.run("run_main", 2, arguments=arguments, record=ids, kill=kill).check(*codes)
        assert "RankError" in ended.outputs[1 - kill["rank"]]
    zygote.run("run_main", 2, arguments=arguments, record=ids).check(0)

    assert trace(output) == trace(unbroken.output)
    assert result(output) == result(unbroken.output)
    # recorded() asserts that redone steps had the same tokens
    assert recorded(tmp_path / "ids", 2) == unbroken.batches
    redone = Counter(json.loads(line)["step"] for line in Path(f"{ids}0").read_text().splitlines())
    num_redone = sum(count - 1 for count in redone.values())
    assert 0 < num_redone <= CHECKPOINT_EVERY * len(kills)
    assert set(Path("/dev/shm").glob("torch_*")) <= shared_memory


def test_stopped_before_the_first_batch_after_one_step_and_at_the_end_of_an_epoch(
    zygote: Zygote, project: Project, unbroken: Unbroken, tmp_path: Path
) -> None:
    """Row 4: and resumed twice and three times at the same step, without a step between."""
    output = tmp_path / "run"
    epoch_end = records(unbroken.output, "epoch")[0]["step"]
    arguments = project.arguments(output, "--resume")
    at_start = {"signal_at_start": 1}
    chain = [at_start, at_start, {"signal_at": {"rank": 0, "step": 1}}, at_start]
    chain += [{"signal_at": {"rank": 1, "step": epoch_end}}, at_start, at_start]
    for signals, step in zip(chain, [0, 0, 1, 1, epoch_end, epoch_end, epoch_end], strict=True):
        zygote.run("run_main", 2, arguments=arguments, **signals).check(75)
        found = find_checkpoint(output / "checkpoints").newest
        assert found is not None
        assert read_checkpoint(found).state["step"] == step
        assert result(output)["outcome"] == "stopped"
    zygote.run("run_main", 2, arguments=arguments).check(0)
    assert trace(output) == trace(unbroken.output)
    assert result(output) == result(unbroken.output)
    # a finished run that is resumed has nothing left to do
    zygote.run("run_main", 2, arguments=arguments).check(0)
    assert trace(output) == trace(unbroken.output)
    assert result(output) == result(unbroken.output)


def test_stopped_during_an_evaluation(
    zygote: Zygote, project: Project, unbroken: Unbroken, tmp_path: Path
) -> None:
    """SIGINT to one rank in the evaluation of step 8: the evaluation is left, and made up for on resuming."""
    output = tmp_path / "run"
    arguments = project.arguments(output, "--resume")
    zygote.run("run_main", 2, arguments=arguments, signal_in_evaluation=1).check(75)
    assert records(output, "evaluation") == []
    assert result(output)["step"] == 8
    zygote.run("run_main", 2, arguments=arguments).check(0)
    assert trace(output) == trace(unbroken.output)


def test_reading_ahead_changes_nothing(
    zygote: Zygote, project: Project, unbroken: Unbroken, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    flags = ["--data.prefetch_batches=0", "--data.num_threads=2"]
    zygote.run("run_main", 2, arguments=project.arguments(output, *flags)).check(0)
    assert trace(output) == trace(unbroken.output)


def test_another_number_of_ranks(
    zygote: Zygote, project: Project, unbroken: Unbroken, tmp_path: Path
) -> None:
    """1, 2, 3, 1 ranks: the same tokens in the same steps; the log says that dropout is drawn anew."""
    output = tmp_path / "run"
    arguments = project.arguments(output, "--resume")
    for world_size, step in ((1, 4), (2, 9), (3, 15)):
        signal_at = {"rank": world_size - 1, "step": step}
        zygote.run("run_main", world_size, arguments=arguments, signal_at=signal_at).check(75)
    zygote.run("run_main", 1, arguments=arguments).check(0)
    digests = [record["token_digest"] for record in records(output, "step")]
    assert digests == [record["token_digest"] for record in records(unbroken.output, "step")]
    assert result(output)["token_digest"] == result(unbroken.output)["token_digest"]
    told = [record["random_states"] for record in records(output, "resume")]
    expected = zip((4, 9, 15), (1, 2, 3), (2, 3, 1), strict=True)
    assert told == [
        f"random states derived from seed 0, step {step} and rank, as there were {before} ranks and are {now}"
        for step, before, now in expected
    ]


@pytest.mark.parametrize("final", ["drop", "pad"])
def test_two_passes_and_the_end_of_the_data(
    zygote: Zygote, project: Project, tmp_path: Path, final: str
) -> None:
    """num_epochs ends a run: on both ranks at the same step, with a ledger of both passes that balances."""
    flags = ["--training.num_epochs=2", "--training.max_steps=null", "--training.decay_steps=30"]
    flags += [f"--data.final={final}"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    zygote.run("run_main", 2, arguments=project.arguments(whole, *flags), record=str(tmp_path / "ids")).check(
        0
    )
    found = result(whole)
    ledger = ledger_of(whole)
    assert found["epoch"] == 2
    assert [record["epoch"] for record in records(whole, "epoch")] == [1, 2]
    assert ledger["documents_packed"] == 2 * len(project.documents) == ledger["eos_tokens"]
    assert ledger["tokens"] == ledger["tokens_emitted"] + ledger["tokens_dropped"]
    assert ledger["tokens_carried"] == 0
    assert (ledger["tokens_dropped"] == 0) == (final == "pad")
    assert (ledger["tokens_padding"] > 0) == (final == "pad")
    batches = recorded(tmp_path / "ids", 2)
    if final == "pad":  # every token of every document is in a block, in one pass as in the other
        eos = project.tokenizer.require_eos()
        per_pass = [sum(len(project.tokenizer.encode(text)) + 1 for text in project.documents)] * 2
        assert ledger["tokens"] == sum(per_pass)
        assert sum(ids.count(eos) for step in batches.values() for ids in step) >= ledger["eos_tokens"]

    first_pass_end = records(whole, "epoch")[0]["step"]
    arguments = project.arguments(broken, *flags, "--resume")
    for step in (first_pass_end - 1, first_pass_end, first_pass_end + 1):
        zygote.run("run_main", 2, arguments=arguments, signal_at={"rank": 0, "step": step}).check(75)
    zygote.run("run_main", 2, arguments=arguments).check(0)
    assert trace(broken) == trace(whole)
    assert result(broken) == result(whole)
    assert ledger_of(broken) == ledger


def test_the_state_is_small_and_holds_no_text(unbroken: Unbroken, project: Project) -> None:
    found = find_checkpoint(unbroken.output / "checkpoints").newest
    assert found is not None
    state = json.dumps(read_checkpoint(found).state["progress"]["data"])
    assert len(state) < 64 * 1024
    words = {word for text in project.documents for word in text.split() if word.startswith("#")}
    assert not [word for word in words if word in state]
