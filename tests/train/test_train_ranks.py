"""Ranks: what is exchanged, how a step is shared, how the loop ends and fails together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tests.train.launching import Zygote

from gristmill.train.checkpoint import find_checkpoint, read_checkpoint
from gristmill.train.log import read_log


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_exchange(zygote: Zygote, tmp_path: Path, world_size: int) -> None:
    zygote.run("exchange", world_size, out=str(tmp_path / "found")).check(0)
    for rank in range(world_size):
        found = json.loads((tmp_path / f"found{rank}").read_text())
        total = sum(range(world_size))
        assert found["integers"] == [total, world_size * 2**40 + total]
        assert found["floats"] == [pytest.approx(0.1 * total)]
        assert found["bytes"] == ["x" * r for r in range(world_size)]
        assert [each["rank"] for each in found["json"]] == list(range(world_size))
        assert found["first"] == ["from", 0]
        if world_size > 1:
            expected = "ValueError: invalid literal for int() with base 10: 'broken here'"
            if rank != 1:
                expected = f"RankError: rank {rank}: rank 1 failed while testing: {expected}"
            assert found["failure"] == expected


def test_a_step_does_not_depend_on_ranks_and_micro_batches(zygote: Zygote, tmp_path: Path) -> None:
    """Sequences with few and with many counted tokens: every token weighs the same, however it is cut up."""
    results = {}
    for world_size, micro_batch_size in ((1, 6), (1, 4), (1, 1), (2, 3), (2, 2), (2, 1), (3, 1)):
        out = tmp_path / f"{world_size}-{micro_batch_size}"
        zygote.run("take_a_step", world_size, out=str(out), micro_batch_size=micro_batch_size).check(0)
        results[world_size, micro_batch_size] = safetensors.torch.load_file(out)
    whole = results[1, 6]
    assert len(whole) == 2 + 2 * 12 + 2 + 1  # embeddings, two blocks, last norm, figures
    for way, tensors in results.items():
        for name, tensor in tensors.items():
            assert torch.allclose(tensor, whole[name], rtol=1e-4, atol=1e-7), (way, name)


@pytest.mark.parametrize("num_sequences", [18, 7])
def test_evaluation_does_not_depend_on_ranks(zygote: Zygote, tmp_path: Path, num_sequences: int) -> None:
    found = {}
    for world_size in (1, 2, 3):
        out = tmp_path / f"{world_size}-"
        zygote.run("evaluate_uneven", world_size, out=str(out), num_sequences=num_sequences).check(0)
        each = [json.loads(Path(f"{out}{rank}").read_text()) for rank in range(world_size)]
        assert all(other == each[0] for other in each)
        found[world_size] = each[0]
    for world_size in (2, 3):
        assert found[world_size] == pytest.approx(found[1], rel=1e-5)
        assert found[world_size]["num_tokens"] == found[1]["num_tokens"]
        assert found[world_size]["num_bytes"] == found[1]["num_bytes"]


def test_a_stop_on_one_rank_leaves_the_evaluation_on_all(zygote: Zygote, tmp_path: Path) -> None:
    out = tmp_path / "found"
    zygote.run("evaluate_uneven", 2, out=str(out), num_sequences=18, stop_rank=1).check(0)
    assert [Path(f"{out}{rank}").read_text() for rank in range(2)] == ["null", "null"]


def steps_of(folder: Path) -> list[int]:
    return [record["step"] for record in read_log(folder / "log.jsonl") if record["kind"] == "step"]


def test_all_ranks_end_with_the_longest_one(zygote: Zygote, tmp_path: Path) -> None:
    """Rank 1 has two batches less: it goes along with no weight."""
    zygote.run("train_made_up", 2, folder=str(tmp_path), num_batches=5, fate={"1": {"end": 3}}).check(0)
    assert steps_of(tmp_path) == [1, 2, 3, 4, 5]
    state = read_checkpoint(tmp_path / "checkpoints" / "step-00000005").state
    assert state["progress"]["data"] == {"next": 5}
    assert state["micro_step"] == 0
    assert state["world_size"] == 2


def test_a_batch_with_nothing_to_predict_is_no_step(zygote: Zygote, tmp_path: Path) -> None:
    fate = {"0": {"empty": 2}, "1": {"empty": 2}}
    zygote.run("train_made_up", 2, folder=str(tmp_path), num_batches=5, fate=fate).check(0)
    assert steps_of(tmp_path) == [1, 2, 3, 4]


def test_epochs_are_counted_and_told(zygote: Zygote, tmp_path: Path) -> None:
    zygote.run("train_made_up", 1, folder=str(tmp_path), num_batches=9).check(0)
    epochs = [record for record in read_log(tmp_path / "log.jsonl") if record["kind"] == "epoch"]
    assert [(record["step"], record["epoch"]) for record in epochs] == [(5, 1), (9, 2)]


@pytest.mark.parametrize("prefetch", [0, 3])
def test_data_that_fails_on_one_rank_is_an_error_on_all(
    zygote: Zygote, tmp_path: Path, prefetch: int
) -> None:
    ended = zygote.run(
        "train_made_up", 2, folder=str(tmp_path), fate={"1": {"fail": 3}}, prefetch=prefetch
    ).check(1)
    told = "ValueError: batch 3 is broken"
    assert ended.outputs[0] == f"RankError: rank 0: rank 1 failed while preparing step 4: {told}\n"
    assert ended.outputs[1] == f"{told}\n"
    assert ended.seconds < 15
    assert find_checkpoint(tmp_path / "checkpoints").newest == tmp_path / "checkpoints" / "step-00000002"


@pytest.mark.parametrize(("full_disk_at", "newest"), [(1, None), (9, 2), (12, 2)])
def test_a_full_disk_on_rank_0_is_an_error_on_all(
    zygote: Zygote, tmp_path: Path, full_disk_at: int, newest: int | None
) -> None:
    """At a log line (1), at a log line after a checkpoint (9), inside the next checkpoint (12)."""
    ended = zygote.run("train_made_up", 2, folder=str(tmp_path), full_disk_at=full_disk_at).check(1)
    assert all("No space left on device" in output for output in ended.outputs), ended.outputs
    assert ended.outputs[1].startswith("RankError: rank 1: rank 0 failed")
    found = find_checkpoint(tmp_path / "checkpoints")
    assert found.damaged == ()
    assert (found.newest and found.newest.name) == (newest and f"step-{newest:08d}")
    assert not list(tmp_path.rglob(".tmp-*"))


def test_a_rank_that_dies_ends_the_others(zygote: Zygote, tmp_path: Path) -> None:
    ended = zygote.run("train_made_up", 2, folder=str(tmp_path), fate={"1": {"die": 3}}).check(1, -9)
    assert ended.outputs[0].startswith("RankError: rank 0 of 2: another rank died, or did not answer")
    assert ended.seconds < 15


def test_a_rank_that_hangs_ends_the_others_in_time(zygote: Zygote, tmp_path: Path) -> None:
    options = {"fate": {"1": {"hang": 3}}, "group_timeout_s": 3}
    ended = zygote.run("train_made_up", 2, folder=str(tmp_path), **options).check(1)
    told = "RankError: rank 0 of 2: another rank died, or did not answer within 3 s, while "
    assert ended.outputs[0].startswith(told)


@pytest.mark.parametrize("who", ["0", "1"])
def test_a_stop_signal_to_one_rank_stops_all_at_the_same_step(
    zygote: Zygote, tmp_path: Path, who: str
) -> None:
    zygote.run("train_made_up", 2, folder=str(tmp_path), fate={who: {"stop": 2}}, prefetch=2).check(75)
    assert steps_of(tmp_path) == [1, 2, 3]
    found = find_checkpoint(tmp_path / "checkpoints").newest
    assert found is not None
    assert found.name == "step-00000003"
    # the reader was ahead; what is saved is what was trained on
    assert read_checkpoint(found).state["progress"]["data"] == {"next": 3}


def test_max_steps_come_first(zygote: Zygote, tmp_path: Path) -> None:
    zygote.run("train_made_up", 1, folder=str(tmp_path), max_steps=3).check(0)
    assert steps_of(tmp_path) == [1, 2, 3]
