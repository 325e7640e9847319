"""How the demo starts torchrun: what of its error output is passed on, and that nothing is left open."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gristmill.demo import launch

RANK_SAYS = "gristmill train, rank 0: ConfigError: something is wrong"
PAGE = [
    "E1124 20:30:22 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: 2) of x",
    "Traceback (most recent call last):",
    "torch.distributed.elastic.multiprocessing.errors.ChildFailedError:",
]


def stand_in(monkeypatch: pytest.MonkeyPatch, code: str) -> list[subprocess.Popen[bytes]]:
    """Start a process that runs `code` where torchrun would be started; gives the processes."""
    started: list[subprocess.Popen[bytes]] = []

    class Process(subprocess.Popen[bytes]):
        def __init__(self, command: list[str], **options: object) -> None:
            assert command[1:3] == ["-m", "torch.distributed.run"]
            super().__init__([sys.executable, "-c", code], **options)  # type: ignore[call-overload]
            started.append(self)

    monkeypatch.setattr(launch.subprocess, "Popen", Process)
    return started


def run_and_give(monkeypatch: pytest.MonkeyPatch, code: str, folder: Path) -> list[subprocess.Popen[bytes]]:
    started = stand_in(monkeypatch, code)
    assert run_trainer(folder) == 0
    return started


def run_trainer(folder: Path) -> int:
    lock = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR)
    try:
        return launch.run_trainer(folder, 1, lock)
    finally:
        os.close(lock)


def test_a_ranks_words_are_passed_on_and_the_page_of_torchrun_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code = f"import sys; print({RANK_SAYS!r}, *{PAGE!r}, sep='\\n', file=sys.stderr); sys.exit(1)"
    stand_in(monkeypatch, code)
    assert run_trainer(tmp_path) == 1
    assert capsys.readouterr().err == RANK_SAYS + "\n"


def test_a_warning_of_torch_does_not_hold_back_what_follows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines = ["W1124 torch/distributed/elastic/agent: a warning", "failed (exitcode", RANK_SAYS]
    stand_in(monkeypatch, f"import sys; print(*{lines!r}, sep='\\n', file=sys.stderr)")
    assert run_trainer(tmp_path) == 0
    assert capsys.readouterr().err == "\n".join(lines) + "\n"


def test_the_pipe_is_closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (process,) = run_and_give(monkeypatch, "pass", tmp_path)
    assert process.stderr is not None
    assert process.stderr.closed


def test_a_rank_that_outlives_torchrun_does_not_hold_the_demo_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # the grandchild keeps the pipe open
    code = (
        "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, file=open('pid', 'w'), flush=True)"
    )
    monkeypatch.setattr(launch, "PIPE_TIMEOUT_S", 0.2)
    (process,) = run_and_give(monkeypatch, code, tmp_path)
    assert process.stderr is not None
    assert not process.stderr.closed
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    process.stderr.close()
