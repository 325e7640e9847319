"""The saved state of a block order: what it holds, and what is checked before it is used."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from gristmill.errors import ResumeError
from gristmill.sources import Extent
from gristmill.windows import WindowMark, check_number

STATE_VERSION = 2
_LANE_FIELDS = ("document", "offset", "documents", "bytes", "tokens")


@dataclass(frozen=True)
class OrderOptions:
    """All that block numbers depend on, the corpus apart; a state is refused where one of them differs."""

    tokenizer: str
    """Fingerprint of the tokenizer."""
    text_column: str
    seq_length: int
    num_lanes: int
    shuffle: bool
    seed: int | None
    """None where nothing is shuffled, as `shuffle_window`."""
    shuffle_window: int | None
    infinite: bool
    final: str


@dataclass(frozen=True)
class OrderState:
    """What a run has delivered.

    Attributes:
        options: of the run.
        next_block: number of the first block that was not delivered.
        blocks_ahead: how many of the delivered blocks come after what `lanes` says. 0 until the corpus has
            ended; then the lanes' last blocks are handed out, and `lanes` stays what it was before them.
        lanes: for each lane the number of the document that holds its next token, the token's place in it,
            and the documents, bytes and tokens (EOS counted) of the lane before that document.
        window: the earliest window that a lane still needs.
        corpus: how large the corpus was, as far as its source knew (`gristmill.sources`).
    """

    options: OrderOptions
    next_block: int
    blocks_ahead: int
    lanes: list[tuple[int, int, int, int, int]]
    window: WindowMark
    corpus: Extent

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it; nothing in it is shared with the run."""
        state = {
            "version": STATE_VERSION,
            "options": asdict(self.options),
            "next_block": self.next_block,
            "blocks_ahead": self.blocks_ahead,
            "lanes": [list(lane) for lane in self.lanes],
            "window": self.window.to_dict(),
            "corpus": self.corpus,
        }
        plain: dict[str, Any] = json.loads(json.dumps(state))
        return plain

    @classmethod
    def from_dict(cls, saved: object, options: OrderOptions) -> OrderState:
        """Read a state back for a run with `options`.

        Raises:
            ResumeError: it is no state, or one of other options; names the field, and both values.
        """
        expected = ["blocks_ahead", "corpus", "lanes", "next_block", "options", "version", "window"]
        if not isinstance(saved, dict):
            raise ResumeError(
                f"the state is of type {type(saved).__name__} (expected an object: a state_dict)"
            )
        if saved.get("version") != STATE_VERSION:
            raise ResumeError(
                f"the state has the version {saved.get('version')!r} (expected {STATE_VERSION})"
            )
        if sorted(saved) != expected:
            raise ResumeError(f"the state has the fields {sorted(saved)} (expected {expected})")
        _check_options(saved["options"], options)
        next_block = check_number("next_block", saved["next_block"])
        blocks_ahead = check_number("blocks_ahead", saved["blocks_ahead"])
        corpus = saved["corpus"]
        if not isinstance(corpus, dict):
            raise ResumeError(f"the state has corpus = {corpus!r:.100} (expected an object)")
        for name, value in corpus.items():
            if name != "names":
                check_number(f"corpus.{name}", value)
        if blocks_ahead > next_block:
            raise ResumeError(f"the state has blocks_ahead = {blocks_ahead} of {next_block} blocks in all")
        return cls(
            options,
            next_block,
            blocks_ahead,
            _lanes(saved["lanes"], options),
            WindowMark.from_dict(saved["window"]),
            corpus,
        )


def _check_options(saved: object, options: OrderOptions) -> None:
    own = asdict(options)
    names = [each.name for each in fields(OrderOptions)]
    if not isinstance(saved, dict) or sorted(saved) != sorted(names):
        raise ResumeError(f"the state's options are {saved!r:.300} (expected {names})")
    for name in names:
        if saved[name] != own[name] or type(saved[name]) is not type(own[name]):
            found, expected = saved[name], own[name]
            if name == "tokenizer":
                found, expected = f"fingerprint {found!s:.16}…", f"fingerprint {expected!s:.16}…"
            raise ResumeError(
                f"the state was saved with {name} = {found!r:.100}, but here it is {expected!r}"
            )


def _lanes(saved: object, options: OrderOptions) -> list[tuple[int, int, int, int, int]]:
    if not isinstance(saved, list) or len(saved) != options.num_lanes:
        raise ResumeError(f"the state's lanes are {saved!r:.200} (expected {options.num_lanes} of them)")
    lanes = []
    for number, lane in enumerate(saved):
        if not isinstance(lane, list) or len(lane) != len(_LANE_FIELDS):
            raise ResumeError(f"lane {number} of the state is {lane!r:.200} (expected {_LANE_FIELDS})")
        values = [
            check_number(f"lanes[{number}].{name}", value)
            for name, value in zip(_LANE_FIELDS, lane, strict=True)
        ]
        document, offset, documents, num_bytes, tokens = values
        lanes.append((document, offset, documents, num_bytes, tokens))
    return lanes
