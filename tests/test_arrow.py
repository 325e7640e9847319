"""Texts in Arrow memory: every type, chunked, sliced, with nulls; and what is refused."""

from __future__ import annotations

import ctypes
import dataclasses
import gc
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st
from tests import block_order

from gristmill import _native, estimate_chars_per_token, measure_tokenizer, pack, take, train_tokenizer
from gristmill.corpus import as_source, iter_batches
from gristmill.errors import (
    ArrowDataError,
    BadDocumentError,
    EmptyCorpusError,
    MissingColumnError,
    SourceError,
)
from gristmill.packing import Packer
from gristmill.tokenizer import Tokenizer

TEXT_TYPES = {
    "string": pa.string(),
    "large_string": pa.large_string(),
    "string_view": pa.string_view(),
    "binary": pa.binary(),
    "large_binary": pa.large_binary(),
    "binary_view": pa.binary_view(),
}
KINDS = [*TEXT_TYPES, *(f"dictionary of {name}" for name in ("string", "large_string", "binary"))]

ROWS = st.lists(
    st.none() | block_order.texts | st.sampled_from(["exactly 12 b", "thirteen byte"]), max_size=14
)


def array_of(rows: list[Any], kind: str) -> pa.Array:
    if kind.startswith("dictionary of "):
        return array_of(rows, kind.removeprefix("dictionary of ")).dictionary_encode()
    values = rows
    if "binary" in kind:
        values = [row.encode() if isinstance(row, str) else row for row in rows]
    return pa.array(values, type=TEXT_TYPES[kind])


class OnlyArray:
    """Nothing but the protocol: no length, no iteration."""

    def __init__(self, array: pa.Array) -> None:
        self._array = array

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        capsules: tuple[object, object] = self._array.__arrow_c_array__(requested_schema)
        return capsules


def shapes(rows: list[Any], kind: str, cuts: list[int], margin: int) -> Iterator[tuple[str, Any]]:
    """Yield the rows in every shape that Arrow has for them."""
    padded = array_of([*["before"] * margin, *rows, *["after"] * margin], kind)
    sliced = padded.slice(margin, len(rows))
    yield "array", sliced
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [sliced.slice(start, end - start) for start, end in pairwise(bounds)]
    chunked = pa.chunked_array(parts, type=sliced.type)
    yield "chunked", chunked
    other = pa.array(range(len(rows)), pa.int64())
    table = pa.table({"number": other, "text": chunked})
    yield "table", table
    yield "sliced table", pa.concat_tables([table, table]).slice(len(rows))
    batch = pa.record_batch({"number": other, "text": sliced})
    yield "record batch", batch
    yield "one array, by the protocol alone", OnlyArray(sliced)
    yield "one struct, by the protocol alone", OnlyArray(batch)
    yield "sliced record batch", pa.record_batch({"text": padded}).slice(margin, len(rows))
    yield "reader", pa.RecordBatchReader.from_batches(table.schema, table.to_batches())
    # a slice whose struct has the offset, not its column
    struct = pa.StructArray.from_arrays([padded], names=["text"]).slice(margin, len(rows))
    yield "sliced struct", struct


@settings(max_examples=1000)
@given(
    rows=ROWS,
    kind=st.sampled_from(KINDS),
    cuts=st.lists(st.integers(0, 14), max_size=3),
    margin=st.integers(0, 9),
    num_threads=st.integers(1, 2),
)
def test_every_shape_gives_the_ids_of_the_list(
    tiny_tokenizer: Tokenizer,
    rows: list[str | None],
    kind: str,
    cuts: list[int],
    margin: int,
    num_threads: int,
) -> None:
    expected = tiny_tokenizer.encode_batch(rows, on_bad="skip")
    for shape, documents in shapes(rows, kind, cuts, margin):
        if shape in ("array", "chunked"):
            batch = tiny_tokenizer.encode_batch(documents, num_threads, on_bad="skip")
            assert batch.ids.tolist() == expected.ids.tolist(), shape
            assert batch.offsets.tolist() == expected.offsets.tolist()
            assert batch.bad == expected.bad
        packer = Packer(tiny_tokenizer, 4, final="pad", on_bad="skip", num_threads=num_threads)
        packer.push(documents)
        own = Packer(tiny_tokenizer, 4, final="pad", on_bad="skip")
        own.push(rows)
        assert packer.ledger.check() == own.ledger, shape
        assert packer.finish().blocks.tolist() == own.finish().blocks.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_python_values_again(kind: str) -> None:
    rows = ["a", None, "é" * 20, ""]
    texts = _native.ArrowTexts(array_of(["x", *rows], kind)[1:])
    expected = [row.encode() if row is not None and "binary" in kind else row for row in rows]
    assert list(texts) == expected
    assert [texts[-1], texts[-4], len(texts), list(texts[1:3])] == [
        expected[3],
        expected[0],
        4,
        expected[1:3],
    ]
    assert list(texts[2:][1:]) == list(texts[3:9]) == [expected[3]]
    with pytest.raises(IndexError, match="row 4 of 4"):
        texts[4]
    with pytest.raises(ValueError, match="the step is 2"):
        texts[::2]


