"""Encode the standard library on the slow road, in a process whose thread count is set outside.

Prints the digests of the ids as JSON; with --compare, checks them against `tokenizers` used directly.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import samples

from gristmill.tokenizer import TokenBatch, Tokenizer


def main(tokenizer_file: str, compare: bool) -> None:
    tokenizer = Tokenizer.from_file(tokenizer_file)
    texts, _ = samples.standard_library()
    few = texts[::5]
    batches = [tokenizer.encode_batch(texts), tokenizer.encode_batch([text.encode() for text in few])]
    if compare:
        reference = samples.reference(tokenizer.to_str())
        for batch, documents in zip(batches, (texts, few), strict=True):
            for index, text in enumerate(documents):
                expected = reference.encode(text, add_special_tokens=False).ids
                assert batch[index].tolist() == expected, f"document {index}: {text[:200]!r}"
    result = {
        "digests": [digest(batch) for batch in batches],
        "engine": str(tokenizer.engine),
        "tokens": len(batches[0].ids),
        "compared": compare,
    }
    print(json.dumps(result))


def digest(batch: TokenBatch) -> str:
    return hashlib.sha256(batch.ids.tobytes() + batch.offsets.tobytes()).hexdigest()


if __name__ == "__main__":
    main(sys.argv[1], "--compare" in sys.argv)
