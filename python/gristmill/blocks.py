"""Blocks of token ids, how many of them are real, and where the documents in them begin and end.

    block 0: a b E c     block 1: d E . .       a b E is document 0, c d E document 1; the dots are padding

    cu_seqlens          0 3 4  0 2              bounds of each block's segments, in places of the block
    cu_seqlens_offsets  0      3   5            where each block's begin
    segment_documents     0 1    1              the document of each segment
    position_ids        0 1 2 0   0 1 0 1       places since the segment's start; padding counts as one

A segment is what one block holds of one document. The bounds are stored when a block is made, never inferred
from EOS, which may stand inside of a text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gristmill.ledger import Ledger


@dataclass(frozen=True, eq=False, repr=False)
class BlockBatch:
    """Blocks that follow each other.

    Attributes:
        blocks: `(num_blocks, seq_length)`, uint16 where the tokenizer's largest id fits, else uint32.
        num_valid: `(num_blocks,)`, int64: how many ids of each block are real; the others are padding.
        cu_seqlens: `(num_segments + num_blocks,)`, int32: for each block 0, then the end of each segment, as
            attention over sequences of various lengths takes it ("cumulative sequence lengths").
        cu_seqlens_offsets: `(num_blocks + 1,)`, int64: block b has
            `cu_seqlens[cu_seqlens_offsets[b]:cu_seqlens_offsets[b + 1]]`, which ends with `num_valid[b]`.
        segment_documents: `(num_segments,)`, int64: the document of each segment, by its number among those
            that were packed, from 0.

    Example:
        >>> one = np.array([[7, 8, 9, 5]], np.uint16)
        >>> bounds = np.array([0, 3, 4], np.int32)
        >>> batch = BlockBatch(one, np.array([4]), bounds, np.array([0, 3]), np.array([0, 1]))
        >>> batch.block_cu_seqlens(0).tolist(), batch.position_ids.tolist()
        ([0, 3, 4], [[0, 1, 2, 0]])
    """

    blocks: NDArray[Any]
    num_valid: NDArray[np.int64]
    cu_seqlens: NDArray[np.int32]
    cu_seqlens_offsets: NDArray[np.int64]
    segment_documents: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.num_valid)

    def __repr__(self) -> str:
        blocks, name = self.blocks, type(self).__name__
        return f"{name}({len(blocks):,} blocks of {blocks.shape[1]:,} {blocks.dtype} ids)"

    def block_cu_seqlens(self, block: int) -> NDArray[np.int32]:
        """Return the bounds of one block's segments: `(its segments + 1,)`, int32.

        Raises:
            IndexError: there is no such block.
        """
        number = range(len(self))[block]
        return self.cu_seqlens[self.cu_seqlens_offsets[number] : self.cu_seqlens_offsets[number + 1]]

    @property
    def position_ids(self) -> NDArray[np.int32]:
        """The place of each id in its segment: `(num_blocks, seq_length)`, int32, made anew at each call.

        They begin with 0 in each segment, so a document that a block cuts begins with 0 again in the next
        one. Padding counts as a segment of its own: the zeros are just the starts.
        """
        num_blocks, seq_length = self.blocks.shape
        places = np.arange(num_blocks * seq_length, dtype=np.int64)
        is_start = np.zeros(num_blocks * seq_length + 1, dtype=bool)
        block_of = np.repeat(np.arange(num_blocks), np.diff(self.cu_seqlens_offsets))
        # The end of a full block is the start of the next one, which is a start anyway.
        is_start[block_of * seq_length + self.cu_seqlens] = True
        starts = np.maximum.accumulate(np.where(is_start[:-1], places, 0))
        return (places - starts).astype(np.int32).reshape(num_blocks, seq_length)


@dataclass(frozen=True, eq=False, repr=False)
class PackedBlocks(BlockBatch):
    """A whole corpus as blocks: a `BlockBatch` with the account.

    Attributes:
        ledger: where every document and token went, and the share of padding.
    """

    ledger: Ledger

    @classmethod
    def joined(cls, parts: list[BlockBatch], ledger: Ledger) -> PackedBlocks:
        """Join batches; `parts` is emptied, so that one result is held, not two."""
        num_valid = np.concatenate([part.num_valid for part in parts])
        cu_seqlens = np.concatenate([part.cu_seqlens for part in parts])
        lengths = np.concatenate([np.diff(part.cu_seqlens_offsets) for part in parts])
        segment_documents = np.concatenate([part.segment_documents for part in parts])
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        blocks = np.empty((len(num_valid), parts[0].blocks.shape[1]), dtype=parts[0].blocks.dtype)
        end = len(blocks)
        while parts:
            part = parts.pop().blocks
            blocks[end - len(part) : end] = part
            end -= len(part)
        return cls(blocks, num_valid, cu_seqlens, offsets, segment_documents, ledger)
