"""Corpora that a run cannot be made on: one line, and an exit code that says whose fault it is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.train.projects import Project


@pytest.mark.parametrize(
    ("rows", "code", "told"),
    [
        ([{"body": "def f(x):"}], 2, r"MissingColumnError: .*rows\.jsonl, row 0: .*'text'"),
        ([{"text": "a"}], 2, "EmptyCorpusError: data.train gives no block of 32 tokens"),
        (
            [{"text": "a" * 99}, {"text": None}],
            1,
            r"BadDocumentError: .*rows\.jsonl, row 1: null .*; --data.on_bad skip",
        ),
        ([{"text": "a" * 99}, {"text": "\ud800"}], 1, r"FileFormatError: .*rows\.jsonl, row 1: a lone surr"),
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
