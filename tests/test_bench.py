"""The bench runs, checks ids before it times, and tells who differs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHES = Path(__file__).resolve().parent.parent / "benches"


def run_bench(output: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    command = [sys.executable, str(BENCHES / "packing_speed.py"), "--output", str(output), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr
    (file,) = output.glob("packing_speed-*.json")
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return run.stdout, report


def test_every_peer_gives_the_same_blocks(tmp_path: Path) -> None:
    output, report = run_bench(tmp_path, "--megabytes", "0.3", "--rounds", "2", "--threads", "1")
    assert "4 of 4 peers equal" in output
    assert set(report["differing_documents"].values()) == {0}
    assert [cell["threads"] for cell in report["cells"]] == [1] * 4
    assert all(len(cell["seconds"]) == 2 and cell["megabytes_per_second"] > 0 for cell in report["cells"])
    assert report["corpus"]["bytes"] >= 300_000
    for key in ("date", "commit", "machine", "python", "versions", "tokenizer", "seq_length", "rounds"):
        assert report[key], key
    assert {"gristmill", "tokenizers", "tiktoken", "transformers"} <= set(report["versions"])
    # what is printed is what is stored
    for cell in report["cells"]:
        assert f"| {cell['peer']} | 1 | {cell['megabytes_per_second']:.2f} |" in output


def test_a_peer_with_other_ids_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHES))
    import packing_speed

    class Answers:
        def __init__(self, blocks: str, documents: list[str]) -> None:
            self.answer = {"blocks": blocks, "num_blocks": 3, "documents": documents, "versions": {}}

        def ask(self, action: str) -> dict[str, Any]:
            assert action == "check"
            return self.answer

    workers: dict[str, Any] = {
        "same": Answers("b0", ["d0", "d1", "d2"]),
        "other": Answers("b1", ["d0", "x", "y"]),
        "odd": Answers("b2", ["d0", "d1", "d2"]),  # equal documents, other blocks: wrongly joined
        packing_speed.REFERENCE: Answers("b0", ["d0", "d1", "d2"]),
    }
    checks: dict[str, Any] = {}
    assert packing_speed.check_equality(workers, checks) == ["same", "other", packing_speed.REFERENCE]
    assert {name: check["differing"] for name, check in checks.items()} == {
        "same": 0,
        "other": 2,
        packing_speed.REFERENCE: 0,
    }
