"""Worst cases, beside the peers: `python benches/worst_cases.py [--quick]`.

    one document of 2 MB, one of 20 MB of each kind ──► a fresh process a peer ──► rate, time a byte, memory
    100 MB of ever-new words ──► rate of the last tenth beside the second, memory in between

A peer that is over the time limit is ended and listed as such; one that is hopelessly slower at 2 MB does not
begin the 20 MB: its rate at 2 MB stands in brackets. Ids of the 2 MB are compared with those of `tokenizers`,
those of the 20 MB with gristmill's.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpus import EOS_TOKEN, MEGABYTE, read_corpus
from fresh import OverLimit, forget_peak, memory_bytes, peer_named, pin, run_fresh
from options import Options, parse
from packages import cache_folder
from report import header, run_part
from rounds import REFERENCE, SEQ_LENGTH
from vocabularies import vocabulary_file
from worst_texts import CASES, SEED, new_words

PEER_NAMES = (
    "gristmill",
    "gigatoken",
    "gigatoken-cachefix",
    "fastokens",
    "snaptokens",
    "tiktoken + numpy",
    REFERENCE,
)
BOUNDED_NAMES = ("gristmill", "gigatoken", "gigatoken-cachefix", "fastokens", "snaptokens")
QUICK_NAMES = ("gristmill", "gigatoken", "fastokens", "snaptokens")
QUICK_CASES = ("spaces", "random letters", "random Unicode", "CJK", "ever-new words")
ORDINARY = "ordinary text"
# The small size, loading included, and the large one; one that would be over its limit is not begun.
LIMIT_SECONDS = 6
LARGE_LIMIT_SECONDS = 12
# A peer that is so many times slower than gristmill at the small size is asked for no more.
HOPELESS = 15
# Shorter runs are made three times, each cold, and the median counts.
SHORT_SECONDS = 0.1
REFERENCE_LIMIT_SECONDS = 120
NUM_BATCHES = 100


def measure(options: Options) -> dict[str, Any]:
    """Measure all cases, then what stays bounded."""
    small, large = (100_000, MEGABYTE) if options.quick else (2 * MEGABYTE, 20 * MEGABYTE)
    vocabulary = vocabulary_file("gpt2", "python")
    names = [name for name in (QUICK_NAMES if options.quick else PEER_NAMES) if name in options.peers]
    all_threads = options.threads[:1] if options.quick else options.threads
    cells: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for case in [ORDINARY, *(QUICK_CASES if options.quick else CASES)]:
            files = [_write(case, size, Path(folder), options) for size in (small, large)]
            expected = _reference(files[0], vocabulary)
            own_large: str | None = None
            own_small_seconds: float | None = None
            for num_threads in all_threads:
                for name in names:
                    if num_threads > 1 and _was_too_slow(cells, name, case):
                        continue
                    job = {
                        "peer": name,
                        "files": files,
                        "vocabulary": str(vocabulary),
                        "threads": num_threads,
                        "most_small_seconds": own_small_seconds and HOPELESS * own_small_seconds,
                    }
                    row = {"kind": case, "peer": name, "threads": num_threads, **_run(job, options)}
                    runs = row.get("runs", [])
                    if runs and name == "gristmill":
                        own_small_seconds = runs[0]["seconds"]
                    if runs:
                        row["equal"] = None if expected is None else runs[0]["ids"] == expected
                    if len(runs) == 2:
                        own_large = runs[1]["ids"] if name == "gristmill" else own_large
                        row["equal_when_large"] = runs[1]["ids"] == own_large
                    cells.append(row)
            print(describe_case(case, cells), flush=True)
    bounded = [_bounded(name, options) for name in BOUNDED_NAMES if name in options.peers]
    packages = {package for name in names for package in peer_named(name).packages}
    versions = {
        package: importlib.metadata.version(package) for package in packages if _is_installed(package)
    }
    return header("worst", versions) | {"sizes": [small, large], "cells": cells, "bounded": bounded}


def describe_case(case: str, cells: list[dict[str, Any]]) -> str:
    """One line while the run goes on."""
    shown = []
    for row in cells:
        if row["kind"] == case:
            runs = row.get("runs")
            rate = f"{runs[-1]['bytes'] / MEGABYTE / runs[-1]['seconds']:.1f}" if runs else row["failed"]
            shown.append(
                f"{row['peer']}/{row['threads']} {rate}{'' if row.get('equal', True) else ' OTHER IDS'}"
            )
    return f"{case}: " + ", ".join(shown)


def _write(case: str, size: int, folder: Path, options: Options) -> str:
    place = folder / f"{case}-{size}.txt"
    if case == ORDINARY:
        documents = read_corpus("python", megabytes=1.1 * size / MEGABYTE, installed=options.quick).documents
        text = "\n".join(documents).encode("utf-8")[:size].decode("utf-8", "ignore")
    else:
        text = CASES[case](size)
    place.write_text(text, encoding="utf-8", newline="")
    return str(place)


def _reference(file: str, vocabulary: Path) -> str | None:
    """Hash of the ids that `tokenizers` gives; None where it is over a generous limit. Kept in the cache."""
    version = importlib.metadata.version("tokenizers")
    key = hashlib.sha256(Path(file).read_bytes() + vocabulary.read_bytes()).hexdigest()[:16]
    place = cache_folder() / f"reference-worst-{key}-tokenizers-{version}.txt"
    if not place.exists():
        job = {"do": "case", "peer": REFERENCE, "files": [file], "vocabulary": str(vocabulary)}
        job["most_small_seconds"] = None
        try:
            answer = run_fresh(__file__, job, limit_seconds=REFERENCE_LIMIT_SECONDS)
        except OverLimit:
            return None
        place.write_text(answer["runs"][0]["ids"], encoding="ascii")
    return place.read_text(encoding="ascii")


def _run(job: dict[str, Any], options: Options) -> dict[str, Any]:
    try:
        return run_fresh(
            __file__,
            job | {"do": "case"},
            peer=peer_named(job["peer"]),
            num_threads=job["threads"],
            limit_seconds=LIMIT_SECONDS + LARGE_LIMIT_SECONDS,
            may_download=not options.quick,
        )
    except OverLimit as error:
        if error.lines:  # the small size was answered
            return {**json.loads(error.lines[-1]), "failed": f"at the large size: {error}"}
        return {"failed": f"at the small size: {error}"}
    except RuntimeError as error:
        return {"failed": str(error)}


def _was_too_slow(cells: list[dict[str, Any]], name: str, case: str) -> bool:
    rows = [row for row in cells if (row["peer"], row["kind"]) == (name, case)]
    return any("failed" in row or len(row["runs"]) < 2 for row in rows)


def _bounded(name: str, options: Options) -> dict[str, Any]:
    job = {"do": "bounded", "peer": name, "vocabulary": str(vocabulary_file("gpt2", "python"))}
    job["batch_bytes"] = 100_000 if options.quick else MEGABYTE  # type: ignore[assignment]
    try:
        answer = run_fresh(
            __file__, job, peer=peer_named(name), limit_seconds=120, may_download=not options.quick
        )
    except (OverLimit, RuntimeError) as error:
        return {"peer": name, "failed": str(error)}
    print(f"ever-new words, {name}: {answer}", flush=True)
    return {"peer": name, **answer}


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


# In a process of its own ----------------------------------------------------------------------------------


def child(job: dict[str, Any]) -> dict[str, Any]:
    """Run one case, or the ever-new words."""
    num_threads = job.get("threads", 1)
    pin(num_threads)
    from peers import Job

    def load() -> Any:
        peer = peer_named(job["peer"])
        loaded = peer.load(Job(Path(job["vocabulary"]), EOS_TOKEN, SEQ_LENGTH, num_threads))
        list(loaded.ids(["warm"]))
        return loaded

    return run_bounded(load(), job["batch_bytes"]) if job["do"] == "bounded" else run_case(load, job)


def run_case(load: Callable[[], Any], job: dict[str, Any]) -> dict[str, Any]:
    """Encode each file as one document; memory is the growth of the peak, from the loaded text to the ids.

    What is known is printed after each one, in case this process is ended. A size that would be over
    the limit, judged by the one before, is not begun, nor one after a hopeless one.
    """
    import numpy as np

    loaded = load()
    runs: list[dict[str, Any]] = []
    for file in job["files"]:
        num_bytes = Path(file).stat().st_size
        if runs and runs[-1]["seconds"] * num_bytes / runs[-1]["bytes"] > LARGE_LIMIT_SECONDS:
            break
        if runs and job["most_small_seconds"] and runs[-1]["seconds"] > job["most_small_seconds"]:
            break
        all_seconds: list[float] = []
        grown = 0
        while not all_seconds or (len(all_seconds) < 3 and all_seconds[0] < SHORT_SECONDS):
            # Nothing is left of the pass before: no table, and no UTF-8 copy at the text.
            loaded = loaded if not all_seconds else load()
            text = Path(file).read_bytes().decode("utf-8")
            forget_peak()
            before = memory_bytes()
            started = time.perf_counter()
            (ids,) = loaded.ids([text])
            all_seconds.append(time.perf_counter() - started)
            grown = grown or memory_bytes("VmHWM") - before
        seconds = statistics.median(all_seconds)
        array = np.ascontiguousarray(ids, dtype="<u4")
        runs.append(
            {
                "bytes": num_bytes,
                "seconds": seconds,
                "peak_growth_bytes": grown,
                "num_ids": len(array),
                "ids": hashlib.blake2b(array.tobytes(), digest_size=16).hexdigest(),
            }
        )
        print(json.dumps({"runs": runs}), flush=True)
    return {"runs": runs}


def run_bounded(loaded: Any, batch_bytes: int) -> dict[str, Any]:
    """Grind batches of words never seen; gives times and memory of the second and the last tenth."""
    seconds: list[float] = []
    resident: list[int] = []

    def batches() -> Any:
        for number in range(NUM_BATCHES):
            text = new_words(batch_bytes, seed=SEED + number)
            documents = [text[start : start + 10_000] for start in range(0, len(text), 10_000)]
            seconds.append(-time.perf_counter())
            yield documents

    for _ in loaded.grind(batches()):
        seconds[-1] += time.perf_counter()
        resident.append(memory_bytes())
    tenth = NUM_BATCHES // 10
    second, last = sum(seconds[tenth : 2 * tenth]), sum(seconds[-tenth:])
    return {
        "megabytes": NUM_BATCHES * batch_bytes / MEGABYTE,
        "megabytes_per_second_in_second_tenth": tenth * batch_bytes / MEGABYTE / second,
        "megabytes_per_second_in_last_tenth": tenth * batch_bytes / MEGABYTE / last,
        "last_tenth_beside_second": second / last,
        "resident_megabytes_after_second_tenth": resident[2 * tenth - 1] / MEGABYTE,
        "resident_megabytes_at_end": resident[-1] / MEGABYTE,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run this part alone."""
    return run_part("worst", measure, parse(arguments, __doc__))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(json.load(sys.stdin))))
    else:
        sys.exit(main())
