"""Measuring a tokenizer beside encoding with it: `python benches/measuring_speed.py [--quick] …`.

    a sample: counts as the plain twin's? ──► interleaved rounds ──► medians of shares ──► table, JSON

A measurement counts as one encoding, each noise and each further tokenizer as one more. The share is the
time of so many encodings over the time of measuring, in the same round: at least 0.5 is the target on the
own engine, at 1 and 2 threads; the road through the installed `tokenizers` is reported. Every pass has newly
made strings and newly loaded tokenizers; the further one has the same vocabulary, so that it is one encoding
more and nothing else. Shares by CPU time stand beside those by wall time.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from corpus import MEGABYTE, read_corpus
from gristmill.metrics import NOISES, NoiseOptions, TokenizerMeter
from gristmill.tokenizer import Tokenizer
from options import Options, parse
from report import header, run_part
from vocabularies import vocabulary_file

BATCH = 1000
# What is enough for a share; the whole part stays under 90 seconds.
MOST_MEGABYTES = 16
# Of the road through `tokenizers`, which is as slow as that package.
SLOW_MEGABYTES = 0.2
SLOW_ROUNDS = 2
# The plain twin compares every word with every token.
SAMPLE_DOCUMENTS, SAMPLE_CHARACTERS = 40, 400

# What is timed, with the encodings that it counts as.
PASSES: dict[str, int] = {
    "encode": 1,
    "measure": 1,
    "measure, four noises": 1 + len(NOISES),
    "measure, a further tokenizer": 2,
}


def measure(options: Options) -> dict[str, Any]:
    """Measure every kind of text and number of threads, on both roads."""
    vocabulary = options.vocabularies[0] if options.vocabularies else "gpt2"
    cells = []
    for kind in options.kinds[: 1 if options.quick else None]:
        place = vocabulary_file(vocabulary, kind, installed=options.quick)
        megabytes = min(options.megabytes, MOST_MEGABYTES)
        corpus = read_corpus(kind, megabytes=megabytes, installed=options.quick)
        documents = list(corpus.documents)
        for road, texts, rounds in (
            ("gristmill", documents, options.rounds),
            ("tokenizers", first_megabytes(documents, SLOW_MEGABYTES), min(SLOW_ROUNDS, options.rounds)),
        ):
            tokenizer_json = json_for(road, place)
            check(tokenizer_json, texts)
            print(
                f"{kind}, {road}: the counts of {SAMPLE_DOCUMENTS} documents equal the plain twin's",
                flush=True,
            )
            about = {
                "kind": kind,
                "vocabulary": vocabulary,
                "road": road,
                "rounds": rounds,
                "bytes": sum(len(text.encode()) for text in texts),
                "documents": len(texts),
                "sha256": corpus.sha256,
            }
            cells += [
                about | {"threads": threads, "passes": time_passes(tokenizer_json, texts, threads, rounds)}
                for threads in options.threads
            ]
    versions = {package: importlib.metadata.version(package) for package in ("gristmill", "tokenizers")}
    return header("measuring", versions) | {"rounds": options.rounds, "cells": cells}


def json_for(road: str, place: Path) -> str:
    """Give a `tokenizer.json` that is encoded on a road."""
    content = json.loads(place.read_text(encoding="utf-8"))
    if road == "tokenizers":
        # Changes nothing, and is not what the own engine covers.
        content["normalizer"] = {"type": "Replace", "pattern": {"String": "\0"}, "content": "\0"}
    tokenizer_json = json.dumps(content)
    taken = Tokenizer.from_str(tokenizer_json)
    if (taken.native is not None) != (road == "gristmill"):
        raise SystemExit(f"the tokenizer is encoded by {taken.engine} (expected {road})")
    return tokenizer_json


def first_megabytes(documents: Sequence[str], megabytes: float) -> list[str]:
    """Give the first documents, up to that size, and at least one."""
    texts, size = [], 0
    for text in documents:
        size += len(text.encode())
        if texts and size > megabytes * MEGABYTE:
            break
        texts.append(text)
    return texts


def check(tokenizer_json: str, documents: Sequence[str]) -> None:
    """Compare what is counted with the slow plain twin of the tests, and with what is encoded.

    Raises SystemExit with the first count that differs.
    """
    tokenizer = Tokenizer.from_str(tokenizer_json)
    sample = [text[:SAMPLE_CHARACTERS] for text in documents[:SAMPLE_DOCUMENTS]]
    rate = 1 << 30
    noise = NoiseOptions(noises=NOISES, rate=rate / 2**32, seed=1)
    meter = TokenizerMeter(tokenizer, noise=noise, reference=tokenizer)
    meter.add(sample)
    plain = plain_twin()(tokenizer_json, True, NOISES, rate, 1)
    for text in sample:
        plain.add(text)
    expected = plain.totals
    expected["reference_tokens"] = expected["tokens"]
    for name, found in meter.totals.items():
        if found != expected[name]:
            raise SystemExit(
                f"{name} is {found} (expected the plain twin's {expected[name]}); nothing is timed"
            )
    if {i: int(n) for i, n in enumerate(meter.token_counts) if n} != dict(plain.counts):
        raise SystemExit("the counts of tokens are not the plain twin's; nothing is timed")
    meter = TokenizerMeter(tokenizer)
    meter.add(documents)
    num_ids = len(tokenizer.encode_batch(documents).ids)
    if meter.totals["tokens"] != num_ids:
        raise SystemExit(
            f"measured {meter.totals['tokens']} tokens (expected the {num_ids} that are encoded)"
        )


def plain_twin() -> Callable[..., Any]:
    """Give the class `Plain` of the tests, which lie beside the benches."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    try:
        from tests.plain_metrics import Plain
    finally:
        del sys.path[0]
    return Plain


