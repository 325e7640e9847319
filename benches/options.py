"""What a run of the suite is told; every part takes the same options."""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

from corpus import KINDS

HERE = Path(__file__).resolve().parent
PARTS = ("exact", "cells", "worst", "small", "training", "measuring", "packing")


@dataclass(frozen=True)
class Options:
    """The options of a run.

    Attributes:
        quick: text of the installed packages, few megabytes and rounds: no download, under three minutes.
        only: the parts to run.
        rounds: interleaved rounds.
        megabytes: size of the text of each kind; None for all there is (prose) or 110 (Python).
        threads: thread counts.
        kinds, vocabularies, peers: which cells, and who is in them. No vocabulary: those that count.
        lists: also measure Python lists of ids.
        output: the folder of the run's results.
    """

    quick: bool
    only: tuple[str, ...]
    rounds: int
    megabytes: float
    threads: tuple[int, ...]
    kinds: tuple[str, ...]
    vocabularies: tuple[str, ...]
    peers: tuple[str, ...]
    lists: bool
    output: Path


def whole_number(text: str) -> int:
    """Read a number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} (expected 1 or more)")
    return number


def positive_number(text: str) -> float:
    """Read a finite number above 0."""
    number = float(text)
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"{text} (expected a number above 0)")
    return number


def vocabulary_name(text: str) -> str:
    """Read the name of a vocabulary."""
    if text != "gpt2" and not re.fullmatch(r"trained-[1-9][0-9]{2,6}", text):
        raise argparse.ArgumentTypeError(f"{text!r} (expected gpt2 or trained-N, as in trained-32768)")
    return text


def _folder(path: Path) -> str | None:
    """Why results cannot be put there; None where they can. Better now than after the measuring."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        for place in sorted(path.glob("*.json")):
            json.loads(place.read_text(encoding="utf-8"))
    except OSError as error:
        return f"{path}: {error.strerror}"
    except ValueError as error:
        return f"{place} is no JSON: {error}"
    return None


def parse(arguments: list[str] | None, description: str | None) -> Options:
    """Read the command line of the suite or of one part."""
    from peers import PEERS
    from report import git_commit

    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = tuple(peer.name for peer in PEERS)
    parser.add_argument(
        "--quick", action="store_true", help="what is installed; no download; under 3 minutes"
    )
    parser.add_argument("--only", nargs="+", default=PARTS, choices=PARTS, help="parts to run (default: all)")
    parser.add_argument("--rounds", type=whole_number, help="interleaved rounds (default: 5; --quick: 2)")
    parser.add_argument(
        "--megabytes", type=positive_number, help="text of each kind (default: 110; --quick: 4)"
    )
    parser.add_argument("--threads", type=whole_number, nargs="+", help="thread counts (default: 1 and 2)")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, help="kinds of text")
    parser.add_argument(
        "--vocabularies", type=vocabulary_name, nargs="+", help="gpt2, trained-N (default: those that count)"
    )
    parser.add_argument("--peers", nargs="+", default=names, choices=names, help="default: all")
    parser.add_argument("--no-lists", action="store_true", help="leave out Python lists of ids")
    parser.add_argument("--output", type=Path, help="folder of the results (default: results/DATE-COMMIT)")
    given = parser.parse_args(arguments)
    cores = len(os.sched_getaffinity(0))
    if given.threads and max(given.threads) > cores:
        parser.error(f"--threads {max(given.threads)}: this process may run on {cores} cores")
    name = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}-{git_commit()}{'-quick' if given.quick else ''}"
    output = given.output or HERE / "results" / name
    reason = _folder(output)
    if reason is not None:
        parser.error(f"--output {reason}")
    return Options(
        quick=given.quick,
        only=tuple(given.only),
        rounds=given.rounds or (2 if given.quick else 5),
        megabytes=given.megabytes or (4 if given.quick else 110),
        threads=tuple(given.threads or sorted({1, min(2, cores)})),
        kinds=tuple(given.kinds),
        vocabularies=tuple(given.vocabularies or (("gpt2",) if given.quick else ())),
        peers=tuple(given.peers),
        lists=not (given.no_lists or given.quick),
        output=output,
    )
