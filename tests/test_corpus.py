"""Sources of documents: each kind read, positioned, opened again; batches; the first n."""

from __future__ import annotations

import itertools
import json
import logging
import re
from collections import UserList
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import datasets.distributed
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet
from tests.block_order import Rows
from tests.corpora import NUM_ROWS, TEXTS, generated_stream, table

from gristmill import (
    streams,
)
from gristmill.corpus import DocumentSource, as_source, check_on_bad, iter_batches, take
from gristmill.errors import (
    ConfigError,
    MissingColumnError,
    ResumeError,
    SourceError,
)


@pytest.fixture(autouse=True)
def quiet_datasets() -> Iterator[None]:
    """No progress bars, and nothing looked up on a hub."""
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture(autouse=True)
def small_stream_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_BATCH_ROWS", 4)


@pytest.fixture(scope="module")
def parquet_files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three files of 20, 20 and 10 rows, in row groups of 7."""
    folder = tmp_path_factory.mktemp("parquet")
    files = []
    for number, start in enumerate(range(0, NUM_ROWS, 20)):
        texts = TEXTS[start : start + 20]
        rows = pyarrow.table({"text": texts, "n": range(start, start + len(texts))})
        files.append(str(folder / f"{number}.parquet"))
        parquet.write_table(rows, files[-1], row_group_size=7)
    return files


@pytest.fixture(scope="module")
def parquet_stream(parquet_files: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    cache = str(tmp_path_factory.mktemp("cache"))
    return datasets.load_dataset(
        "parquet", data_files=parquet_files, split="train", streaming=True, cache_dir=cache
    )


@pytest.fixture(scope="module")
def json_stream(tmp_path_factory: pytest.TempPathFactory) -> Any:
    file = tmp_path_factory.mktemp("json") / "rows.jsonl"
    file.write_text("".join(json.dumps({"text": text, "n": 1}) + "\n" for text in TEXTS), encoding="utf-8")
    cache = str(file.parent / "cache")
    return datasets.load_dataset("json", data_files=str(file), split="train", streaming=True, cache_dir=cache)


def read_all(source: DocumentSource, position: Any = None, per_read: int = 7) -> list[object]:
    reader = source.open(position)
    return list(itertools.chain.from_iterable(iter(lambda: reader.read(per_read), [])))


def check_positions(make: Callable[[], object], seek: str, cuts: range) -> list[object]:
    """Read up to each cut, go on from its position in a source made anew, and again after that."""
    source = as_source(make())
    assert source.seek == seek
    assert source.repeatable
    expected = read_all(source)
    assert read_all(source) == expected
    for cut in cuts:
        reader = source.open()
        head = list(reader.read(cut))
        assert head == expected[:cut]
        position = json.loads(json.dumps(reader.position()))
        assert position["row"] == len(head)
        assert read_all(as_source(make()), position) == expected[cut:]
        # A pass that was opened in the middle knows its position, too.
        second = as_source(make()).open(position)
        assert list(second.read(3)) == expected[cut : cut + 3]
        position = json.loads(json.dumps(second.position()))
        assert read_all(as_source(make()), position) == expected[cut + 3 :]
        # An open pass is not moved by others of the same source.
        assert list(reader.read(1000)) == expected[cut:]
        assert reader.read(5) == []
    return expected


# Sources -----------------------------------------------------------------------------------------------


KINDS: dict[str, tuple[Callable[[], object], str]] = {
    "list": (lambda: TEXTS, "exact"),
    "tuple": (lambda: tuple(TEXTS), "exact"),
    "Sequence": (lambda: UserList(TEXTS), "exact"),
    "mappings": (lambda: [{"text": text} for text in TEXTS], "exact"),
    "Dataset": (lambda: table(), "exact"),
    "numpy": (lambda: table().with_format("numpy"), "exact"),
    "arrow": (lambda: table().with_format("arrow"), "exact"),
    "Column": (lambda: table()["text"], "exact"),
    "ChunkedArray": (lambda: table().with_format("arrow")["text"], "exact"),
    "Table": (lambda: table().with_format("arrow")[:], "exact"),
    "iterable": (lambda: Rows(TEXTS), "none"),
    "array": (lambda: np.array(TEXTS), "none"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source(kind: str) -> None:
    make, seek = KINDS[kind]
    assert check_positions(make, seek, range(0, NUM_ROWS + 1, 5)) == TEXTS


CHAINS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda stream: stream,
    "map": lambda stream: stream.map(lambda row: {"text": row["text"].upper()}),
    "map batched": lambda stream: stream.map(
        lambda rows: {"text": [text for text in rows["text"] for _ in range(2)]},
        batched=True,
        batch_size=3,
        remove_columns=stream.column_names,
    ),
    "filter": lambda stream: stream.filter(lambda row: not row["text"].endswith("3")),
    "take": lambda stream: stream.take(23),
    "skip": lambda stream: stream.skip(23),
    "repeat": lambda stream: stream.take(9).repeat(3),
    "arrow": lambda stream: stream.with_format("arrow"),
    "concatenated": lambda stream: datasets.concatenate_datasets([stream, stream.take(5)]),
    "node": lambda stream: datasets.distributed.split_dataset_by_node(stream, rank=1, world_size=2),
}


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("base", ["parquet", "generator", "table"])
def test_streams_resume_exactly(base: str, chain: str, parquet_stream: Any) -> None:
    bases: dict[str, Callable[[], Any]] = {
        "parquet": lambda: parquet_stream,
        "generator": generated_stream,
        "table": lambda: table().to_iterable_dataset(num_shards=3),
    }
    # Links of one stream share their state, so a stream made anew and the same one both have to work.
    rows = check_positions(lambda: CHAINS[chain](bases[base]()), "unit", range(0, NUM_ROWS + 1, 9))
    if chain == "plain":
        assert rows == TEXTS


def test_json_lines_and_row_groups_as_shards(json_stream: Any, parquet_stream: Any) -> None:
    assert check_positions(lambda: json_stream, "unit", range(0, NUM_ROWS + 1, 5)) == TEXTS
    resharded = parquet_stream.reshard()
    assert resharded.num_shards > 3
    assert check_positions(lambda: resharded, "unit", range(0, NUM_ROWS + 1, 5)) == TEXTS


def test_interleaved_streams_resume_exactly() -> None:
    """Two cuts only: `datasets` starts and joins threads for each pass."""

    def make() -> Any:
        other = generated_stream().map(lambda row: {"text": row["text"] + "!"})
        return datasets.interleave_datasets([generated_stream(), other])

    assert check_positions(make, "unit", range(11, 60, 40))[:4] == ["text 0", "text 0!", "text 1", "text 1!"]


@pytest.mark.parametrize("base", [generated_stream, lambda: table().to_iterable_dataset(num_shards=3)])
def test_a_shuffled_stream_is_counted_off(base: Callable[[], Any], caplog: pytest.LogCaptureFixture) -> None:
    """Its buffer is not in its state, so the rows before are read again, and that is said."""
    caplog.set_level(logging.INFO, logger="gristmill")
    shuffled = base().shuffle(seed=3, buffer_size=8)
    for stream in (shuffled, shuffled.map(lambda row: {"text": row["text"]})):
        rows = check_positions(lambda stream=stream: stream, "none", range(0, NUM_ROWS + 1, 9))
        assert sorted(map(str, rows)) == sorted(TEXTS)
        assert rows != TEXTS
    assert re.search(r"cannot seek: 9 rows were read again and thrown away in [0-9.]+ s", caplog.text)


def test_a_stream_at_hand_is_neither_moved_nor_followed() -> None:
    stream = generated_stream()
    users = iter(stream)
    assert next(users)["text"] == TEXTS[0]
    source = as_source(stream)
    assert read_all(source) == TEXTS
    assert next(users)["text"] == TEXTS[1]
    stream.load_state_dict(stream.state_dict())
    assert read_all(source) == read_all(as_source(stream)) == TEXTS
    assert [row["text"] for row in stream] == TEXTS[2:]


def test_the_epoch_that_a_stream_is_set_to_is_part_of_it() -> None:
    stream = generated_stream()
    stream.set_epoch(3)
    expected = [row["text"] for row in stream]
    assert expected != TEXTS
    assert check_positions(lambda: stream, "unit", range(0, NUM_ROWS, 11)) == expected
    position = as_source(stream).open().position()
    assert read_all(as_source(generated_stream()), position) == expected


def test_states_of_older_versions_are_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 5.2 they lose rows; rows are counted there, which is the same whatever the version does."""
    monkeypatch.setattr(datasets, "__version__", "5.1.9")
    assert check_positions(generated_stream, "none", range(0, NUM_ROWS + 1, 9)) == TEXTS
    for version, seek in (("4.0.0", "none"), ("5.2.1.dev0", "unit"), ("10.0", "unit"), ("odd", "none")):
        monkeypatch.setattr(datasets, "__version__", version)
        assert as_source(generated_stream()).seek == seek


