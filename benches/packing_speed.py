"""Documents to blocks, side by side: `python benches/packing_speed.py [--quick]`.

    documents ──► each peer checked: same ids as `tokenizers`? ──► interleaved rounds ──► table, JSON

README.md beside this file has the method.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inputs import EOS_TOKEN, MEGABYTE, make_tokenizer, read_documents
from peers import PEERS
from report import describe_machine, format_table, git_commit, save

HERE = Path(__file__).resolve().parent
SEQ_LENGTH = 1024
REFERENCE = "tokenizers + numpy"


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer_file, trained_on = make_tokenizer(options.tokenizer, Path(folder))
        documents, num_left_out = read_documents(options.megabytes, leave_out=trained_on)
        documents_file = Path(folder) / "documents.jsonl"
        documents_file.write_text("".join(json.dumps(text) + "\n" for text in documents), encoding="utf-8")
        num_bytes = sum(len(text.encode("utf-8")) for text in documents)
        print(
            f"{len(documents):,} Python files, {num_bytes / MEGABYTE:.1f} MB, to blocks of {SEQ_LENGTH}; "
            f"tokenizer {options.tokenizer}; {num_left_out} files that hold {EOS_TOKEN} left out"
        )
        cells: list[dict[str, Any]] = []
        checks: dict[str, Any] = {}
        for num_threads in options.threads:
            with contextlib.ExitStack() as stack:
                workers = {
                    name: stack.enter_context(start_worker(name, num_threads, tokenizer_file, documents_file))
                    for name in options.peers
                }
                equal = check_equality(workers, checks)
                cells += time_rounds(workers, equal, num_threads, options.rounds, num_bytes)
    report = {
        "benchmark": "packing_speed",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": git_commit(),
        "machine": describe_machine(),
        "python": platform.python_version(),
        "versions": {
            name: version for check in checks.values() for name, version in check["versions"].items()
        },
        "corpus": {
            "kind": "python",
            "documents": len(documents),
            "bytes": num_bytes,
            "left_out_for_special_text": num_left_out,
            "sha256": hashlib.sha256("\0".join(documents).encode("utf-8")).hexdigest(),
        },
        "tokenizer": options.tokenizer,
        "seq_length": SEQ_LENGTH,
        "rounds": options.rounds,
        "differing_documents": {name: check["differing"] for name, check in checks.items()},
        "cells": cells,
    }
    print("\n" + format_table(report))
    place = save(report, options.output)
    print(f"\n{place}")
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [peer.name for peer in PEERS]
    parser.add_argument(
        "--megabytes", type=float, default=None, help="size of the corpus (default: 40; --quick: 5)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: 5)")
    parser.add_argument(
        "--threads", type=int, nargs="+", default=None, help="thread counts (default: 1 and all cores)"
    )
    parser.add_argument(
        "--tokenizer", default="gpt2", help="gpt2, or trained-N for a vocabulary of N trained here"
    )
    parser.add_argument("--peers", nargs="+", default=names, choices=names, help="default: all")
    parser.add_argument("--quick", action="store_true", help="a small corpus: under two minutes")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the JSON file")
    options = parser.parse_args(arguments)
    if options.megabytes is None:
        options.megabytes = 5 if options.quick else 40
    if options.threads is None:
        options.threads = sorted({1, len(os.sched_getaffinity(0))})
    if REFERENCE not in options.peers:
        options.peers.append(REFERENCE)
    return options


class Worker:
    """A peer's process; see worker.py."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self, action: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": action}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"the worker ended with status {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def start_worker(name: str, num_threads: int, tokenizer_file: Path, documents_file: Path) -> Iterator[Worker]:
    job = {
        "peer": name,
        "num_threads": num_threads,
        "tokenizer_file": str(tokenizer_file),
        "documents_file": str(documents_file),
        "eos_token": EOS_TOKEN,
        "seq_length": SEQ_LENGTH,
    }
    thread_variables = ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = os.environ | dict.fromkeys(thread_variables, str(num_threads))
    environment |= {"TOKENIZERS_PARALLELISM": "true", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        [sys.executable, str(HERE / "worker.py"), json.dumps(job)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        yield Worker(process)
    finally:
        process.kill()
        process.wait()


def check_equality(workers: dict[str, Worker], checks: dict[str, Any]) -> list[str]:
    """Compare the ids of every block with the reference's; fill `checks`, give the peers to time."""
    reference: dict[str, Any] = {}
    usable = []
    for name in sorted(workers, key=lambda name: name != REFERENCE):
        try:
            answer = workers[name].ask("check")
        except RuntimeError as error:
            print(f"{name}: not measured, {error}")
            continue
        reference = reference or answer
        pairs = zip(answer["documents"], reference["documents"], strict=True)
        differing = sum(mine != theirs for mine, theirs in pairs)
        if (differing == 0) != (answer["blocks"] == reference["blocks"]):
            print(f"{name}: not measured, {differing} documents have other ids, but its blocks say otherwise")
            continue
        checks[name] = {"differing": differing, "versions": answer["versions"]}
        usable.append(name)
    exact = sum(checks[name]["differing"] == 0 for name in usable)
    print(
        f"all {reference['num_blocks']:,} blocks compared: {exact} of {len(workers)} peers equal {REFERENCE}"
    )
    return [name for name in workers if name in usable]


def time_rounds(
    workers: dict[str, Worker], names: list[str], num_threads: int, num_rounds: int, num_bytes: int
) -> list[dict[str, Any]]:
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for round_number in range(num_rounds):
        # Each round starts with another peer, so that none always runs after the same neighbour.
        start = round_number % len(names)
        for name in names[start:] + names[:start]:
            seconds[name].append(workers[name].ask("time")["seconds"])
        print(f"{num_threads} threads, round {round_number + 1} of {num_rounds} done", file=sys.stderr)
    ours = seconds.get("gristmill")
    cells = []
    for name in names:
        cell: dict[str, Any] = {
            "peer": name,
            "threads": num_threads,
            "seconds": seconds[name],
            "megabytes_per_second": num_bytes / MEGABYTE / statistics.median(seconds[name]),
        }
        if ours:
            ratios = [theirs / own for theirs, own in zip(seconds[name], ours, strict=True)]
            cell["gristmill_is_faster_by"] = statistics.median(ratios)
        cells.append(cell)
    return cells


if __name__ == "__main__":
    sys.exit(main())
