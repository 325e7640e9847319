"""What goes wrong around a run: kills inside a save, damage, refusals, bad data, torchrun's own processes.

Faults rows 2, 3, 7, 10 (as a run tells it) and 13.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.train.launching import REPOSITORY, Zygote
from tests.train.projects import Project, Unbroken, ledger_of, records, result, trace

from gristmill import train_tokenizer
from gristmill.train.checkpoint import find_checkpoint, read_checkpoint
from gristmill.train.log import read_log
from gristmill.train.run_lock import LOCK_FILE

# 6 files written, as many fsynced, the folder, the rename, the parent folder
STEPS_OF_A_SAVE = 6 + 6 + 1 + 1 + 1
SHORT = ("--training.max_steps=4", "--checkpoint.every_steps=2", "--evaluation.every_steps=null")


@pytest.fixture(scope="module")
def short(zygote: Zygote, project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unbroken run of 4 steps on one rank."""
    output = tmp_path_factory.mktemp("short") / "run"
    zygote.run("run_main", arguments=project.arguments(output, *SHORT)).check(0)
    return output


def test_killed_inside_a_save(zygote: Zygote, project: Project, short: Path, tmp_path: Path) -> None:
    """Row 2: die before each write, fsync and rename of the second save; the newest whole one loads."""
    for count in range(1, STEPS_OF_A_SAVE + 1):
        output = tmp_path / str(count)
        arguments = project.arguments(output, *SHORT, "--resume")
        die_at = STEPS_OF_A_SAVE + count
        zygote.run("run_main", arguments=arguments, die_at_operation=die_at).check(-9)
        found = find_checkpoint(output / "checkpoints")
        assert found.newest is not None
        assert found.damaged == ()
        # only the parent's fsync comes after the rename
        expected = 4 if count == STEPS_OF_A_SAVE else 2
        assert read_checkpoint(found.newest).state["step"] == expected
        leftovers = list((output / "checkpoints").glob(".tmp-*"))
        assert len(leftovers) == (0 if expected == 4 else 1)
        if count in (1, 7, 14, 15):
            zygote.run("run_main", arguments=arguments).check(0)
            assert trace(output) == trace(short)
            assert not list((output / "checkpoints").glob(".tmp-*"))