def test_nulls_alone(tiny_tokenizer: Tokenizer) -> None:
    nulls = pa.nulls(3)
    assert tiny_tokenizer.encode_batch(nulls, on_bad="skip").bad == ((0, "null"), (1, "null"), (2, "null"))
    with pytest.raises(EmptyCorpusError, match="3 null"):
        pack(nulls, tiny_tokenizer, on_bad="skip")


def test_bad_rows_are_named_by_their_place(tiny_tokenizer: Tokenizer) -> None:
    chunks = [pa.array([b"a"] * 700, pa.binary()), pa.array([b"b"] * 700 + [b"abc\xff", None], pa.binary())]
    documents = pa.chunked_array(chunks)
    with pytest.raises(BadDocumentError) as caught:
        pack(documents, tiny_tokenizer)
    assert (caught.value.source, caught.value.row) == ("documents (ChunkedArray)", 1400)
    assert caught.value.reason == "invalid UTF-8 at byte 3"
    ledger = pack(documents, tiny_tokenizer, 4, on_bad="skip").ledger
    assert ledger.documents_skipped == {"invalid UTF-8": 1, "null": 1}
    with pytest.raises(BadDocumentError, match="row 1: null"):
        tiny_tokenizer.encode_batch(pa.array(["a", None]))
    # A column that calls itself text, and is none.
    buffers = pa.array([b"ok", b"\xff\xfe"], pa.binary()).buffers()
    liar = pa.StringArray.from_buffers(2, buffers[1], buffers[2])
    assert tiny_tokenizer.encode_batch(liar, on_bad="skip").bad == ((1, "invalid UTF-8 at byte 0"),)
    assert list(_native.ArrowTexts(liar)) == ["ok", b"\xff\xfe"]


@pytest.mark.parametrize("slow", [False, True])
def test_everything_takes_arrow(
    tiny_tokenizer: Tokenizer, word_piece_tokenizer: Tokenizer, slow: bool
) -> None:
    tokenizer = (
        Tokenizer.from_str(word_piece_tokenizer.to_str(), eos_token="[EOS]") if slow else tiny_tokenizer
    )
    rows = ["def f(x):", "return x", "", "Größe", "a b c"] * 3
    column = pa.chunked_array([rows[:4], rows[4:]])
    table = pa.table({"n": list(range(15)), "code": column})
    batch, expected = tokenizer.encode_batch(column), tokenizer.encode_batch(rows)
    assert (batch.ids.tolist(), batch.offsets.tolist()) == (expected.ids.tolist(), expected.offsets.tolist())
    packed = pack(table, tokenizer, 4, "pad", text_column="code")
    assert packed.blocks.tolist() == pack(rows, tokenizer, 4, "pad").blocks.tolist()
    assert packed.ledger == pack(rows, tokenizer, 4, "pad").ledger
    measured, own = measure_tokenizer(tokenizer, column), measure_tokenizer(tokenizer, rows)
    assert dataclasses.replace(measured.corpus, name=own.corpus.name) == own.corpus
    assert dataclasses.replace(measured, corpus=own.corpus) == own
    assert estimate_chars_per_token(tokenizer, column, 3) == estimate_chars_per_token(tokenizer, rows, 3)
    like = tokenizer if slow else None
    options: dict[str, Any] = {"vocab_size": 300, "show_progress": False, "like": like}
    trained = train_tokenizer(column, **options)
    assert len(trained) == len(train_tokenizer(rows, **options))
    assert slow or trained == train_tokenizer(rows, **options)
    assert take(column, 2) == rows[:2]