def test_a_position_fits_other_kinds_of_source_with_the_same_rows() -> None:
    reader = as_source(generated_stream()).open()
    reader.read(17)
    for documents in (TEXTS, Rows(TEXTS), table()):
        assert read_all(as_source(documents), reader.position()) == TEXTS[17:]
    assert read_all(as_source(generated_stream()), {"row": 17}) == TEXTS[17:]


@pytest.mark.parametrize("documents", [TEXTS[:5], Rows(TEXTS[:5]), table().take(5)])
def test_a_source_that_is_too_short_for_a_position_says_so(documents: object) -> None:
    with pytest.raises(ResumeError, match=r"has 5 rows, but the state stands at row 9"):
        as_source(documents).open({"row": 9})


def test_a_damaged_position_is_refused() -> None:
    reader = as_source(generated_stream()).open()
    reader.read(3)
    position = reader.position()
    for damage in ({"stream": 5}, {"stream": {}}, {"used": None}):
        with pytest.raises(ResumeError, match="is damaged"):
            as_source(generated_stream()).open(position | damage)


def test_an_iterator_is_read_once() -> None:
    source = as_source(iter(TEXTS))
    assert (source.seek, source.repeatable) == ("none", False)
    reader = source.open()
    assert reader.read(2) == TEXTS[:2]
    assert reader.position() == {"row": 2}
    with pytest.raises(SourceError, match=r"was read before.*expected a list, a datasets data set"):
        source.open()
    with pytest.raises(SourceError, match="cannot be resumed"):
        as_source(iter(TEXTS)).open({"row": 2})
    assert reader.read(100) == TEXTS[2:]