def test_killed_inside_the_first_save(zygote: Zygote, project: Project, short: Path, tmp_path: Path) -> None:
    """There is no checkpoint yet: the run starts over."""
    output = tmp_path / "run"
    arguments = project.arguments(output, *SHORT, "--resume")
    zygote.run("run_main", arguments=arguments, die_at_operation=9).check(-9)
    assert find_checkpoint(output / "checkpoints").newest is None
    zygote.run("run_main", arguments=arguments).check(0)
    assert trace(output) == trace(short)


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_checkpoint_is_passed_over(
    zygote: Zygote, project: Project, unbroken: Unbroken, tmp_path: Path, damage: str
) -> None:
    """Row 7, as a run meets it: it falls back by one, says so, and ends as the unbroken run."""
    output = tmp_path / "run"
    shutil.copytree(unbroken.output, output)
    path = output / "checkpoints" / "step-00000024" / "optimizer.safetensors"
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    else:
        data[len(data) // 3] ^= 4
    path.write_bytes(data)
    zygote.run("run_main", 2, arguments=project.arguments(output, "--resume")).check(0)
    (told,) = records(output, "damaged")
    assert "optimizer.safetensors" in told["reason"]
    assert told["renamed_to"].endswith("damaged-step-00000024")
    assert [record["checkpoint"] for record in records(output, "resume")] == ["step-00000020"]
    assert trace(output) == trace(unbroken.output)
    names = sorted(folder.name for folder in (output / "checkpoints").iterdir())
    assert names == ["damaged-step-00000024", "step-00000020", "step-00000024"]


def refusal(zygote: Zygote, arguments: list[str], world_size: int, code: int, error: str) -> None:
    ended = zygote.run("run_main", world_size, arguments=arguments).check(code)
    for output in ended.outputs:
        assert error in output, output
        assert "Traceback" not in output


def test_resuming_something_else_is_refused(
    zygote: Zygote, project: Project, unbroken: Unbroken, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    shutil.copytree(unbroken.output, output)

    def content() -> dict[Path, bytes]:  # the lock says which process had the folder last
        files = (path for path in output.rglob("*") if path.is_file() and path.name != LOCK_FILE)
        return {path: path.read_bytes() for path in files}

    before = content()

    def refused(flags: list[str], error: str, world_size: int = 1) -> None:
        refusal(zygote, project.arguments(output, *flags), world_size, 2, error)

    refused([], f"ConfigError: training.output_dir is {str(output)!r}, which holds checkpoints of a run")
    rate = "ResumeError: the checkpoint was made with another configuration: training.learning_rate was 0.01,"
    refused(["--resume", "--training.learning_rate=0.02"], f"{rate} is now 0.02", world_size=2)
    other = tmp_path / "tokenizer"
    train_tokenizer(["x y z"] * 9, vocab_size=270, show_progress=False).save_pretrained(other)
    refused(
        ["--resume", f"--data.tokenizer={other}"], "ResumeError: the checkpoint was made with another token"
    )
    assert content() == before
    # what is free may change: here the tokenizer's place, and the number of steps left
    moved = tmp_path / "moved"
    shutil.copytree(project.folder / "tokenizer", moved)
    flags = ["--resume", f"--data.tokenizer={moved}", "--training.max_steps=26", "--training.decay_steps=24"]
    zygote.run("run_main", 2, arguments=project.arguments(output, *flags)).check(0)
    (told,) = records(output, "resume")
    assert "training.max_steps: 24 -> 26" in told["changed"]
    assert result(output)["step"] == 26


def test_what_cannot_be_trained_is_refused_before_the_first_step(
    zygote: Zygote, project: Project, tmp_path: Path
) -> None:
    output = tmp_path / "run"

    def refused(flags: list[str], error: str, world_size: int = 1) -> None:
        refusal(zygote, project.arguments(output, *flags), world_size, 2, error)
        assert not (output / "checkpoints").exists()

    without_eos = tmp_path / "without_eos"
    train_tokenizer(["x y"] * 9, vocab_size=260, special_tokens=(), show_progress=False).save_pretrained(
        without_eos
    )
    refused([f"--data.tokenizer={without_eos}"], "TokenizerError: ", world_size=2)
    for name, vocabulary, told in (
        ("shared", {"a": 0, "b": 0, "</s>": 1}, "the tokens 'a' and 'b' share the id 0"),
        ("gap", {"a": 0, "</s>": 5}, "the token '</s>' has the id 5, but the vocabulary has 2 tokens"),
    ):
        (tmp_path / name).mkdir()
        special = {"id": vocabulary["</s>"], "content": "</s>", "special": True}
        special |= dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "a"}
        content = json.dumps({"added_tokens": [special], "model": model})
        (tmp_path / name / "tokenizer.json").write_text(content)
        refused([f"--data.tokenizer={tmp_path / name}"], told)
    refused([f"--data.tokenizer={tmp_path}/none"], "no such folder")
    size = "ConfigError: training.global_batch_size is 7 (expected a multiple of the number of ranks, 2)"
    refused(["--training.global_batch_size=7"], size, world_size=2)
    refused(["--data.train.data_files=none.jsonl"], "ConfigError: data.train cannot be opened: FileNotFound")
    refused(["--data.text_column=content"], "MissingColumnError: ")


def test_a_bad_row_is_named_by_every_rank(zygote: Zygote, project: Project, tmp_path: Path) -> None:
    rows: list[Any] = [{"text": text} for text in project.documents]
    rows[11] = {"text": None}
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = [f"--data.train.data_files={corpus}", "--training.max_steps=8"]
    arguments = project.arguments(tmp_path / "run", *flags)
    ended = zygote.run("run_main", 2, arguments=arguments).check(2)
    for output in ended.outputs:
        assert "BadDocumentError" in output
        assert "row 11: null" in output
    arguments = project.arguments(tmp_path / "skip", *flags, "--data.on_bad=skip", "--training.num_epochs=1")
    zygote.run("run_main", 2, arguments=arguments).check(0)
    ledger = json.loads((tmp_path / "skip" / "result.json").read_text())["ledger"]
    assert ledger["documents_skipped"] == {"null": 1}
    assert ledger["documents_read"] == len(rows) == ledger["documents_packed"] + 1


def test_rows_of_jsonl_that_have_no_utf8_are_skipped_and_the_run_resumes(
    zygote: Zygote, project: Project, tmp_path: Path
) -> None:
    """The reader of `datasets` gives no row of such files; ours does, and goes on from the same places."""
    rows = [json.dumps({"text": text}).encode() for text in project.documents]
    rows[3] = b'{"text": "a lone \\ud800 surrogate"}'
    rows[20] = b'{"text": "not UTF-8: \xff"}'
    parts = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    parts[0].write_bytes(b"\n".join(rows[:15]) + b"\n")
    parts[1].write_bytes(b"\n".join(rows[15:]) + b"\n")
    flags = [f"--data.train.data_files={tmp_path}/[ab].jsonl", "--data.on_bad=skip"]

    def arguments(name: str, *more: str) -> list[str]:
        return project.arguments(tmp_path / name, *flags, *more)

    zygote.run("run_main", 2, arguments=arguments("epoch", "--training.num_epochs=1")).check(0)
    ledger = ledger_of(tmp_path / "epoch")
    assert ledger["documents_skipped"] == {"lone surrogate": 1, "invalid UTF-8": 1}
    assert ledger["documents_read"] == len(rows) == ledger["documents_packed"] + 2

    zygote.run("run_main", 2, arguments=arguments("whole")).check(0)
    kill = {"rank": 1, "step": 13}
    zygote.run("run_main", 2, arguments=arguments("killed"), kill=kill).check(1, -9)
    zygote.run("run_main", 2, arguments=arguments("killed", "--resume")).check(0)
    assert trace(tmp_path / "killed") == trace(tmp_path / "whole")


def test_an_empty_corpus_is_an_error(zygote: Zygote, project: Project, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"text": null}\n' * 3)
    flags = [f"--data.train.data_files={corpus}", "--data.on_bad=skip"]
    refusal(zygote, project.arguments(tmp_path / "run", *flags), 2, 2, "EmptyCorpusError: ")


@pytest.mark.parametrize("num_batches", ["null", "2"])
def test_the_evaluation_of_a_corpus_does_not_depend_on_ranks(
    zygote: Zygote, project: Project, tmp_path: Path, num_batches: str
) -> None:
    found = {}
    for world_size in (1, 2, 3):
        arguments = project.arguments(tmp_path / "run", f"--evaluation.num_batches={num_batches}")
        out = tmp_path / f"{world_size}-"
        zygote.run("evaluate_validation", world_size, arguments=arguments, out=str(out)).check(0)
        each = [json.loads(Path(f"{out}{rank}").read_text()) for rank in range(world_size)]
        assert all(other == each[0] for other in each)
        found[world_size] = each[0]
    assert found[2] == pytest.approx(found[1], rel=1e-5)
    assert found[3] == pytest.approx(found[1], rel=1e-5)
    assert found[1]["num_bytes"] > 500
    if num_batches == "2":
        assert found[1]["num_tokens"] == 2 * 6 * 31


# torchrun ------------------------------------------------------------------------------------------------


def torchrun(*arguments: str) -> list[str]:
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
        *arguments,
    ]


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def test_torchrun_killed_and_resumed(project: Project, unbroken: Unbroken, tmp_path: Path) -> None:
    """Row 1, through torchrun: a rank is killed, torchrun ends the other one; resumed, it is as unbroken."""
    output = tmp_path / "run"
    arguments = project.arguments(output, "--resume")
    request = json.dumps({"arguments": arguments, "kill": {"rank": 1, "step": 13}})
    killed = subprocess.run(
        torchrun("-m", "tests.train.rank_main", request),
        env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert killed.returncode == 1
    assert "Signal 9 (SIGKILL)" in killed.stderr
    assert "gristmill train, rank 0: RankError: " in killed.stderr
    found = find_checkpoint(output / "checkpoints").newest
    assert found is not None
    assert found.name == "step-00000010"
    done = subprocess.run(
        torchrun("-m", "gristmill.train", *arguments),
        env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr, done.stderr
    assert trace(output) == trace(unbroken.output)
    assert result(output) == result(unbroken.output)


def test_torchrun_gets_sigterm(project: Project, tmp_path: Path) -> None:
    """Row 3: SIGTERM to the launcher in the middle of a long run; a checkpoint, documented exit codes."""
    output = tmp_path / "run"
    flags = ("--training.max_steps=100000", "--evaluation.every_steps=null", "--checkpoint.every_steps=null")
    process = subprocess.Popen(
        torchrun("-m", "gristmill.train", *project.arguments(output, *flags)),
        env=environment(), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_for(lambda: (output / "log.jsonl").exists() and len(records(output, "step")) > 5)
        ranks = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 1, errors  # torchrun's own; the ranks' 75 is in the result
    assert not [rank for rank in ranks if rank.is_running()]
    found = result(output)
    assert found["outcome"] == "stopped"
    checkpoint = find_checkpoint(output / "checkpoints").newest
    assert checkpoint is not None
    steps = records(output, "step")
    assert read_checkpoint(checkpoint).state["step"] == found["step"] == steps[-1]["step"] > 5


def wait_for(condition: Any, timeout_s: float = 90) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_tensorboard_gets_steps_and_evaluations(zygote: Zygote, project: Project, tmp_path: Path) -> None:
    output = tmp_path / "run"
    flags = ["--training.max_steps=4", "--evaluation.every_steps=2", "--logging.tensorboard=true"]
    flags += ["--checkpoint.every_steps=3"]
    arguments = project.arguments(output, *flags, "--resume")
    zygote.run("run_main", arguments=arguments, kill={"rank": 0, "step": 4}).check(-9)
    zygote.run("run_main", arguments=arguments).check(0)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    logged = {
        record["step"]: record["loss"]
        for record in read_log(output / "log.jsonl")
        if record["kind"] == "step"
    }
    shown = {event.step: event.value for event in events.Scalars("step/loss")}
    assert shown == pytest.approx(logged)
    assert [event.step for event in events.Scalars("evaluation/bits_per_byte")] == [2, 4]