def test_the_data_set_takes_arrow_and_resumes_from_a_list(tiny_tokenizer: Tokenizer) -> None:
    from gristmill.dataset import ConstantLengthDataset

    rows = [f"def f{number}(x):\n    return x" for number in range(50)]
    options: dict[str, Any] = {"seq_length": 8, "num_lanes": 2, "shuffle": True, "shuffle_window": 7}
    column = pa.chunked_array([rows[:20], rows[20:]])
    data = ConstantLengthDataset(column, tiny_tokenizer, **options)
    expected = [
        sample["input_ids"].tolist() for sample in ConstantLengthDataset(rows, tiny_tokenizer, **options)
    ]
    samples = iter(data)
    assert [next(samples)["input_ids"].tolist() for _ in range(5)] == expected[:5]
    for documents in (rows, column):
        resumed = ConstantLengthDataset(documents, tiny_tokenizer, **options)
        resumed.load_state_dict(data.state_dict())
        assert [sample["input_ids"].tolist() for sample in resumed] == expected[5:]
    assert [sample["input_ids"].tolist() for sample in data] == expected


def test_a_stream_is_read_once_and_in_parts(tiny_tokenizer: Tokenizer) -> None:
    given_out = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal given_out
        for number in range(40):
            given_out += 1
            yield pa.record_batch({"text": [f"text {number} {row}" for row in range(150)]})

    reader = pa.RecordBatchReader.from_batches(pa.schema({"text": pa.string()}), batches())
    source = as_source(reader)
    parts = iter_batches(source, batch_documents=1000)
    first = next(parts)
    assert (len(first.texts), first.first_row) == (1000, 0)
    assert given_out < 10  # what is not asked for is not read
    rest = [text for part in parts for text in part.texts]
    assert [*first.texts, *rest] == [f"text {number} {row}" for number in range(40) for row in range(150)]
    with pytest.raises(SourceError, match="was read before"):
        source.open()
    with pytest.raises(SourceError, match="cannot be resumed"):
        source.open({"row": 3})
    with pytest.raises(EmptyCorpusError, match="no document"):  # pyarrow hands out the end of it
        pack(reader, tiny_tokenizer)


def test_long_documents_end_a_batch_early() -> None:
    column = pa.array(["x" * (12 << 20)] * 7)
    assert [len(batch.texts) for batch in iter_batches(column)] == [3, 3, 1]


def test_a_stream_that_fails_says_so(tiny_tokenizer: Tokenizer) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"text": ["a"]})
        raise OSError("the disk is gone")

    reader = pa.RecordBatchReader.from_batches(pa.schema({"text": pa.string()}), batches())
    with pytest.raises(ArrowDataError, match=r"an Arrow stream failed .*the disk is gone"):
        pack(reader, tiny_tokenizer)


@pytest.mark.parametrize(
    ("documents", "found"),
    [
        (pa.array([1, 2]), '"l": integers'),
        (pa.array([1.5]), '"g": floating-point numbers'),
        (pa.array([["a"]]), r'"\+l": lists'),
        (pa.array([True]), '"b": booleans'),
        (pa.array([b"ab"], pa.binary(2)), '"w:2": binary values of one size'),
        (pa.array([1, 2]).dictionary_encode(), '"l": integers'),
        (pa.table({"text": [1, 2]}), '"l": integers'),
        (pa.RunEndEncodedArray.from_arrays([2], ["a"]), r'"\+r": runs'),
    ],
)
def test_other_types_are_refused_by_name(tiny_tokenizer: Tokenizer, documents: Any, found: str) -> None:
    with pytest.raises(SourceError, match=rf"an Arrow column of the format {found} \(expected string"):
        pack(documents, tiny_tokenizer, on_bad="skip")


def test_a_table_wants_its_column(tiny_tokenizer: Tokenizer) -> None:
    table = pa.table({"code": ["a"], "n": [1]})
    with pytest.raises(MissingColumnError, match=r'no column "text" in the Arrow table \(found code, n; set'):
        pack(table, tiny_tokenizer)
    with pytest.raises(SourceError, match=r'a table with the columns \["code", "n"\]: take one'):
        tiny_tokenizer.encode_batch(table)  # type: ignore[arg-type]
    assert len(pack(table, tiny_tokenizer, 2, text_column="code")) == 1


