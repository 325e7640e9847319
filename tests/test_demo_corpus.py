"""The demo's corpus: no validation file in the training part, nothing twice, the same every time."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gristmill.demo.corpus import (
    LARGEST_PACKAGE_SHARE,
    MEGABYTE,
    Corpus,
    Package,
    collect_corpus,
    find_packages,
    write_corpus,
)
from gristmill.errors import EmptyCorpusError


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return collect_corpus(20)


def write_package(root: Path, name: str, files: dict[str, bytes]) -> Package:
    paths = []
    for file_name, content in files.items():
        path = root / name / file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        paths.append(path)
    return Package(name, root, tuple(paths))


def filler(name: str, num_lines: int = 40) -> bytes:
    return "".join(f"def function_{number}_of_{name}(argument):\n" for number in range(num_lines)).encode()


def test_no_validation_file_is_in_the_training_part(corpus: Corpus) -> None:
    train_texts = {file.text for file in corpus.train}
    assert [file.path for file in corpus.validation if file.text in train_texts] == []
    # nor with other white space
    train_words = {re.sub(r"\s+", " ", file.text).strip() for file in corpus.train}
    assert [f.path for f in corpus.validation if re.sub(r"\s+", " ", f.text).strip() in train_words] == []


def test_no_package_is_on_both_sides(corpus: Corpus) -> None:
    train, validation = ({file.package for file in part} for part in (corpus.train, corpus.validation))
    assert not train & validation
    assert corpus.figures.train_packages == len(train) > 50
    assert corpus.figures.validation_packages == len(validation) > 10
    # both kinds are in both parts
    for part in (train, validation):
        assert any(name.startswith("stdlib/") for name in part)
        assert any(not name.startswith("stdlib/") for name in part)


def test_no_text_is_there_twice(corpus: Corpus) -> None:
    texts = [file.text for file in corpus.train + corpus.validation]
    assert len(texts) == len(set(texts))


def test_size_and_shares(corpus: Corpus) -> None:
    assert corpus.figures.train_bytes >= 10 * MEGABYTE
    assert corpus.figures.validation_bytes >= 0.4 * MEGABYTE
    for part, num_bytes in (
        (corpus.train, corpus.figures.train_bytes),
        (corpus.validation, corpus.figures.validation_bytes),
    ):
        assert sum(len(file.text.encode()) for file in part) == num_bytes
    sizes: dict[str, int] = {}
    for file in corpus.train:
        sizes[file.package] = sizes.get(file.package, 0) + file.num_bytes
    assert max(sizes.values()) <= 20 * MEGABYTE * LARGEST_PACKAGE_SHARE


def test_neither_tests_nor_vendored_copies_nor_this_package(corpus: Corpus) -> None:
    for file in corpus.train + corpus.validation:
        folders = set(Path(file.path).parts[:-1])
        assert not folders & {"test", "tests", "_vendor", "site-packages", "gristmill"}, file.path
        assert not Path(file.path).is_absolute()


def test_the_same_every_time(corpus: Corpus) -> None:
    again = collect_corpus(20)
    assert again.figures == corpus.figures
    assert again == corpus


def test_files_are_real_and_decoded_as_they_declare(tmp_path: Path) -> None:
    latin = "# -*- coding: latin-1 -*-\nname = 'é'\n".encode("latin-1")
    package = write_package(
        tmp_path,
        "one",
        {
            "latin.py": latin,
            "windows.py": b"a = 1\r\nb = 2\r\n",
            "broken.py": b"name = '\xe9'\n",  # declares nothing, so UTF-8, and is not
            "unknown.py": b"# coding: no-such-codec\n",
            "empty.py": b"\n",
            "same.py": b"a = 1\nb = 2\n",  # the text of windows.py
        },
    )
    others = [write_package(tmp_path, f"p{n}", {"a.py": filler(f"p{n}")}) for n in range(200)]
    corpus = collect_corpus(1, packages=[package, *others])
    texts = {file.path: file.text for file in corpus.train + corpus.validation if file.package == "one"}
    assert texts == {
        "one/latin.py": "# -*- coding: latin-1 -*-\nname = 'é'\n",
        "one/windows.py": "a = 1\nb = 2\n",
    }
    assert corpus.figures.undecodable_files == 2
    assert corpus.figures.duplicate_files == 1


def test_edited_copies_leave_the_validation_part(tmp_path: Path) -> None:
    originals = [write_package(tmp_path, f"p{n}", {"a.py": filler(f"p{n}")}) for n in range(100)]
    copies = [
        write_package(tmp_path, f"copy{n}", {"a.py": b"# a fork\n" + filler(f"p{n}")}) for n in range(100)
    ]
    corpus = collect_corpus(1, packages=originals + copies)
    train = {file.package for file in corpus.train}
    for file in corpus.validation:
        number = re.sub(r"\D", "", file.package)
        assert {f"p{number}", f"copy{number}"} & train == set()
    assert corpus.figures.copied_files > 0


def test_too_small_a_corpus_is_refused(tmp_path: Path) -> None:
    package = write_package(tmp_path, "one", {"a.py": filler("one")})
    with pytest.raises(EmptyCorpusError, match="0 validation files"):
        collect_corpus(1, packages=[package])


def test_packages_are_the_owners_of_their_files() -> None:
    packages = {package.name: package for package in find_packages()}
    assert "stdlib/json" in packages
    assert any(path.name == "decoder.py" for path in packages["stdlib/json"].files)
    assert "numpy" in packages
    assert not any("site-packages" in path.parts for path in packages["stdlib/json"].files)


def test_written_rows(tmp_path: Path) -> None:
    corpus = collect_corpus(1)
    write_corpus(corpus, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.jsonl", "validation.jsonl"]
    lines = (tmp_path / "train.jsonl").read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    rows = [json.loads(line) for line in lines]
    assert [row["text"] for row in rows] == [file.text for file in corpus.train]
    assert set(rows[0]) == {"text", "path", "package"}
