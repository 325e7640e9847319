"""Generated strings beside `tokenizers`: `python benches/exactness.py [--count N] [--seed N]`.

    seed ──► strings ──┬──► tokenizers, once for each pattern ──────────┐
                       │                                                ├──► equal, or the string is shown
    hypothesis ────────┴──► gristmill, on every instruction set ────────┘

One string in 100 is drawn by hypothesis, which makes a string that differs as short as it can. The suite runs
this with fewer strings before it prints any figure (part `exact`); alone it makes a million of them, each
encoded with every pattern on every instruction set, on one thread and on two in turn.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from generated_texts import generated_texts
from vocabularies import vocabulary_file

if TYPE_CHECKING:
    import tokenizers

    from gristmill import Tokenizer
    from options import Options

INSTRUCTIONS = ("avx512", "avx2", "portable")
SPLITTINGS = ("gpt2", "cl100k", "llama3", "qwen2", "o200k", "code")
SUITE_COUNT, QUICK_COUNT = 50_000, 5_000
BATCH = 2_000
# Of all strings, one in so many is drawn by hypothesis, some at a time.
HYPOTHESIS_SHARE, HYPOTHESIS_BATCH = 100, 20
VOCAB_SIZE = 8_000


@dataclass(frozen=True)
class Setup:
    """One tokenizer: that of `tokenizers`, and ours on each instruction set that this machine has."""

    name: str
    reference: tokenizers.Tokenizer
    engines: dict[str, Tokenizer]


@dataclass
class Count:
    """What was compared."""

    strings: int = 0
    drawn_by_hypothesis: int = 0
    num_bytes: int = 0
    tokens: dict[str, int] = field(default_factory=dict)


def setups(*, installed: bool) -> list[Setup]:
    """GPT-2's own vocabulary, and one trained here for each splitting."""
    from corpus import read_corpus
    from gristmill import train_tokenizer

    files = {"GPT-2's own": vocabulary_file("gpt2", "python").read_text(encoding="utf-8")}
    texts = read_corpus("python", "held_out", megabytes=4, installed=installed).documents
    for splitting in SPLITTINGS:
        trained = train_tokenizer(texts, VOCAB_SIZE, splitting=splitting, show_progress=False)
        files[splitting] = trained.to_tokenizers().to_str()
    return [make_setup(name, tokenizer_json) for name, tokenizer_json in files.items()]


def make_setup(name: str, tokenizer_json: str) -> Setup:
    """Load a `tokenizer.json` both ways. Raises ValueError where our own engine does not cover it."""
    import tokenizers

    from gristmill import Tokenizer

    reference = tokenizers.Tokenizer.from_str(tokenizer_json)
    reference.encode_special_tokens = True
    reference.no_truncation()
    reference.no_padding()
    engines = {}
    for instructions in INSTRUCTIONS:
        with _environment("GRISTMILL_INSTRUCTIONS", instructions):
            try:
                engine = Tokenizer.from_str(tokenizer_json)
            except ValueError as error:
                if "GRISTMILL_INSTRUCTIONS" in str(error) and instructions != "portable":
                    continue  # this machine lacks them
                raise
        if str(engine.engine) != "gristmill":
            raise ValueError(
                f"{name} takes the road {engine.engine} ({engine.engine.reason}; expected gristmill)"
            )
        engines[instructions] = engine
    return Setup(name, reference, engines)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def compare(setup: Setup, texts: list[str], num_threads: int) -> int:
    """Compare all ids of some strings; gives their number. AssertionError tells a string that differs."""
    expected = [
        encoding.ids for encoding in setup.reference.encode_batch_fast(texts, add_special_tokens=False)
    ]
    lengths = np.fromiter(map(len, expected), np.int64, len(expected))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    flat = np.fromiter(itertools.chain.from_iterable(expected), np.uint32, int(offsets[-1]))
    for instructions, engine in setup.engines.items():
        found = engine.encode_batch(texts, num_threads=num_threads)
        if np.array_equal(found.offsets, offsets) and np.array_equal(found.ids, flat):
            continue
        wrong = next(i for i, ids in enumerate(expected) if found[i].tolist() != ids)
        raise AssertionError(
            f"{setup.name}, {instructions}, {num_threads} threads: {texts[wrong]!r} gives "
            f"{found[wrong].tolist()} (expected {expected[wrong]})"
        )
    return len(flat)


