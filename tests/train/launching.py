"""Asks the zygote to run scenarios in ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """How the ranks of a run ended: exit codes (negative: killed by that signal, None: hung) and outputs."""

    codes: list[int | None]
    outputs: list[str]
    seconds: float

    def check(self, *codes: int) -> Ended:
        expected = list(codes) * (len(self.codes) if len(codes) == 1 else 1)
        assert self.codes == expected, "\n".join([str(self.codes), *self.outputs])
        return self


class Zygote:
    """One process that forks ranks; see zygote.py."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]),
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(folder / "hf"),
            "TOKENIZERS_PARALLELISM": "false",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.train.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env=environment,
        )
        self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the zygote has died"
        return json.loads(line)

    def run(
        self,
        function: str,
        world_size: int = 1,
        timeout_s: float = 60,
        environment: dict[str, str] | None = None,
        **arguments: Any,
    ) -> Ended:
        """Let `world_size` forked ranks call a function of scenarios.py."""
        self._count += 1
        output = self._folder / f"{self._count}-rank"
        request = {
            "function": function,
            "world_size": world_size,
            "arguments": arguments,
            "environment": environment or {},
            "output": str(output),
            "timeout_s": timeout_s,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._read()
        outputs = [Path(f"{output}{rank}").read_text(errors="replace") for rank in range(world_size)]
        return Ended(answer["codes"], outputs, answer["seconds"])

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()
