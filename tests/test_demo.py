"""The demo at a tiny size: what it prints and leaves, that it can fail, goes on and resumes.

One test starts the whole flow, four times.
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


def test_fails_goes_on_starts_over_and_resumes(tmp_path: Path) -> None:
    # 1. Three steps are too few, and the demo says so.
    folder = tmp_path / "here"
    first = run_demo(folder, "--max-steps", "3")
    assert first.returncode == 1, first.stderr
    assert "The demo has failed: the GPT-2 is not better than the bigram" in first.stdout
    for text in ("fertility", "bits per byte", "def __init__(self", "where everything lies", "of them EOS"):
        assert text in first.stdout, text
    for name in ("corpus/train.jsonl", "tokenizer/tokenizer.json", "run/model/model.safetensors", "run.yaml"):
        assert (folder / name).is_file(), name
    log = (folder / "run" / "log.jsonl").read_bytes()

    # 2. Run again, it goes on from what is there, also where the folder was moved.
    folder = folder.rename(tmp_path / "there")
    (folder / "mine.txt").write_text("not the demo's")
    again = run_demo(folder, "--max-steps", "3")
    assert again.returncode == 1, again.stderr
    assert again.stdout.count("(found") == 3
    assert (folder / "run" / "log.jsonl").read_bytes() == log
    assert figure_lines(again.stdout) == figure_lines(first.stdout)

    # 3. Told to, it starts over. Interrupted, it leaves a checkpoint.
    num_steps = 150
    output = interrupt_demo(folder, "--max-steps", str(num_steps), "--restart")
    assert "the trainer writes a checkpoint first" in output
    assert "the same command, without --restart, goes on from here" in output
    assert "(found" not in output
    assert "Traceback" not in output
    stopped_after = logged_steps(folder)[-1]
    assert stopped_after < num_steps
    assert list((folder / "run" / "checkpoints").glob("step-*"))
    assert (folder / "mine.txt").read_text() == "not the demo's"

    # 4. Run again, it resumes there.
    resumed = run_demo(folder, "--max-steps", str(num_steps))
    assert resumed.returncode in (0, 1), resumed.stdout + resumed.stderr
    assert resumed.stdout.count("(found") == 2
    assert logged_steps(folder) == list(range(1, num_steps + 1))


def figure_lines(output: str) -> list[str]:
    return output.split("[6/6]")[1].splitlines()[1:4]


def interrupt_demo(folder: Path, *arguments: str) -> str:
    """Start a demo, interrupt it once it has taken a step of its own, and give what it printed."""
    process = subprocess.Popen(
        demo_command(folder, *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        deadline = time.monotonic() + 120
        while 5 not in logged_steps(folder):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)  # to the demo alone, which has to pass it on
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, output
    return output


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
