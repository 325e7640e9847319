"""States of the block order: what they hold, where they are refused, what resuming costs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
from tests.block_order import CountedRows, Options, Rows, shuffled_stream, stream_of

from gristmill.errors import ResumeError, SourceError
from gristmill.sources import extent_of_files, refuse_other_extent
from gristmill.tokenizer import Tokenizer


@pytest.fixture
def state(tiny_tokenizer: Tokenizer) -> dict[str, Any]:
    stream = shuffled_stream(tiny_tokenizer)
    blocks = iter(stream)
    for _ in range(5):
        next(blocks)
    return stream.state_dict()


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("seq_length", 16),
        ("num_lanes", 3),
        ("shuffle", False),
        ("seed", 2),
        ("shuffle_window", 11),
        ("text_column", "content"),
        ("infinite", True),
        ("final", "pad"),
    ],
)
def test_a_state_of_other_options_is_refused(
    tiny_tokenizer: Tokenizer, state: dict[str, Any], name: str, here: object
) -> None:
    saved = {"final": "drop", "infinite": False, "text_column": "text"} | state["options"]
    with pytest.raises(ResumeError) as caught:
        shuffled_stream(tiny_tokenizer, **{name: here}).load_state_dict(state)
    assert str(caught.value) == (
        f"the state was saved with {name} = {saved[name]!r}, but here it is {here!r}"
    )


def test_a_state_of_another_tokenizer_is_refused(
    tiny_tokenizer: Tokenizer, split_bpe_tokenizer: Tokenizer, state: dict[str, Any]
) -> None:
    with pytest.raises(ResumeError, match="tokenizer = 'fingerprint") as caught:
        shuffled_stream(split_bpe_tokenizer).load_state_dict(state)
    assert tiny_tokenizer.fingerprint[:16] in str(caught.value)
    assert split_bpe_tokenizer.fingerprint[:16] in str(caught.value)


def test_what_blocks_do_not_depend_on_may_differ(tiny_tokenizer: Tokenizer, state: dict[str, Any]) -> None:
    expected = [block.ids.tolist() for block in shuffled_stream(tiny_tokenizer)][5:]
    rows = Rows(f"document {number}" for number in range(50))
    stream = shuffled_stream(tiny_tokenizer, rows=rows, on_bad="skip", num_threads=2, buffer_sequences=1)
    stream.load_state_dict(state)
    assert [block.ids.tolist() for block in stream] == expected


def _broken(state: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    broken: Any = json.loads(json.dumps(state))
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place = broken
    for part in parents:
        place = place[part]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return broken  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("version", 1, "version 1"),
        ("version", KeyError, "version None"),
        ("options", None, "options are None"),
        ("options.seed", KeyError, "options are"),
        ("next_block", -1, "next_block = -1"),
        ("next_block", "5", "next_block = '5'"),
        ("next_block", True, "next_block = True"),
        ("next_block", 1 << 63, "next_block = 9223372036854775808"),
        ("next_block", 6, "expected"),
        ("blocks_ahead", 9, "blocks_ahead = 9"),
        ("lanes", [], "lanes are"),
        ("lanes.0", [1, 2], "lane 0 of the state"),
        ("lanes.1.2", 1.5, r"lanes\[1\].documents = 1.5"),
        ("lanes.1.0", 10_000, "lane 1"),
        ("lanes.0.1", 10_000, "lane 0"),
        ("window", [], "window is"),
        ("window.epoch", None, "window.epoch = None"),
        ("window.digest", 5, "digest=5"),
        ("window.skipped", [1], "skipped="),
        ("window.skipped", {"null": -1}, "window.skipped.null = -1"),
        ("window.row", 3, "row 3"),
        ("window.position", {"row": 3}, "row 0"),
        ("corpus", None, "corpus = None"),
        ("corpus.rows", -1, "corpus.rows = -1"),
        ("corpus.rows", 49, "has 50 rows but had 49 rows when the state was saved"),
        ("extra", 1, "fields"),
    ],
)
def test_a_damaged_state_is_refused(
    tiny_tokenizer: Tokenizer, state: dict[str, Any], path: str, value: object, message: str
) -> None:
    with pytest.raises(ResumeError, match=message):
        shuffled_stream(tiny_tokenizer).load_state_dict(_broken(state, path, value))


@pytest.mark.parametrize("damaged", [None, "state", [1], {}])
def test_what_is_no_state_is_refused(tiny_tokenizer: Tokenizer, damaged: Any) -> None:
    with pytest.raises(ResumeError):
        shuffled_stream(tiny_tokenizer).load_state_dict(damaged)


@pytest.mark.parametrize("kind", [list, Rows])
@pytest.mark.parametrize(
    "rows",
    [
        [],
        [f"document {number}" for number in range(3)],
        [f"document {number}" for number in range(1, 51)],
        [f"Document {number}" for number in range(50)],
    ],
    ids=["none", "fewer", "moved", "changed"],
)
@pytest.mark.parametrize("num_blocks", [5, 30])
def test_other_documents_are_noticed_on_resume(
    tiny_tokenizer: Tokenizer, kind: Callable[[list[str]], object], rows: list[str], num_blocks: int
) -> None:
    first = shuffled_stream(tiny_tokenizer)
    blocks = iter(first)
    for _ in range(num_blocks):
        next(blocks)
    stream = shuffled_stream(tiny_tokenizer, rows=kind(rows))

    def resume() -> None:
        stream.load_state_dict(first.state_dict())
        next(iter(stream))

    with pytest.raises(ResumeError, match=r"documents|rows"):
        resume()


def test_a_corpus_that_grew_or_shrank_behind_the_window_is_refused(
    tiny_tokenizer: Tokenizer, state: dict[str, Any]
) -> None:
    rows = [f"document {number}" for number in range(50)]
    for other in ([*rows, "more"], rows[:-1]):
        message = f"has {len(other)} rows but had 50 rows when the state was saved"
        with pytest.raises(ResumeError, match=message):
            shuffled_stream(tiny_tokenizer, rows=other).load_state_dict(state)
    # one that grows before it is read is noticed then
    growing = list(rows)
    stream = shuffled_stream(tiny_tokenizer, rows=growing)
    stream.load_state_dict(state)
    growing.append("more")
    with pytest.raises(ResumeError, match="has 51 rows but had 50 rows"):
        next(iter(stream))


def test_files_that_changed_are_refused_and_moved_ones_are_not(
    tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    def write(folder: str, names: str = "ab", extra: str = "") -> Any:
        (tmp_path / folder).mkdir()
        files = []
        for name in names:
            lines = [json.dumps({"text": f"document {name} {number}"}) + "\n" for number in range(25)]
            files.append(tmp_path / folder / f"{name}.jsonl")
            files[-1].write_text("".join(lines) + extra * (name == names[-1]))
        paths = [str(file) for file in files]
        return datasets.load_dataset("json", data_files=paths, split="train", streaming=True)

    first = shuffled_stream(tiny_tokenizer, rows=write("first"))
    for block in first:
        if block.number == 4:
            break
    state = json.loads(json.dumps(first.state_dict()))
    size = state["corpus"]["bytes"]
    assert state["corpus"] == {"files": 2, "bytes": size, "names": state["corpus"]["names"]}
    moved = shuffled_stream(tiny_tokenizer, rows=write("moved"))
    moved.load_state_dict(state)
    assert next(iter(moved)).number == 5
    for folder, names, extra, here in (
        ("longer", "ab", '{"text": ""}\n', f"2 files, {size + 13:,} bytes"),
        ("more", "abc", "", "3 files"),
        ("renamed", "ac", "", f"2 files, {size:,} bytes, of other names, sizes or order,"),
    ):
        other = shuffled_stream(tiny_tokenizer, rows=write(folder, names, extra))
        with pytest.raises(ResumeError, match=f"has {here}.* but had 2 files, {size:,} bytes when"):
            other.load_state_dict(state)


def test_only_what_both_sources_know_of_their_size_is_compared() -> None:
    refuse_other_extent("here", {"rows": 3}, {"files": 1, "bytes": 9, "names": "x"})
    refuse_other_extent("here", {"rows": 3}, {})
    refuse_other_extent("here", {}, {"rows": 3})
    with pytest.raises(ResumeError, match=r"^here has 1 row but had 2,000 rows when"):
        refuse_other_extent("here", {"rows": 2000}, {"rows": 1})
    assert extent_of_files([]) == extent_of_files([__file__, "no such file"]) == {}


def test_the_state_holds_no_text_and_stays_small(tiny_tokenizer: Tokenizer) -> None:
    rows = [f"secret {number} " * 20 for number in range(3000)] + [None]
    options = Options(seq_length=64, num_lanes=512, window=1000)
    stream = stream_of(rows, tiny_tokenizer, options, infinite=True)
    for block in stream:
        if block.number == 3000:
            break
    text = json.dumps(stream.state_dict())
    assert len(text) < 64 * 1024
    assert "secret" not in text
    assert "world" not in text


# Resuming ---------------------------------------------------------------------------------------------


def test_resuming_costs_the_same_early_and_late(tiny_tokenizer: Tokenizer) -> None:
    """Of a source that seeks exactly, a resumed run reads a few windows, wherever it stands."""
    rows = CountedRows(f"document number {number} of many" for number in range(4000))
    costs = []
    for num_blocks in (100, 10_000, 30_000):
        options = Options(seq_length=16, num_lanes=4, window=100)
        stream = stream_of(rows, tiny_tokenizer, options, infinite=True, buffer_sequences=64)
        blocks = iter(stream)
        for _ in range(num_blocks):
            block = next(blocks)
        state = stream.state_dict()
        expected = next(blocks).ids.tolist()
        resumed = stream_of(rows, tiny_tokenizer, options, infinite=True, buffer_sequences=64)
        resumed.load_state_dict(state)
        rows.num_read = 0
        block = next(iter(resumed))
        costs.append(rows.num_read)
        assert block.number == num_blocks
        assert block.ids.tolist() == expected
    assert stream.epoch > 0
    assert max(costs) <= 1000


def test_a_source_that_cannot_seek_says_what_resuming_costs(
    tiny_tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="gristmill")
    rows = Rows(f"document {number}" for number in range(50))
    stream = shuffled_stream(tiny_tokenizer, rows=rows)
    blocks = iter(stream)
    assert "documents (Rows) cannot seek: resuming would read everything before again" in caplog.text
    for _ in range(20):
        block = next(blocks)
    resumed = shuffled_stream(tiny_tokenizer, rows=rows)
    resumed.load_state_dict(stream.state_dict())
    assert next(iter(resumed)).number == block.number + 1
    row = stream.state_dict()["window"]["row"]
    assert row > 0
    assert f"{row} rows were read again and thrown away in " in caplog.text


def test_a_generator_can_neither_repeat_nor_resume(tiny_tokenizer: Tokenizer, state: dict[str, Any]) -> None:
    def documents() -> Iterator[str]:
        yield from (f"document {number}" for number in range(50))

    with pytest.raises(SourceError, match=r"second epoch.*infinite=True.*expected a list"):
        shuffled_stream(tiny_tokenizer, rows=documents(), infinite=True)
    stream = shuffled_stream(tiny_tokenizer, rows=documents())
    assert [block.ids.tolist() for block in stream] == [
        block.ids.tolist() for block in shuffled_stream(tiny_tokenizer)
    ]
    with pytest.raises(SourceError, match=r"cannot be resumed.*expected a list"):
        stream.load_state_dict(stream.state_dict())
    with pytest.raises(SourceError, match=r"read before.*expected a list"):
        list(stream)


def test_iterating_again_starts_anew_unless_a_state_was_loaded(tiny_tokenizer: Tokenizer) -> None:
    stream = shuffled_stream(tiny_tokenizer)
    expected = [block.ids.tolist() for block in stream]
    at_end = stream.state_dict()
    assert [block.ids.tolist() for block in stream] == expected
    first = iter(stream)
    for _ in range(7):
        next(first)
    stream.load_state_dict(stream.state_dict())
    assert [block.ids.tolist() for block in stream] == expected[7:]
    assert [block.ids.tolist() for block in stream] == expected
    assert [block.ids.tolist() for block in first] == expected[7:]
    stream.load_state_dict(at_end)
    assert list(stream) == []
    assert stream.state_dict() == at_end
    assert len(list(stream)) == len(expected)


def test_each_epoch_has_its_own_order(tiny_tokenizer: Tokenizer) -> None:
    stream = shuffled_stream(tiny_tokenizer)
    orders = []
    for epoch in (0, 1, 2, 1):
        stream.set_epoch(epoch)
        orders.append([block.ids.tolist() for block in stream])
        assert stream.epoch == stream.state_dict()["window"]["epoch"] == epoch
    assert orders[1] == orders[3]
    assert len({json.dumps(order) for order in orders}) == 3
    stream = shuffled_stream(tiny_tokenizer, seed=2)
    assert [block.ids.tolist() for block in stream] != orders[0]


def test_epochs_are_counted_and_told(tiny_tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="gristmill")
    stream = shuffled_stream(tiny_tokenizer, rows=["a b c", None, "d"], infinite=True, on_bad="skip")
    epochs = []
    for block in stream:
        epochs.append(stream.epoch)
        if block.number == 12:
            break
    assert epochs == sorted(epochs)
    assert epochs[-1] > 2
    assert "epoch 0 is read: 2 documents in 3 rows; epoch 1 begins" in caplog.text
    ledger = stream.ledger.check()
    assert ledger.documents_packed == 2 * ledger.documents_skipped["null"]