def test_arrays_are_held_and_given_back(tiny_tokenizer: Tokenizer) -> None:
    gc.collect()
    before = pa.total_allocated_bytes()
    texts = _native.ArrowTexts(pa.array(["some text that is long enough"] * 10_000))
    part = texts[9_000:]
    del texts
    gc.collect()
    assert pa.total_allocated_bytes() > before
    assert tiny_tokenizer.encode_batch(part)[0].tolist() == tiny_tokenizer.encode(part[0]).tolist()  # type: ignore[arg-type]
    del part
    gc.collect()
    assert pa.total_allocated_bytes() == before


# What producers do wrong ---------------------------------------------------------------------------------


class ArrowArrayStruct(ctypes.Structure):
    """`struct ArrowArray`, as far as tests change it."""

    _fields_ = (
        ("length", ctypes.c_int64),
        ("null_count", ctypes.c_int64),
        ("offset", ctypes.c_int64),
        ("n_buffers", ctypes.c_int64),
        ("n_children", ctypes.c_int64),
        ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    )


class Damaged:
    """Exports an array after something in its struct was changed."""

    def __init__(self, array: pa.Array, change: Callable[[ArrowArrayStruct], None]) -> None:
        self._array, self._change = array, change

    def __len__(self) -> int:
        return len(self._array)

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        schema, array = self._array.__arrow_c_array__()
        get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
        get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        self._change(ArrowArrayStruct.from_address(get_pointer(array, b"arrow_array")))
        return schema, array


def set_to(name: str, value: int) -> Callable[[ArrowArrayStruct], None]:
    return lambda struct: setattr(struct, name, value)


def without_buffer(number: int) -> Callable[[ArrowArrayStruct], None]:
    return lambda struct: struct.buffers.__setitem__(number, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_to("length", -1), "length -1"),
        (set_to("offset", -3), "offset -3"),
        (set_to("length", 1 << 62), "length 4611686018427387904"),
        (set_to("null_count", 9), "3 rows has 9 nulls"),
        (set_to("n_buffers", 1), "1 buffers .expected 3"),
        (without_buffer(1), "no offsets or views"),
        (without_buffer(2), "there are no data"),
    ],
)
def test_structs_that_contradict_themselves_are_named(
    tiny_tokenizer: Tokenizer, change: Callable[[ArrowArrayStruct], None], message: str
) -> None:
    array = pa.array(["abc", "d", "efg"])
    for use in (tiny_tokenizer.encode_batch, lambda documents: pack(documents, tiny_tokenizer)):
        with pytest.raises(ArrowDataError, match=f"an Arrow array cannot be read: .*{message}"):
            use(Damaged(array, change))  # type: ignore[operator]


@settings(max_examples=1000)
@given(
    rows=st.lists(st.text(max_size=20), min_size=1, max_size=9),
    place=st.integers(0, 8),
    value=st.integers(-(1 << 31), (1 << 31) - 1) | st.integers(-3, 60),
    view=st.booleans(),
)
def test_damaged_offsets_and_views_end_in_a_named_error(
    tiny_tokenizer: Tokenizer, rows: list[str], place: int, value: int, view: bool
) -> None:
    """Never a read outside of the buffers: a row may be other bytes of theirs, or there is an error."""
    array = pa.array(rows, pa.string_view() if view else pa.string())
    buffers = array.buffers()
    numbers = np.frombuffer(buffers[1], dtype=np.int32).copy()
    damaged = pa.Array.from_buffers(array.type, len(rows), [None, pa.py_buffer(numbers), *buffers[2:]])
    # Changed afterwards, for pyarrow looks at what it builds. The last offset tells how long the data are, so
    # it cannot be checked.
    numbers[place % (len(rows) * 4 if view else len(rows))] = value
    try:
        batch = tiny_tokenizer.encode_batch(damaged, on_bad="skip")
    except ArrowDataError:
        return
    texts = _native.ArrowTexts(damaged)
    plain = [text.encode() if isinstance(text, str) else text or b"" for text in texts]
    assert view or b"".join(plain) in "".join(rows).encode()
    assert len(batch) + len(batch.bad) == len(rows)


