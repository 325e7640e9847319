"""Documents to blocks, beside every peer: `python benches/cells.py [--quick] [--kinds prose] …`.

{python, prose} × {vocabulary trained on other files, GPT-2's} × {1 thread, 2 threads}: the cells that count
vocabulary of 5,096, and Python lists of ids instead of blocks: reported beside, in fewer rounds
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import python_tokenize
from corpus import MEGABYTE, read_corpus
from options import Options, parse
from peers import PEERS
from report import header, run_part
from rounds import Cell, run_cell
from vocabularies import describe, vocabulary_file

MAIN_VOCABULARIES = ("trained-32768", "gpt2")
BESIDE_VOCABULARY = "trained-5096"
BESIDE_ROUNDS = 3


def measure(options: Options) -> dict[str, Any]:
    """Measure all cells that were asked for."""
    cells, vocabularies, others = [], {}, []
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.kinds:
            corpus = read_corpus(kind, megabytes=options.megabytes, installed=options.quick)
            print(f"{kind}: {len(corpus.documents):,} documents, {corpus.num_bytes / MEGABYTE:.1f} MB")
            if kind == "python" and options.lists:
                others.append(python_tokenize.measure(corpus))
            for vocabulary in options.vocabularies or (*MAIN_VOCABULARIES, BESIDE_VOCABULARY):
                file = vocabulary_file(vocabulary, kind, installed=options.quick)
                vocabularies[f"{kind}, {vocabulary}"] = describe(file)
                for num_threads in options.threads:
                    cells += _measure(Cell(corpus, vocabulary, file, num_threads), options, Path(folder))
                    if options.lists and (kind, vocabulary) == ("python", MAIN_VOCABULARIES[0]):
                        cells += _measure(
                            Cell(corpus, vocabulary, file, num_threads, True), options, Path(folder)
                        )
    versions = {
        name: version
        for cell in cells
        for peer in cell["peers"]
        for name, version in peer["versions"].items()
    }
    return header("cells", versions) | {
        "vocabularies": vocabularies,
        "not_the_same_output": others,
        "cells": cells,
    }


def _measure(cell: Cell, options: Options, folder: Path) -> list[dict[str, Any]]:
    peers = [peer for peer in PEERS if peer.name in options.peers]
    rounds = options.rounds
    if cell.lists or cell.vocabulary == BESIDE_VOCABULARY:
        rounds = min(rounds, BESIDE_ROUNDS)
    if cell.lists:
        peers = [peer for peer in peers if peer.competes or peer.name == "gristmill"]
    return [run_cell(cell, peers, rounds, folder, may_download=not options.quick)]


def main(arguments: list[str] | None = None) -> int:
    """Run this part alone."""
    return run_part("cells", measure, parse(arguments, __doc__))


if __name__ == "__main__":
    sys.exit(main())
