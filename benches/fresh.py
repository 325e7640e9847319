"""A measurement in a fresh process: what it imports, its threads and its peak memory are its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from packages import peer_path
from peers import PEERS, Peer
from rounds import THREAD_VARIABLES


class OverLimit(Exception):  # noqa: N818 - it is an answer
    """The process was ended because it took too long; `lines` is what it had answered until then."""

    def __init__(self, limit_seconds: float, lines: list[str]) -> None:
        super().__init__(f"over {limit_seconds:g} s")
        self.lines = lines


def peer_named(name: str) -> Peer:
    """Give a peer by the name that the tables show."""
    return next(peer for peer in PEERS if peer.name == name)


def run_fresh(
    script: str,
    job: dict[str, Any],
    *,
    peer: Peer | None = None,
    num_threads: int = 1,
    limit_seconds: float | None = None,
    may_download: bool = False,
) -> dict[str, Any]:
    """Run `script --child`, the job on its standard input, and give the JSON of its last line.

    Raises OverLimit, or RuntimeError with the end of what it wrote.
    """
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(num_threads))
    environment |= {"TOKENIZERS_PARALLELISM": "true", "HF_HUB_OFFLINE": "1"}
    if peer is not None:
        environment |= dict(peer.environment)
        if peer.folder is not None:
            environment |= peer_path(peer.folder, may_download=may_download)
    try:
        done = subprocess.run(
            [sys.executable, str(Path(script)), "--child"],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=limit_seconds,
        )
    except subprocess.TimeoutExpired as error:
        written = error.stdout or b""
        text = written.decode("utf-8", "ignore") if isinstance(written, bytes) else written
        raise OverLimit(error.timeout, text.splitlines()) from error
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1][:300])
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def pin(num_threads: int) -> None:
    """Keep this process on as many cores as it may have threads."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:num_threads])


def memory_bytes(name: str = "VmRSS") -> int:
    """The memory that this process has (`VmRSS`), or the most that it has had (`VmHWM`).

    Not `ru_maxrss`: that begins with the peak of the process that started this one.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    raise OSError(f"/proc/self/status has no {name} (expected: Linux)")


def forget_peak() -> None:
    """Let the peak begin again at what is in use now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
