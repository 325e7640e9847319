"""Batches of documents out of every kind of source; the first n."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import datasets
import pytest
from hypothesis import given, strategies as st
from tests.block_order import Rows
from tests.corpora import TEXTS, generated_stream, table

from gristmill import ConstantLengthDataset, Tokenizer, measure_tokenizer, pack, train_tokenizer
from gristmill.corpus import OnBad, as_source, iter_batches, take
from gristmill.errors import BadDocumentError, ConfigError, EmptyCorpusError


@given(
    sizes=st.lists(st.integers(0, 5), max_size=6),
    flat=st.booleans(),
    batch_documents=st.integers(1, 40),
    kind=st.sampled_from([list, iter, tuple, Rows]),
)
def test_batches_hold_all_documents_in_order(
    sizes: list[int], flat: bool, batch_documents: int, kind: Callable[[list[Any]], object]
) -> None:
    numbers = iter(range(100))
    parts = [[f"text {next(numbers)}" for _ in range(size)] for size in sizes]
    documents = list(itertools.chain.from_iterable(parts))
    batches = list(iter_batches(kind(documents if flat else parts), batch_documents=batch_documents))
    assert [text for batch in batches for text in batch.texts] == documents
    assert all(1 <= len(batch.texts) <= batch_documents for batch in batches)
    starts = itertools.accumulate((len(batch.texts) for batch in batches), initial=0)
    assert [batch.first_row for batch in batches] == list(starts)[:-1]


def test_batches_of_data_sets_and_of_batched_streams() -> None:
    stream = table().to_iterable_dataset(num_shards=3)
    batched = [
        generated_stream().batch(7),
        generated_stream().batch(7).map(lambda row: row).filter(lambda row: True),
        generated_stream().with_format("arrow").batch(7).with_format(None),
        stream.batch(7),
        stream.select_columns(["text"])
        .map(lambda row: row | {"group": int(row["text"][5:]) // 7})
        .batch(by_column="group"),
    ]
    for documents in (table(), generated_stream(), *batched, stream):
        batches = list(iter_batches(documents, batch_documents=20))
        assert [text for batch in batches for text in batch.texts] == TEXTS
        assert [len(batch.texts) for batch in batches] == [20, 20, 10]


LISTS = [{"text": ["a"]}, {"text": ["b", "c"]}]


def _lists() -> Iterator[dict[str, list[str]]]:
    yield from LISTS


@pytest.mark.parametrize(
    "make",
    [
        lambda: LISTS,
        lambda: iter(LISTS),
        lambda: Rows(LISTS),
        lambda: [{"text": ("a",)}, {"text": ("b", "c")}],
        lambda: datasets.Dataset.from_list(LISTS),
        lambda: datasets.Dataset.from_list(LISTS).to_iterable_dataset(),
        lambda: datasets.IterableDataset.from_generator(_lists),
        lambda: datasets.IterableDataset.from_generator(_lists).map(lambda row: row),
    ],
)
def test_a_list_in_a_text_column_is_one_bad_document(
    make: Callable[[], Any], tiny_tokenizer: Tokenizer
) -> None:
    """Everywhere alike: what counts documents must not count those inside of it."""
    assert [len(batch.texts) for batch in iter_batches(make())] == [2]
    reading: list[Callable[[Any, OnBad], object]] = [
        lambda it, on_bad: pack(it, tiny_tokenizer, 8, on_bad=on_bad),
        lambda it, on_bad: measure_tokenizer(tiny_tokenizer, it, on_bad=on_bad),
        lambda it, on_bad: train_tokenizer(it, 260, on_bad=on_bad, show_progress=False),
        lambda it, on_bad: list(ConstantLengthDataset(it, tiny_tokenizer, 8, on_bad=on_bad)),
    ]
    for read in reading:
        with pytest.raises(BadDocumentError, match=r"row 0: .*(list|tuple)"):
            read(make(), "error")
    with pytest.raises(EmptyCorpusError, match="2 wrong type"):
        pack(make(), tiny_tokenizer, 8, on_bad="skip")


def test_lists_of_texts_and_rows_with_a_column_may_stand_side_by_side() -> None:
    rows: list[object] = [["a", "b"], {"text": "c"}, (), [], "d", {"text": ["e"]}, ["f"]]
    for documents in (rows, iter(rows), Rows(rows)):
        (batch,) = iter_batches(documents)
        assert batch.texts == ["a", "b", "c", "d", ["e"], "f"]
    for size in (1, 2):
        many = [[]] * 40 + [["a"]] + [[]] * 40
        assert [batch.texts for batch in iter_batches(many, batch_documents=size)] == [["a"]]


def test_long_documents_make_small_batches() -> None:
    documents = ["x" * (1 << 24)] * 9
    assert [len(batch.texts) for batch in iter_batches(documents)] == [2, 2, 2, 2, 1]


def test_take_is_repeatable_and_has_a_length() -> None:
    numbers = itertools.count()
    first = take((f"text {number}" for number in numbers), 3)
    assert (first, len(first), next(numbers)) == (TEXTS[:3], 3, 3)
    assert list(first) == list(first)
    assert take(TEXTS, 2) == TEXTS[:2]
    assert take(TEXTS, 0) == []
    assert take(TEXTS, 1000) == TEXTS
    assert take(as_source(TEXTS), 2) == TEXTS[:2]
    assert take(table(), 2) == [{"text": "text 0", "n": 0}, {"text": "text 1", "n": 1}]
    stream = generated_stream()
    users = iter(stream)
    next(users)
    assert take(stream, 2) == [{"text": "text 0"}, {"text": "text 1"}]
    assert next(users) == {"text": "text 1"}


@pytest.mark.parametrize("n", [-1, True, 2.0, "2", None])
def test_take_refuses_what_is_no_count(n: Any) -> None:
    with pytest.raises((ConfigError, TypeError), match=f"n is {n!r} "):
        take(TEXTS, n)
