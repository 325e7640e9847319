"""The benchmark suite: `python benches/packing_speed.py [--quick] [--only cells worst small …]`.

    exact      ids of generated strings, on every instruction set
    cells      documents to blocks, beside every peer
    worst      one huge document of one kind of character; ever-new words
    small      encode of one short text, creating a tokenizer, importing
    training   training a tokenizer
    measuring  measuring a tokenizer, beside encoding
    packing    packing ids that are ready, and best-fit

Equality of ids is checked before anything is timed: `exact` runs first in any case, once a run, and each part
checks its own text besides. Each part writes its JSON into the folder of the run,
and a later call with the same --output adds to it; tables and plot are made from what is there. README.md
beside this file has the method.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

from options import PARTS, parse
from report import run_part, write_summary

MODULES = {
    "exact": "exactness",
    "cells": "cells",
    "worst": "worst_cases",
    "small": "small_calls",
    "training": "training_speed",
    "measuring": "measuring_speed",
    "packing": "packing_alone",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the parts that were asked for, one after the other."""
    options = parse(arguments, __doc__)
    for part in PARTS:
        is_due = part == "exact" and not (Path(options.output) / "exact.json").exists()
        if part in options.only or is_due:
            started = time.perf_counter()
            print(f"\n=== {part} ===", flush=True)
            if importlib.util.find_spec(MODULES[part]) is None:
                print(f"{MODULES[part]}.py is not here")
                continue
            run_part(part, importlib.import_module(MODULES[part]).measure, options)
            print(f"{part}: {time.perf_counter() - started:.0f} s")
    print(f"\n{write_summary(Path(options.output))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
