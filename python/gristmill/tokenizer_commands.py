"""`gristmill tokenizer inspect`: parses and prints, no logic."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

TOKENIZER_HELP = (
    "a folder, a tokenizer.json, hub:OWNER/NAME, or gpt2 (from the hub); NAME=PLACE gives it a name"
)


def add_inspect(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `inspect`."""
    parser.add_argument("tokenizers", nargs="+", metavar="TOKENIZER", help=TOKENIZER_HELP)
    text = parser.add_mutually_exclusive_group(required=True)
    text.add_argument("--text", help="the text to split")
    text.add_argument("--file", metavar="PATH", help="a file whose text is split; - reads the standard input")
    parser.add_argument(
        "--whole-byte-table", action="store_true", help="list all 256 bytes, also those the text lacks"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    from gristmill.inspection import inspect_text
    from gristmill.tokenizer_loading import load_named_tokenizers

    text: str | bytes = options.text
    if options.file is not None:
        text = sys.stdin.buffer.read() if options.file == "-" else Path(options.file).read_bytes()
    named = load_named_tokenizers(options.tokenizers)
    inspection = inspect_text(named, text, whole_byte_table=options.whole_byte_table)
    print(json.dumps(inspection.to_dict(), ensure_ascii=False) if options.json else inspection)
    return 0
