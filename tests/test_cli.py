"""The command line: what it prints, its exit statuses, and files of every kind as input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gristmill import __version__
from gristmill.cli import main
from gristmill.documents import DocumentFiles, FileFormatError
from gristmill.errors import BadDocumentError, EmptyCorpusError, MissingColumnError
from gristmill.metrics import NOISES, TokenizerReport, measure_tokenizer
from gristmill.tokenizer_training import train_tokenizer

TEXTS = ["def one(value):\n    return value\n", "", "x = 'é'\n", "\n".join(f"line {n}" for n in range(50))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, text in enumerate(TEXTS):
        (tmp_path / f"{number}.py").write_text(text, encoding="utf-8")
    return tmp_path


def write_jsonl(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# --- documents from files ---


def test_every_kind_of_file_gives_the_same_documents(folder: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    table = write_jsonl(tmp_path / "rows.jsonl", [{"text": text, "path": "p"} for text in TEXTS])
    parquet.write_table(pyarrow.table({"text": TEXTS}), tmp_path / "rows.parquet")
    for inputs in ([folder / "[0-9].py"], [table], [tmp_path / "rows.parquet"]):
        documents = DocumentFiles(inputs)
        assert list(documents) == TEXTS
        assert list(documents) == TEXTS  # again


def test_a_folder_stands_for_the_files_below_it(folder: Path) -> None:
    (folder / "deeper").mkdir()
    (folder / "deeper" / "notes.txt").write_bytes(b"notes")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    documents = DocumentFiles([folder, folder / "0.py"])
    assert [path.name for path in documents.paths] == ["0.py", "1.py", "2.py", "3.py", "notes.txt"]
    assert list(documents)[-1] == b"notes"


def test_python_files_are_decoded_as_they_declare(tmp_path: Path) -> None:
    (tmp_path / "latin.py").write_bytes("# coding: latin-1\nx = 'é'\n".encode("latin-1"))
    (tmp_path / "broken.py").write_bytes(b"x = '\xe9'\n")
    assert list(DocumentFiles([tmp_path / "latin.py"])) == ["# coding: latin-1\nx = 'é'\n"]
    assert list(DocumentFiles([tmp_path / "broken.py"])) == [b"x = '\xe9'\n"]  # on_bad judges it


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        ('{"text": "a"}\n{"text": \n', FileFormatError, "rows.jsonl, row 1: .*one JSON object a line"),
        ('{"text": "a"}\n\n{"text": \n', FileFormatError, "rows.jsonl, row 1: .*one JSON object a line"),
        ('["a"]\n', FileFormatError, "rows.jsonl, row 0: a value of type list"),
        ('{"content": "a"}\n', MissingColumnError, "row 0: no column 'text' .*'content'"),
    ],
)
def test_broken_rows_are_named(tmp_path: Path, lines: str, error: type[Exception], message: str) -> None:
    (tmp_path / "rows.jsonl").write_text(lines)
    with pytest.raises(error, match=message):
        list(DocumentFiles([tmp_path / "rows.jsonl"]))


def test_bytes_that_are_no_utf8_follow_on_bad(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(
        b'\xef\xbb\xbf{"text": "a"}\n\n{"text": "b\xff"}\n{"text": "c", "other": "\xff"}\n'
        b'{"text": "\\ud800\xff"}\n{"text": "\\udcff"}\n{"text": 7, "other": "\xff"}\n'
    )
    documents = DocumentFiles([file])
    assert list(documents) == ["a", b"b\xff", b"c", "\ud800\udcff", "\udcff", 7]
    tokenizer = train_tokenizer(["a"], 257, show_progress=False)
    with pytest.raises(BadDocumentError, match=r"rows\.jsonl, row 1: invalid UTF-8 at byte 1"):
        measure_tokenizer(tokenizer, documents)
    report = measure_tokenizer(tokenizer, documents, on_bad="skip")
    assert (report.corpus.documents, report.corpus.num_skipped) == (2, 4)


def test_an_output_that_is_a_file_is_refused_before_the_training(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = folder / "notes.txt"
    place.write_text("mine")
    assert main(["tokenizer", "train", str(folder), "--output", str(place)]) == 2
    assert f"--output is {str(place)!r}, a file" in capsys.readouterr().err
    assert place.read_text() == "mine"


def test_broken_parquet_files_are_named(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(FileFormatError, match=r"broken\.parquet"):
        list(DocumentFiles([tmp_path / "broken.parquet"]))
    parquet.write_table(pyarrow.table({"content": TEXTS}), tmp_path / "other.parquet")
    with pytest.raises(MissingColumnError, match=r"other\.parquet: no column 'text' .*'content'"):
        list(DocumentFiles([tmp_path / "other.parquet"]))


def test_an_input_that_names_nothing_is_refused(tmp_path: Path) -> None:
    for item in (tmp_path, tmp_path / "missing.py", tmp_path / "*.py"):
        with pytest.raises(EmptyCorpusError, match="names no file"):
            DocumentFiles([item])


def test_a_row_is_located_in_its_file(folder: Path, tmp_path: Path) -> None:
    table = write_jsonl(tmp_path / "rows.jsonl", [{"text": text} for text in ("a", "b")])
    documents = DocumentFiles([folder / "0.py", table, folder / "3.py"])
    list(documents)
    assert documents.locate(0) == (str(folder / "0.py"), 0)
    assert documents.locate(2) == (str(table), 1)
    assert documents.locate(3) == (str(folder / "3.py"), 0)


# --- tokenizer train, tokenizer measure ---


def test_a_tokenizer_is_not_written_over_unless_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = folder / "tokenizer"
    command = ["tokenizer", "train", str(folder / "*.py"), "--output", str(place), "--vocab-size"]
    assert main([*command, "260"]) == 0
    before = (place / "tokenizer.json").read_bytes()
    assert main([*command, "265"]) == 2
    assert "holds a tokenizer (expected another folder, or --overwrite)" in capsys.readouterr().err
    advise = ["tokenizer", "advise", str(folder / "*.py"), "--measure-on", str(folder / "0.py")]
    advise += ["--vocab-sizes", "258,262", "--output", str(place)]
    assert main(advise) == 2
    assert (place / "tokenizer.json").read_bytes() == before
    assert main([*command, "265", "--overwrite"]) == 0
    assert (place / "tokenizer.json").read_bytes() != before
    assert main([*advise, "--overwrite"]) == 0
    assert main([*command[:3], "--output", str(folder), "--vocab-size", "260"]) == 0  # a folder without one


def test_training_on_no_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "rows.jsonl").write_text('{"text": ""}\n')
    for name in ("empty.py", "rows.jsonl"):
        command = ["tokenizer", "train", str(tmp_path / name), "--output", str(tmp_path / "t")]
        assert main(command) == 2
        assert f"{tmp_path / name}: 1 file without any text" in capsys.readouterr().err
    assert not (tmp_path / "t").exists()


def test_training_says_that_the_corpus_ran_out_of_merges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("ab ab ab")
    command = ["tokenizer", "train", str(tmp_path / "a.txt"), "--output", str(tmp_path / "t"), "--vocab-size"]
    assert main([*command, "100000"]) == 0
    shown = capsys.readouterr().out
    assert "trained on 1 file in" in shown
    assert "100,000 tokens were asked for, and after 259 no pair was left" in shown
    assert main([*command, "100000", "--min-frequency", "3", "--overwrite"]) == 0
    assert "no pair that occurs 3 times was left" in capsys.readouterr().out
    assert main([*command, "258", "--overwrite"]) == 0
    assert "ran out" not in capsys.readouterr().out
    assert main([*command, "100000", "--overwrite", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["vocab_size"], figures["asked_vocab_size"]) == (259, 100_000)


def test_noises_are_each_given_once_or_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = train_tokenizer(TEXTS, 260, show_progress=False)
    tokenizer.save_pretrained(folder / "t")
    command = ["tokenizer", "measure", str(folder / "t"), str(folder / "0.py"), "--noise"]
    for given in (["foo"], ["case", "--noise", "case"], ["all", "--noise", "case"]):
        assert main([*command, *given]) == 2
        assert "misspelling, case, whitespace, homoglyphs, each once, or all alone" in capsys.readouterr().err
    report = measure_tokenizer(tokenizer, TEXTS, noises=["all"])
    assert report == measure_tokenizer(
        tokenizer, TEXTS, noises=["misspelling", "case", "whitespace", "homoglyphs"]
    )


def test_a_page_that_cannot_be_written_is_refused_by_its_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_tokenizer(TEXTS, 260, show_progress=False).save_pretrained(folder / "t")
    inputs = [str(folder / "0.py"), str(folder / "1.py")]
    commands = [
        ["measure", str(folder / "t"), *inputs],
        ["compare", *inputs, "--tokenizer", str(folder / "t"), "--each-input"],
        ["advise", *inputs],
    ]
    for command in commands:
        for place in (folder, folder / "no" / "page.html"):
            assert main(["tokenizer", *command, "--html", str(place)]) == 2
            captured = capsys.readouterr()
            assert f"'{place}'" in captured.err
            assert ".tmp-" not in captured.err
            assert captured.out == ""
    assert main(["tokenizer", *commands[1][:2], *commands[1][3:]]) == 2
    assert "--each-input with one input" in capsys.readouterr().err


def test_train_and_measure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = folder / "tokenizer"
    arguments = ["tokenizer", "train", str(folder / "*.py"), "--output", str(place), "--vocab-size", "270"]
    assert main([*arguments, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["vocab_size"] <= 270
    assert figures["files"] == len(TEXTS)
    assert (place / "tokenizer.json").is_file()

    assert main(["tokenizer", "measure", str(place), str(folder / "*.py"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["corpus"]["documents"] == len(TEXTS)
    assert main(["tokenizer", "measure", str(place / "tokenizer.json"), str(folder / "0.py")]) == 0
    assert "fertility" in capsys.readouterr().out.lower()
    more = [
        "--noise",
        "all",
        "--reference",
        str(place),
        "--parallel-to",
        str(folder / "*.py"),
        "--rare-below",
        "2",
    ]
    assert main(["tokenizer", "measure", str(place), str(folder / "*.py"), *more, "--json"]) == 0
    measured = TokenizerReport.from_dict(json.loads(capsys.readouterr().out))
    assert measured.value("parity") == measured.value("normalized_sequence_length") == 1
    assert measured.settings.noises == NOISES
    assert measured.tokenizer.name == str(place)
    assert main(["tokenizer", "measure", str(place), str(folder / "*.py"), "--noise", "colour"]) == 2
    assert "noises is ('colour',)" in capsys.readouterr().err


def test_bad_rows_follow_on_bad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_jsonl(tmp_path / "good.jsonl", [{"text": text} for text in TEXTS])
    bad = write_jsonl(tmp_path / "bad.jsonl", [{"text": "a"}, {"text": None}])
    command = [
        "tokenizer",
        "train",
        str(good),
        str(bad),
        "--output",
        str(tmp_path / "t"),
        "--vocab-size",
        "270",
    ]
    assert main([*command, "--json"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"gristmill: error: {bad}, row 1: null")
    assert error.count("\n") == 1
    assert main([*command, "--json", "--on-bad", "skip"]) == 0


# --- errors, exit statuses ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tokenizer", "measure", "no-such-folder", __file__], "no-such-folder"),
        (["tokenizer", "train", "no-such-file.py", "--output", "t"], "'no-such-file.py' names no file"),
        (["generate", "--model", "no-such-model", "--prompt", "a"], "'no-such-model' does not exist"),
        (
            ["generate", "--model", "m", "--prompt", "a", "--top-p", "0"],
            "top_p is 0.0 (expected above 0, at most 1)",
        ),
        (["generate", "--model", "m", "--prompt", "a", "--temperature", "-1"], "temperature is -1.0"),
        (["demo", "--max-steps", "0"], "max_steps is 0"),
        (["demo", "--vocab-size", "20"], "vocab_size is 20"),
    ],
)
def test_errors_are_one_line_and_status_2(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("gristmill: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["tokenizer"], ["generate"]])
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert "usage: gristmill" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(["--version"])
    assert error.value.code == 0
    assert capsys.readouterr().out == f"gristmill {__version__}\n"


def test_interruption_is_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gristmill.tokenizer_training.train_tokenizer", interrupted)
    assert main(["tokenizer", "train", str(folder), "--output", str(folder / "t")]) == 130
    assert capsys.readouterr().err == "gristmill: interrupted\n"


def run_module(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gristmill", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)  # type: ignore[call-overload,no-any-return]


def test_the_module_runs_as_the_command() -> None:
    assert run_module("--version").stdout == f"gristmill {__version__}\n"


def test_tokenizer_commands_need_neither_torch_nor_datasets(folder: Path) -> None:
    blocked = "".join(
        f"sys.modules[{name!r}] = None\n" for name in ("torch", "datasets", "pyarrow", "transformers")
    )
    arguments = [
        "tokenizer",
        "train",
        str(folder),
        "--output",
        str(folder / "t"),
        "--vocab-size",
        "270",
        "--json",
    ]
    measure = ["tokenizer", "measure", str(folder / "t"), str(folder / "0.py"), "--json"]
    code = (
        f"import sys\n{blocked}from gristmill.cli import main\nsys.exit(main({arguments}) or main({measure}))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stderr

    parquet = folder / "rows.parquet"
    parquet.write_bytes(b"")
    code = (
        f"import sys\n{blocked}from gristmill.cli import main\nsys.exit(main({[*measure[:3], str(parquet)]}))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 2
    assert "pip install 'gristmill[data]'" in run.stderr


def test_a_reader_that_leaves_is_no_error(folder: Path) -> None:
    assert (
        main(["tokenizer", "train", str(folder), "--output", str(folder / "t"), "--vocab-size", "270"]) == 0
    )
    command = f"{sys.executable} -m gristmill tokenizer measure {folder / 't'} {folder / '0.py'} | true"
    run = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, timeout=120)
    assert run.stderr == ""
