"""One peer in a process of its own, with its thread variables set before anything is imported.

Reads one JSON request a line from standard input and answers with one JSON line:

    {"do": "reference", "file": ...}    writes a short hash of every block, and of the ids of every document
    {"do": "check", "file": ...}        how many blocks and documents differ from that reference
    {"do": "time"}                      seconds of one cold pass to blocks: fresh peer, fresh text objects
    {"do": "time lists"}                the same to Python lists of ids

What goes wrong is answered as {"error": ...}: the peer is listed as failed, the others go on.
"""

from __future__ import annotations

import gc
import hashlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Iterable
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
    documents = {name: _read(Path(path)) for name, path in job_fields["documents"].items()}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "reference":
                reference = hash_all(peer, job, documents["checked"], documents["special"])
                Path(request["file"]).write_text(json.dumps(reference), encoding="ascii")
                answer = {}
            elif request["do"] == "check":
                reference = json.loads(Path(request["file"]).read_text(encoding="ascii"))
                answer = check(peer, job, documents["checked"], documents["special"], reference)
            else:
                answer = measure(peer, job, documents["timed"], as_lists=request["do"] == "time lists")
        except Exception as error:  # of somebody else's package: anything
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        except BaseException as error:  # a Rust panic is no Exception
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)


def hash_all(peer: Any, job: Any, documents: list[bytes], special: list[bytes]) -> dict[str, Any]:
    """What others are compared with: hashes of all blocks, of the ids of all documents, and their numbers."""
    from peers import chop_parts

    loaded = peer.load(job)
    ids = [ids for batch in batches(documents, peer.arrow) for ids in loaded.ids(batch)]
    parts = [ids[start : start + BATCH_DOCUMENTS] for start in range(0, len(ids), BATCH_DOCUMENTS)]
    blocks = chop_parts(parts, loaded.eos_token_id, job.seq_length)
    return {
        "blocks": [_hash(block) for some in blocks for block in some],
        "documents": [_hash(each) for each in ids],
        "num_ids": [len(each) for each in ids],
        "special": _hash_documents(loaded, batches(special, peer.arrow)),
    }


def check(
    peer: Any, job: Any, documents: list[bytes], special: list[bytes], reference: dict[str, Any]
) -> dict[str, Any]:
    """Compare blocks and ids with the reference's; `documents` may be the first ones of what it has.

    Equal blocks are equal ids, but for what is left over at the end: then only the last batch of documents is
    encoded once more, else all of them.
    """
    loaded = peer.load(job)
    num_blocks = (sum(reference["num_ids"][: len(documents)]) + len(documents)) // job.seq_length
    blocks = _hash_blocks(loaded, batches(documents, peer.arrow), job.seq_length)
    differing_blocks = abs(len(blocks) - num_blocks) + sum(
        mine != theirs for mine, theirs in zip(blocks, reference["blocks"][:num_blocks], strict=False)
    )
    first = max(0, len(documents) - BATCH_DOCUMENTS) if differing_blocks == 0 else 0
    mine = _hash_documents(loaded, batches(documents[first:], peer.arrow))
    theirs = reference["documents"][first : len(documents)]
    differing_documents = sum(one != other for one, other in zip(mine, theirs, strict=True))
    if differing_blocks and not differing_documents:
        raise AssertionError(f"all documents are equal, but {differing_blocks} blocks differ: wrongly joined")
    return {
        "num_documents": len(documents),
        "num_blocks": len(blocks),
        "differing_blocks": differing_blocks,
        "differing_documents": differing_documents,
        "differing_special": sum(
            one != other
            for one, other in zip(
                _hash_documents(loaded, batches(special, peer.arrow)), reference["special"], strict=True
            )
        ),
        "versions": {package: importlib.metadata.version(package) for package in peer.packages},
    }


def measure(peer: Any, job: Any, documents: list[bytes], as_lists: bool) -> dict[str, Any]:
    """Time one pass: no cache has seen this text, and no UTF-8 copy is attached to a `str`.

    Each batch's blocks are dropped when the next one is asked for, as a trainer does.
    """
    loaded = peer.load(job)
    for _ in loaded.grind([batches([b"warm"], peer.arrow)[0]]):
        pass  # imports that a library puts off until its first call, and its threads
    all_batches = batches(documents, peer.arrow)
    gc.collect()
    started, started_cpu = time.perf_counter(), time.process_time()
    count = 0
    if as_lists:
        for batch in all_batches:
            count += len(loaded.lists(batch))
    else:
        for blocks in loaded.grind(all_batches):
            count += len(blocks)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "bytes": sum(map(len, documents)),
        "count": count,
    }


def batches(documents: list[bytes], as_arrow: bool) -> list[Any]:
    texts = [document.decode("utf-8") for document in documents]
    lists = [texts[start : start + BATCH_DOCUMENTS] for start in range(0, len(texts), BATCH_DOCUMENTS)]
    if as_arrow:
        import pyarrow

        return [pyarrow.array(texts, pyarrow.large_string()) for texts in lists]
    return lists


def _read(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return [json.loads(line).encode("utf-8") for line in file]


def _hash_blocks(loaded: Any, all_batches: Iterable[Any], seq_length: int) -> list[str]:
    hashes = []
    for blocks in loaded.grind(all_batches):
        assert tuple(blocks.shape[1:]) == (seq_length,), blocks.shape
        hashes += [_hash(block) for block in blocks]
    return hashes


def _hash_documents(loaded: Any, all_batches: Iterable[Any]) -> list[str]:
    return [_hash(ids) for batch in all_batches for ids in loaded.ids(batch)]


def _hash(ids: Any) -> str:
    import numpy as np

    return hashlib.blake2b(np.ascontiguousarray(ids, dtype="<u4").tobytes(), digest_size=8).hexdigest()


if __name__ == "__main__":
    main()
