"""Corpora that a run cannot be made on: one line, and an exit code that says whose fault it is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.train.projects import Project

from gristmill.errors import (
    CheckpointError,
    CheckpointWriteError,
    ConfigError,
    DivergedError,
    MissingExtraError,
    RankError,
    SourceError,
)
from gristmill.train.__main__ import main
from gristmill.train.run_lock import RunLock


@pytest.mark.parametrize(
    ("rows", "code", "told"),
    [
        ([{"body": "def f(x):"}], 2, r"MissingColumnError: .*rows\.jsonl, row 0: .*'text'"),
        ([{"text": "a"}], 2, "EmptyCorpusError: data.train gives no block of 32 tokens"),
        (
            [{"text": "a" * 99}, {"text": None}],
            2,
            r"BadDocumentError: .*rows\.jsonl, row 1: null .*; --data.on_bad skip",
        ),
        ([{"text": "a" * 99}, {"text": "\ud800"}], 2, r"FileFormatError: .*rows\.jsonl, row 1: a lone surr"),
    ],
)
def test_a_corpus_that_cannot_be_trained_on(
    project: Project, tmp_path: Path, rows: list[dict[str, str]], code: int, told: str
) -> None:
    corpus = tmp_path / "rows.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = [f"--data.train.data_files={corpus}", "--data.shuffle=false", "--training.max_steps=null"]
    flags += ["--training.num_epochs=1", "--training.decay_steps=9"]
    ended = subprocess.run(
        [sys.executable, "-m", "gristmill.train", *project.arguments(tmp_path / "run", *flags)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.startswith("gristmill train")]
    assert len(lines) == 1, ended.stderr
    assert re.search(told, lines[0]), lines[0]
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "run" / "model").exists()


def start(project: Project, folder: Path, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gristmill.train", *project.arguments(folder, *flags)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_second_run_in_a_folder_is_refused_and_a_killed_one_is_no_obstacle(
    project: Project, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    flags = ["--training.max_steps=100000", "--training.decay_steps=9"]
    first = start(project, folder, *flags)
    try:
        deadline = time.monotonic() + 120
        while not (folder / "log.jsonl").exists():
            assert first.poll() is None, first.stderr and first.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        before = (folder / "log.jsonl").read_bytes()
        for more in ([], ["--resume"]):
            _, errors = start(project, folder, *flags, *more).communicate(timeout=120)
            (line,) = [line for line in errors.splitlines() if line.startswith("gristmill train")]
            assert f"where another run is at work (process {first.pid} on " in line
        assert first.poll() is None
        assert (folder / "log.jsonl").read_bytes().startswith(before)
    finally:
        first.kill()
        first.communicate(timeout=120)
    ended = start(project, folder, "--training.max_steps=1", "--training.decay_steps=9", "--resume")
    _, errors = ended.communicate(timeout=120)
    assert ended.returncode == 0, errors


def test_a_lock_is_taken_once_and_an_empty_folder_goes_again(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    lock = RunLock(folder)
    with pytest.raises(ConfigError, match=f"another run is at work .process {os.getpid()} on "):
        RunLock(folder)
    lock.release()
    assert not folder.exists()
    lock = RunLock(folder)
    (folder / "log.jsonl").touch()
    lock.release()
    assert folder.exists()
    RunLock(folder).release()


def test_what_cannot_be_used_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], project: Project
) -> None:
    import gristmill.train.run as run

    arguments = project.arguments(Path("/proc/run"))
    for error, code in (
        (CheckpointError("none of the 3 checkpoints is good"), 2),
        (MissingExtraError("needs torch"), 2),
        (SourceError("read once"), 2),
        (DivergedError("not finite"), 1),
        (CheckpointWriteError("disk full"), 1),
        (RankError("rank 1 failed"), 1),
        (OSError("disk full"), 1),
    ):

        def fail(*_: object, error: Exception = error, **__: object) -> int:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(run, "run_training", fail)
            assert main(arguments) == code
        assert capsys.readouterr().err == f"gristmill train: {type(error).__name__}: {error}\n"


def test_a_folder_that_cannot_be_made_is_named() -> None:
    with pytest.raises(ConfigError, match="output_dir is '/proc/run', where nothing can be written: No such"):
        RunLock(Path("/proc/run"))