def test_an_iterator_that_ended_is_not_asked_again() -> None:
    class Restarting:
        def __init__(self) -> None:
            self.count = 0

        def __iter__(self) -> Iterator[str]:
            return self

        def __next__(self) -> str:
            self.count += 1
            if self.count % 4 == 0:
                raise StopIteration
            return "a"

    assert read_all(as_source(Restarting()), per_read=2) == ["a"] * 3


# What is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("documents", "error", "message"),
    [
        ("one text", TypeError, "one str of length 8 .*put it in a list"),
        (b"bytes", TypeError, "one bytes of length 5"),
        ({"text": ["a"]}, TypeError, r"mapping with the keys \['text'\]"),
        ({"a", "b"}, SourceError, "set, which has no order"),
        (frozenset("ab"), SourceError, "frozenset"),
        (None, TypeError, "a NoneType"),
        (7, TypeError, "a int"),
        (Path("corpus.txt"), TypeError, "Path"),
        (len, TypeError, "function"),
    ],
)
def test_what_holds_no_documents_is_refused(documents: object, error: type[Exception], message: str) -> None:
    for use in (as_source, iter_batches, lambda it: take(it, 1)):
        with pytest.raises(error, match=message):
            use(documents)  # type: ignore[operator]


def test_a_lazy_frame_is_refused_without_being_computed() -> None:
    class LazyFrame:
        @property
        def columns(self) -> list[str]:
            raise AssertionError("computed")

        dtypes = columns

    with pytest.raises(TypeError, match=r"documents is a LazyFrame .*take the column"):
        as_source(LazyFrame())


