"""Starting the trainer through torchrun, and stopping it well.

A terminal sends Ctrl-C to every process of its foreground group. torchrun must get it exactly once: it passes
the signal on to the ranks and waits for them to save, and a second one breaks that wait. So it runs in a
session of its own, and this process forwards what it receives.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO

# What to send to torchrun for what was received. A hang-up asks for the same as a polite end.
FORWARDED_SIGNALS = {
    signal.SIGINT: signal.SIGINT,
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGHUP: signal.SIGTERM,
}
# How long to wait for the end of an error output that some process keeps open.
PIPE_TIMEOUT_S = 5.0


def num_usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_trainer(folder: Path, num_ranks: int, lock: int) -> int:
    """Train through torchrun on the CPU, in `folder`, by its `run.yaml`; give the exit status.

    Goes on from the newest checkpoint, and starts where there is none.

    Args:
        folder: the demo's folder, the working folder of the ranks.
        num_ranks: processes; each gets its share of the cores as threads.
        lock: descriptor of the folder's lock, held by torchrun too.

    Raises:
        KeyboardInterrupt: SIGINT, SIGTERM or SIGHUP came; the trainer had the time to write a checkpoint.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_ranks}"]
    command += ["-m", "gristmill.train", "--config", "run.yaml", "--resume"]
    # torchrun warns where it is not set
    environment = os.environ | {"OMP_NUM_THREADS": str(max(1, num_usable_cores() // num_ranks))}
    sys.stdout.flush()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        start_new_session=True,
        pass_fds=[lock],
    )
    assert process.stderr is not None
    errors = _ErrorOutput(process.stderr)
    with _forwarding(process, errors) as received:
        status = process.wait()
    errors.finish()
    if received:
        raise KeyboardInterrupt
    return status


class _ErrorOutput:
    """Passes a child's error output on; from an interruption on it is held back.

    torchrun ends an interrupted run with tracebacks of its own, which tell a user nothing.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._holding = False
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def hold(self) -> None:
        self._holding = True

    def finish(self) -> None:
        # A rank that outlives torchrun would keep the pipe open: do not wait for it for ever.
        self._thread.join(timeout=PIPE_TIMEOUT_S)
        if not self._thread.is_alive():
            self._stream.close()

    def _pass_on(self) -> None:
        for line in self._stream:
            # The ranks have said why they ended; torchrun adds a page about how.
            if b"torch/distributed/elastic" in line and b"failed (exitcode" in line:
                self.hold()
            if not self._holding:
                sys.stderr.write(line.decode("utf-8", "replace"))
                sys.stderr.flush()


@contextlib.contextmanager
def _forwarding(process: subprocess.Popen[bytes], errors: _ErrorOutput) -> Iterator[list[int]]:
    """Forward the first signal to `process`; yields the list of signals received so far."""
    received: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        if not received:
            print("\nstopping: the trainer writes a checkpoint first", file=sys.stderr, flush=True)
            errors.hold()
            process.send_signal(FORWARDED_SIGNALS[signal.Signals(number)])
        received.append(number)

    previous = {number: signal.signal(number, forward) for number in FORWARDED_SIGNALS}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