def test_keys_beyond_the_dictionary_are_named(tiny_tokenizer: Tokenizer) -> None:
    for key in (2, -1, 127):
        keys = pa.Array.from_buffers(
            pa.int8(), 2, [None, pa.py_buffer(np.array([0, key], np.int8).tobytes())]
        )
        column = pa.DictionaryArray.from_arrays(keys, pa.array(["a", "b"]), safe=False)
        with pytest.raises(
            ArrowDataError, match=f"row 1 has the key {key} .expected one of the dictionary's 2"
        ):
            tiny_tokenizer.encode_batch(column)


def test_a_wrong_capsule_is_refused(tiny_tokenizer: Tokenizer) -> None:
    class Swapped(OnlyArray):
        def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
            schema, array = super().__arrow_c_array__()
            return array, schema

    class Nothing(OnlyArray):
        def __arrow_c_array__(self, requested_schema: object = None) -> Any:
            return 1, 2

    class Twice(OnlyArray):
        def __init__(self, array: pa.Array) -> None:
            self._capsules = array.__arrow_c_array__()

        def __arrow_c_array__(self, requested_schema: object = None) -> Any:
            return self._capsules

    array = pa.array(["a"])
    for kind in (Swapped, Nothing):
        with pytest.raises(TypeError, match='expected a capsule named "arrow_schema"'):
            tiny_tokenizer.encode_batch(kind(array))  # type: ignore[arg-type]
    twice = Twice(array)
    assert len(tiny_tokenizer.encode_batch(twice)) == 1  # type: ignore[arg-type]
    with pytest.raises(ArrowDataError, match="released already"):
        tiny_tokenizer.encode_batch(twice)  # type: ignore[arg-type]
    assert len(tiny_tokenizer.encode_batch(OnlyArray(array))) == 1  # type: ignore[arg-type]


# Columns of `datasets` and pandas ------------------------------------------------------------------------


def test_columns_of_data_sets(tiny_tokenizer: Tokenizer) -> None:
    datasets = pytest.importorskip("datasets")
    rows = ["def f(x):", None, "Größe", "", "a b"] * 3
    plain = datasets.Dataset.from_dict({"text": rows, "n": list(range(15))})
    reordered = plain.select([3, 1, 14, 0, 2])
    for data, texts in ((plain, rows), (reordered, [rows[row] for row in (3, 1, 14, 0, 2)])):
        expected = tiny_tokenizer.encode_batch(texts, on_bad="skip")
        for column in (data["text"], data.with_format("arrow")["text"], data.with_format("numpy")["text"]):
            batch = tiny_tokenizer.encode_batch(column, on_bad="skip")
            assert (batch.ids.tolist(), batch.bad) == (expected.ids.tolist(), expected.bad)
        own = pack(texts, tiny_tokenizer, 4, "pad", on_bad="skip")
        for documents in (data, data["text"], data.with_format("arrow")["text"], data.with_format("torch")):
            packed = pack(documents, tiny_tokenizer, 4, "pad", on_bad="skip")
            assert packed.blocks.tolist() == own.blocks.tolist()
            assert packed.ledger == own.ledger
    assert as_source(plain).in_arrow
    assert as_source(plain["text"]).in_arrow


def test_a_list_in_a_column_is_one_bad_document(tiny_tokenizer: Tokenizer) -> None:
    datasets = pytest.importorskip("datasets")
    lists = datasets.Dataset.from_dict({"text": [["a", "b"], ["c"]]})
    assert not as_source(lists).in_arrow
    with pytest.raises(BadDocumentError, match=r"row 0: a value of type list: \['a', 'b'\]"):
        pack(lists, tiny_tokenizer, 2)
    packer = Packer(tiny_tokenizer, 2, on_bad="skip")
    packer.push(lists)
    assert packer.ledger.documents_skipped == {"wrong type": 2}


def test_pandas(tiny_tokenizer: Tokenizer) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["a", "b", None], "n": [1, 2, 3]})
    for documents in (frame, frame["text"]):
        assert pack(documents, tiny_tokenizer, 2, on_bad="skip").ledger.documents_skipped == {"null": 1}
    mixed = pandas.Series(["a", 1, b"b"], dtype=object)
    assert pack(mixed, tiny_tokenizer, 2, on_bad="skip").ledger.documents_skipped == {"wrong type": 1}
