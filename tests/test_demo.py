"""The demo at a tiny size: what it prints and leaves, that it can fail, goes on and resumes.

Three tests start the whole flow (six trainings of a few steps in all, one of them interrupted).
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gristmill.demo.bigram import BigramScore
from gristmill.demo.figures import Comparison
from gristmill.demo.stages import FolderInUseError, Stages, sole_use

TINY = ["--corpus-megabytes", "1", "--vocab-size", "300"]


def demo_command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "gristmill", "demo", "--folder", str(folder), *TINY, *arguments]


def run_demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = demo_command(folder, *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


def logged_steps(folder: Path) -> list[int]:
    try:
        lines = (folder / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    records = [json.loads(line) for line in lines if line.endswith("}")]
    return [record["step"] for record in records if record["kind"] == "step"]


def test_fails_where_the_bigram_is_better_and_goes_on_from_what_is_there(tmp_path: Path) -> None:
    first = run_demo(tmp_path, "--max-steps", "3")
    assert first.returncode == 1, first.stderr
    assert "The demo has failed: the GPT-2 is not better than the bigram" in first.stdout
    for text in ("fertility", "bits per byte", "def __init__(self", "where everything lies", "EOS"):
        assert text.lower() in first.stdout.lower(), text
    for name in ("corpus/train.jsonl", "tokenizer/tokenizer.json", "run/model/model.safetensors", "run.yaml"):
        assert (tmp_path / name).is_file(), name

    before = (tmp_path / "run" / "log.jsonl").read_bytes()
    again = run_demo(tmp_path, "--max-steps", "3")
    assert again.returncode == 1
    assert again.stdout.count("(found") == 3
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == before
    assert again.stdout.split("[6/6]")[1].split("\n")[1:4] == first.stdout.split("[6/6]")[1].split("\n")[1:4]

    (tmp_path / "mine.txt").write_text("not the demo's")
    other = run_demo(tmp_path, "--max-steps", "2", "--restart")
    assert other.returncode == 1
    assert "(found" not in other.stdout
    assert (tmp_path / "mine.txt").read_text() == "not the demo's"
    assert logged_steps(tmp_path)[-1] == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_interrupted_and_resumed(tmp_path: Path, number: signal.Signals) -> None:
    steps = 400
    process = subprocess.Popen(
        demo_command(tmp_path, "--max-steps", str(steps)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not logged_steps(tmp_path):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(
            number
        )  # to the demo alone; a terminal would send it to its group, which is the same
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, output
    assert "the trainer writes a checkpoint first" in output
    assert "Traceback" not in output
    stopped_after = logged_steps(tmp_path)[-1]
    assert stopped_after < steps
    assert [path for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.startswith("step-")]

    resumed = run_demo(tmp_path, "--max-steps", str(steps))
    assert resumed.returncode in (0, 1), resumed.stdout + resumed.stderr
    assert resumed.stdout.count("(found") == 2
    logged = logged_steps(tmp_path)
    assert logged == sorted(set(logged))
    assert logged[-1] == steps


def test_one_demo_at_a_time(tmp_path: Path) -> None:
    with (
        sole_use(tmp_path),
        pytest.raises(FolderInUseError, match="another gristmill demo works in"),
        sole_use(tmp_path),
    ):
        pass
    with sole_use(tmp_path):  # free again
        run = run_demo(tmp_path)
    assert run.returncode == 2
    assert run.stderr.startswith("gristmill: error: another gristmill demo works in")


def test_the_lock_outlives_its_holder_in_a_child(tmp_path: Path) -> None:
    with sole_use(tmp_path) as lock:
        child = subprocess.Popen(["sleep", "60"], pass_fds=[lock])
    try:
        with pytest.raises(FolderInUseError), sole_use(tmp_path):
            pass
    finally:
        child.kill()
        child.wait()
    with sole_use(tmp_path):
        pass


def test_stages_are_keyed_by_their_inputs(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    key = stages.key({"a": 1, "b": [2]})
    assert key == stages.key({"b": [2], "a": 1}) != stages.key({"a": 2, "b": [2]})
    assert stages.found("corpus", key) is None
    stages.finish("corpus", key, {"files": 3})
    assert stages.found("corpus", key) == {"files": 3}
    assert stages.found("corpus", "another") is None
    assert stages.found("tokenizer", key) is None
    (tmp_path / "stages" / "corpus.json").write_text("{")
    assert stages.found("corpus", key) is None


@pytest.mark.parametrize(
    ("gpt2", "is_lower"),
    [(1.9, True), (2.0, False), (2.1, False), (float("nan"), False), (float("inf"), False)],
)
def test_the_verdict(gpt2: float, is_lower: bool) -> None:
    comparison = Comparison(gpt2, 1_000_000, BigramScore(200.0, 50, 100), 10, 5)
    assert comparison.bigram.bits_per_byte == 2.0
    assert comparison.is_lower is is_lower
    assert comparison.verdict.startswith("The GPT-2 is better" if is_lower else "The demo has failed")
    assert "2.0000" in str(comparison)


def test_the_folder_may_be_moved_between_runs(tmp_path: Path) -> None:
    assert run_demo(tmp_path / "here", "--max-steps", "2").returncode == 1
    (tmp_path / "here").rename(tmp_path / "there")
    again = run_demo(tmp_path / "there", "--max-steps", "2")
    assert again.returncode == 1
    assert again.stdout.count("(found") == 3