def test_a_missing_column_names_what_is_there(json_stream: Any) -> None:
    mapped = generated_stream().map(lambda row: row, features=table().features)
    for documents in (table(), json_stream, mapped):
        with pytest.raises(MissingColumnError) as caught:
            as_source(documents, "body")
        assert "row 0: no column 'body' (found 'text', 'n'" in str(caught.value)
    with pytest.raises(MissingColumnError, match=r"row 0: no column 'body' \(found 'text'"):
        as_source(generated_stream(), "body").open().read(1)
    rows: list[object] = [{"body": "a"}, "b", {"text": "c", 5: 6}]
    with pytest.raises(
        MissingColumnError, match=r"documents \(list\), row 2: no column 'body' \(found 'text', 5"
    ):
        as_source(rows, "body").open().read(9)


def test_what_a_source_raises_keeps_its_type_and_names_the_row() -> None:
    class Broken:
        def __init__(self, error: Exception, at: str) -> None:
            self.error, self.at = error, at

        def __iter__(self) -> Iterator[str]:
            if self.at == "iter":
                raise self.error
            return self._rows()

        def _rows(self) -> Iterator[str]:
            yield "a"
            yield "b"
            raise self.error

    for error in (OSError("disk"), RuntimeError("boom"), KeyError("k")):
        for at, row in (("iter", 0), ("rows", 2)):
            with pytest.raises(type(error)) as caught:
                read_all(as_source(Broken(error, at)))
            assert caught.value.__notes__[-1] == f"while gristmill read documents (Broken), row {row}"
    with pytest.raises(SourceError, match=r"documents \(Broken\), row 0: reading raised StopIteration"):
        read_all(as_source(Broken(StopIteration(), "iter")))
    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        read_all(as_source(Broken(StopIteration(), "rows")))


def test_a_sequence_that_raises_stop_iteration_does_not_end_the_corpus() -> None:
    class Odd(UserList[str]):
        def __getitem__(self, index: Any) -> Any:
            if index == 3:
                raise StopIteration
            return super().__getitem__(index)

    with pytest.raises(SourceError, match="StopIteration where no iterator ends"):
        read_all(as_source(Odd(TEXTS)), per_read=1)


def test_a_stream_that_breaks_names_its_row() -> None:
    def rows() -> Iterator[dict[str, str]]:
        yield from ({"text": text} for text in TEXTS[:10])
        raise OSError("the other side went away")

    stream = datasets.IterableDataset.from_generator(rows)
    with pytest.raises(OSError, match="went away") as caught:
        read_all(as_source(stream))
    # A stream is read in batches, so it is known only from which row on.
    (note,) = caught.value.__notes__
    assert note.startswith("while gristmill read datasets.IterableDataset, ")
    assert note.endswith(" split train, rows from 8 on")


def test_nulls_come_through() -> None:
    rows = datasets.Dataset.from_list([{"text": "a"}, {"text": None}, {"text": "b"}])
    for documents in (rows, rows.to_iterable_dataset()):
        assert read_all(as_source(documents)) == ["a", None, "b"]


def test_options_are_checked() -> None:
    assert [check_on_bad(value) for value in ("error", "skip")] == ["error", "skip"]
    with pytest.raises(ConfigError, match="on_bad is 'ignore' \\(expected 'error' or 'skip'\\)"):
        check_on_bad("ignore")
    with pytest.raises(TypeError, match="text_column is None"):
        as_source(TEXTS, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="batch_documents is 0"):
        iter_batches(TEXTS, batch_documents=0)


def test_sources_have_names(json_stream: Any) -> None:
    assert as_source(json_stream).name == "datasets.IterableDataset, json, split train"
    assert as_source([]).name == "documents (list)"
    assert as_source(iter([])).name == "documents (list_iterator)"
