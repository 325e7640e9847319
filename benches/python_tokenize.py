"""Not the same output: Python's own `tokenize` on the same files. It gives words and signs, not ids.

It stands in the report because people ask how long "tokenizing Python" takes, and is labelled there.
"""

from __future__ import annotations

import io
import json
import statistics
import sys
import time
import tokenize
from typing import Any

from corpus import MEGABYTE, Corpus
from fresh import pin, run_fresh

SHARE_MEGABYTES = 1
ROUNDS = 3


def measure(corpus: Corpus) -> dict[str, Any]:
    """Give the rate on the first documents of a corpus of Python, one thread, a fresh process a round."""
    documents = corpus.head(SHARE_MEGABYTES).documents
    runs = [run_fresh(__file__, {"documents": documents}) for _ in range(ROUNDS)]
    return {
        "peer": "Python's tokenize",
        "kind": corpus.kind,
        "bytes": runs[0]["bytes"],
        "tokens": runs[0]["tokens"],
        "documents_that_it_refuses": runs[0]["refused"],
        "megabytes_per_second": statistics.median(run["bytes"] / MEGABYTE / run["seconds"] for run in runs),
        "seconds": [run["seconds"] for run in runs],
    }


def child(job: dict[str, Any]) -> dict[str, Any]:
    """Tokenize all documents once."""
    pin(1)
    tokens = refused = 0
    started = time.perf_counter()
    for text in job["documents"]:
        try:
            for _ in tokenize.generate_tokens(io.StringIO(text).readline):
                tokens += 1
        except (tokenize.TokenError, SyntaxError):
            refused += 1
    seconds = time.perf_counter() - started
    num_bytes = sum(len(text.encode("utf-8")) for text in job["documents"])
    return {"seconds": seconds, "bytes": num_bytes, "tokens": tokens, "refused": refused}


if __name__ == "__main__" and sys.argv[1:2] == ["--child"]:
    print(json.dumps(child(json.load(sys.stdin))))
