"""The global order of blocks, free of torch: windows to lanes to blocks, with a state.

    rows ──window──► documents g = 0, 1, 2, … ──g mod L──► lanes ──EOS, join, chop──► block n,
         permuted    (bad rows get no number)              one remainder a lane       from lane n mod L

Block n is a pure function of the source, the tokenizer, the options, the seed and n: not of how documents
were batched or threaded, how far was read ahead, or how often the run was stopped.

The state is what was delivered: for each lane the document that holds its next token and the place in it, and
the mark of the earliest window that a lane still needs. A resumed run reads from that window on, and throws
away what each lane had delivered.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gristmill.corpus import DocumentSource, check_on_bad
from gristmill.errors import BadDocumentError, ResumeError
from gristmill.ledger import Ledger, count_bad
from gristmill.options import check_choice, check_count, check_flag, check_positive
from gristmill.order_state import OrderOptions, OrderState
from gristmill.packing import check_seq_length, new_packer, padding_id, push_texts
from gristmill.sources import one_pass, refuse_other_extent
from gristmill.token_batch import check_num_threads, check_tokenizer_type
from gristmill.tokenizer import Tokenizer
from gristmill.windows import PLAIN_WINDOW, Window, WindowMark, WindowReader

_logger = logging.getLogger("gristmill.order")

MAX_LANES = 512  # the state has one line a lane, and stays under 64 KB
# Characters encoded at once, at least: fewer would not be worth a call.
_LEAST_CHARACTERS = 1 << 12
# Buffers' worth of tokens (or a mean document in each lane, if that is more) that may wait in the lanes, this
# many times, before the log says so.
_UNEVEN = 16


@dataclass(frozen=True, eq=False)
class Block:
    """One block of the global order.

    Attributes:
        number: its number n in the run.
        ids: `(seq_length,)`, uint16 or uint32.
        num_valid: how many of them are real; fewer than `seq_length` only in a padded last block of a lane.
    """

    number: int
    ids: NDArray[Any]
    num_valid: int


@dataclass(frozen=True, eq=False)
class BlockGroup:
    """Blocks that follow each other.

    Attributes:
        first: number of the first one.
        ids: `(num_blocks, seq_length)`, uint16 or uint32.
        num_valid: `(num_blocks,)`, int64.
    """

    first: int
    ids: NDArray[Any]
    num_valid: NDArray[np.int64]


@dataclass(frozen=True)
class RefillEvent:
    """What one filling of the buffer brought: documents, their bytes, their tokens (EOS counted).

    `epoch` and `window` say where the reader stands; it is ahead of what was delivered.
    """

    documents: int
    bytes: int
    tokens: int
    epoch: int
    window: int


class BlockStream:
    """The blocks of a corpus in their global order.

    Iterating begins a new run at the start (of the epoch given by `set_epoch`), or continues the state that
    was loaded since the last run began. `state_dict`, `ledger` and `epoch` speak of the latest run.

    Args:
        source: where documents come from (`gristmill.corpus.as_source`).
        tokenizer: encodes, and has the EOS that follows every document.
        seq_length and the rest: as `gristmill.ConstantLengthDataset` has them; `buffer_sequences` counts the
            blocks of all ranks.

    Raises:
        TypeError, ValueError: an option is of the wrong type or out of range.
        TokenizerError: the tokenizer has no EOS.
        SourceError: an infinite order of a source that cannot be read twice.

    While iterating: EmptyCorpusError, BadDocumentError, MissingColumnError, and what the source raises.

    Example:
        >>> from gristmill import train_tokenizer
        >>> from gristmill.corpus import as_source
        >>> tokenizer = train_tokenizer(["def f(x): return x"] * 9, vocab_size=270, show_progress=False)
        >>> stream = BlockStream(as_source(["def f(x):", "return x"]), tokenizer, 4, num_lanes=1, final="pad")
        >>> [block.num_valid for block in stream][0]
        4
    """

    def __init__(
        self,
        source: DocumentSource,
        tokenizer: Tokenizer,
        seq_length: int = 1024,
        *,
        num_lanes: int = 16,
        shuffle: bool = False,
        seed: int = 0,
        shuffle_window: int = 4096,
        infinite: bool = False,
        final: str = "drop",
        on_bad: str = "error",
        num_threads: int | None = None,
        on_refill: Callable[[RefillEvent], object] | None = None,
        chars_per_token: float | None = None,
        buffer_sequences: int = 256,
    ) -> None:
        check_tokenizer_type(tokenizer)
        seed = check_count("seed", seed, 0, (1 << 63) - 1)
        shuffle_window = check_count("shuffle_window", shuffle_window, 1)
        shuffled = check_flag("shuffle", shuffle)
        self.options = OrderOptions(
            tokenizer=tokenizer.fingerprint,
            text_column=source.text_column,
            seq_length=check_seq_length(seq_length),
            num_lanes=check_count("num_lanes", num_lanes, 1, MAX_LANES),
            shuffle=shuffled,
            seed=seed if shuffled else None,
            shuffle_window=shuffle_window if shuffled else None,
            infinite=check_flag("infinite", infinite),
            final=check_choice("final", final, ("drop", "pad")),
        )
        if on_refill is not None and not callable(on_refill):
            raise TypeError(f"on_refill is {on_refill!r} (expected a function of one RefillEvent, or None)")
        if infinite and not source.repeatable:
            raise one_pass(source.name, "cannot give a second epoch, which infinite=True needs")
        self.source = source
        self.tokenizer = tokenizer
        self.on_bad = check_on_bad(on_bad)
        self.num_threads = check_num_threads(num_threads)
        self.on_refill = on_refill
        self.chars_per_token = (
            None if chars_per_token is None else check_positive("chars_per_token", chars_per_token)
        )
        self.buffer_sequences = check_count("buffer_sequences", buffer_sequences, 1)
        self._start_epoch = 0
        self._loaded: OrderState | None = None
        self._run = _Run(self, None)

    def __iter__(self) -> Iterator[Block]:
        return (
            Block(group.first, group.ids[0], int(group.num_valid[0])) for group in self.groups(group_size=1)
        )

    def groups(self, group_size: int) -> Iterator[BlockGroup]:
        """Iterate over groups of `group_size` blocks; the last group of a finite corpus may be smaller.

        A group is delivered whole: the state never stands within one.
        """
        self._run = _Run(self, self._loaded)
        self._loaded = None
        if self.source.seek == "none":
            _logger.info("%s cannot seek: resuming would read everything before again", self.source.name)
        return self._run.groups(check_count("group_size", group_size, 1))

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that the next run begins with, if no state is loaded for it."""
        self._start_epoch = check_count("epoch", epoch, 0)
        if not self._run.began:
            self._run = _Run(self, self._loaded)

    @property
    def start_epoch(self) -> int:
        """The epoch that a run begins with."""
        return self._start_epoch

    @property
    def epoch(self) -> int:
        """Epoch of the oldest document that is not wholly delivered: so many epochs are done."""
        return self._run.anchor().epoch

    @property
    def ledger(self) -> Ledger:
        """The account of the latest run, of what was read so far."""
        return self._run.ledger()

    def state_dict(self) -> dict[str, Any]:
        """Return what was delivered, as JSON under 64 KB: no text, no ids, no world size."""
        return self._run.state().to_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Have the next run continue where `state` was taken.

        Raises:
            ResumeError: it is no state, or one of another tokenizer or other options (both values are said).
            SourceError: the source can be read once only.
        """
        loaded = OrderState.from_dict(state, self.options)
        if not self.source.repeatable:
            raise one_pass(self.source.name, "cannot be resumed")
        self._run = _Run(self, loaded)  # checks that the numbers fit each other
        self._loaded = loaded


class _Run:
    """One run through the order, from the start or from a state."""

    def __init__(self, stream: BlockStream, state: OrderState | None) -> None:
        options = stream.options
        self.began = False
        self._stream = stream
        self._packer = new_packer(stream.tokenizer, options.seq_length, options.num_lanes)
        self._extent = stream.source.extent()
        mark = WindowMark(epoch=stream.start_epoch)
        # Blocks that count as delivered although the packer has them still: see `OrderState`.
        self._ahead = 0
        if state is not None:
            refuse_other_extent(stream.source.name, state.corpus, self._extent)
            mark = state.window
            self._ahead = state.blocks_ahead
            self._packer.resume(state.next_block - state.blocks_ahead, mark.first_document, state.lanes)
        self._marks = deque([mark])
        self._skipped = dict(mark.skipped or {})
        num_rows = options.shuffle_window or PLAIN_WINDOW
        self._reader = WindowReader(stream.source, num_rows, options.seed, options.infinite, mark)
        self._window: Window | None = None
        self._next_text = 0
        self._num_characters = self._num_tokens = 0
        self._told_of_uneven_lanes = False
        self._lanes_at_end: list[tuple[int, int, int, int, int]] | None = None
        self._num_valid_at_end = np.empty(0, dtype=np.int64)

    def groups(self, size: int) -> Iterator[BlockGroup]:
        self.began = True
        packer, seq_length = self._packer, self._stream.options.seq_length
        while True:
            while (ready := packer.num_ready_blocks) and (self._ahead or ready >= size):
                if self._ahead:
                    self._ahead -= len(packer.take_blocks(min(ready, self._ahead)))
                    continue
                first = packer.next_block
                yield BlockGroup(first, packer.take_blocks(size), np.full(size, seq_length, dtype=np.int64))
            if not self._refill():
                break
        yield from self._last_groups(size)

    def _last_groups(self, size: int) -> Iterator[BlockGroup]:
        stream, first = self._stream, self._packer.next_block
        pad = padding_id(stream.tokenizer) if stream.options.final == "pad" else None
        lanes = self._packer.lane_positions()
        blocks, num_valid, *_ = self._packer.finish(pad)
        self._lanes_at_end, self._num_valid_at_end = lanes, num_valid
        if self._ahead > len(blocks):
            raise ResumeError(
                f"{stream.source.name} ends after block {first + len(blocks)}, but the state stands at block "
                f"{first + self._ahead} (expected the documents that the state was saved with)"
            )
        while self._ahead < len(blocks):
            start = self._ahead
            self._ahead = min(start + size, len(blocks))
            yield BlockGroup(first + start, blocks[start : self._ahead], num_valid[start : self._ahead])

    def _refill(self) -> bool:
        """Encode until the buffer's worth of tokens is there; False if the corpus has no more."""
        stream, before = self._stream, self._packer.counters
        target = stream.buffer_sequences * stream.options.seq_length
        read_any = False
        while (missing := target - self._packer.counters["tokens"] + before["tokens"]) > 0:
            if (
                self._window is None or self._next_text == len(self._window.texts)
            ) and not self._next_window():
                break
            self._push(missing)
            read_any = True
        self.anchor()
        self._tell_of_uneven_lanes(target)
        if read_any and stream.on_refill is not None:
            after, mark = self._packer.counters, self._marks[-1]
            grown = {name: after[name] - before[name] for name in ("documents", "bytes", "tokens")}
            stream.on_refill(RefillEvent(**grown, epoch=mark.epoch, window=mark.index))
        return read_any

    def _tell_of_uneven_lanes(self, target: int) -> None:
        """Say once that tokens pile up: a block waits for its lane, however much the other lanes have."""
        counters = self._packer.counters
        waiting = counters["tokens_carried"]
        # Part of a document waits in every lane anyway: many lanes alone are not uneven ones.
        expected = self._stream.options.num_lanes * counters["tokens"] // max(counters["documents"], 1)
        if not self._told_of_uneven_lanes and waiting > _UNEVEN * max(target, expected):
            self._told_of_uneven_lanes = True
            _logger.warning(
                "%d tokens wait in the %d lanes, %.0f buffers full, because some lanes get longer documents "
                "than others (shuffle=True spreads them, with num_lanes=1 none wait)",
                waiting,
                self._stream.options.num_lanes,
                waiting / target,
            )

    def _next_window(self) -> bool:
        self._window = self._reader.read(self._packer.next_document, self._skipped)
        self._next_text = 0
        if self._window is None:
            return False
        mark, last = self._window.mark, self._marks[-1]
        if (mark.epoch, mark.index) == (last.epoch, last.index):  # the one that the run began at
            self._marks.pop()
        self._marks.append(mark)
        return True

    def _push(self, missing_tokens: int) -> None:
        """Encode documents of the window that should give about so many tokens, one at least."""
        stream, window = self._stream, self._window
        assert window is not None
        chars_per_token = stream.chars_per_token or 1.0
        if self._num_tokens:
            chars_per_token = self._num_characters / self._num_tokens
        limit = max(_LEAST_CHARACTERS, missing_tokens * chars_per_token)
        first = end = self._next_text
        size = 0
        while end < len(window.texts) and (end == first or size < limit):
            text = window.texts[end]
            size += len(text) if isinstance(text, str | bytes) else 0
            end += 1
        tokens_before = self._packer.counters["tokens"]
        try:
            bad = push_texts(
                self._packer, stream.tokenizer, window.texts[first:end], stream.num_threads, stream.on_bad
            )
        except BadDocumentError as error:
            index = first + (error.row or 0)
            place = stream.source.locate(window.row(index), window.texts[index])
            raise BadDocumentError(*place, error.reason) from None
        count_bad(self._skipped, bad)
        self._next_text = end
        self._num_tokens += self._packer.counters["tokens"] - tokens_before
        self._num_characters += size

    def anchor(self) -> WindowMark:
        """Return the mark of the earliest window that a lane still needs, forgetting those before it."""
        needed = min(lane[0] for lane in self._lanes())
        while len(self._marks) > 1 and self._marks[1].first_document <= needed:
            self._marks.popleft()
        return self._marks[0]

    def state(self) -> OrderState:
        next_block = self._packer.next_block
        if self._lanes_at_end is not None:
            next_block -= len(self._num_valid_at_end)
        return OrderState(
            options=self._stream.options,
            next_block=next_block + self._ahead,
            blocks_ahead=self._ahead,
            lanes=self._lanes(),
            window=self.anchor(),
            corpus=self._extent,
        )

    def ledger(self) -> Ledger:
        counters = dict(self._packer.counters)
        # At the end the packer gives all blocks at once; those that wait for their turn are carried still.
        waiting = self._num_valid_at_end[self._ahead :]
        num_waiting = int(waiting.sum())
        counters["tokens_emitted"] -= num_waiting
        counters["tokens_carried"] += num_waiting
        counters["tokens_padding"] -= len(waiting) * self._stream.options.seq_length - num_waiting
        return Ledger.from_counters(counters, self._skipped)

    def _lanes(self) -> list[tuple[int, int, int, int, int]]:
        return self._packer.lane_positions() if self._lanes_at_end is None else self._lanes_at_end
