"""The global order of blocks: against the slow reference, stopped and resumed, refused where it must be."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from tests import block_order
from tests.block_order import Options, Rows, shuffled_stream, stream_of

from gristmill import _native
from gristmill.errors import BadDocumentError, ConfigError, EmptyCorpusError, TokenizerError
from gristmill.order import BlockStream, RefillEvent
from gristmill.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def encode(tiny_tokenizer: Tokenizer) -> Callable[[object], list[int]]:
    @cache
    def encode_one(text: object) -> list[int]:
        return tiny_tokenizer.encode(text).tolist()  # type: ignore[arg-type]

    return encode_one


def small_buffers(draw: st.DataObject) -> Any:
    """Patch how much is read at once to something small, drawn."""
    return mock.patch.multiple(
        "gristmill.order",
        PLAIN_WINDOW=draw.draw(st.integers(1, 5), label="plain window"),
        _LEAST_CHARACTERS=draw.draw(st.integers(0, 12), label="least characters"),
    )


def taken(stream: BlockStream, group_size: int) -> list[tuple[list[int], int]]:
    blocks = []
    for group in stream.groups(group_size):
        assert group.first == len(blocks)
        blocks += list(zip(group.ids.tolist(), group.num_valid.tolist(), strict=True))
        stream.ledger.check()
    return blocks


@given(rows=block_order.rows, options=block_order.orders, group_size=st.integers(1, 3), draw=st.data())
def test_finite_order_equals_the_slow_reference(
    tiny_tokenizer: Tokenizer,
    encode: Callable[[object], list[int]],
    rows: list[object],
    options: Options,
    group_size: int,
    draw: st.DataObject,
) -> None:
    eos = tiny_tokenizer.require_eos()
    epoch = draw.draw(st.integers(0, 3), label="epoch")
    good = [row for row in rows if block_order.is_text(row)]
    with small_buffers(draw):
        documents = draw.draw(st.sampled_from([list, tuple, Rows, iter]), label="kind")(rows)
        stream = stream_of(
            documents,
            tiny_tokenizer,
            options,
            buffer_sequences=draw.draw(st.integers(1, 9), label="buffer"),
            chars_per_token=draw.draw(st.sampled_from([None, 0.01, 1000.0]), label="hint"),
            num_threads=draw.draw(st.integers(1, 2), label="threads"),
        )
        stream.set_epoch(epoch)
        if not good:
            with pytest.raises(EmptyCorpusError):
                taken(stream, group_size)
            return
        blocks = taken(stream, group_size)
    lanes = block_order.lanes_of(rows, [epoch], encode, eos, options)
    assert blocks == block_order.finite_blocks(lanes, options, eos)

    ledger = stream.ledger.check()
    assert ledger.documents_read == len(rows)
    assert ledger.documents_packed == ledger.eos_tokens == len(good)
    assert ledger.bytes == sum(len(row if isinstance(row, bytes) else str(row).encode()) for row in good)
    assert ledger.tokens == sum(map(len, lanes))
    assert ledger.tokens_emitted == sum(num_valid for _, num_valid in blocks)
    assert ledger.tokens_carried == 0
    assert ledger.tokens_padding == len(blocks) * options.seq_length - ledger.tokens_emitted
    assert options.final == "drop" or ledger.tokens_dropped == 0
    for kind, bad in block_order.BAD_ROWS.items():
        count = sum(any(row is value or row == value for value in bad) for row in rows)
        assert ledger.documents_skipped.get(kind, 0) == count


@given(rows=block_order.rows, options=block_order.orders, draw=st.data())
def test_stopped_and_resumed_equals_unbroken(
    tiny_tokenizer: Tokenizer,
    encode: Callable[[object], list[int]],
    rows: list[object],
    options: Options,
    draw: st.DataObject,
) -> None:
    """Finite or infinite, stopped up to three times after random groups, each time at another world size."""
    rows = [*rows, "a"]
    infinite = draw.draw(st.booleans(), label="infinite")
    kind = draw.draw(st.sampled_from([list, Rows]), label="kind")

    def new_stream() -> BlockStream:
        buffer = draw.draw(st.integers(1, 5), label="buffer")
        return stream_of(kind(rows), tiny_tokenizer, options, infinite=infinite, buffer_sequences=buffer)

    eos = tiny_tokenizer.require_eos()
    if infinite:
        lanes = block_order.lanes_of(rows, list(range(4)), encode, eos, options)
        expected = [(block, options.seq_length) for block in block_order.endless_blocks(lanes, options)]
    else:
        lanes = block_order.lanes_of(rows, [0], encode, eos, options)
        expected = block_order.finite_blocks(lanes, options, eos)

    num_stops = draw.draw(st.integers(1, 3), label="stops")
    blocks: list[tuple[list[int], int]] = []
    state = None
    with small_buffers(draw):
        for stop in range(num_stops + 1):
            stream = new_stream()
            if state is not None:
                stream.load_state_dict(state)
                assert stream.state_dict() == state
            groups = stream.groups(draw.draw(st.integers(1, 3), label="world size"))
            num_groups = draw.draw(st.integers(0, 6), label="groups") if stop < num_stops else None
            while len(blocks) < len(expected) and num_groups != 0:
                group = next(groups)
                assert group.first == len(blocks)
                blocks += list(zip(group.ids.tolist(), group.num_valid.tolist(), strict=True))
                stream.ledger.check()
                num_groups = None if num_groups is None else num_groups - 1
            text = json.dumps(stream.state_dict())
            assert len(text) < 4096
            state = json.loads(text)
            assert state["next_block"] == len(blocks)
        if infinite:
            assert blocks[: len(expected)] == expected
            return
        assert blocks == expected
        assert next(groups, None) is None
        unbroken = new_stream()
        assert taken(unbroken, 1) == expected
    assert stream.ledger == unbroken.ledger.check()
    assert stream.epoch == 0


@settings(max_examples=300)
@given(
    num_rows=st.integers(1, 30),
    options=block_order.orders,
    stops=st.lists(st.integers(0, 12), min_size=1, max_size=3),
    draw=st.data(),
)
def test_every_document_of_an_epoch_is_seen_once(
    tiny_tokenizer: Tokenizer, num_rows: int, options: Options, stops: list[int], draw: st.DataObject
) -> None:
    """300 examples: two epochs, stopped at random points, taken apart into documents again."""
    rows = [f"row {number};" for number in range(num_rows)]
    eos = tiny_tokenizer.require_eos()
    lanes: list[list[int]] = [[] for _ in range(options.num_lanes)]
    number = 0
    state = None
    with small_buffers(draw):
        for stop in [*stops, None]:
            stream = stream_of(Rows(rows), tiny_tokenizer, options, infinite=True, buffer_sequences=2)
            if state is not None:
                stream.load_state_dict(state)
            for count, block in enumerate(stream):
                assert block.number == number
                lanes[number % options.num_lanes] += block.ids.tolist()
                number += 1
                state = stream.state_dict()
                if count == stop or (stop is None and stream.epoch >= 2):
                    break
    documents = [_documents(lane, eos, tiny_tokenizer) for lane in lanes]
    # Two epochs are wholly delivered, so each lane has its share of 2 * num_rows documents, and maybe more.
    seen = [documents[g % options.num_lanes][g // options.num_lanes] for g in range(2 * num_rows)]
    assert sorted(seen[:num_rows]) == sorted(rows)
    assert sorted(seen[num_rows:]) == sorted(rows)


def _documents(ids: list[int], eos: int, tokenizer: Tokenizer) -> list[str]:
    documents: list[list[int]] = [[]]
    for token_id in ids:
        if token_id == eos:
            documents.append([])
        else:
            documents[-1].append(token_id)
    return [tokenizer.decode(document) for document in documents[:-1]]


def test_the_order_that_saved_states_depend_on(tiny_tokenizer: Tokenizer) -> None:
    """Literal values: whoever changes them breaks the runs that people have saved."""
    assert _native.permutation(5, "window", 0, 0, 6).tolist() == [5, 1, 3, 4, 2, 0]  # f b d e c a
    assert _native.permutation(5, "window", 0, 1, 4).tolist() == [0, 1, 3, 2]  # g h j i
    assert _native.permutation(5, "window", 1, 0, 6).tolist() == [0, 5, 2, 4, 3, 1]  # a f c e d b
    letters = [chr(ord("a") + number) for number in range(10)]
    ids = {tiny_tokenizer.token_to_id(letter): letter for letter in letters}
    ids[tiny_tokenizer.require_eos()] = "."
    options = Options(seq_length=4, num_lanes=2, window=6, seed=5)
    stream = stream_of(letters, tiny_tokenizer, options, infinite=True)
    blocks = []
    for block in stream:
        blocks.append("".join(ids[token_id] for token_id in block.ids.tolist()))
        if len(blocks) == 8:
            break
    # The lanes get f d c g j a c d … and b e a h i f e b …: the second epoch goes on where the first ended.
    assert blocks == ["f.d.", "b.e.", "c.g.", "a.h.", "j.a.", "i.f.", "c.d.", "e.b."]


# Bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("infinite", [False, True])
@pytest.mark.parametrize("kind", [list, Rows])
@pytest.mark.parametrize(
    ("rows", "message"), [([], "nothing"), ([None, 5, None], "2 null, 1 wrong type")], ids=["empty", "bad"]
)
def test_a_corpus_without_documents_is_an_error(
    tiny_tokenizer: Tokenizer,
    kind: Callable[[list[object]], object],
    rows: list[object],
    message: str,
    infinite: bool,
) -> None:
    stream = shuffled_stream(tiny_tokenizer, rows=kind(rows), infinite=infinite, on_bad="skip")
    with pytest.raises(EmptyCorpusError, match=message):
        next(iter(stream))
    assert stream.ledger.documents_packed == 0


def test_a_source_that_dries_up_is_no_endless_loop(tiny_tokenizer: Tokenizer) -> None:
    class Once:
        def __init__(self) -> None:
            self.rows = ["a", "b"]

        def __iter__(self) -> Iterator[str]:
            rows, self.rows = self.rows, []
            return iter(rows)

    with pytest.raises(EmptyCorpusError):
        list(shuffled_stream(tiny_tokenizer, rows=Once(), infinite=True))


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_bad_row_is_named(tiny_tokenizer: Tokenizer, shuffle: bool) -> None:
    rows: list[object] = [{"text": f"document {number}", "n": number} for number in range(300)]
    rows[237] = {"text": "ab\ud800", "n": 237}
    stream = shuffled_stream(tiny_tokenizer, rows=rows, shuffle=shuffle)
    with pytest.raises(BadDocumentError) as caught:
        list(stream)
    assert (caught.value.row, caught.value.source) == (237, "documents (list)")
    assert "U+D800 at character 2" in str(caught.value)


def test_what_a_source_raises_comes_out_with_its_place(tiny_tokenizer: Tokenizer) -> None:
    def rows() -> Iterator[str]:
        yield "a"
        yield "b"
        raise ConnectionResetError("the other side went away")

    with pytest.raises(ConnectionResetError) as caught:
        list(shuffled_stream(tiny_tokenizer, rows=rows()))
    assert caught.value.__notes__ == ["while gristmill read documents (generator), row 2"]


def test_a_callback_cannot_end_the_corpus(tiny_tokenizer: Tokenizer) -> None:
    def raise_stop(event: RefillEvent) -> None:
        raise StopIteration

    with pytest.raises(RuntimeError):
        list(shuffled_stream(tiny_tokenizer, on_refill=raise_stop))


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("seq_length", 1, ConfigError),
        ("seq_length", True, TypeError),
        ("seq_length", "8", TypeError),
        ("seq_length", 8.0, TypeError),
        ("seq_length", float("nan"), TypeError),
        ("num_lanes", 0, ConfigError),
        ("num_lanes", 513, ConfigError),
        ("shuffle", "yes", TypeError),
        ("seed", -1, ConfigError),
        ("seed", 1 << 63, ConfigError),
        ("shuffle_window", 0, ConfigError),
        ("infinite", 1, TypeError),
        ("final", "keep", ConfigError),
        ("on_bad", "ignore", ConfigError),
        ("num_threads", 0, ValueError),
        ("on_refill", 5, TypeError),
        ("chars_per_token", 0.0, ConfigError),
        ("chars_per_token", float("inf"), ConfigError),
        ("chars_per_token", "3", TypeError),
        ("buffer_sequences", 0, ConfigError),
    ],
)
def test_an_invalid_option_is_named(
    tiny_tokenizer: Tokenizer, option: str, value: object, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        shuffled_stream(tiny_tokenizer, **{option: value})
    assert option in str(caught.value)
    assert str(value) in str(caught.value)


def test_a_tokenizer_without_eos_is_refused(tiny_tokenizer: Tokenizer) -> None:
    text = json.loads(tiny_tokenizer.to_str())
    text["added_tokens"] = []
    with pytest.raises(TokenizerError, match="EOS"):
        shuffled_stream(Tokenizer.from_str(json.dumps(text)))


# Buffers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hint", [None, 0.001, 1e9])
def test_refills_are_sized_in_tokens_and_told(tiny_tokenizer: Tokenizer, hint: float | None) -> None:
    events: list[RefillEvent] = []
    rows = [f"document number {number}, " * 40 for number in range(500)]
    stream = shuffled_stream(
        tiny_tokenizer,
        rows=rows,
        seq_length=64,
        on_refill=events.append,
        chars_per_token=hint,
        buffer_sequences=32,
        shuffle_window=1000,
    )
    list(stream)
    ledger = stream.ledger
    assert sum(event.documents for event in events) == ledger.documents_packed == 500
    assert sum(event.bytes for event in events) == ledger.bytes
    assert sum(event.tokens for event in events) == ledger.tokens
    assert all(event.epoch == event.window == 0 for event in events)
    assert all(event.tokens >= 32 * 64 for event in events[:-1])
    if hint is None:
        # One document too many at most, once the ratio of characters and tokens is known.
        assert all(event.tokens < 32 * 64 + 5000 for event in events[1:])
        assert len(events) > 20


def test_lanes_that_fill_unevenly_are_told(
    tiny_tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    rows = ["long " * 200, ""] * 200
    for num_lanes in (1, 3, 2):
        stream = stream_of(rows, tiny_tokenizer, Options(8, num_lanes), infinite=True, buffer_sequences=64)
        assert len(list(itertools.islice(stream, 100))) == 100
        assert ("tokens wait in the 2 lanes" in caplog.text) == (num_lanes == 2)


def test_one_long_document_among_empty_ones(tiny_tokenizer: Tokenizer) -> None:
    options = Options(seq_length=16, num_lanes=3, window=4)
    rows = ["", "x" * 100_000, "", "", ""]
    stream = stream_of(rows, tiny_tokenizer, options, infinite=True, buffer_sequences=1)
    blocks = list(itertools.islice(stream, 300))
    assert all(block.num_valid == 16 for block in blocks)
    assert stream.ledger.check().tokens_emitted == 300 * 16


def test_blocks_are_of_the_tokenizers_id_type(
    tiny_tokenizer: Tokenizer, word_piece_tokenizer: Tokenizer
) -> None:
    for tokenizer in (tiny_tokenizer, word_piece_tokenizer):
        tokenizer = Tokenizer.from_str(tokenizer.to_str(), eos_token=tokenizer.eos_token or "[EOS]")
        (block, *_) = list(shuffled_stream(tokenizer, final="pad"))
        assert block.ids.dtype == np.uint16
        assert block.ids.shape == (8,)