def compare_generated(
    all_setups: list[Setup], count: int, seed: int, *, show: Callable[[str], None]
) -> Count:
    """Compare `count` strings with every setup, those of hypothesis among them."""
    done = Count()
    by_hypothesis = count // HYPOTHESIS_SHARE
    token_texts = _token_texts(all_setups[0].reference)
    started = shown = time.perf_counter()
    for number in range(-(-(count - by_hypothesis) // BATCH)):
        size = min(BATCH, count - by_hypothesis - number * BATCH)
        _compare_all(all_setups, generated_texts(size, f"{seed}/{number}", token_texts), number, done)
        if time.perf_counter() - shown > 20:
            shown = time.perf_counter()
            show(f"{done.strings:,} strings equal after {shown - started:.0f} s")
    _draw_by_hypothesis(all_setups, by_hypothesis, seed, done)
    return done


def _compare_all(all_setups: list[Setup], texts: list[str], number: int, done: Count) -> None:
    for setup in all_setups:
        num_tokens = compare(setup, texts, 1 + number % 2)
        done.tokens[setup.name] = done.tokens.get(setup.name, 0) + num_tokens
    done.strings += len(texts)
    done.num_bytes += sum(len(text.encode("utf-8")) for text in texts)


def _draw_by_hypothesis(all_setups: list[Setup], count: int, seed: int, done: Count) -> None:
    import hypothesis
    from hypothesis import strategies

    if not count:
        return
    from generated_texts import APOSTROPHES, CONTRACTED, MARKS, SIGNS, WHITE_SPACE

    fragments = strategies.sampled_from(
        (*WHITE_SPACE, *APOSTROPHES, *CONTRACTED, *MARKS, *SIGNS, "a", "Z", "é", "1")
    )
    mixed = strategies.lists(fragments, max_size=20).map("".join)
    lists = strategies.lists(
        strategies.one_of(strategies.text(max_size=40), mixed),
        min_size=HYPOTHESIS_BATCH,
        max_size=HYPOTHESIS_BATCH,
    )

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=-(-count // HYPOTHESIS_BATCH),
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(lists)
    def check(texts: list[str]) -> None:
        _compare_all(all_setups, texts, len(texts[0]), done)
        done.drawn_by_hypothesis += len(texts)

    check()


def _token_texts(reference: tokenizers.Tokenizer) -> list[str]:
    """The tokens that are whole characters, as text, in the order of their ids."""
    texts = (
        reference.decode([token_id]) for token_id in range(reference.get_vocab_size(with_added_tokens=False))
    )
    return [text for text in texts if text and "\ufffd" not in text]


def measure(options: Options) -> dict[str, Any]:
    """The suite's part: ends the run where ids differ, so that nothing is timed."""
    from report import header

    count = QUICK_COUNT if options.quick else SUITE_COUNT
    try:
        result = run(count, 1, installed=options.quick)
    except AssertionError as error:
        raise SystemExit(f"ids differ, so nothing is timed: {error}") from error
    versions = {name: importlib.metadata.version(name) for name in ("tokenizers", "hypothesis")}
    return header("exact", versions) | result


def run(count: int, seed: int, *, installed: bool) -> dict[str, Any]:
    """Compare, and say what was compared."""
    started = time.perf_counter()
    all_setups = setups(installed=installed)
    done = compare_generated(all_setups, count, seed, show=lambda line: print(line, flush=True))
    return {
        "strings": done.strings,
        "drawn_by_hypothesis": done.drawn_by_hypothesis,
        "megabytes": round(done.num_bytes / 1e6, 1),
        "seed": seed,
        "instructions": list(all_setups[0].engines),
        "tokens": done.tokens,
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> int:
    """Run this alone; prints JSON with date, commit and machine."""
    from report import header

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1_000_000, help="strings (default: a million)")
    parser.add_argument("--seed", type=int, default=1, help="other strings for another seed")
    parser.add_argument("--installed", action="store_true", help="train on installed packages: no download")
    given = parser.parse_args()
    if given.count < 1:
        parser.error(f"--count {given.count} (expected 1 or more)")
    versions = {name: importlib.metadata.version(name) for name in ("tokenizers", "hypothesis")}
    result = run(given.count, given.seed, installed=given.installed)
    print(json.dumps(header("exact", versions) | result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
