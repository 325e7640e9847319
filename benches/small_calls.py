"""What a single short call costs: `python benches/small_calls.py [--quick]`.

encode of one text of 10, 100, 1,000 bytes    one thread, texts in turn, a process a library, interleaved
creating a tokenizer with GPT-2's vocabulary  a fresh process each time, interleaved
importing                                     the same
"""

from __future__ import annotations

import importlib.metadata
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpus import read_corpus
from fresh import pin, run_fresh
from options import Options, parse
from report import header, run_part
from vocabularies import vocabulary_file

SIZES = (10, 100, 1_000)
NUM_TEXTS = 256
# Each figure is the least of several short spells: what disturbs only ever makes a call slower.
SPELLS = 7
SPELL_SECONDS = 0.05
IMPORTS = {
    "numpy and tokenizers": "import numpy, tokenizers",
    "gristmill": "import gristmill",
    "tiktoken": "import tiktoken",
}


def measure(options: Options) -> dict[str, Any]:
    """Measure calls, creation and imports."""
    vocabulary = vocabulary_file("gpt2", "python")
    corpus = read_corpus("python", megabytes=2, installed=options.quick)
    pieces = {size: _cut(corpus.documents, size) for size in SIZES}
    job = {"vocabulary": str(vocabulary), "texts": pieces}
    rounds = 1 if options.quick else 2 * options.rounds + 1
    cells: list[dict[str, Any]] = []
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in LIBRARIES}
    failed: dict[str, str] = {}
    for _ in range(rounds):
        for name in LIBRARIES:
            if name not in failed:
                try:
                    answers[name].append(run_fresh(__file__, {"library": name, **job}))
                except RuntimeError as error:
                    failed[name] = str(error)
    expected = answers["tokenizers"][0]["ids"]
    for name, runs in answers.items():
        if name in failed:
            cells.append({"peer": name, "failed": failed[name]})
            continue
        cells.append(
            {
                "peer": name,
                "equal": all(run["ids"] == expected for run in runs),
                "microseconds": {
                    str(size): statistics.median(run["microseconds"][str(size)] for run in runs)
                    for size in SIZES
                },
                "creation_milliseconds": statistics.median(run["creation_milliseconds"] for run in runs),
                "all_creation_milliseconds": [run["creation_milliseconds"] for run in runs],
            }
        )
    imports: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(2 * rounds):
        for name, statement in IMPORTS.items():
            imports[name].append(_time_import(statement))
    versions = {name.replace("_", "-"): "" for name in ("gristmill", "tokenizers", "tiktoken", "numpy")}
    versions = {name: importlib.metadata.version(name) for name in versions}
    return header("small", versions) | {
        "rounds": rounds,
        "cells": cells,
        "import_milliseconds": {name: statistics.median(times) for name, times in imports.items()},
        "all_import_milliseconds": imports,
    }


def _time_import(statement: str) -> float:
    # Nothing of the bench in it: an interpreter that has imported nothing yet.
    program = f"import time; started = time.perf_counter(); {statement}; print(time.perf_counter() - started)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return 1e3 * float(done.stdout)


def _cut(documents: list[str], size: int) -> list[str]:
    """Pieces of the corpus of `size` bytes, beginning anywhere."""
    data = "\n".join(documents).encode("utf-8")
    step = len(data) // NUM_TEXTS
    return [
        data[start : start + size].decode("utf-8", "ignore") for start in range(0, NUM_TEXTS * step, step)
    ]


# In a process of its own ----------------------------------------------------------------------------------


def _gristmill(vocabulary: Path) -> Callable[[], Callable[[str], Any]]:
    from gristmill import Tokenizer

    return lambda: Tokenizer.from_file(vocabulary).encode


def _tokenizers(vocabulary: Path) -> Callable[[], Callable[[str], Any]]:
    from tokenizers import Tokenizer

    def create() -> Callable[[str], Any]:
        tokenizer = Tokenizer.from_file(str(vocabulary))
        return lambda text: tokenizer.encode(text, add_special_tokens=False).ids

    return create


def _tiktoken(vocabulary: Path) -> Callable[[], Callable[[str], Any]]:
    """Its vocabulary comes from ranks; reading them out of the JSON is not timed."""
    from peers import Job
    from peers_known import tiktoken_encoding

    encoding, special = tiktoken_encoding(Job(vocabulary, "<|endoftext|>", 1024, 1))
    ranks, pattern = encoding._mergeable_ranks, encoding._pat_str

    def create() -> Callable[[str], Any]:
        encode: Callable[[str], Any] = type(encoding)(
            "again", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special
        ).encode_ordinary
        return encode

    return create


def _fastokens(vocabulary: Path) -> Callable[[], Callable[[str], Any]]:
    from fastokens import Tokenizer

    def create() -> Callable[[str], Any]:
        tokenizer = Tokenizer.from_file(str(vocabulary))
        return lambda text: tokenizer.encode(text).ids

    return create


def _snaptokens(vocabulary: Path) -> Callable[[], Callable[[str], Any]]:
    from snaptokens import Tokenizer

    def create() -> Callable[[str], Any]:
        tokenizer = Tokenizer.from_file(str(vocabulary))
        return lambda text: tokenizer.encode(text).ids

    return create


LIBRARIES = {
    "gristmill": _gristmill,
    "tokenizers": _tokenizers,
    "tiktoken": _tiktoken,
    "fastokens": _fastokens,
    "snaptokens": _snaptokens,
}


def child(job: dict[str, Any]) -> dict[str, Any]:
    """Time creation and calls of one library."""
    pin(1)
    create = LIBRARIES[job["library"]](Path(job["vocabulary"]))
    started = time.perf_counter()
    encode = create()
    creation = time.perf_counter() - started
    return {
        "creation_milliseconds": 1e3 * creation,
        "microseconds": {size: 1e6 * _time_calls(encode, texts) for size, texts in job["texts"].items()},
        "ids": [list(map(int, encode(text))) for texts in job["texts"].values() for text in texts],
    }


def _time_calls(encode: Callable[[str], Any], texts: list[str]) -> float:
    for text in texts:
        encode(text)
    best = float("inf")
    for _ in range(SPELLS):
        count, started = 0, time.perf_counter()
        while (passed := time.perf_counter() - started) < SPELL_SECONDS:
            for text in texts:
                encode(text)
            count += len(texts)
        best = min(best, passed / count)
    return best


def main(arguments: list[str] | None = None) -> int:
    """Run this part alone."""
    return run_part("small", measure, parse(arguments, __doc__))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(json.load(sys.stdin))))
    else:
        sys.exit(main())
