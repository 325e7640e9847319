"""Training a byte-level BPE, side by side: `python benches/training_speed.py [--quick] [--kinds prose] …`.

    documents ──► equal merges? ──► interleaved rounds, a fresh process each ──► medians ──► table, JSON

Each run goes from a Python list of `str` to vocabulary and merges; imports are not timed. Merges are compared
with those of `tokenizers` before anything is timed; a peer with other merges is timed, and listed with the
first one that differs. Peers that fail are named. Ratios are medians over rounds.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.metadata
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from corpus import MEGABYTE, read_corpus
from fresh import OverLimit, forget_peak, memory_bytes, peer_named, pin, run_fresh
from options import Options, parse
from report import header, run_part
from training_peers import PEERS

VOCAB_SIZES = (32_768, 100_000)
# The slow ones would take the whole evening: fewer rounds, the ratio still to gristmill's in the same round.
MOST_ROUNDS = {"tokenizers": 2, "rustbpe": 1}
# Beside the target (Python, 32,768) fewer rounds are enough.
ROUNDS_BESIDE = 3
# gigatoken takes minutes where nearly all pairs are rare.
MOST_ROUNDS_BESIDE = {"tokenizers": 1, "gigatoken": 1, "rustbpe": 0}
LIMIT_SECONDS = 240


def measure(options: Options) -> dict[str, Any]:
    """Measure every kind of text, vocabulary size and number of threads."""
    sizes = [int(name.partition("-")[2]) for name in options.vocabularies if name.startswith("trained-")]
    cells: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.kinds:
            corpus = read_corpus(kind, megabytes=options.megabytes, installed=options.quick)
            documents = Path(folder) / f"{kind}.jsonl"
            lines = "".join(json.dumps(text) + "\n" for text in corpus.documents)
            documents.write_text(lines, encoding="ascii")
            for vocab_size in sizes or ((2_048,) if options.quick else VOCAB_SIZES):
                about = {
                    "kind": kind,
                    "vocab_size": vocab_size,
                    "bytes": corpus.num_bytes,
                    "documents": len(corpus.documents),
                    "sha256": corpus.sha256,
                }
                cells += [about | cell for cell in _measure_vocabulary(documents, about, options)]
    packages = {"gristmill", *(name for name in PEERS if "." not in name)}
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return header("training", versions) | {"rounds": options.rounds, "cells": cells}


def _measure_vocabulary(documents: Path, about: dict[str, Any], options: Options) -> list[dict[str, Any]]:
    failed: dict[str, str] = {}

    def run(peer: str, num_threads: int, with_merges: bool) -> dict[str, Any] | None:
        job = {
            "peer": peer,
            "documents": str(documents),
            "vocab_size": about["vocab_size"],
            "threads": num_threads,
            "with_merges": with_merges,
        }
        folder = peer_named("gigatoken") if peer == "gigatoken" else None
        try:
            return run_fresh(__file__, job, peer=folder, num_threads=num_threads, limit_seconds=LIMIT_SECONDS)
        except (OverLimit, RuntimeError) as error:
            failed[peer] = str(error)
            print(f"{peer}: not measured, {error}", flush=True)
            return None

    merges = {}
    for peer in PEERS:
        answer = run(peer, max(options.threads), with_merges=True)
        if answer is not None:
            merges[peer] = answer["merges"]
    equality = {peer: describe_difference(merges[peer], merges["tokenizers"]) for peer in merges}
    for peer, words in equality.items():
        print(f"{about['kind']}, {about['vocab_size']:,}: {peer}: {words}", flush=True)
        if peer.startswith("gristmill") and words != "equal":
            raise SystemExit(f"{peer}: {words}; nothing is timed")

    is_target = (about["kind"], about["vocab_size"]) == ("python", VOCAB_SIZES[0])
    rounds = options.rounds if is_target else min(options.rounds, ROUNDS_BESIDE)
    most = MOST_ROUNDS if is_target else MOST_ROUNDS_BESIDE
    runs: list[dict[str, Any]] = []
    for number in range(rounds):
        for threads in options.threads:
            peers = [peer for peer in merges if peer not in failed and number < most.get(peer, rounds)]
            start = number % len(peers)
            for peer in peers[start:] + peers[:start]:
                answer = run(peer, threads, with_merges=False)
                if answer is not None:
                    runs.append({"round": number, "peer": peer, "threads": threads} | answer)
        print(f"  round {number + 1} of {rounds} done", file=sys.stderr)
    cells = summarise(runs, list(merges), options.threads)
    for cell in cells:
        cell["merges"] = equality[cell["peer"]]
    return cells + [{"peer": peer, "threads": 0, "failed": reason} for peer, reason in failed.items()]


def describe_difference(merges: Any, expected: Any) -> str:
    """Say whether merges are equal, or where they part."""
    if not merges:
        return "not compared (it gives ranks, not merges)"
    if merges == expected:
        return "equal"
    shorter = min(len(merges), len(expected))
    same = next((i for i in range(shorter) if merges[i] != expected[i]), shorter)
    return f"the first {same:,} merges are equal, of {len(merges):,} (expected {len(expected):,})"


def summarise(
    runs: list[dict[str, Any]], peers: list[str], all_threads: tuple[int, ...]
) -> list[dict[str, Any]]:
    """Medians, and medians of the rounds' ratios to gristmill's, by wall and by CPU time."""
    cells = []
    for threads in all_threads:
        own = {run["round"]: run for run in runs if (run["peer"], run["threads"]) == ("gristmill", threads)}
        for peer in peers:
            mine = [run for run in runs if (run["peer"], run["threads"]) == (peer, threads)]
            if not mine:
                continue
            ratios = {
                name: statistics.median(run[name] / own[run["round"]][name] for run in mine)
                for name in ("seconds", "cpu_seconds")
            }
            cells.append(
                {
                    "peer": peer,
                    "threads": threads,
                    "rounds": len(mine),
                    **{
                        name: statistics.median(run[name] for run in mine)
                        for name in ("seconds", "cpu_seconds", "peak_mb", "mb_before")
                    },
                    "gristmill_is_faster_by": ratios["seconds"],
                    "in_cpu_seconds": ratios["cpu_seconds"],
                    "all_seconds": [run["seconds"] for run in mine],
                }
            )
    return cells


# In a process of its own ----------------------------------------------------------------------------------


def child(job: dict[str, Any]) -> dict[str, Any]:
    """Train once; gives times, peak memory and, where asked for, the merges."""
    pin(job["threads"])
    with Path(job["documents"]).open("rb") as file:
        texts = [json.loads(line) for line in file]
    train, merges = PEERS[job["peer"]](texts, job["vocab_size"], job["threads"])
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed is not to hide what is taken
    forget_peak()
    before = memory_bytes()
    started, started_cpu = time.perf_counter(), time.process_time()
    result = train()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
    answer: dict[str, Any] = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_mb": memory_bytes("VmHWM") / MEGABYTE,
        "mb_before": before / MEGABYTE,
    }
    if job["with_merges"]:
        answer["merges"] = [[left.hex(), right.hex()] for left, right in merges(result)]
    return answer


def main(arguments: list[str] | None = None) -> int:
    """Run this part alone."""
    return run_part("training", measure, parse(arguments, __doc__))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(json.load(sys.stdin))))
    else:
        sys.exit(main())