def time_passes(
    tokenizer_json: str, documents: Sequence[str], threads: int, rounds: int
) -> list[dict[str, Any]]:
    """Time every pass in every round; the first one is what the others are compared with."""
    seconds: dict[str, list[float]] = {name: [] for name in PASSES}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in PASSES}
    with pinned(threads):
        for number in range(rounds):
            names = list(PASSES)
            start = number % len(names)
            for name in names[start:] + names[:start]:
                tokenizer, further = (Tokenizer.from_str(tokenizer_json) for _ in range(2))
                for each in (tokenizer, further):
                    each.encode_batch(["word"])
                texts = [text.encode().decode() for text in documents]
                started, started_cpu = time.perf_counter(), time.process_time()
                run_pass(name, tokenizer, further, texts, threads)
                seconds[name].append(time.perf_counter() - started)
                cpu_seconds[name].append(time.process_time() - started_cpu)
    size = sum(len(text.encode()) for text in documents)

    def share(times: dict[str, list[float]], name: str) -> float:
        pairs = zip(times["encode"], times[name], strict=True)
        return statistics.median(PASSES[name] * base / own for base, own in pairs)

    return [
        {
            "pass": name,
            "encodings": encodings,
            "megabytes_per_second": size / MEGABYTE / statistics.median(seconds[name]),
            "share_of_encoding": share(seconds, name),
            "share_in_cpu_seconds": share(cpu_seconds, name),
            "all_seconds": seconds[name],
            "all_cpu_seconds": cpu_seconds[name],
        }
        for name, encodings in PASSES.items()
    ]


def run_pass(name: str, tokenizer: Tokenizer, further: Tokenizer, texts: list[str], threads: int) -> None:
    """Run one pass, batch by batch."""
    if name == "encode":
        for begin in range(0, len(texts), BATCH):
            tokenizer.encode_batch(texts[begin : begin + BATCH], num_threads=threads)
        return
    noises = NOISES if name == "measure, four noises" else ()
    reference = further if name == "measure, a further tokenizer" else None
    meter = TokenizerMeter(tokenizer, noise=NoiseOptions(noises=noises), reference=reference)
    for begin in range(0, len(texts), BATCH):
        meter.add(texts[begin : begin + BATCH], num_threads=threads)


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Run on so many cores, and let `tokenizers` start so many threads."""
    cores = os.sched_getaffinity(0)
    before = os.environ.get("RAYON_NUM_THREADS")
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    os.sched_setaffinity(0, sorted(cores)[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        if before is None:
            del os.environ["RAYON_NUM_THREADS"]
        else:
            os.environ["RAYON_NUM_THREADS"] = before


def main(arguments: list[str] | None = None) -> int:
    """Run this part alone."""
    return run_part("measuring", measure, parse(arguments, __doc__))


if __name__ == "__main__":
    sys.exit(main())
