"""Documents to blocks: EOS after each, joined, chopped; and the account of where every token went.

    "ab"  ""  "c"   ──encode──►  a b E  E  c E   ──chop, seq_length 4──►  [a b E E] [c E . .]
                                                                          full       the remainder

The remainder waits for the next documents. At the end, `final="drop"` drops it and `final="pad"` fills it up;
both are counted. This is the order with one lane and no shuffling; `order.py` has the general one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from gristmill import _native
from gristmill.corpus import TextBatch, as_source, check_on_bad, iter_batches
from gristmill.errors import BadDocumentError, EmptyCorpusError
from gristmill.ledger import Ledger as Ledger, count_bad, empty_message
from gristmill.options import check_choice, check_count
from gristmill.token_batch import check_num_threads, check_tokenizer_type, without_eos_inside
from gristmill.tokenizer import Tokenizer

Final = Literal["drop", "pad"]


@dataclass(frozen=True, eq=False)
class PackedBlocks:
    """A whole corpus as blocks.

    Attributes:
        blocks: `(num_blocks, seq_length)`, uint16 where the tokenizer's largest id fits, else uint32.
        num_valid: `(num_blocks,)`, int64: how many ids of each block are real; all but in a padded last one.
        ledger: where every document and token went.
    """

    blocks: NDArray[Any]
    num_valid: NDArray[np.int64]
    ledger: Ledger

    def __len__(self) -> int:
        return len(self.num_valid)

    def __repr__(self) -> str:
        blocks = self.blocks
        return f"PackedBlocks({len(blocks):,} blocks of {blocks.shape[1]:,} {blocks.dtype} ids)"


def pack(
    documents: object,
    tokenizer: Tokenizer,
    seq_length: int = 1024,
    final: str = "drop",
    num_threads: int | None = None,
    *,
    text_column: str = "text",
    on_bad: str = "error",
) -> PackedBlocks:
    """Pack a whole corpus; the result is held in memory (`Packer` and the data set are the bounded forms).

    Args:
        documents: any iterable of texts (`str`, UTF-8 `bytes`), of lists of texts, or of rows with a text
            column; a `datasets` data set, streaming or not.
        tokenizer: encodes, and has the EOS that follows every document.
        seq_length: ids in a block, at least 2.
        final: "drop" the last, partial block, or "pad" it with the tokenizer's padding id (EOS without one).
        num_threads: Rust threads, all cores by default; the blocks never depend on it.
        text_column: the column of rows that holds the text.
        on_bad: "error" raises at the first row that is no text, "skip" leaves such rows out and counts them.

    Raises:
        EmptyCorpusError: there is no document.
        BadDocumentError, MissingColumnError: names source, row and value.
        TokenizerError: the tokenizer has no EOS.
        TypeError, ValueError: an option is of the wrong type or out of range.

    Example:
        >>> from gristmill import train_tokenizer
        >>> tokenizer = train_tokenizer(["def f(x): return x"] * 9, vocab_size=270, show_progress=False)
        >>> packed = pack(["def f(x):", "", "return x"], tokenizer, seq_length=4, final="pad")
        >>> packed.blocks.shape[1], packed.ledger.eos_tokens
        (4, 3)
    """
    packer = Packer(tokenizer, seq_length, final=final, num_threads=num_threads, on_bad=on_bad)
    parts: list[NDArray[Any]] = []
    source = as_source(documents, text_column)
    for batch in iter_batches(source, text_column):
        packer.push_batch(batch)
        parts.append(packer.take_blocks())
    ledger = packer.ledger
    if not ledger.documents_packed:
        raise EmptyCorpusError(empty_message(source.name, ledger.documents_skipped))
    last, last_valid = packer.finish()
    parts.append(last)
    num_valid = np.full(sum(map(len, parts)), packer.seq_length, dtype=np.int64)
    num_valid[len(num_valid) - len(last) :] = last_valid
    return PackedBlocks(_joined(parts), num_valid, packer.ledger.check())


class Packer:
    """Packs piece by piece: push documents or ids, take blocks, the remainder is kept.

    It holds the ids that were pushed and not taken, and the batch at hand; so memory stays bounded as long as
    the blocks are taken between pushes. It pickles with its remainder; a copy goes on by itself.

    Args:
        tokenizer, seq_length, final, num_threads, on_bad: as in `pack`.

    Raises:
        TokenizerError: the tokenizer has no EOS.
        TypeError, ValueError: an option is of the wrong type or out of range.

    Example:
        >>> from gristmill import train_tokenizer
        >>> tokenizer = train_tokenizer(["def f(x): return x"] * 9, vocab_size=270, show_progress=False)
        >>> packer = Packer(tokenizer, seq_length=4)
        >>> packer.push_ids([1, 2, 3, 4, 5])
        >>> packer.take_blocks().tolist(), packer.ledger.tokens_carried
        ([[1, 2, 3, 4]], 2)
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        seq_length: int = 1024,
        *,
        final: str = "drop",
        num_threads: int | None = None,
        on_bad: str = "error",
    ) -> None:
        self.tokenizer = tokenizer
        self.seq_length = check_seq_length(seq_length)
        self.final = check_final(final)
        self.on_bad = check_on_bad(on_bad)
        self.num_threads = num_threads
        self._num_threads = check_num_threads(num_threads)
        self._native = new_packer(tokenizer, self.seq_length)
        self._skipped: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._finished = False

    def push(self, documents: object, text_column: str = "text") -> None:
        """Encode documents and append them, EOS after each; they are read in batches.

        Args:
            documents: as in `pack`; rows are counted from 0 in each call.
            text_column: the column of rows that holds the text.

        Raises:
            BadDocumentError, MissingColumnError: names source, row and value. What came before the bad
                document is in, what comes after it is not.
            ValueError: after `finish`.
        """
        for batch in iter_batches(documents, text_column):
            self.push_batch(batch)

    def push_batch(self, batch: TextBatch) -> None:
        """Encode one batch and append it; see `push`."""
        self._refuse_finished()
        try:
            bad = push_texts(self._native, self.tokenizer, batch.texts, self._num_threads, self.on_bad)
        except BadDocumentError as error:
            push_texts(self._native, self.tokenizer, batch.texts[: error.row], self._num_threads, self.on_bad)
            raise batch.bad_document(error) from None
        count_bad(self._skipped, bad)

    def push_ids(self, ids: Sequence[int] | NDArray[Any]) -> None:
        """Append one document that is encoded already; EOS is put after it.

        Its bytes, in the ledger, are those that the ids stand for; 0 where a tokenizer has no such notion.

        Raises:
            TokenizerError: an id is outside of the vocabulary (which, and where), or `ids` is no sequence of
                integers.
            ValueError: after `finish`.
        """
        self._refuse_finished()
        array = self.tokenizer.checked_ids(ids)
        lengths = self.tokenizer.token_byte_lengths()
        num_bytes = 0 if lengths is None else int(lengths[array].sum(dtype=np.int64))
        self._native.push_documents(
            array, np.array([0, len(array)], dtype=np.int64), np.array([num_bytes], dtype=np.int64)
        )

    @property
    def num_ready_blocks(self) -> int:
        """How many full blocks can be taken now."""
        return self._native.num_ready_blocks

    def take_blocks(self, max_blocks: int | None = None) -> NDArray[Any]:
        """Take full blocks in order, all that are ready or `max_blocks` at most: `(n, seq_length)`."""
        ready = self._native.num_ready_blocks
        if max_blocks is not None:
            ready = min(ready, check_count("max_blocks", max_blocks, 0))
        return self._native.take_blocks(ready)

    def finish(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """End the corpus: give the blocks that are left and how many ids of each are real.

        Returns `(n, seq_length)` and `(n,)`, int64. `final="drop"` drops a partial block, and counts that.

        Raises:
            ValueError: called a second time.
        """
        self._refuse_finished()
        pad = padding_id(self.tokenizer) if self.final == "pad" else None
        blocks, num_valid = self._native.finish(pad)
        self._finished = True
        return blocks, num_valid

    @property
    def ledger(self) -> Ledger:
        """The account so far."""
        counters = self._native.counters
        return Ledger.from_counters(
            {name: count + self._before.get(name, 0) for name, count in counters.items()}, self._skipped
        )

    def __repr__(self) -> str:
        return (
            f"Packer(seq_length={self.seq_length}, final={self.final!r}, {self.ledger.documents_packed:,} "
            f"documents, {self.num_ready_blocks:,} blocks ready)"
        )

    def _refuse_finished(self) -> None:
        if self._finished:
            raise ValueError("the packer is finished (expected no call of push or finish after finish)")

    def __getstate__(self) -> dict[str, Any]:
        # The compiled packer gives its remainder away only by finishing; it is built anew from what it gave.
        # The state does not show how it came about: it pickles, and hashes, the same in every process.
        counters = {name: self._native.counters[name] + self._before.get(name, 0) for name in _COUNTERS}
        remainder = np.empty(0, dtype=self.tokenizer.id_dtype)
        if not self._finished:
            blocks, num_valid = self._native.finish(0)
            remainder = blocks.reshape(-1)[: int(num_valid.sum())]
            self._restore(remainder, counters)
        account = {
            "seq_length": self.seq_length,
            "final": self.final,
            "on_bad": self.on_bad,
            "num_threads": self.num_threads,
            "finished": self._finished,
            "skipped": self._skipped,
            "counters": counters,
        }
        return {
            "tokenizer": self.tokenizer,
            "account": json.dumps(account, sort_keys=True),
            "remainder": remainder.astype("<u4").tobytes(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        account = json.loads(state["account"])
        options = {name: account[name] for name in ("final", "num_threads", "on_bad")}
        self.__init__(state["tokenizer"], account["seq_length"], **options)  # type: ignore[misc]
        self._skipped = account["skipped"]
        remainder = np.frombuffer(state["remainder"], dtype="<u4").astype(self.tokenizer.id_dtype)
        self._restore(remainder, account["counters"])
        self._finished = account["finished"]

    def _restore(self, remainder: NDArray[Any], counters: dict[str, int]) -> None:
        """Take a fresh compiled packer that carries `remainder`, and count on from `counters`."""
        self._native = new_packer(self.tokenizer, self.seq_length)
        if len(remainder):
            # One document in place of those it came from: its last id is the EOS of the last one.
            offsets = np.array([0, len(remainder) - 1], dtype=np.int64)
            self._native.push_documents(remainder[:-1], offsets, np.zeros(1, dtype=np.int64))
        own = self._native.counters
        self._before = {name: count - own[name] for name, count in counters.items()}


_COUNTERS = (
    "documents",
    "bytes",
    "tokens",
    "eos_tokens",
    "tokens_emitted",
    "tokens_carried",
    "tokens_dropped",
    "tokens_padding",
)


def check_seq_length(seq_length: object) -> int:
    """Return `seq_length`, an integer of at least 2 (one to predict from, one to predict).

    Raises:
        TypeError: no whole number. ConfigError: too small; a ValueError.
    """
    return check_count("seq_length", seq_length, 2, 1 << 31)


def check_final(final: object) -> Final:
    """Return `final`, which is "drop" or "pad".

    Raises:
        ConfigError: it is neither; a ValueError.
    """
    return cast(Final, check_choice("final", final, ("drop", "pad")))


def padding_id(tokenizer: Tokenizer) -> int:
    """Return the id that fills a padded block: the tokenizer's own, or EOS where it has none."""
    return tokenizer.require_eos() if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def new_packer(tokenizer: Tokenizer, seq_length: int, num_lanes: int = 1) -> _native.Packer:
    """Build the compiled packer for a tokenizer's ids.

    Raises:
        TokenizerError: the tokenizer has no EOS.
    """
    check_tokenizer_type(tokenizer)
    wide = tokenizer.id_dtype == np.uint32
    return _native.Packer(seq_length, tokenizer.require_eos(), wide, num_lanes)


def push_texts(
    packer: _native.Packer, tokenizer: Tokenizer, texts: Sequence[object], num_threads: int, on_bad: str
) -> list[tuple[int, str]]:
    """Encode texts and append them, on whichever road the tokenizer takes.

    Returns what `on_bad="skip"` left out, as `(index, reason)`.

    Raises:
        BadDocumentError: at the first bad one (`row` is its index); nothing was appended.
    """
    if tokenizer.native is not None:
        return packer.push_texts(tokenizer.native, texts, num_threads, on_bad == "skip")
    encoded = tokenizer.encode_batch(texts, num_threads, on_bad)
    batch = without_eos_inside(encoded, tokenizer.require_eos(), on_bad == "skip")
    left_out = {index for index, _ in batch.bad}
    num_bytes = [_num_bytes(text) for index, text in enumerate(texts) if index not in left_out]
    packer.push_documents(batch.ids, batch.offsets, np.array(num_bytes, dtype=np.int64))
    return list(batch.bad)


def _num_bytes(text: object) -> int:
    return len(text) if isinstance(text, bytes) else len(str(text).encode("utf-8"))


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Join along the first axis, giving each part back once it is copied: one result is held, not two."""
    joined = np.empty((sum(map(len, parts)), parts[0].shape[1]), dtype=parts[0].dtype)
    end = len(joined)
    while parts:
        part = parts.pop()
        joined[end - len(part) : end] = part
        end -= len(part)
    return joined
