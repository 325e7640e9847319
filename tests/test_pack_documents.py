"""Ready ids to blocks: `Packer.pack_documents`, `push_documents` and buffers of the caller."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from tests import samples

from gristmill.errors import TokenizerError
from gristmill.packing import Packer
from gristmill.tokenizer import Tokenizer

DOCUMENTS = st.lists(
    st.lists(st.integers(0, 9), max_size=12) | st.integers(20, 600).map(lambda length: [7] * length),
    max_size=12,
)


@pytest.fixture(scope="session")
def wide_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_str(samples.byte_pairs_json(65_537))
    assert tokenizer.id_dtype == np.uint32
    return tokenizer


def flat(documents: list[list[int]], dtype: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    offsets = np.cumsum([0, *map(len, documents)], dtype=np.int64)
    return np.array([token for document in documents for token in document], dtype=dtype), offsets


@settings(max_examples=1000)
@given(
    documents=DOCUMENTS,
    length=st.integers(2, 9) | st.integers(100, 700),
    wide=st.booleans(),
    kind=st.sampled_from(["uint16", "uint32", "int64"]),
    gaps=st.booleans(),
    draw=st.data(),
)
def test_one_step_equals_two(
    tiny_tokenizer: Tokenizer,
    wide_tokenizer: Tokenizer,
    documents: list[list[int]],
    length: int,
    wide: bool,
    kind: str,
    gaps: bool,
    draw: st.DataObject,
) -> None:
    tokenizer = wide_tokenizer if wide else tiny_tokenizer
    eos = tokenizer.require_eos()
    stream = [token for document in documents for token in [*document, eos]]
    packer, found = Packer(tokenizer, length, final="pad"), []
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(documents)), max_size=4), label="cuts"))
    for start, end in pairwise([0, *cuts, len(documents)]):
        ids, offsets = flat([[5] * 3, *documents[start:end], [5]], kind)  # offsets that do not begin with 0
        if gaps:
            ids = np.repeat(ids, 2)[::2]
        offsets = offsets[1:-1]
        way = draw.draw(st.integers(0, 3), label="way")
        if way == 0:
            found += packer.pack_documents(ids, offsets).tolist()
        elif way == 1:
            out = np.full((len(stream) // length + 1, length), 3, tokenizer.id_dtype)
            taken = packer.pack_documents(ids, offsets.tolist(), num_bytes=np.diff(offsets), out=out)
            assert not len(taken) or np.shares_memory(taken, out)
            assert (out[len(taken) + 1 :] == 3).all()
            found += taken.tolist()
        else:
            packer.push_documents(ids, offsets)
            out = np.empty((2, length), tokenizer.id_dtype)
            found += (packer.take_blocks(out=out) if way == 2 else packer.take_blocks(1)).tolist()
        packer.ledger.check()
        assert packer.ledger.tokens_emitted == len(found) * length
    last = packer.finish()
    ids_of_last = last.blocks.reshape(-1)[: int(last.num_valid.sum())].tolist()
    assert [token for block in found for token in block] + ids_of_last == stream
    assert packer.ledger.documents_packed == len(documents)


def test_bytes_are_counted_where_they_are_given(tiny_tokenizer: Tokenizer) -> None:
    packer = Packer(tiny_tokenizer, 4)
    packer.pack_documents(np.arange(1, 7, dtype=np.uint16), [0, 2, 6], [20, 40])
    packer.push_documents(np.arange(1, 7, dtype=np.uint16), [0, 2, 6], [3, 4])
    packer.push_documents(np.arange(1, 7, dtype=np.uint16), [0, 2, 6])
    assert (packer.ledger.bytes, packer.ledger.documents_packed) == (67, 6)


@pytest.mark.parametrize("method", ["push_documents", "pack_documents"])
@pytest.mark.parametrize(
    ("num_bytes", "error", "message"),
    [
        ([3, -5], ValueError, r"num_bytes\[1\] is -5 \(expected 0 to"),
        ([2**63 - 1, 1], ValueError, r"num_bytes\[0\] is 9223372036854775807"),
        ([1], ValueError, r"num_bytes has the shape \(1,\) \(expected \(2,\)"),
        ([1.5, 2.5], TypeError, "num_bytes has the dtype float64"),
    ],
)
def test_bytes_that_are_none_are_refused(
    tiny_tokenizer: Tokenizer, method: str, num_bytes: list[int], error: type[Exception], message: str
) -> None:
    packer = Packer(tiny_tokenizer, 4)
    before = packer.ledger
    with pytest.raises(error, match=message):
        getattr(packer, method)(np.arange(1, 7, dtype=np.uint16), [0, 2, 6], num_bytes)
    assert packer.ledger == before


@pytest.mark.parametrize(
    ("ids", "offsets", "error", "message"),
    [
        ([1, 400, 2], [0, 3], TokenizerError, "id 400 at position 1 is not in the vocabulary"),
        (np.array([1, -1]), [0, 2], TokenizerError, "id -1 at position 1"),
        ([1.5], [0, 1], TokenizerError, "float64"),
        ([[1, 2]], [0, 1], TokenizerError, r"shape \(1, 2\)"),
        (np.array([1, 2], np.uint16), [0, 2, 1], ValueError, "document 1 has the offsets 2 to 1"),
        (
            np.array([1, 2], np.uint16),
            [0, 3],
            ValueError,
            "the offsets 0 to 3 .expected ascending ones of at most 2",
        ),
        (np.array([1, 2], np.uint16), [-1, 2], ValueError, "the offsets -1 to 2"),
        (np.array([1, 2], np.uint16), [], ValueError, "there are no offsets"),
        (np.array([1, 2], np.uint16), [[0, 2]], ValueError, "offsets has 2 dimensions"),
        (np.array([1, 2], np.uint16), [0.5], TypeError, "offsets has the dtype float64"),
    ],
)
def test_what_is_wrong_is_named_and_changes_nothing(
    tiny_tokenizer: Tokenizer, ids: Any, offsets: Any, error: type[Exception], message: str
) -> None:
    packer = Packer(tiny_tokenizer, 2)
    packer.push_ids([1])
    before = packer.ledger
    with pytest.raises(error, match=message):
        packer.pack_documents(ids, offsets)
    assert packer.ledger == before
    assert packer.take_blocks().tolist() == [[1, tiny_tokenizer.require_eos()]]


def test_a_buffer_that_does_not_fit_is_refused(tiny_tokenizer: Tokenizer) -> None:
    packer = Packer(tiny_tokenizer, 2)
    ids = np.array([1, 2, 3, 4, 5, 6, 7, 8], np.uint16)
    read_only = np.empty((9, 2), np.uint16)
    read_only.setflags(write=False)
    cases: list[tuple[Any, str]] = [
        (np.empty((3, 2), np.uint16), r"out has room for 3 blocks \(expected room for 4\)"),
        (
            np.empty((9, 3), np.uint16),
            r"shape \(9, 3\) .*expected an array of shape \(n, 2\) and dtype uint16",
        ),
        (np.empty((9, 2), np.int16), "dtype int16"),
        (np.empty(18, np.uint16), r"shape \(18,\)"),
        ([[1, 2]], "out is list"),
        (np.empty((9, 4), np.uint16)[:, ::2], "out is not contiguous"),
        (read_only, "out is read-only"),
        (ids.reshape(4, 2), "out is read-only, or the ids themselves"),
    ]
    for out, message in cases:
        with pytest.raises(ValueError, match=message):
            packer.pack_documents(ids, [0, 8], out=out)
    assert packer.ledger.documents_packed == 0
    packer.push_documents(ids, [0, 8])
    for out, message in cases[1:7]:
        with pytest.raises(ValueError, match=message):
            packer.take_blocks(out=out)
    assert packer.take_blocks(out=np.empty((9, 2), np.uint16)).tolist() == ids.reshape(4, 2).tolist()


def test_an_id_between_others_that_is_none(wide_tokenizer: Tokenizer) -> None:
    vocabulary = '{"model": {"type": "WordLevel", "vocab": {"a": 0, "?": 9, "</s>": 3}, "unk_token": "?"}}'
    tokenizer = Tokenizer.from_str(vocabulary, eos_token="</s>")
    with pytest.raises(TokenizerError, match="id 5 at position 0"):
        Packer(tokenizer, 2).pack_documents(np.array([5], np.uint16), [0, 1])
