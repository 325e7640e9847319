"""The torch face of the block order: ranks, tensors, labels.

    BlockStream ──groups of world_size blocks──► this rank's block ──► {"input_ids", "labels"}

Every rank reads and encodes the whole stream and keeps its share: that needs no communication, and one state
serves the whole job.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gristmill.corpus import as_source
from gristmill.errors import ConfigError, SourceError, require_extra
from gristmill.ledger import Ledger
from gristmill.options import check_count
from gristmill.order import BlockGroup, BlockStream, RefillEvent as RefillEvent
from gristmill.packing import check_strategy, padding_id
from gristmill.tokenizer import Tokenizer

try:
    import torch
    from torch.utils.data import IterableDataset, get_worker_info
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise require_extra("torch", "train", "ConstantLengthDataset") from error

if TYPE_CHECKING:
    _Base = IterableDataset[dict[str, torch.Tensor]]
else:
    _Base = IterableDataset

# What losses of torch and transformers leave out.
IGNORED_LABEL = -100


class ConstantLengthDataset(_Base):
    """Documents as constant-length samples, finite or without end, with a state to resume from.

    Yields `{"input_ids", "labels"}`, each `(seq_length,)` int64. `labels` equal `input_ids` (stock models
    shift them themselves), -100 where a sample is padded.

    Iterating begins a new pass: at the start, or where the state stands that `load_state_dict` gave since
    the last pass began (once: the pass after that starts anew). A second `iter()` does not continue the
    first; each goes its own way, and `state_dict()`, `ledger` and `epoch` speak of the one begun last.

    Block n of the global order goes to rank n mod world_size, and the state is the same on every rank after
    the same number of samples. A finite pass has the same number of samples on every rank: the last ones are
    filled up with samples of zero weight (all labels -100), which are no part of the ledger. Ranks are never
    guessed: `transformers.Trainer` deals out what rank 0 reads, and wants the default.

    It tokenizes in Rust threads and needs no workers; inside a DataLoader worker it refuses by name. It
    pickles by its arguments and a state loaded but not yet used, not by the place of a pass.
    The fingerprint that `datasets` makes of it is the same in every process; Python's own `hash` tells
    objects apart, not what they hold.

    Args:
        documents: a list or any other `Sequence`, a `datasets` data set (streaming or not), Arrow arrays or
            tables, an object whose `__iter__` starts anew, or an iterator or Arrow stream (one pass: no
            second epoch, no resuming). Rows are texts (`str`, UTF-8 `bytes`) or mappings.
        tokenizer: encodes, and has the EOS that follows every document.
        seq_length: ids in a sample, at least 2.
        text_column: the column of rows that holds the text.
        num_lanes: logical streams that documents are dealt to, 1 to 512; block numbers depend on it. A block
            waits for its lane: where some lanes get longer documents (without shuffling, a corpus whose long
            ones come at regular distances), the tokens of those wait in memory, and the log says so.
        shuffle: permute each window of rows, by `seed` and epoch.
        seed: of the shuffling.
        shuffle_window: rows in a window; a window's texts are held in memory.
        infinite: go on with reshuffled epochs for ever; lanes carry their remainders over.
        final: at the end of a finite corpus "drop" each lane's partial block, or "pad" it.
        on_bad: "error" raises at a row that is no text, "skip" leaves such rows out and counts them.
        num_threads: Rust threads, all cores by default.
        on_refill: called with a `RefillEvent` (documents, bytes, tokens, epoch, window) at each filling of
            the buffer.
        chars_per_token: a hint for the first buffer; nothing but speed depends on it.
        buffer_sequences: samples' worth of tokens, over all ranks, that one filling produces, at least.
        rank, world_size: which share of the global order this object gives.
        strategy: "concatenate". Best-fit packing, which `pack` and `Packer` have, is refused for now.

    Raises:
        TypeError, ValueError: an option is of the wrong type or out of range.
        TokenizerError: the tokenizer has no EOS.
        SourceError: an infinite data set of an iterator; a TypeError.
        MissingColumnError: no such text column. EmptyCorpusError (while iterating): no document.
        BadDocumentError (while iterating): names source, row and value.

    Example:
        >>> from gristmill import train_tokenizer
        >>> tokenizer = train_tokenizer(["def f(x): return x"] * 9, vocab_size=270, show_progress=False)
        >>> data = ConstantLengthDataset(["def f(x):", "return x"], tokenizer, 4, num_lanes=1, final="pad")
        >>> samples = iter(data)
        >>> next(samples)["input_ids"].shape, data.state_dict()["next_block"]
        (torch.Size([4]), 1)
    """

    def __init__(
        self,
        documents: object,
        tokenizer: Tokenizer,
        seq_length: int = 1024,
        text_column: str = "text",
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
        rank: int = 0,
        world_size: int = 1,
        strategy: str = "concatenate",
    ) -> None:
        if check_strategy(strategy) != "concatenate":
            raise ConfigError(
                f"strategy is {strategy!r} (expected 'concatenate': the order of blocks and the state are "
                "defined for it alone so far; pack and Packer pack by best fit)"
            )
        self._documents = documents
        self._tokenizer = tokenizer
        self._options: dict[str, Any] = {
            "num_lanes": num_lanes,
            "shuffle": shuffle,
            "seed": seed,
            "shuffle_window": shuffle_window,
            "infinite": infinite,
            "final": final,
            "on_bad": on_bad,
            "num_threads": num_threads,
            "on_refill": on_refill,
            "chars_per_token": chars_per_token,
            "buffer_sequences": buffer_sequences,
        }
        self._blocks = BlockStream(as_source(documents, text_column), tokenizer, seq_length, **self._options)
        self.seq_length = self._blocks.options.seq_length
        self.text_column = text_column
        self.world_size = check_count("world_size", world_size, 1)
        self.rank = check_count("rank", rank, 0, self.world_size - 1)
        self._unused_state: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        worker = get_worker_info()
        if worker is not None:
            raise SourceError(
                f"ConstantLengthDataset is read inside of DataLoader worker {worker.id} of "
                f"{worker.num_workers}, which would repeat or lose documents (expected num_workers=0: it "
                "tokenizes in threads of its own)"
            )
        self._unused_state = None
        groups = self._blocks.groups(self.world_size)
        return (self._sample(group) for group in groups)

    def _sample(self, group: BlockGroup) -> dict[str, torch.Tensor]:
        """Return this rank's block of a group, a sample of zero weight where the group is short of it."""
        place = (self.rank - group.first) % self.world_size
        if place >= len(group.ids):
            ids = np.full(self.seq_length, padding_id(self._tokenizer), dtype=np.int64)
            num_valid = 0
        else:
            ids = group.ids[place].astype(np.int64)
            num_valid = int(group.num_valid[place])
        labels = ids.copy()
        labels[num_valid:] = IGNORED_LABEL
        return {"input_ids": torch.from_numpy(ids), "labels": torch.from_numpy(labels)}

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that the next pass begins with (0 at first), as samplers of torch have it.

        A finite data set gives the same order in every pass unless it is told another epoch. A loaded state
        goes before it.

        Raises:
            TypeError, ValueError: no count.
        """
        self._blocks.set_epoch(epoch)

    @property
    def epoch(self) -> int:
        """Epoch of the oldest document that is not wholly delivered: so many epochs are done."""
        return self._blocks.epoch

    @property
    def ledger(self) -> Ledger:
        """Where every document and token of the latest pass went, as far as it was read, over all ranks."""
        return self._blocks.ledger

    def state_dict(self) -> dict[str, Any]:
        """Return what all ranks have delivered by now: JSON under 64 KB, without text or world size.

        It may be asked for at any time, before the first sample and after the last one, too. Reading ahead (a
        DataLoader's prefetching) counts as delivered, so ask for it where the samples are used.
        """
        return self._blocks.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Have the next pass continue where `state` was taken, at this or any other world size.

        The corpus must be the one that the state was saved over. Noticed are other rows in the window where
        reading goes on, another number of rows, and other names or sizes of the files that a stream reads;
        not a later row that changed while its file, or the list, kept its size.

        Raises:
            ResumeError: it is no state, or one of another tokenizer or other options (names the field and
                both values), or of a corpus of another size. While iterating: the source's documents are not
                those of the state.
            SourceError: the documents are an iterator, which can be read once only; a TypeError.
        """
        self._blocks.load_state_dict(state)
        self._unused_state = self._blocks.state_dict()

    def __repr__(self) -> str:
        shown = ("seq_length", "num_lanes", "shuffle", "infinite")
        values = ", ".join(f"{name}={getattr(self._blocks.options, name)!r}" for name in shown)
        place = f"rank {self.rank} of {self.world_size}"
        return f"{type(self).__name__}({self._blocks.source.name}, {values}, {place})"

    def __reduce__(self) -> tuple[Callable[..., ConstantLengthDataset], tuple[object, ...]]:
        arguments = {
            "seq_length": self.seq_length,
            "text_column": self.text_column,
            "rank": self.rank,
            "world_size": self.world_size,
            **self._options,
        }
        state = None if self._unused_state is None else json.dumps(self._unused_state, sort_keys=True)
        return _rebuild, (
            type(self),
            self._documents,
            self._tokenizer,
            arguments,
            self._blocks.start_epoch,
            state,
        )


def _rebuild(
    kind: type[ConstantLengthDataset],
    documents: object,
    tokenizer: Tokenizer,
    arguments: dict[str, Any],
    epoch: int,
    state: str | None,
) -> ConstantLengthDataset:
    data = kind(documents, tokenizer, **arguments)
    data.set_epoch(epoch)
    if state is not None:
        data.load_state_dict(json.loads(state))
    return data
