"""The numbered examples run as they are (each in a process of its own, one run each)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "examples").glob("[0-9]*.py"))
# 01 must do with the base install.
NEEDS_TRAIN_EXTRA = {"02_train_small_gpt2.py"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error::DeprecationWarning:gristmill", str(example)]
    if example.name not in NEEDS_TRAIN_EXTRA:
        names = ("torch", "datasets", "transformers", "pyarrow")
        blocked = "; ".join(f"sys.modules[{name!r}] = None" for name in names)
        command = [sys.executable, "-c", f"import runpy, sys; {blocked}; runpy.run_path({str(example)!r})"]
    run = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout


def test_there_are_examples() -> None:
    assert [path.name[:2] for path in EXAMPLES] == [f"{number:02}" for number in range(1, len(EXAMPLES) + 1)]
    assert {path.name for path in EXAMPLES} > NEEDS_TRAIN_EXTRA
