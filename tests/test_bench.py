"""The bench's machinery: ids are checked before anything is timed, and who differs or fails is named."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gristmill import train_tokenizer

BENCHES = Path(__file__).resolve().parent.parent / "benches"
SEQ_LENGTH = 8


@pytest.fixture(autouse=True)
def _benches_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHES))


def make_peer(
    change: Callable[[list[int]], list[int]] = lambda ids: ids, *, rotate_blocks: bool = False
) -> Any:
    """A peer whose ids are the bytes of a text; `change` makes it wrong."""
    from peers import Job, Loaded, Peer, chop_parts

    def load(job: Job) -> Loaded:
        def ids(batch: list[str]) -> Iterator[Any]:
            return (np.array(change(list(text.encode())), dtype=np.uint32) for text in batch)

        def grind(batches: Iterable[list[str]]) -> Iterator[Any]:
            for blocks in chop_parts(map(ids, batches), 256, job.seq_length):
                yield blocks[::-1] if rotate_blocks else blocks

        return Loaded(grind, ids, eos_token_id=256)

    return Peer("bytes", load, ("numpy",))


def job() -> Any:
    from peers import Job

    return Job(Path("none"), "<|endoftext|>", SEQ_LENGTH, 1)


DOCUMENTS = [f"document {number}, {'x' * (number % 7)}".encode() for number in range(2_500)]
SPECIAL = [b"a<|endoftext|>b"]


def check(peer: Any, documents: list[bytes] = DOCUMENTS) -> dict[str, Any]:
    import worker

    reference = worker.hash_all(make_peer(), job(), DOCUMENTS, SPECIAL)
    return worker.check(peer, job(), documents, SPECIAL, reference)


def test_an_equal_peer_is_equal_in_every_block() -> None:
    answer = check(make_peer())
    assert answer["num_documents"] == 2_500
    assert answer["num_blocks"] == sum(len(text) + 1 for text in DOCUMENTS) // SEQ_LENGTH
    assert answer["differing_blocks"] == answer["differing_documents"] == answer["differing_special"] == 0
    assert answer["versions"] == {"numpy": np.__version__}


@pytest.mark.parametrize("place", [0, 1_234, 2_499])
def test_one_wrong_id_in_one_document_is_caught(place: int) -> None:
    wrong = DOCUMENTS[place]

    def change(ids: list[int]) -> list[int]:
        return [*ids[:-1], ids[-1] ^ 1] if bytes(ids) == wrong else ids

    answer = check(make_peer(change))
    assert answer["differing_documents"] == 1


def test_a_wrong_id_in_what_no_block_holds_is_caught() -> None:
    """The last ids are left over when blocks are chopped; so the last batch is compared by document, too."""
    num_ids = sum(len(text) + 1 for text in DOCUMENTS)
    assert num_ids % SEQ_LENGTH > 1  # the last document's last id lies in the remainder
    answer = check(make_peer(lambda ids: [*ids[:-1], 0] if bytes(ids) == DOCUMENTS[-1] else ids))
    assert (answer["differing_blocks"], answer["differing_documents"]) == (0, 1)


def test_a_missing_or_an_additional_id_is_caught() -> None:
    assert (
        check(make_peer(lambda ids: ids[:-1] if ids[-1] == ord("x") else ids))["differing_documents"] > 1_000
    )
    assert check(make_peer(lambda ids: [7, *ids]))["differing_documents"] == 2_500


def test_equal_documents_in_wrong_blocks_are_refused() -> None:
    with pytest.raises(AssertionError, match="wrongly joined"):
        check(make_peer(rotate_blocks=True))


def test_special_documents_are_counted_apart() -> None:
    answer = check(make_peer(lambda ids: [256] if b"<|endoftext|>" in bytes(ids) else ids))
    assert (answer["differing_documents"], answer["differing_special"]) == (0, 1)


def test_a_share_is_compared_with_the_beginning_of_the_reference() -> None:
    assert check(make_peer(), DOCUMENTS[:700])["differing_documents"] == 0
    assert check(make_peer(lambda ids: ids[::-1]), DOCUMENTS[:700])["differing_documents"] == 700


def test_a_peer_with_other_ids_is_none_to_beat() -> None:
    import rounds
    import tables
    from peers import PEERS

    peers = [peer for peer in PEERS if peer.name in ("gristmill", "fastokens", "snaptokens")]
    a_pass = {"bytes": 10_000_000, "cpu_seconds": 1.0}
    passes = {
        "gristmill": [{**a_pass, "seconds": 1.0}] * 3,
        "fastokens": [{**a_pass, "seconds": 0.5}] * 3,
        "snaptokens": [{**a_pass, "seconds": 2.0}] * 3,
    }
    checks = {name: {"differing_documents": int(name == "fastokens"), "versions": {}} for name in passes}
    rows = rounds.summarise(passes, checks, peers)
    assert {row["peer"]: row["gristmill_is_faster_by"] for row in rows} == {
        "gristmill": 1.0,
        "fastokens": 0.5,
        "snaptokens": 2.0,
    }
    fastest = tables.fastest_peer({"peers": rows})
    assert fastest is not None
    assert fastest["peer"] == "snaptokens"


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    import rounds
    from peers import PEERS

    peers = [peer for peer in PEERS if peer.name in ("gristmill", "fastokens")]
    times = {"gristmill": [1.0, 2.0, 4.0], "fastokens": [3.0, 4.0, 20.0]}
    passes = {
        name: [{"bytes": 1_000_000, "seconds": each, "cpu_seconds": each} for each in seconds]
        for name, seconds in times.items()
    }
    checks = {name: {"differing_documents": 0, "versions": {}} for name in times}
    rows = {row["peer"]: row for row in rounds.summarise(passes, checks, peers)}
    assert rows["fastokens"]["gristmill_is_faster_by"] == 3.0
    assert rows["fastokens"]["megabytes_per_second"] == 0.25


# The corpus -----------------------------------------------------------------------------------------------


def test_a_corpus_holds_each_text_once_and_measured_ones_not_in_the_held_out_part() -> None:
    from corpus import build_corpora, take_documents

    docstring = "Say what this function does in more than eighty characters, so that it counts as prose here."
    code = f'def f():\n    """{docstring}"""\n'.encode()
    first = take_documents(
        [
            ("a/one.py", code),
            ("a/two.py", code + b"# another file, the same docstring\n"),
            ("a/README.md", b"Some words of plain prose.\n" * 3),
            ("a/numbers.txt", b"1 2 3 4 5 6 7 8 9 0 " * 9),
            ("a/LICENSE.txt", b"You may do this and that with it."),
            ("a/special.py", b"EOS = '<|endoftext|>'\n"),
            ("a/latin.py", "# -*- coding: latin-1 -*-\nname = 'Köln'\r\n".encode("latin-1")),
            ("a/broken.py", b"\xff\xfe broken"),
        ]
    )
    second = take_documents([("b/one.py", code), ("b/other.py", b"x = 1\n")])
    corpora = build_corpora([("held_out", "b", second), ("measured", "a", first)], "test")
    python = corpora["measured", "python"]
    assert sorted(python.documents) == sorted(
        [
            code.decode(),
            code.decode() + "# another file, the same docstring\n",
            "# -*- coding: latin-1 -*-\nname = 'Köln'\n",
        ]
    )
    assert python.special == ["EOS = '<|endoftext|>'\n"]
    assert sorted(corpora["measured", "prose"].documents) == sorted(
        [docstring, "Some words of plain prose.\n" * 3]
    )
    assert corpora["held_out", "python"].documents == ["x = 1\n"]
    assert corpora["held_out", "prose"].documents == []


def test_a_head_ends_with_the_document_that_fills_it() -> None:
    from corpus import Corpus

    corpus = Corpus("prose", "test", ["a" * 600_000, "b" * 600_000, "c" * 600_000], [])
    assert [text[0] for text in corpus.head(1).documents] == ["a", "b"]
    assert corpus.head(None) is corpus
    assert len(corpus.head(100).documents) == 3


def test_lists_of_packages_pin_one_wheel_each(tmp_path: Path) -> None:
    from packages import list_file, read_pins

    names = {role: {pin.name for pin in read_pins(list_file(role))} for role in ("measured", "held_out")}
    assert not names["measured"] & names["held_out"]
    assert all(len(each) > 10 for each in names.values())
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("# a comment\nnumpy>=2\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"wrong\.txt, line 2: 'numpy>=2' \(expected name==version"):
        read_pins(wrong)


def test_a_wheel_with_another_checksum_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import packages

    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "a-1-py3-none-any.whl").write_bytes(b"not what was pinned")
    pins = tmp_path / "list.txt"
    pins.write_text(f"a==1 --hash=sha256:{hashlib.sha256(b'pinned').hexdigest()}  # a-1-py3-none-any.whl\n")
    monkeypatch.setenv("GRISTMILL_BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(packages, "list_file", lambda role: pins)
    with pytest.raises(RuntimeError, match="has the checksum"):
        packages.fetch_wheels("measured")


# Generated strings ----------------------------------------------------------------------------------------


def test_generated_strings_come_again_from_their_seed_and_cover_every_kind() -> None:
    from generated_texts import generated_texts

    texts = generated_texts(2_000, "1/0", ["the", " the"])
    assert texts == generated_texts(2_000, "1/0", ["the", " the"])
    assert texts != generated_texts(2_000, "1/1", ["the", " the"])
    everything = "".join(texts)
    for sample in ("\u200d", "'ll", "\u0301", "\u3000", "<|endoftext|>", "====", " the"):
        assert sample in everything, sample
    assert len(set(everything)) > 2_000
    assert max(map(len, texts)) > 2_000


def test_one_other_id_in_generated_strings_is_caught_and_shown() -> None:
    import dataclasses

    from exactness import compare, compare_generated, make_setup

    corpus = ["def f(x): return x", "it's the end we've seen"] * 9
    trained = train_tokenizer(corpus, 300, show_progress=False)
    other = train_tokenizer(["12 12 it's"] * 9, 262, show_progress=False)
    setup = make_setup("mine", trained.to_tokenizers().to_str())
    assert "portable" in setup.engines
    count = compare_generated([setup], 1_000, 5, show=print)
    assert (count.strings, count.drawn_by_hypothesis) == (1_010, 20)
    assert count.tokens["mine"] > 1_000
    for instructions in setup.engines:
        wrong = dataclasses.replace(setup, engines=setup.engines | {instructions: other})
        assert compare(wrong, [""], 1) == 0
        with pytest.raises(AssertionError, match=f'mine, {instructions}, 2 threads: "it\'s 12" gives'):
            compare(wrong, ["", "it's 12", "x"], 2)


# The worst cases ------------------------------------------------------------------------------------------


def test_worst_texts_have_the_size_that_was_asked_for_and_are_the_same_each_time() -> None:
    from worst_texts import CASES

    for name, make in CASES.items():
        text = make(10_000)
        assert 9_990 <= len(text.encode("utf-8")) <= 10_000, name
        assert make(10_000) == text, name


# The whole ------------------------------------------------------------------------------------------------


def test_the_suite_names_who_fails_and_stores_what_it_prints(tmp_path: Path) -> None:
    """A module that cannot be imported stands in the way of one peer; the others are measured."""
    broken = tmp_path / "modules"
    broken.mkdir()
    (broken / "fastokens.py").write_text("raise ImportError('broken on purpose')\n", encoding="utf-8")
    output = tmp_path / "results"
    command = [sys.executable, str(BENCHES / "packing_speed.py"), "--quick", "--only", "cells"]
    command += ["--megabytes", "0.3", "--rounds", "2", "--threads", "1", "--kinds", "python"]
    command += ["--output", str(output), "--peers", "gristmill", "fastokens", "tiktoken + numpy"]
    environment = os.environ | {"PYTHONPATH": str(broken), "GRISTMILL_BENCH_CACHE": str(tmp_path / "cache")}
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert run.returncode == 0, run.stderr
    report = json.loads((output / "cells.json").read_text(encoding="utf-8"))
    (cell,) = report["cells"]
    assert cell["failed"] == {"fastokens": "ImportError: broken on purpose"}
    assert {row["peer"] for row in cell["peers"]} == {"gristmill", "tiktoken + numpy"}
    for row in cell["peers"]:
        assert row["differing_documents"] == 0
        assert row["num_blocks"] > 10
        assert len(row["seconds"]) == 2
        assert f"| {row['peer']} | {row['megabytes_per_second']:.1f} |" in run.stdout
    for key in ("date", "commit", "machine", "python", "versions", "vocabularies"):
        assert report[key], key
    assert {"gristmill", "tiktoken"} <= set(report["versions"])
    assert (output / "report.md").read_text(encoding="utf-8").startswith("## exact")
    assert json.loads((output / "exact.json").read_text(encoding="utf-8"))["strings"] >= 5_000
    assert (output / "speed.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rounds", "0"], "0 (expected 1 or more)"),
        (["--rounds", "-1"], "-1 (expected 1 or more)"),
        (["--threads", "0"], "0 (expected 1 or more)"),
        (["--megabytes", "nan"], "nan (expected a number above 0)"),
        (["--megabytes", "0"], "0 (expected a number above 0)"),
        (["--vocabularies", "gpt3"], "'gpt3' (expected gpt2 or trained-N"),
        (["--output", "/dev/null/results"], "Not a directory"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_measured(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import options

    with pytest.raises(SystemExit) as ended:
        options.parse([*([] if "--output" in words else ["--output", str(tmp_path)]), *words], None)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_damaged_result_is_named_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import options

    (tmp_path / "small.json").write_text("{", encoding="utf-8")
    with pytest.raises(SystemExit):
        options.parse(["--output", str(tmp_path)], None)
    assert f"{tmp_path / 'small.json'} is no JSON" in capsys.readouterr().err


def test_a_peer_that_is_installed_is_taken_where_nothing_may_be_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import packages

    monkeypatch.setenv("GRISTMILL_BENCH_CACHE", str(tmp_path))
    pins = packages.read_pins(packages.list_file("isolated_peers"))
    pinned = {pin.name: pin.version for pin in pins}
    name = pins[0].name
    monkeypatch.setattr(packages.importlib.metadata, "version", pinned.__getitem__)
    assert packages.peer_path(name, may_download=False) == {}
    pinned[name] = "0.0"
    with pytest.raises(RuntimeError, match="not installed"):
        packages.peer_path(name, may_download=False)
