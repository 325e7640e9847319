"""Files of a `datasets` stream that hold what is no text: the error names file, row and value."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import datasets
import pytest

from gristmill.dataset import ConstantLengthDataset
from gristmill.errors import BadDocumentError, FileFormatError, MissingColumnError
from gristmill.json_lines import find_bad_line, other_columns
from gristmill.metrics import measure_tokenizer
from gristmill.packing import pack
from gristmill.tokenizer import Tokenizer

GOOD = [{"text": "def f(x):"}, {"text": "return x"}]


@pytest.fixture
def stream(tmp_path: Path) -> Callable[..., datasets.IterableDataset]:
    def make(**files: str) -> datasets.IterableDataset:
        paths = []
        for name, content in files.items():
            paths.append(str(tmp_path / f"{name}.jsonl"))
            Path(paths[-1]).write_text(content)
        return datasets.load_dataset("json", data_files=paths, split="train", streaming=True)

    return make


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("on_bad", ["error", "skip"])
def test_a_lone_surrogate_names_file_row_and_value(
    stream: Callable[..., datasets.IterableDataset], tiny_tokenizer: Tokenizer, on_bad: str
) -> None:
    documents = stream(good=lines(*GOOD), bad=lines(*GOOD, {"text": "a\ud800"}))
    expected = r"bad\.jsonl, row 2: a lone surrogate U\+D800 at character 1 of column 'text' \(expected"
    with pytest.raises(FileFormatError, match=expected):
        pack(documents, tiny_tokenizer, 4, on_bad=on_bad)
    with pytest.raises(FileFormatError, match=expected):
        list(ConstantLengthDataset(documents, tiny_tokenizer, 4, on_bad=on_bad))


def test_a_null_is_named_by_its_file(
    stream: Callable[..., datasets.IterableDataset], tiny_tokenizer: Tokenizer
) -> None:
    documents = stream(good=lines(*GOOD), bad=lines(*GOOD, {"text": None}, *GOOD))
    for read in (
        lambda: pack(documents, tiny_tokenizer, 4),
        lambda: measure_tokenizer(tiny_tokenizer, documents),
        lambda: list(ConstantLengthDataset(documents, tiny_tokenizer, 4, shuffle=True)),
    ):
        with pytest.raises(BadDocumentError, match=r"bad\.jsonl, row 2: null"):
            read()
    # the filter moves rows: the file would be a guess, so the stream itself is named
    moved = documents.filter(lambda row: row["text"] != "def f(x):")
    with pytest.raises(BadDocumentError, match=r"row [12]: null"):
        pack(moved, tiny_tokenizer, 4)


def test_a_missing_column_names_its_file(
    stream: Callable[..., datasets.IterableDataset], tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    other = lines({"body": "a", "n": 1}, {"body": "b", "n": 2})
    expected = r"{}\.{}, row 0: no column 'text' \(found 'body', 'n'; set text_column\)"
    for files in ({"bad": other}, {"good": lines(*GOOD), "bad": other}):
        with pytest.raises(MissingColumnError, match=expected.format("bad", "jsonl")):
            pack(stream(**files), tiny_tokenizer, 4)
    table = datasets.Dataset.from_dict({"body": ["a"], "n": [1]})
    table.to_parquet(tmp_path / "table.parquet")
    files = [str(tmp_path / "table.parquet")]
    with pytest.raises(MissingColumnError, match=expected.format("table", "parquet")):
        pack(
            datasets.load_dataset("parquet", data_files=files, split="train", streaming=True),
            tiny_tokenizer,
            4,
        )


def test_the_columns_of_a_file_without_the_text_column(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n" + lines({"body": "a", "n": 1}, {"other": 1}))
    assert other_columns(str(file), "text") == ["body", "n"]
    assert other_columns(str(file), "other") is None
    assert other_columns(str(tmp_path / "none.jsonl"), "text") is None


def test_reading_goes_on_behind_files_of_another_order(
    stream: Callable[..., datasets.IterableDataset], tiny_tokenizer: Tokenizer
) -> None:
    documents = stream(a=lines({"text": None}, *GOOD), b=lines(*GOOD)).shuffle(seed=3, buffer_size=2)
    with pytest.raises(BadDocumentError, match=r"row \d: null"):
        pack(documents, tiny_tokenizer, 4)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": \n', "no JSON"),
        (b"[1]\n", "a value of type list"),
        (b'{"text": "\xff"}\n', "invalid UTF-8"),
        (b'{"other": "\\udc00", "text": "a"}\n', "a lone surrogate U+DC00 at character 0"),
    ],
)
def test_the_bad_line_of_a_file(tmp_path: Path, line: bytes, reason: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"text": "good"}\n\n' + line)
    found = find_bad_line(str(file), "text")
    assert found is not None
    assert found[0] == 2
    assert reason in found[1]
    file.write_bytes(b'{"text": "good"}\n')
    assert find_bad_line(str(file), "text") is None
