"""Best-fit packing, and the documents' bounds in blocks of either strategy."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from tests import block_order

from gristmill.blocks import BlockBatch, PackedBlocks
from gristmill.errors import ConfigError
from gristmill.packing import Packer, pack
from gristmill.tokenizer import Tokenizer

TEXTS = st.lists(st.text("ab é", max_size=40) | block_order.texts, min_size=1, max_size=14)

# A block as the references have it: ids without padding, and (document, number of ids) of each segment.
Block = tuple[list[int], list[tuple[int, int]]]


def with_eos(texts: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    return [[*tokenizer.encode(text).tolist(), tokenizer.require_eos()] for text in texts]


def concatenated(documents: list[list[int]], length: int) -> list[Block]:
    """Join and chop, the slow way; the last block may be partial."""
    stream = [(number, token) for number, document in enumerate(documents) for token in document]
    blocks: list[Block] = []
    for start in range(0, len(stream), length):
        segments: dict[int, int] = {}
        for number, _ in stream[start : start + length]:
            segments[number] = segments.get(number, 0) + 1
        blocks.append(([token for _, token in stream[start : start + length]], list(segments.items())))
    return blocks


def best_fit(documents: list[list[int]], length: int, window: int) -> list[Block]:
    """Best-fit decreasing by looking at every block for every piece."""
    done: list[Block] = []
    for first in range(0, len(documents), window):
        pieces: list[tuple[int, list[int]]] = []
        for number, document in enumerate(documents[first : first + window], first):
            starts = range(0, len(document), length)
            pieces += [(number, document[start : start + length]) for start in starts]
        done += [(ids, [(number, length)]) for number, ids in pieces if len(ids) == length]
        blocks: list[Block] = []
        used: list[Block] = []  # the one used last comes last
        for number, ids in sorted(
            (piece for piece in pieces if len(piece[1]) < length), key=lambda piece: -len(piece[1])
        ):
            fitting = [block for block in used if len(block[0]) + len(ids) <= length]
            if fitting:
                fullest = max(len(block[0]) for block in fitting)
                block = [block for block in fitting if len(block[0]) == fullest][-1]
                used = [other for other in used if other is not block]
            else:
                block = ([], [])
                blocks.append(block)
            block[0].extend(ids)
            block[1].append((number, len(ids)))
            used.append(block)
        done += blocks
    return done


def blocks_of(batch: BlockBatch) -> list[Block]:
    """Take a batch apart, by its bounds."""
    blocks: list[Block] = []
    documents = iter(batch.segment_documents.tolist())
    for number, (ids, num_valid) in enumerate(
        zip(batch.blocks.tolist(), batch.num_valid.tolist(), strict=True)
    ):
        bounds = batch.block_cu_seqlens(number).tolist()
        assert (bounds[0], bounds[-1]) == (0, num_valid)
        segments = [(next(documents), end - start) for start, end in pairwise(bounds)]
        blocks.append((ids[:num_valid], segments))
    assert not list(documents)
    return blocks


def check_types(batch: BlockBatch, tokenizer: Tokenizer) -> None:
    assert batch.blocks.dtype == tokenizer.id_dtype
    assert batch.cu_seqlens.dtype == batch.position_ids.dtype == np.int32
    assert (
        batch.cu_seqlens_offsets.dtype == batch.segment_documents.dtype == batch.num_valid.dtype == np.int64
    )


def check_positions(batch: BlockBatch) -> None:
    seq_length = batch.blocks.shape[1]
    expected = []
    for number in range(len(batch)):
        bounds = batch.block_cu_seqlens(number).tolist()
        lengths = [end - start for start, end in pairwise(bounds)]
        expected.append([place for length in [*lengths, seq_length - bounds[-1]] for place in range(length)])
    assert batch.position_ids.tolist() == expected


def test_a_small_corpus_with_literal_bounds(tiny_tokenizer: Tokenizer) -> None:
    b, c, eos = (tiny_tokenizer.token_to_id(text) for text in ("b", "c", "<|endoftext|>"))
    documents = ["cb", "", "b", "cbcbcb"]
    packed = pack(documents, tiny_tokenizer, 4, strategy="best_fit")
    assert packed.blocks.tolist() == [[c, b, c, b], [c, b, eos, eos], [c, b, eos, eos], [b, eos, eos, eos]]
    assert packed.num_valid.tolist() == [4, 3, 4, 2]
    assert packed.cu_seqlens.tolist() == [0, 4, 0, 3, 0, 3, 4, 0, 2]
    assert packed.cu_seqlens_offsets.tolist() == [0, 2, 4, 7, 9]
    assert packed.segment_documents.tolist() == [3, 0, 3, 1, 2]
    assert packed.position_ids.tolist() == [[0, 1, 2, 3], [0, 1, 2, 0], [0, 1, 2, 0], [0, 1, 0, 1]]
    ledger = packed.ledger
    assert (ledger.tokens, ledger.tokens_emitted, ledger.tokens_padding) == (13, 13, 3)
    assert ledger.padding_share == 3 / 16
    joined = pack(documents, tiny_tokenizer, 4, "pad")
    assert joined.cu_seqlens.tolist() == [0, 3, 4, 0, 2, 4, 0, 4, 0, 1]
    assert joined.segment_documents.tolist() == [0, 1, 2, 3, 3, 3]
    assert joined.position_ids.tolist() == [[0, 1, 2, 0], [0, 1, 0, 1], [0, 1, 2, 3], [0, 0, 1, 2]]


def test_padding_is_the_padding_token_or_eos(tiny_tokenizer: Tokenizer) -> None:
    with_pad = Tokenizer.from_str(tiny_tokenizer.to_str(), pad_token="a")
    for tokenizer, filler in (
        (with_pad, with_pad.token_to_id("a")),
        (tiny_tokenizer, tiny_tokenizer.eos_token_id),
    ):
        assert pack(["b"], tokenizer, 5, strategy="best_fit").blocks[0, 2:].tolist() == [filler] * 3


@settings(max_examples=1000)
@given(
    texts=TEXTS,
    length=st.integers(2, 30),
    window=st.integers(1, 6) | st.just(8192),
    fit=st.booleans(),
    draw=st.data(),
)
def test_blocks_and_bounds_equal_the_slow_reference(
    tiny_tokenizer: Tokenizer, texts: list[str], length: int, window: int, fit: bool, draw: st.DataObject
) -> None:
    """However documents are pushed and blocks are taken, with copies that go on anywhere."""
    documents = with_eos(texts, tiny_tokenizer)
    expected = best_fit(documents, length, window) if fit else concatenated(documents, length)
    options: dict[str, Any] = {
        "final": "pad",
        "strategy": "best_fit" if fit else "concatenate",
        "window": window,
        "num_threads": draw.draw(st.integers(1, 2), label="threads"),
    }
    packed = pack(texts, tiny_tokenizer, length, **options)
    assert blocks_of(packed) == expected
    check_types(packed, tiny_tokenizer)
    check_positions(packed)
    assert packed.ledger.check().tokens_padding == packed.blocks.size - sum(map(len, documents))
    # Every token of every document once, in order.
    found: list[list[int]] = [[] for _ in texts]
    for ids, segments in blocks_of(packed):
        rest = iter(ids)
        for number, num_ids in segments:
            found[number] += [next(rest) for _ in range(num_ids)]
    assert found == documents

    packer = Packer(tiny_tokenizer, length, **options)
    taken: list[BlockBatch] = []
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(texts)), max_size=4), label="cuts"))
    for start, end in pairwise([0, *cuts, len(texts)]):
        way = draw.draw(st.integers(0, 2), label="way")
        if way == 0:
            packer.push(texts[start:end])
        elif way == 1:
            for document in documents[start:end]:
                packer.push_ids(document[:-1])
        else:
            batch = tiny_tokenizer.encode_batch(texts[start:end])
            packer.push_documents(batch.ids, batch.offsets, [len(text.encode()) for text in texts[start:end]])
        taken.append(packer.take(draw.draw(st.none() | st.integers(0, 3), label="taken")))
        packer.ledger.check()
        if draw.draw(st.booleans(), label="copied"):
            packer = pickle.loads(pickle.dumps(packer))  # noqa: S301
    taken.append(packer.finish())
    assert [block for batch in taken for block in blocks_of(batch)] == expected
    assert packer.ledger == packed.ledger
    joined = PackedBlocks.joined(taken, packer.ledger)
    assert joined.cu_seqlens.tolist() == packed.cu_seqlens.tolist()
    assert joined.blocks.tolist() == packed.blocks.tolist()


def test_a_packer_of_either_strategy_pickles_the_same_twice(tiny_tokenizer: Tokenizer) -> None:
    packer = Packer(tiny_tokenizer, 8, on_bad="skip", strategy="best_fit", window=3)
    packer.push(["a b c", None, "d" * 30, "e", "f"])
    pickled = pickle.dumps(packer)
    assert pickle.dumps(pickle.loads(pickled)) == pickle.dumps(copy.deepcopy(packer)) == pickled  # noqa: S301
    assert pickle.loads(pickled).ledger == packer.ledger  # noqa: S301
    packer.take()
    packer.finish()
    with pytest.raises(ValueError, match="finished"):
        pickle.loads(pickle.dumps(packer)).push(["a"])  # noqa: S301


def test_full_pieces_come_at_once_and_the_rest_with_the_window(tiny_tokenizer: Tokenizer) -> None:
    packer = Packer(tiny_tokenizer, 4, strategy="best_fit", window=2)
    packer.push_ids([1, 2, 3, 4, 5])
    assert packer.take().blocks.tolist() == [[1, 2, 3, 4]]
    assert (packer.num_ready_blocks, packer.ledger.tokens_carried) == (0, 2)
    packer.push_ids([6])
    assert packer.num_ready_blocks == 1
    assert packer.take().cu_seqlens.tolist() == [0, 2, 4]


def test_what_gives_ids_alone_is_refused(tiny_tokenizer: Tokenizer) -> None:
    packer = Packer(tiny_tokenizer, 4, strategy="best_fit")
    with pytest.raises(ConfigError, match=r"take_blocks gives ids alone.*expected take"):
        packer.take_blocks()
    with pytest.raises(ConfigError, match="pack_documents gives ids alone"):
        packer.pack_documents(np.array([1], np.uint16), [0, 1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "bfd"}, r"strategy is 'bfd' \(expected 'concatenate' or 'best_fit'\)"),
        ({"strategy": None}, "strategy is None"),
        ({"window": 0}, "window is 0"),
        ({"window": (1 << 24) + 1}, "window is 16777217"),
        (
            {"strategy": "best_fit", "seq_length": (1 << 20) + 1},
            "seq_length is 1048577 .expected at most 1048576",
        ),
    ],
)
def test_options_out_of_range_are_named(
    tiny_tokenizer: Tokenizer, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        pack(["a"], tiny_tokenizer, **options)


def test_the_data_set_refuses_it_by_name(tiny_tokenizer: Tokenizer) -> None:
    from gristmill.dataset import ConstantLengthDataset

    with pytest.raises(ConfigError, match=r"strategy is 'best_fit' \(expected 'concatenate'"):
        ConstantLengthDataset(["a"], tiny_tokenizer, strategy="best_fit")
    assert next(iter(ConstantLengthDataset(["a"], tiny_tokenizer, 2, strategy="concatenate", num_lanes=1)))
