"""How fast a tokenizer is measured, beside how fast it encodes: MB/s of text, interleaved, medians.

    python benches/measuring_speed.py --megabytes 20 --rounds 5 --threads 1 2

A measurement counts as one encoding, each noise and a reference as one more. The last column is the speed of
measuring times the encodings, over the speed of encoding: at least 0.5 is the aim on the own engine without
noise. Every pass has newly made strings and a newly loaded tokenizer; before anything is timed, the tokens
that are measured are compared with those of `encode_batch`. `--road tokenizers` takes the road through the
installed `tokenizers`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

from corpus import MEGABYTE, read_corpus
from gristmill.metrics import NOISES, NoiseOptions, TokenizerMeter
from gristmill.tokenizer import Tokenizer
from vocabularies import vocabulary_file

BATCH = 1000


def main() -> None:
    """Time encoding and measuring, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--tokenizer", default="gpt2", help="gpt2 or trained-N, as in packing_speed.py")
    parser.add_argument("--road", choices=("gristmill", "tokenizers"), default="gristmill")
    parser.add_argument(
        "--installed", action="store_true", help="text of the installed packages: nothing is downloaded"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    place = vocabulary_file(options.tokenizer, "python", installed=options.installed)
    content = json.loads(place.read_text(encoding="utf-8"))
    if options.road == "tokenizers":
        # Changes nothing, and is not what the own engine covers.
        content["normalizer"] = {"type": "Sequence", "normalizers": []}
    tokenizer_json = json.dumps(content)
    documents = list(
        read_corpus("python", megabytes=options.megabytes, installed=options.installed).documents
    )
    size = sum(len(text.encode()) for text in documents)
    check(tokenizer_json, documents)

    rows = []
    cores = sorted(os.sched_getaffinity(0))
    for threads in options.threads:
        os.environ["RAYON_NUM_THREADS"] = str(threads)
        os.sched_setaffinity(0, cores[:threads])
        passes: dict[str, tuple[int, Callable[[Tokenizer, list[str]], None]]] = {
            "encode_batch": (1, lambda tokenizer, texts, n=threads: encode(tokenizer, texts, n)),  # type: ignore[misc]
            "measure": (1, lambda tokenizer, texts, n=threads: measure(tokenizer, texts, n, ())),  # type: ignore[misc]
            "measure, four noises": (
                1 + len(NOISES),
                lambda tokenizer, texts, n=threads: measure(tokenizer, texts, n, NOISES),  # type: ignore[misc]
            ),
        }
        seconds: dict[str, list[float]] = {name: [] for name in passes}
        for _ in range(options.rounds):
            for name, (_, work) in passes.items():
                tokenizer = Tokenizer.from_str(tokenizer_json)
                texts = [text.encode().decode() for text in documents]
                started = time.perf_counter()
                work(tokenizer, texts)
                seconds[name].append(time.perf_counter() - started)
        for name, (encodings, _) in passes.items():
            ratios = [
                encodings * base / own
                for base, own in zip(seconds["encode_batch"], seconds[name], strict=True)
            ]
            rows.append(
                {
                    "road": str(Tokenizer.from_str(tokenizer_json).engine),
                    "threads": threads,
                    "pass": name,
                    "encodings": encodings,
                    "megabytes_per_second": size / MEGABYTE / statistics.median(seconds[name]),
                    "encodings_to_encoding": statistics.median(ratios),
                    "seconds": seconds[name],
                }
            )
    if options.json:
        print(json.dumps({"megabytes": size / MEGABYTE, "tokenizer": options.tokenizer, "cells": rows}))
        return
    print(f"{len(documents):,} documents, {size / MEGABYTE:.1f} MB, tokenizer {options.tokenizer}")
    print("| road | threads | pass | MB/s | encodings | of the speed of encoding |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['road']} | {row['threads']} | {row['pass']} | {row['megabytes_per_second']:.1f} "
            f"| {row['encodings']} | {row['encodings_to_encoding']:.2f} |"
        )


def encode(tokenizer: Tokenizer, texts: list[str], num_threads: int) -> None:
    """Encode batch by batch."""
    for begin in range(0, len(texts), BATCH):
        tokenizer.encode_batch(texts[begin : begin + BATCH], num_threads=num_threads)


def measure(tokenizer: Tokenizer, texts: list[str], num_threads: int, noises: tuple[str, ...]) -> None:
    """Count batch by batch."""
    meter = TokenizerMeter(tokenizer, noise=NoiseOptions(noises=noises))
    for begin in range(0, len(texts), BATCH):
        meter.add(texts[begin : begin + BATCH], num_threads=num_threads)


def check(tokenizer_json: str, documents: list[str]) -> None:
    """Compare what is measured with what is encoded, before anything is timed."""
    tokenizer = Tokenizer.from_str(tokenizer_json)
    meter = TokenizerMeter(tokenizer)
    meter.add(documents)
    ids = tokenizer.encode_batch(documents).ids
    if meter.totals["tokens"] != len(ids) or meter.totals["bytes"] != sum(len(t.encode()) for t in documents):
        raise SystemExit(
            f"measured {meter.totals['tokens']} tokens (expected the {len(ids)} that are encoded)"
        )


if __name__ == "__main__":
    main()
