"""Documents to blocks: EOS after each, joined, chopped; and the account of where every token went.

    "ab"  ""  "c"   ──encode──►  a b E  E  c E   ──chop, seq_length 4──►  [a b E E] [c E . .]
                                                                          full       the remainder

The remainder waits for the next documents. At the end, `final="drop"` drops it and `final="pad"` fills it up;
both are counted. This is the order with one lane and no shuffling; `order.py` has the general one.

`strategy="best_fit"` puts whole documents side by side instead, and pads each block:

    "ab"  ""  "c"   ──encode──►  a b E  E  c E   ──longest first, seq_length 4──►  [a b E E] [c E . .]

Past 500 lines, because half of them are the docstrings of `Packer`, whose methods share one state.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from gristmill import _native
from gristmill.blocks import BlockBatch as BlockBatch, PackedBlocks as PackedBlocks
from gristmill.corpus import TextBatch, as_source, check_on_bad, iter_batches
from gristmill.errors import BadDocumentError, ConfigError, EmptyCorpusError, TokenizerError
from gristmill.ledger import Ledger as Ledger, checked_num_bytes, count_bad, empty_message
from gristmill.options import check_choice, check_count
from gristmill.token_batch import check_num_threads, check_tokenizer_type, without_eos_inside
from gristmill.tokenizer import Tokenizer

Final = Literal["drop", "pad"]
Strategy = Literal["concatenate", "best_fit"]

# Documents that best-fit packing sorts at once: at most this many blocks' worth of ids wait.
DEFAULT_WINDOW = 8192
_MAX_WINDOW = 1 << 24
_MAX_BEST_FIT_LENGTH = 1 << 20


def pack(
    documents: object,
    tokenizer: Tokenizer,
    seq_length: int = 1024,
    final: str = "drop",
    num_threads: int | None = None,
    *,
    text_column: str = "text",
    on_bad: str = "error",
    strategy: str = "concatenate",
    window: int = DEFAULT_WINDOW,
) -> PackedBlocks:
    """Pack a whole corpus; the result is held in memory (`Packer` and the data set are the bounded forms).

    Args:
        documents: any iterable of texts (`str`, UTF-8 `bytes`), of lists of texts, or of rows with a text
            column; a `datasets` data set, streaming or not; Arrow arrays, tables and readers, which are read
            where they lie.
        tokenizer: encodes, and has the EOS that follows every document.
        seq_length: ids in a block, at least 2.
        final: "drop" the last, partial block, or "pad" it with the tokenizer's padding id (EOS without one).
            Best-fit blocks are padded always, and nothing is dropped.
        num_threads: Rust threads, all cores by default; the blocks never depend on it.
        text_column: the column of rows that holds the text.
        on_bad: "error" raises at the first row that is no text, "skip" leaves such rows out and counts them.
        strategy: "concatenate" joins all documents and chops (what TRL calls "wrapped"): no padding, but most
            blocks begin inside of a document. "best_fit" puts whole documents side by side, by best-fit
            decreasing in a window (TRL's "bfd"), and pads each block; documents longer than a block are cut
            into full blocks and a rest, which is fitted.
        window: documents that best-fit packing holds and sorts at once, 1 to 2**24. At most `window` times
            `seq_length` ids wait; larger windows waste less.

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
    packer = Packer(
        tokenizer,
        seq_length,
        final=final,
        num_threads=num_threads,
        on_bad=on_bad,
        strategy=strategy,
        window=window,
    )
    parts: list[BlockBatch] = []
    source = as_source(documents, text_column)
    for batch in iter_batches(source, text_column):
        packer.push_batch(batch)
        parts.append(packer.take())
    ledger = packer.ledger
    if not ledger.documents_packed:
        raise EmptyCorpusError(empty_message(source.name, ledger.documents_skipped))
    parts.append(packer.finish())
    return PackedBlocks.joined(parts, packer.ledger.check())


class Packer:
    """Packs piece by piece: push documents or ids, take blocks, the remainder is kept.

    It holds the ids that were pushed and not taken, and the batch at hand; so memory stays bounded as long as
    the blocks are taken between pushes. It pickles with its remainder; a copy goes on by itself.
    The pickled bytes are the same in every process, and so is the fingerprint that `datasets` makes of it;
    Python's own `hash` tells objects apart, not what they hold.

    The blocks are a function of the documents' order and the options alone, not of how documents were batched
    or when blocks were taken. Best-fit packing gives the blocks of a window when the window is full, and full
    blocks of a long document at once.

    Args:
        tokenizer, seq_length, final, num_threads, on_bad, strategy, window: as in `pack`.

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
        strategy: str = "concatenate",
        window: int = DEFAULT_WINDOW,
    ) -> None:
        self.tokenizer = tokenizer
        self.seq_length = check_seq_length(seq_length)
        self.strategy = check_strategy(strategy)
        self.window = check_count("window", window, 1, _MAX_WINDOW)
        self.final = check_final(final)
        self.on_bad = check_on_bad(on_bad)
        self.num_threads = num_threads
        self._num_threads = check_num_threads(num_threads)
        self._native = self._new_native()
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

    def push_documents(
        self,
        ids: NDArray[Any],
        offsets: Sequence[int] | NDArray[Any],
        num_bytes: Sequence[int] | NDArray[Any] | None = None,
    ) -> None:
        """Append many documents that are encoded already; EOS is put after each.

        Args:
            ids: `(num_tokens,)`, integers: all documents behind one another, as in a `TokenBatch`.
            offsets: `(num_documents + 1,)`: document d is `ids[offsets[d]:offsets[d + 1]]`. Ids before the
                first and behind the last belong to none, as in Arrow.
            num_bytes: `(num_documents,)`, their bytes for the ledger; 0 each where it is not given.

        Raises:
            TokenizerError: an id is outside of the vocabulary (which, and where), or `ids` is no array of
                integers.
            TypeError, ValueError: offsets that are no such bounds, a number of bytes that is none, or after
                `finish`. Nothing was appended.
        """
        self._refuse_finished()
        array = self.tokenizer.checked_ids(ids)
        bounds = np.asarray(offsets)
        num_documents = max(bounds.size - 1, 0)
        sizes = np.zeros(num_documents, np.int64)
        if num_bytes is not None:
            sizes = checked_num_bytes(num_bytes, num_documents)
        self._native.push_documents(array, bounds, sizes)

    def pack_documents(
        self,
        ids: NDArray[Any],
        offsets: Sequence[int] | NDArray[Any],
        num_bytes: Sequence[int] | NDArray[Any] | None = None,
        *,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Append many documents that are encoded already, and take all blocks that are full then.

        The same as `push_documents` and `take_blocks`, with one copy of each id in place of two, straight to
        `out`: about as fast as memory is copied where the same `out` is used again and again. For
        `strategy="concatenate"` alone.

        Args:
            ids: `(num_tokens,)`; without a copy where it is contiguous and of `tokenizer.id_dtype`.
            offsets, num_bytes: as in `push_documents`.
            out: `(n, seq_length)`, contiguous, of `tokenizer.id_dtype`: takes the blocks. If none waited, at
                most `(ids.size + num_documents) // seq_length + 1` are full. A new array by default.

        Returns:
            `(num_blocks, seq_length)`: the first rows of `out`.

        Raises:
            TokenizerError, ValueError: as `push_documents`; `out` is of another shape or type, or too small.
                Nothing was appended; `out` may be overwritten.

        Example:
            >>> from gristmill import train_tokenizer
            >>> tokenizer = train_tokenizer(["def f(x): return x"] * 9, vocab_size=270, show_progress=False)
            >>> packer, out = Packer(tokenizer, seq_length=4), np.empty((2, 4), tokenizer.id_dtype)
            >>> packer.pack_documents(np.array([7, 8, 9, 5, 6], np.uint16), [0, 3, 5], out=out).tolist()
            [[7, 8, 9, 0]]
        """
        self._refuse_finished()
        native = self._concatenating("pack_documents")
        array = np.asarray(ids)
        has_gaps = len(self.tokenizer) <= self.tokenizer.max_token_id
        if has_gaps or array.ndim != 1 or array.dtype.kind not in "iu":
            array = self.tokenizer.checked_ids(
                ids
            )  # finds what is wrong, or ids between others that are none
        if out is None:
            num_tokens = array.size + len(offsets) + native.counters["tokens_carried"]
            out = np.empty((num_tokens // self.seq_length, self.seq_length), self.tokenizer.id_dtype)
        self._check_out(out)
        sizes = None if num_bytes is None else checked_num_bytes(num_bytes, max(len(offsets) - 1, 0))
        try:
            count = native.pack_documents(array, offsets, sizes, self.tokenizer.max_token_id, out)  # type: ignore[arg-type]
        except TokenizerError:
            self.tokenizer.checked_ids(array)  # says where, too
            raise
        return out[:count]

    @property
    def num_ready_blocks(self) -> int:
        """How many blocks can be taken now."""
        return self._native.num_ready_blocks

    def take(self, max_blocks: int | None = None) -> BlockBatch:
        """Take blocks in order, all that are ready or `max_blocks` at most, with the documents' bounds."""
        return self._batch(self._native.take_with_segments(self._num_taken(max_blocks)))

    def take_blocks(self, max_blocks: int | None = None, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Take full blocks in order, all that are ready or `max_blocks` at most: `(n, seq_length)`.

        Best-fit blocks need their bounds, so only `take` gives them.

        Args:
            max_blocks: take no more than these.
            out: `(n, seq_length)`, contiguous, of `tokenizer.id_dtype`: takes the blocks, n of them at most.
                The first rows of it are returned.

        Raises:
            ValueError: `out` is of another shape or type; `strategy="best_fit"`.
        """
        native = self._concatenating("take_blocks")
        ready = self._num_taken(max_blocks)
        if out is None:
            return native.take_blocks(ready)
        self._check_out(out)
        return out[: native.take_into(out[:ready])]

    def finish(self) -> BlockBatch:
        """End the corpus: give the blocks that are left, and how many ids of each are real.

        `final="drop"` drops a partial block, and counts that. Best-fit packing packs its last window.

        Raises:
            ValueError: called a second time.
        """
        self._refuse_finished()
        if isinstance(self._native, _native.BestFitPacker):
            left = self._native.finish()
        else:
            left = self._native.finish(padding_id(self.tokenizer) if self.final == "pad" else None)
        self._finished = True
        return self._batch(left)

    @property
    def ledger(self) -> Ledger:
        """The account so far."""
        return Ledger.from_counters(self._counters(), self._skipped)

    def _new_native(self) -> _native.Packer | _native.BestFitPacker:
        if self.strategy == "concatenate":
            return new_packer(self.tokenizer, self.seq_length)
        check_tokenizer_type(self.tokenizer)
        eos, wide = self.tokenizer.require_eos(), self.tokenizer.id_dtype == np.uint32
        if self.seq_length > _MAX_BEST_FIT_LENGTH:
            raise ConfigError(
                f"seq_length is {self.seq_length} (expected at most {_MAX_BEST_FIT_LENGTH} with "
                'strategy="best_fit")'
            )
        return _native.BestFitPacker(self.seq_length, eos, padding_id(self.tokenizer), wide, self.window)

    def _concatenating(self, method: str) -> _native.Packer:
        if isinstance(self._native, _native.BestFitPacker):
            raise ConfigError(
                f"{method} gives ids alone, and strategy is 'best_fit', whose blocks end with padding "
                "(expected take, which gives num_valid and cu_seqlens, too)"
            )
        return self._native

    def _num_taken(self, max_blocks: int | None) -> int:
        ready = self._native.num_ready_blocks
        return ready if max_blocks is None else min(ready, check_count("max_blocks", max_blocks, 0))

    def _check_out(self, out: NDArray[Any]) -> None:
        shape, dtype = getattr(out, "shape", None), getattr(out, "dtype", None)
        if (
            shape is None
            or len(shape) != 2
            or shape[1] != self.seq_length
            or dtype != self.tokenizer.id_dtype
        ):
            raise ValueError(
                f"out is {type(out).__name__} of shape {shape} and dtype {dtype} (expected an array of shape "
                f"(n, {self.seq_length}) and dtype {self.tokenizer.id_dtype})"
            )

    def _batch(
        self,
        arrays: tuple[
            NDArray[Any], NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]
        ],
    ) -> BlockBatch:
        batch = BlockBatch(*arrays)
        # A copy that was unpickled counts its documents from the first one that it carried.
        batch.segment_documents[:] += self._before.get("documents", 0)
        return batch

    def _counters(self) -> dict[str, int]:
        return {name: count + self._before.get(name, 0) for name, count in self._native.counters.items()}

    def __repr__(self) -> str:
        return (
            f"Packer(seq_length={self.seq_length}, final={self.final!r}, {self.ledger.documents_packed:,} "
            f"documents, {self.num_ready_blocks:,} blocks ready)"
        )

    def _refuse_finished(self) -> None:
        if self._finished:
            raise ValueError("the packer is finished (expected no call of push or finish after finish)")

    def __getstate__(self) -> dict[str, Any]:
        # The state does not show how it came about: it pickles, and hashes, the same in every process.
        account = {
            "seq_length": self.seq_length,
            "final": self.final,
            "on_bad": self.on_bad,
            "num_threads": self.num_threads,
            "strategy": self.strategy,
            "window": self.window,
            "finished": self._finished,
            "skipped": self._skipped,
            "counters": self._counters(),
        }
        return {
            "tokenizer": self.tokenizer,
            "account": json.dumps(account, sort_keys=True),
            "carried": [
                part.astype(part.dtype.newbyteorder("<")).tobytes() if isinstance(part, np.ndarray) else part
                for part in self._carried()
            ],
        }

    def _carried(self) -> list[Any]:
        """Return what the compiled packer carries, as arrays and numbers."""
        if isinstance(self._native, _native.BestFitPacker):
            ids, documents, lengths, blocks, counts = self._native.state()
            return [ids, documents, lengths, *blocks, counts]
        if self._finished:
            return [np.empty(0, self.tokenizer.id_dtype), np.empty(0, np.int64)]
        # It gives its remainder away only by finishing; it is built anew from what it gave.
        counters = self._counters()
        left = BlockBatch(*self._native.finish(0))
        ids = left.blocks.reshape(-1)[: int(left.num_valid.sum())]
        # Segments are lengths of documents, cut at blocks; ends of blocks are no ends of documents.
        ends = np.delete(left.cu_seqlens, left.cu_seqlens_offsets[:-1])
        starts = np.delete(left.cu_seqlens, left.cu_seqlens_offsets[1:] - 1)
        lengths = np.bincount(
            left.segment_documents - left.segment_documents[:1], weights=ends - starts
        ).astype(np.int64)
        self._restore([ids, lengths], counters)
        return [ids, lengths]

    def __setstate__(self, state: dict[str, Any]) -> None:
        account = json.loads(state["account"])
        options = {name: account[name] for name in _OPTIONS}
        self.__init__(state["tokenizer"], account["seq_length"], **options)  # type: ignore[misc]
        self._skipped = account["skipped"]
        own, number, small = self.tokenizer.id_dtype.newbyteorder("<"), np.dtype("<i8"), np.dtype("<i4")
        kinds = [own, number] if self.strategy == "concatenate" else [own, number, number, own, number, small]
        kinds += [number] * (len(state["carried"]) - len(kinds))
        carried = [
            np.frombuffer(part, kind).astype(kind.newbyteorder("=")) if isinstance(part, bytes) else part
            for part, kind in zip(state["carried"], kinds, strict=True)
        ]
        self._restore(carried, account["counters"])
        self._finished = account["finished"]

    def _restore(self, carried: list[Any], counters: dict[str, int]) -> None:
        """Take a fresh compiled packer that carries what another one did, and count on from `counters`."""
        self._native = self._new_native()
        if isinstance(self._native, _native.BestFitPacker):
            ids, documents, lengths, blocks, *bounds, counts = carried
            lists = [part.tolist() for part in bounds]
            self._native.set_state(
                (ids, documents.tolist(), lengths.tolist(), (blocks, *lists), tuple(counts))
            )
            return
        ids, lengths = carried
        # Without the EOS at each document's end, which the packer puts there.
        texts = np.delete(ids, np.cumsum(lengths) - 1)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths - 1)])
        self._native.push_documents(texts, offsets, np.zeros(len(lengths), dtype=np.int64))
        own = self._native.counters
        self._before = {name: count - own[name] for name, count in counters.items()}


_OPTIONS = ("final", "num_threads", "on_bad", "strategy", "window")


def check_seq_length(seq_length: object) -> int:
    """Return `seq_length`, an integer of at least 2 (one to predict from, one to predict).

    Raises:
        TypeError: no whole number. ConfigError: too small; a ValueError.
    """
    return check_count("seq_length", seq_length, 2, (1 << 31) - 1)


def check_final(final: object) -> Final:
    """Return `final`, which is "drop" or "pad".

    Raises:
        ConfigError: it is neither; a ValueError.
    """
    return cast(Final, check_choice("final", final, ("drop", "pad")))


def check_strategy(strategy: object) -> Strategy:
    """Return `strategy`, which is "concatenate" or "best_fit".

    Raises:
        ConfigError: it is neither; a ValueError.
    """
    return cast(Strategy, check_choice("strategy", strategy, ("concatenate", "best_fit")))


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
    packer: _native.Packer | _native.BestFitPacker,
    tokenizer: Tokenizer,
    texts: Sequence[object],
    num_threads: int,
    on_bad: str,
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
