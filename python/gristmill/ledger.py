"""The ledger: where every document and every token went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# No document is larger, and the sums of them stay far below 2^63.
_MAX_DOCUMENT_BYTES = 1 << 48

# Kinds of bad rows, as ledgers count them, by the first words of the reason.
_BAD_KINDS = {
    "null": "null",
    "a value": "wrong type",
    "a lone": "lone surrogate",
    "invalid": "invalid UTF-8",
    "its text is encoded to the EOS": "EOS in text",
}


@dataclass(frozen=True)
class Ledger:
    """The running account of a packing: nothing is lost silently.

    `documents_read = documents_packed + the sum of documents_skipped` and
    `tokens = tokens_emitted + tokens_carried + tokens_dropped`, at every moment.

    Attributes:
        documents_read: rows taken from the corpus.
        documents_packed: documents among them that were encoded, empty ones included.
        documents_skipped: rows left out by `on_bad="skip"`, by kind ("null", "wrong type", "lone surrogate",
            "invalid UTF-8", and with some models on the slow road "EOS in text").
        bytes: UTF-8 bytes of the packed documents.
        tokens: their tokens, with one EOS each.
        eos_tokens: EOS ids put after documents, one each. Padding is none, nor is EOS inside of pushed ids.
        tokens_emitted: tokens in the blocks handed out.
        tokens_carried: tokens that wait for their block.
        tokens_dropped: tokens of partial blocks that `final="drop"` dropped at the end.
        tokens_padding: ids that only fill up blocks (the last ones, or each one of best-fit packing); no
            tokens of the corpus.

    Example:
        >>> ledger = Ledger(documents_read=1, documents_packed=1, tokens=5, eos_tokens=1, tokens_carried=5)
        >>> ledger.check().to_dict()["tokens"]
        5
    """

    documents_read: int = 0
    documents_packed: int = 0
    documents_skipped: Mapping[str, int] = field(default_factory=dict)
    bytes: int = 0
    tokens: int = 0
    eos_tokens: int = 0
    tokens_emitted: int = 0
    tokens_carried: int = 0
    tokens_dropped: int = 0
    tokens_padding: int = 0

    @property
    def padding_share(self) -> float:
        """Ids of padding / all ids in the blocks handed out: the waste. 0.0 where there are no blocks."""
        return self.tokens_padding / max(self.tokens_emitted + self.tokens_padding, 1)

    @classmethod
    def from_counters(cls, counters: Mapping[str, int], skipped: Mapping[str, int]) -> Ledger:
        """Build from the counters of the compiled packer and the rows it never saw."""
        packed = counters["documents"]
        names = ("bytes", "tokens", "eos_tokens", "tokens_emitted", "tokens_carried", "tokens_dropped")
        return cls(
            documents_read=packed + sum(skipped.values()),
            documents_packed=packed,
            documents_skipped=dict(sorted(skipped.items())),
            tokens_padding=counters["tokens_padding"],
            **{name: counters[name] for name in names},
        )

    def check(self) -> Ledger:
        """Return the ledger itself if it balances.

        Raises:
            ArithmeticError: it does not, which would be a defect of gristmill.
        """
        read = self.documents_packed + sum(self.documents_skipped.values())
        tokens = self.tokens_emitted + self.tokens_carried + self.tokens_dropped
        if self.documents_read != read or self.tokens != tokens or self.eos_tokens != self.documents_packed:
            raise ArithmeticError(f"the ledger does not balance, please report it: {self.to_dict()}")
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the account as JSON has it."""
        return asdict(self) | {"documents_skipped": dict(self.documents_skipped)}

    def __str__(self) -> str:
        skipped = ", ".join(f"{count:,} {kind}" for kind, count in self.documents_skipped.items())
        share = f" ({self.padding_share:.2%})" if self.tokens_padding else ""
        rows = [
            ("documents read", self.documents_read, ""),
            ("  packed", self.documents_packed, f"{self.bytes:,} bytes"),
            ("  skipped", self.documents_read - self.documents_packed, skipped),
            ("tokens", self.tokens, f"{self.eos_tokens:,} of them EOS"),
            ("  in blocks", self.tokens_emitted, f"and {self.tokens_padding:,} ids of padding{share}"),
            ("  carried", self.tokens_carried, "wait for their block" if self.tokens_carried else ""),
            ("  dropped", self.tokens_dropped, "of the last, partial blocks" if self.tokens_dropped else ""),
        ]
        return "\n".join(f"{name:<16}{count:>16,}{'  ' + note if note else ''}" for name, count, note in rows)


def count_bad(skipped: dict[str, int], bad: Sequence[tuple[int, str]]) -> None:
    """Add rows that were left out to a count by kind."""
    for _, reason in bad:
        kind = next((kind for start, kind in _BAD_KINDS.items() if reason.startswith(start)), "wrong type")
        skipped[kind] = skipped.get(kind, 0) + 1


def empty_message(source: str, skipped: Mapping[str, int]) -> str:
    """Say that a corpus has no document, and what was skipped."""
    rows = ", ".join(f"{count} {kind}" for kind, count in skipped.items())
    found = f"only rows that were skipped: {rows}" if rows else "nothing"
    return f"{source} has no document: {found} (expected at least one; an empty text counts)"


def checked_num_bytes(num_bytes: object, num_documents: int) -> NDArray[np.int64]:
    """Return `(num_documents,)` sizes of documents as int64.

    Raises:
        TypeError: no integers. ValueError: not one for each document, or one out of range.

    Example:
        >>> checked_num_bytes([3, -1], 2)
        Traceback (most recent call last):
        ValueError: num_bytes[1] is -1 (expected 0 to 281474976710656)
    """
    sizes = np.asarray(num_bytes)
    if sizes.shape != (num_documents,):
        raise ValueError(
            f"num_bytes has the shape {sizes.shape} (expected ({num_documents},): one for each document)"
        )
    if sizes.size and sizes.dtype.kind not in "iu":
        raise TypeError(f"num_bytes has the dtype {sizes.dtype} (expected an integer type)")
    outside = np.flatnonzero((sizes < 0) | (sizes > _MAX_DOCUMENT_BYTES))
    if outside.size:
        place = int(outside[0])
        raise ValueError(f"num_bytes[{place}] is {sizes[place]} (expected 0 to {_MAX_DOCUMENT_BYTES})")
    return sizes.astype(np.int64)
