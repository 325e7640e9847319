"""One corpus of 50 texts as sources of `datasets`, shared by the tests of sources and of batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import datasets

NUM_ROWS = 50
TEXTS = [f"text {number}" for number in range(NUM_ROWS)]


def _rows(shards: list[int]) -> Iterator[dict[str, str]]:
    for shard in shards:
        yield from ({"text": text} for text in TEXTS[shard * 10 : shard * 10 + 10])


def generated_stream() -> Any:
    return datasets.IterableDataset.from_generator(_rows, gen_kwargs={"shards": list(range(5))})


def table() -> Any:
    return datasets.Dataset.from_dict({"text": TEXTS, "n": list(range(NUM_ROWS))})
