"""One peer in a process of its own, with its thread variables set before anything is imported.

Reads one JSON request a line from standard input and answers with one JSON line:

    {"do": "check"}      ids of all blocks as one SHA-256, and a short hash of the ids of every document
    {"do": "time"}       seconds of one cold pass: fresh peer, fresh text objects
"""

from __future__ import annotations

import gc
import hashlib
import importlib.metadata
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

BATCH_DOCUMENTS = 1_000


def main() -> None:
    job_fields = json.loads(sys.argv[1])
    # A library that prints must not disturb the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job_fields["num_threads"]])

    from peers import PEERS, Job

    peer = next(peer for peer in PEERS if peer.name == job_fields["peer"])
    job = Job(
        tokenizer_file=Path(job_fields["tokenizer_file"]),
        eos_token=job_fields["eos_token"],
        seq_length=job_fields["seq_length"],
        num_threads=job_fields["num_threads"],
    )
    with Path(job_fields["documents_file"]).open("rb") as file:
        documents = [json.loads(line).encode("utf-8") for line in file]

    for line in sys.stdin:
        action = {"check": check, "time": measure}[json.loads(line)["do"]]
        answer = action(peer, job, documents)
        print(json.dumps(answer), file=answers, flush=True)


def check(peer: Any, job: Any, documents: list[bytes]) -> dict[str, Any]:
    import numpy as np

    loaded = peer.load(job)
    digest, num_blocks = hashlib.sha256(), 0
    for blocks in loaded.grind(batches(documents)):
        array = np.ascontiguousarray(blocks, dtype="<u4")
        assert array.shape[1] == job.seq_length, array.shape
        digest.update(array.tobytes())
        num_blocks += len(array)
    hashes = []
    for document in documents:
        ids = np.array(loaded.ids(document.decode("utf-8")), dtype="<u4")
        hashes.append(hashlib.sha256(ids.tobytes()).hexdigest()[:16])
    versions = {package: importlib.metadata.version(package) for package in peer.packages}
    return {"blocks": digest.hexdigest(), "num_blocks": num_blocks, "documents": hashes, "versions": versions}


def measure(peer: Any, job: Any, documents: list[bytes]) -> dict[str, float]:
    # New text objects and a new peer: no cache has seen this text, and no UTF-8 copy is attached to a str.
    loaded = peer.load(job)
    all_batches = list(batches(documents))
    gc.collect()
    started = time.perf_counter()
    kept = list(loaded.grind(all_batches))
    seconds = time.perf_counter() - started
    del kept
    return {"seconds": seconds}


def batches(documents: list[bytes]) -> list[list[str]]:
    texts = [document.decode("utf-8") for document in documents]
    return [texts[start : start + BATCH_DOCUMENTS] for start in range(0, len(texts), BATCH_DOCUMENTS)]


if __name__ == "__main__":
    main()
