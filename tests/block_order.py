"""The order of blocks written down a second time, slowly and with lists alone: what tests compare with.

rows ─► windows, permuted by key ─► good documents g = 0, 1, … ─► lane g mod L ─► chunks ─► blocks in turn
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from gristmill import _native
from gristmill.corpus import as_source
from gristmill.order import BlockStream
from gristmill.tokenizer import Tokenizer

# What is no text, by kind as ledgers count it.
BAD_ROWS: dict[str, list[object]] = {
    "null": [None],
    "wrong type": [7, ["a"], 2.5],
    "lone surrogate": ["a\ud800", "\udfff"],
    "invalid UTF-8": [b"\xff", b"ab\xc3"],
}


@dataclass(frozen=True)
class Options:
    """The options that block numbers depend on."""

    seq_length: int
    num_lanes: int = 1
    window: int | None = None  # None: not shuffled
    seed: int = 0
    final: str = "drop"


def is_text(row: object) -> bool:
    return not any(any(row is bad or row == bad for bad in bads) for bads in BAD_ROWS.values())


def ordered_rows(num_rows: int, epoch: int, options: Options) -> list[int]:
    """Give the rows of an epoch in the order of the run."""
    if options.window is None:
        return list(range(num_rows))
    order: list[int] = []
    for index, start in enumerate(range(0, num_rows, options.window)):
        size = min(options.window, num_rows - start)
        order += (start + _native.permutation(options.seed, "window", epoch, index, size)).tolist()
    return order


def lanes_of(
    rows: list[object],
    epochs: list[int],
    encode: Callable[[object], list[int]],
    eos: int,
    options: Options,
) -> list[list[int]]:
    """Give each lane's tokens after whole epochs."""
    lanes: list[list[int]] = [[] for _ in range(options.num_lanes)]
    number = 0
    for epoch in epochs:
        for row in ordered_rows(len(rows), epoch, options):
            if is_text(rows[row]):
                lanes[number % options.num_lanes] += [*encode(rows[row]), eos]
                number += 1
    return lanes


def finite_blocks(lanes: list[list[int]], options: Options, pad: int) -> list[tuple[list[int], int]]:
    """Give all blocks of a finite corpus as `(ids, num_valid)`; a lane without more is skipped."""
    length = options.seq_length
    chunks = [[lane[at : at + length] for at in range(0, len(lane), length)] for lane in lanes]
    if options.final == "drop":
        chunks = [[chunk for chunk in lane if len(chunk) == length] for lane in chunks]
    blocks = []
    for turn in range(max(map(len, chunks))):
        for lane in chunks:
            if turn < len(lane):
                chunk = lane[turn]
                blocks.append((chunk + [pad] * (length - len(chunk)), len(chunk)))
    return blocks


def endless_blocks(lanes: list[list[int]], options: Options) -> list[list[int]]:
    """Give the blocks that are settled once the lanes have these tokens, up to the first one lacking."""
    blocks: list[list[int]] = []
    length = options.seq_length
    while True:
        lane, turn = lanes[len(blocks) % options.num_lanes], len(blocks) // options.num_lanes
        if len(lane) < (turn + 1) * length:
            return blocks
        blocks.append(lane[turn * length : (turn + 1) * length])


texts = st.text(alphabet="ab \nÄ🎉", max_size=9)
bad_rows = st.sampled_from([bad for bads in BAD_ROWS.values() for bad in bads])
rows = st.lists(st.one_of(texts, texts, texts.map(str.encode), bad_rows), max_size=14)
orders = st.builds(
    Options,
    seq_length=st.integers(2, 7),
    num_lanes=st.integers(1, 4),
    window=st.none() | st.integers(1, 6),
    seed=st.integers(0, (1 << 63) - 1),
    final=st.sampled_from(["drop", "pad"]),
)


class Rows:
    """An iterable that starts anew each time and says nothing else: no length, no index."""

    def __init__(self, rows: Iterable[object]) -> None:
        self.rows = list(rows)

    def __iter__(self) -> Iterator[object]:
        return iter(self.rows)


class CountedRows(Sequence[object]):
    """A sequence that counts how many rows were asked for."""

    def __init__(self, rows: Iterable[object]) -> None:
        self.rows = list(rows)
        self.num_read = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        self.num_read += 1
        return self.rows[index]


def stream_of(rows: object, tokenizer: Tokenizer, options: Options, **more: Any) -> BlockStream:
    return BlockStream(
        as_source(rows),
        tokenizer,
        options.seq_length,
        num_lanes=options.num_lanes,
        shuffle=options.window is not None,
        seed=options.seed,
        shuffle_window=options.window or 4096,
        **{"final": options.final, "on_bad": "skip", "num_threads": 1} | more,
    )


def shuffled_stream(tokenizer: Tokenizer, **more: Any) -> BlockStream:
    rows = more.pop("rows", [f"document {number}" for number in range(50)])
    text_column = more.pop("text_column", "text")
    options = {"seq_length": 8, "num_lanes": 2, "shuffle": True, "seed": 1, "shuffle_window": 10}
    return BlockStream(as_source(rows, text_column), tokenizer, **options | more)
