"""What a run of the suite is told; every part takes the same options."""

from __future__ import annotations

import argparse
import datetime
import os
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
    parser.add_argument("--rounds", type=int, help="interleaved rounds (default: 5; --quick: 2)")
    parser.add_argument("--megabytes", type=float, help="text of each kind (default: 110; --quick: 4)")
    parser.add_argument("--threads", type=int, nargs="+", help="thread counts (default: 1 and 2)")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, help="kinds of text")
    parser.add_argument("--vocabularies", nargs="+", help="gpt2, trained-N (default: those that count)")
    parser.add_argument("--peers", nargs="+", default=names, choices=names, help="default: all")
    parser.add_argument("--no-lists", action="store_true", help="leave out Python lists of ids")
    parser.add_argument("--output", type=Path, help="folder of the results (default: results/DATE-COMMIT)")
    given = parser.parse_args(arguments)
    cores = len(os.sched_getaffinity(0))
    if given.threads and max(given.threads) > cores:
        parser.error(f"--threads {max(given.threads)}: this process may run on {cores} cores")
    name = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}-{git_commit()}{'-quick' if given.quick else ''}"
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
        output=given.output or HERE / "results" / name,
    )
