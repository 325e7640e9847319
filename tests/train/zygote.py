"""Starts ranks by forking, so that torch and transformers are imported once for many runs.

Reads one JSON object a line: {"function": name, "world_size": n, "arguments": {...}, "environment": {...},
"output": file prefix, "timeout_s": s}. Forks n ranks with the environment that torchrun would give them, lets
each call the function of `tests.train.scenarios`, and answers with {"codes": [...], "seconds": s}. A rank's
stdout and stderr go to `<prefix><rank>`. Tests of torchrun itself start torchrun.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import traceback

import torch
from tests.train import scenarios


def main() -> None:
    torch.set_num_threads(1)  # no thread pool may exist at a fork
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(serve(json.loads(line))), flush=True)


def serve(request: dict) -> dict:
    started = time.monotonic()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = [fork_rank(request, rank, port) for rank in range(request["world_size"])]
    pending = dict(enumerate(children))
    codes: list[int | None] = [None] * len(children)
    deadline = started + request["timeout_s"]
    while pending:
        for rank, pid in list(pending.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                codes[rank] = os.waitstatus_to_exitcode(status)
                del pending[rank]
        if pending and time.monotonic() > deadline:
            for pid in pending.values():
                os.kill(pid, signal.SIGKILL)
            for rank, pid in pending.items():
                os.waitpid(pid, 0)
                codes[rank] = None  # told as a hang
            pending = {}
        time.sleep(0.01)
    return {"codes": codes, "seconds": time.monotonic() - started}


def fork_rank(request: dict, rank: int, port: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        output = os.open(f"{request['output']}{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        size = request["world_size"]
        os.environ.update(request["environment"])
        if size > 1:
            os.environ.update(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE=str(size),
                LOCAL_WORLD_SIZE=str(size),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=str(port),
                TORCHELASTIC_RUN_ID="test",
            )
        code = getattr(scenarios, request["function"])(**request["arguments"]) or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
