"""Packing: documents to blocks, the incremental form, what is refused. The ledger alone: test_ledger.py."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given, strategies as st
from tests import block_order, samples
from tests.block_order import Options
from tokenizers import models, pre_tokenizers

from gristmill.errors import (
    BadDocumentError,
    ConfigError,
    EmptyCorpusError,
    MissingColumnError,
    SourceError,
    TokenizerError,
)
from gristmill.packing import BlockBatch, Ledger, Packer, pack
from gristmill.tokenizer import Tokenizer


def as_lists(batch: BlockBatch) -> list[Any]:
    """All arrays of a batch as lists."""
    parts = (
        batch.blocks,
        batch.num_valid,
        batch.cu_seqlens,
        batch.cu_seqlens_offsets,
        batch.segment_documents,
    )
    return [part.tolist() for part in parts]


TEXT_ROWS = st.lists(block_order.texts, min_size=1, max_size=14)


@pytest.fixture(scope="session")
def slow_tokenizer(word_piece_tokenizer: Tokenizer) -> Tokenizer:
    """Take the road through the installed `tokenizers`, with EOS and no padding token."""
    tokenizer = Tokenizer.from_str(word_piece_tokenizer.to_str(), eos_token="[EOS]")
    assert tokenizer.native is None
    return tokenizer


# Blocks ------------------------------------------------------------------------------------------------


def test_three_documents_with_literal_ids(tiny_tokenizer: Tokenizer) -> None:
    letter = {text: tiny_tokenizer.token_to_id(text) for text in "abc"}
    a, b, c, eos = letter["a"], letter["b"], letter["c"], tiny_tokenizer.require_eos()
    documents = ["a", "", b"cb"]
    dropped = pack(documents, tiny_tokenizer, seq_length=4)
    assert dropped.blocks.tolist() == [[a, eos, eos, c]]
    assert dropped.num_valid.tolist() == [4]
    padded = pack(documents, tiny_tokenizer, seq_length=4, final="pad")
    assert padded.blocks.tolist() == [[a, eos, eos, c], [b, eos, eos, eos]]
    assert padded.num_valid.tolist() == [4, 2]
    assert (padded.blocks.dtype, padded.num_valid.dtype) == (np.uint16, np.int64)
    assert len(padded) == 2
    account = {"documents_read": 3, "documents_packed": 3, "bytes": 3, "tokens": 6, "eos_tokens": 3}
    assert dropped.ledger == Ledger(**account, tokens_emitted=4, tokens_dropped=2)
    assert padded.ledger == Ledger(**account, tokens_emitted=6, tokens_padding=2)


@given(rows=block_order.rows, length=st.integers(2, 9), final=st.sampled_from(["drop", "pad"]))
def test_pack_equals_the_slow_reference(
    tiny_tokenizer: Tokenizer, rows: list[object], length: int, final: str
) -> None:
    # Lists are taken apart into documents here, so a list is no bad row.
    rows = [row for row in rows if not isinstance(row, list)]
    eos = tiny_tokenizer.require_eos()
    if not any(map(block_order.is_text, rows)):
        with pytest.raises(EmptyCorpusError):
            pack(rows, tiny_tokenizer, length, final, on_bad="skip")
        return
    packed = pack(rows, tiny_tokenizer, length, final, on_bad="skip")
    options = Options(seq_length=length, final=final)
    lanes = block_order.lanes_of(rows, [0], lambda row: tiny_tokenizer.encode(row).tolist(), eos, options)  # type: ignore[arg-type]
    expected = block_order.finite_blocks(lanes, options, eos)
    assert list(zip(packed.blocks.tolist(), packed.num_valid.tolist(), strict=True)) == expected
    assert packed.ledger.check().documents_read == len(rows)
    assert packed.ledger.tokens_carried == 0


@given(
    texts=TEXT_ROWS,
    length=st.integers(2, 9),
    num_threads=st.integers(1, 3),
    slow=st.booleans(),
    as_bytes=st.booleans(),
    draw=st.data(),
)
def test_blocks_do_not_depend_on_how_documents_come(
    tiny_tokenizer: Tokenizer,
    slow_tokenizer: Tokenizer,
    texts: list[str],
    length: int,
    num_threads: int,
    slow: bool,
    as_bytes: bool,
    draw: st.DataObject,
) -> None:
    """In batches of any size, as str or bytes, on any number of threads, taken at any time."""
    tokenizer = slow_tokenizer if slow else tiny_tokenizer
    expected = pack(texts, tokenizer, length, "pad")
    documents: list[Any] = [text.encode() for text in texts] if as_bytes else texts
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(texts)), max_size=4), label="cuts"))
    parts = [documents[start:end] for start, end in pairwise([0, *cuts, len(texts)])]
    packed = pack(parts, tokenizer, length, "pad", num_threads)
    assert packed.blocks.tolist() == expected.blocks.tolist()
    assert packed.ledger == expected.ledger

    packer = Packer(tokenizer, length, final="pad", num_threads=num_threads)
    blocks: list[list[int]] = []
    for part in parts:
        packer.push(part)
        packer.ledger.check()
        limit = draw.draw(st.none() | st.integers(0, 3), label="taken")
        assert packer.num_ready_blocks == packer.ledger.tokens_carried // length
        blocks += packer.take_blocks(limit).tolist()
    last = packer.finish()
    assert blocks + last.blocks.tolist() == expected.blocks.tolist()
    assert last.num_valid.tolist() == expected.num_valid.tolist()[len(blocks) :]
    assert packer.ledger == expected.ledger


@given(texts=TEXT_ROWS | st.lists(st.just(samples.EOS), min_size=1, max_size=3), length=st.integers(2, 9))
def test_joined_blocks_decode_to_the_documents(
    tiny_tokenizer: Tokenizer, texts: list[str], length: int
) -> None:
    packed = pack(texts, tiny_tokenizer, length, "pad")
    ids = packed.blocks.reshape(-1)[: packed.num_valid.sum()]
    ends = np.flatnonzero(ids == tiny_tokenizer.require_eos())
    assert len(ends) == len(texts) == packed.ledger.eos_tokens
    assert ends[-1] == len(ids) - 1
    starts = [0, *(ends[:-1] + 1)]
    assert [tiny_tokenizer.decode(ids[a:b]) for a, b in zip(starts, ends, strict=True)] == texts


# Fault 12: text that contains the literal EOS string.
@pytest.mark.parametrize("final", ["drop", "pad"])
def test_eos_in_the_text_is_text(tiny_tokenizer: Tokenizer, final: str) -> None:
    texts = [samples.EOS, f"a{samples.EOS}b", "", samples.EOS * 3, "c"]
    packed = pack(texts, tiny_tokenizer, 2, final)
    ledger = packed.ledger
    assert ledger.eos_tokens == ledger.documents_packed == 5
    ids = packed.blocks.reshape(-1)[: packed.num_valid.sum()]
    assert int((ids == tiny_tokenizer.require_eos()).sum()) == 5 - (ledger.tokens_dropped > 0)
    text = tiny_tokenizer.decode(ids)
    assert text.startswith("".join(text + samples.EOS for text in texts[:4]))


# Fault 14: vocabularies around the limit of uint16.
@pytest.mark.parametrize(
    ("num_tokens", "dtype"), [(65_535, np.uint16), (65_536, np.uint16), (65_537, np.uint32)]
)
def test_the_id_type_at_its_limit(num_tokens: int, dtype: type) -> None:
    tokenizer = Tokenizer.from_str(samples.byte_pairs_json(num_tokens))
    texts = ["ÿÿ þþ", "", "0123456789" * 3, "\x00\x7f"]
    packed = pack(texts, tokenizer, 8, "pad")
    assert packed.blocks.dtype == dtype
    assert tokenizer.require_eos() == num_tokens - 1 == packed.blocks.max()
    ids = packed.blocks.reshape(-1)[: packed.num_valid.sum()]
    assert tokenizer.decode(ids) == "".join(text + samples.EOS for text in texts)


@pytest.mark.parametrize("pad_token", [None, "a"])
def test_padding_is_the_padding_token_or_eos(tiny_tokenizer: Tokenizer, pad_token: str | None) -> None:
    tokenizer = Tokenizer.from_str(tiny_tokenizer.to_str(), pad_token=pad_token)
    packed = pack(["b"], tokenizer, 5, "pad")
    filler = tokenizer.token_to_id("a") if pad_token else tokenizer.require_eos()
    assert packed.blocks[0, 2:].tolist() == [filler] * 3
    assert packed.ledger.eos_tokens == 1
    assert packed.ledger.tokens_padding == 3


# Documents ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [list, tuple, iter, lambda rows: [rows[:2], rows[2:]], "".join])
def test_all_kinds_of_documents(tiny_tokenizer: Tokenizer, kind: Any) -> None:
    documents = kind(["a", "b", "c"])
    if isinstance(documents, str):
        with pytest.raises(TypeError, match="one str of length 3"):
            pack(documents, tiny_tokenizer)
        return
    assert pack(documents, tiny_tokenizer, 2).ledger.documents_packed == 3


def test_rows_with_a_text_column(tiny_tokenizer: Tokenizer) -> None:
    rows = [{"code": "a", "n": 1}, {"code": "b", "n": 2}, {"n": 3}]
    assert len(pack(rows[:2], tiny_tokenizer, 2, text_column="code")) == 2
    with pytest.raises(MissingColumnError, match=r"documents \(list\), row 2: no column 'code' \(found 'n'"):
        pack(rows, tiny_tokenizer, 2, text_column="code")


# Fault 10: text that is none.
@pytest.mark.parametrize("on_slow_road", [False, True])
@pytest.mark.parametrize(
    ("bad", "reason", "kind"),
    [
        (None, "null", "null"),
        (7, "a value of type int: 7", "wrong type"),
        (1.5, "a value of type float: 1.5", "wrong type"),
        (bytearray(b"a"), "a value of type bytearray: bytearray(b'a')", "wrong type"),
        ("ab\udc00", "a lone surrogate U+DC00 at character 2", "lone surrogate"),
        (b"abc\xff", "invalid UTF-8 at byte 3", "invalid UTF-8"),
    ],
)
def test_rows_that_are_no_text(
    tiny_tokenizer: Tokenizer,
    slow_tokenizer: Tokenizer,
    bad: object,
    reason: str,
    kind: str,
    on_slow_road: bool,
) -> None:
    tokenizer = slow_tokenizer if on_slow_road else tiny_tokenizer
    rows = ["a", "", "b\x00c", bad, "d", bad]
    with pytest.raises(BadDocumentError) as caught:
        pack(iter(rows), tokenizer, 2)
    assert (caught.value.source, caught.value.row) == ("documents (list_iterator)", 3)
    assert caught.value.reason == reason
    packed = pack(rows, tokenizer, 2, "pad", on_bad="skip")
    good = pack([row for row in rows if row is not bad], tokenizer, 2, "pad")
    assert packed.blocks.tolist() == good.blocks.tolist()
    assert packed.ledger.documents_skipped == {kind: 2}
    assert packed.ledger.check().documents_read == 6


def test_text_that_the_model_encodes_to_eos_is_counted_by_name() -> None:
    words = tokenizers.Tokenizer(models.WordLevel({"a": 0, "</s>": 1, "?": 2}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.add_special_tokens(["</s>"])
    tokenizer = Tokenizer.from_tokenizers(words)
    packed = pack(["a", "a </s> b"], tokenizer, 2, on_bad="skip")
    assert packed.blocks.tolist() == [[0, 1]]
    assert packed.ledger.check().documents_skipped == {"EOS in text": 1}
    with pytest.raises(BadDocumentError, match="row 1: its text is encoded to the EOS token"):
        pack(["a", "a </s> b"], tokenizer, 2)


def test_the_bad_row_is_found_behind_the_first_batch(tiny_tokenizer: Tokenizer) -> None:
    packer = Packer(tiny_tokenizer, 8)
    with pytest.raises(BadDocumentError, match="row 2345: null"):
        packer.push([*("a" for _ in range(2345)), None, "b"])
    # What came before it is in.
    assert packer.ledger.check().documents_packed == 2345


@pytest.mark.parametrize(
    ("rows", "message"),
    [([], "nothing"), ([[]], "nothing"), ([None, 4, b"\xff"], "1 invalid UTF-8, 1 null, 1 wrong type")],
)
def test_no_document_at_all(tiny_tokenizer: Tokenizer, rows: list[object], message: str) -> None:
    with pytest.raises(EmptyCorpusError, match=message):
        pack(rows, tiny_tokenizer, on_bad="skip")


def test_one_empty_document_is_a_document(tiny_tokenizer: Tokenizer) -> None:
    packed = pack([""], tiny_tokenizer, 4)
    assert packed.blocks.shape == (0, 4)
    assert packed.ledger.tokens_dropped == packed.ledger.eos_tokens == 1


def test_what_a_generator_raises_comes_out(tiny_tokenizer: Tokenizer) -> None:
    def rows(error: BaseException) -> Iterator[str]:
        yield "a"
        raise error

    with pytest.raises(OSError, match="gone") as caught:
        pack(rows(OSError("gone")), tiny_tokenizer)
    assert caught.value.__notes__ == ["while gristmill read documents (generator), row 1"]
    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        pack(rows(StopIteration()), tiny_tokenizer)
    with pytest.raises(KeyboardInterrupt):
        pack(rows(KeyboardInterrupt()), tiny_tokenizer)


# Options -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seq_length": 1}, ConfigError, "seq_length is 1 "),
        ({"seq_length": 0}, ValueError, "seq_length is 0 "),
        ({"seq_length": -5}, ValueError, "seq_length is -5 "),
        ({"seq_length": True}, TypeError, "seq_length is True "),
        ({"seq_length": 4.0}, TypeError, "seq_length is 4.0 "),
        ({"seq_length": "4"}, TypeError, "seq_length is '4' "),
        ({"seq_length": None}, TypeError, "seq_length is None "),
        ({"seq_length": 1 << 40}, ValueError, "seq_length is 1099511627776 "),
        ({"final": "keep"}, ConfigError, "final is 'keep' "),
        ({"final": None}, ConfigError, "final is None "),
        ({"on_bad": "ignore"}, ConfigError, "on_bad is 'ignore' "),
        ({"num_threads": 0}, ValueError, "num_threads is 0 "),
        ({"num_threads": 1.5}, TypeError, "num_threads is 1.5 "),
        ({"text_column": 3}, TypeError, "text_column is 3 "),
    ],
)
def test_an_invalid_option_is_named(
    tiny_tokenizer: Tokenizer, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        pack(["a"], tiny_tokenizer, **options)
    assert message in str(caught.value)


def test_numpy_integers_are_numbers(tiny_tokenizer: Tokenizer) -> None:
    length: Any = np.int64(2)
    assert pack(["a"], tiny_tokenizer, length).blocks.shape == (1, 2)


def test_a_tokenizer_without_eos_is_refused(tiny_tokenizer: Tokenizer) -> None:
    content = json.loads(tiny_tokenizer.to_str()) | {"added_tokens": []}
    tokenizer = Tokenizer.from_str(json.dumps(content))
    for use in (lambda: pack(["a"], tokenizer), lambda: Packer(tokenizer)):
        with pytest.raises(TokenizerError, match="no EOS token"):
            use()


# The incremental form ----------------------------------------------------------------------------------


def test_pushed_ids_are_documents(tiny_tokenizer: Tokenizer) -> None:
    texts = ["def f(x):", "", "Größe"]
    packer = Packer(tiny_tokenizer, 3, final="pad")
    for text in texts:
        packer.push_ids(tiny_tokenizer.encode(text))
    packer.push_ids(tiny_tokenizer.encode("a").tolist())
    packer.push_ids([])
    expected = pack([*texts, "a", ""], tiny_tokenizer, 3, "pad")
    last = packer.finish()
    assert last.blocks.tolist() == expected.blocks.tolist()
    assert last.num_valid.tolist() == expected.num_valid.tolist()
    assert packer.ledger == expected.ledger


def test_bytes_of_pushed_ids_are_unknown_where_tokens_have_none(slow_tokenizer: Tokenizer) -> None:
    packer = Packer(slow_tokenizer, 3)
    packer.push_ids([1, 2])
    assert packer.ledger.bytes == 0


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 400, 2], "id 400 at position 1"),
        ([-1], "id -1 at position 0"),
        ([1 << 40], "id 1099511627776 at position 0"),
        (np.array([70_000], dtype=np.uint32), "id 70000 at position 0"),
        ([1.0], "float64"),
        (["a"], "type"),
        ([[1, 2]], r"\(1, 2\)"),
        ([[1], [2, 3]], "type object"),
        ([True], "bool"),
        (5, "shape"),
        ([None], "object"),
    ],
)
def test_ids_that_are_none_are_refused(tiny_tokenizer: Tokenizer, ids: Any, message: str) -> None:
    packer = Packer(tiny_tokenizer, 3)
    with pytest.raises(TokenizerError, match=message):
        packer.push_ids(ids)
    assert packer.ledger.documents_packed == 0


def test_a_finished_packer_says_so(tiny_tokenizer: Tokenizer) -> None:
    packer = Packer(tiny_tokenizer, 3)
    last = packer.finish()
    assert (last.blocks.shape, last.num_valid.shape) == ((0, 3), (0,))
    for use in (packer.finish, lambda: packer.push(["a"]), lambda: packer.push_ids([1])):
        with pytest.raises(ValueError, match="finished"):
            use()
    assert packer.take_blocks().shape == (0, 3)
    with pytest.raises(ConfigError, match="max_blocks is -1"):
        packer.take_blocks(-1)


@given(
    before=st.lists(st.text("ab é", max_size=9) | st.none(), max_size=6),
    after=TEXT_ROWS,
    taken=st.integers(0, 5),
    slow=st.booleans(),
    finished=st.booleans(),
)
def test_a_packer_pickles_with_its_remainder(
    tiny_tokenizer: Tokenizer,
    slow_tokenizer: Tokenizer,
    before: list[str | None],
    after: list[str],
    taken: int,
    slow: bool,
    finished: bool,
) -> None:
    packer = Packer(slow_tokenizer if slow else tiny_tokenizer, 4, final="pad", on_bad="skip", num_threads=1)
    packer.push(before)
    packer.take_blocks(taken)
    if finished:
        packer.finish()
    pickled = pickle.dumps(packer)
    other = pickle.loads(pickled)  # noqa: S301
    assert pickle.dumps(other) == pickle.dumps(packer) == pickled
    assert other.ledger == packer.ledger.check()
    results = []
    for one in (packer, other, copy.deepcopy(packer)):
        if finished:
            with pytest.raises(ValueError, match="finished"):
                one.push(after)
            continue
        one.push(after)
        taken_blocks = as_lists(one.take())
        last = one.finish()
        results.append((taken_blocks, as_lists(last), one.ledger.check()))
    assert all(result == results[0] for result in results)


HASH_SCRIPT = """
import pickle, sys
from datasets.fingerprint import Hasher
print(Hasher.hash(pickle.loads(sys.stdin.buffer.read())))
"""


def test_a_packer_hashes_the_same_in_every_process(tiny_tokenizer: Tokenizer) -> None:
    from datasets.fingerprint import Hasher

    packer = Packer(tiny_tokenizer, 8, on_bad="skip")
    packer.push(["a b c", None, "d"])
    hashes = {Hasher.hash(packer), Hasher.hash(copy.deepcopy(packer))}
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", HASH_SCRIPT],
            input=pickle.dumps(packer),
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            check=True,
            timeout=120,
        )
        hashes.add(run.stdout.decode().strip())
    assert len(hashes) == 1
    packer.push(["e"])
    assert Hasher.hash(packer) not in hashes


# What packing needs, and refuses -------------------------------------------------------------------------


def test_nothing_heavy_is_imported() -> None:
    script = (
        "import sys; import gristmill.corpus, gristmill.packing, gristmill.order\n"
        "found = {'torch', 'datasets', 'pyarrow', 'transformers'} & set(sys.modules); assert not found, found"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_a_set_has_no_order(tiny_tokenizer: Tokenizer) -> None:
    with pytest.raises(SourceError, match="no order"):
        pack({"a", "b"}, tiny_tokenizer)
