"""Durable writes: whole or not at all, whatever fails and whenever (the hook fails or kills at each step)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gristmill import durable


@pytest.fixture(autouse=True)
def no_hook_left() -> Iterator[None]:
    yield
    durable.set_fault_hook(None)


def fail_at(count: int) -> Callable[[str, Path], None]:
    seen = 0

    def hook(operation: str, path: Path) -> None:
        nonlocal seen
        seen += 1
        if seen == count:
            raise OSError(28, f"no space left at {operation}", str(path))

    return hook


def test_write_bytes_replaces_and_keeps_the_usual_mode(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    durable.write_bytes(target, b"old")
    durable.write_bytes(target, b"new")
    assert target.read_bytes() == b"new"
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask
    assert list(tmp_path.iterdir()) == [target]


def test_write_json_round_trip_and_refusal(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    durable.write_json(target, {"é": [1, 2.5, None]})
    assert json.loads(target.read_text(encoding="utf-8")) == {"é": [1, 2.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        durable.write_json(target, float("nan"))
    assert json.loads(target.read_text(encoding="utf-8")) == {"é": [1, 2.5, None]}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_failed_write_changes_nothing(tmp_path: Path, count: int) -> None:
    target = tmp_path / "a.bin"
    durable.write_bytes(target, b"old")
    durable.set_fault_hook(fail_at(count))
    with pytest.raises(OSError, match="no space left"):
        durable.write_bytes(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def fill(folder: Path, replace: bool = False) -> None:
    with durable.atomic_folder(folder, replace=replace) as temporary:
        durable.write_inside(temporary / "a.bin", b"a" * 1000)
        (temporary / "sub").mkdir()
        durable.write_inside(temporary / "sub" / "b.bin", b"b" * 1000)


# 2 writes, 2 files + 2 folders fsynced, 1 rename, the parent fsynced
FOLDER_STEPS = 8


def test_atomic_folder_appears_whole_and_every_step_is_seen(tmp_path: Path) -> None:
    seen: list[tuple[str, str]] = []
    durable.set_fault_hook(lambda operation, path: seen.append((operation, path.name)))
    fill(tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").rglob("*")) == ["a.bin", "b.bin", "sub"]
    assert [operation for operation, _ in seen] == ["write"] * 2 + ["fsync"] * 4 + ["rename", "fsync"]
    assert len(seen) == FOLDER_STEPS


@pytest.mark.parametrize("count", range(1, FOLDER_STEPS))
def test_a_failed_folder_leaves_nothing(tmp_path: Path, count: int) -> None:
    durable.set_fault_hook(fail_at(count))
    with pytest.raises(OSError, match="no space left"):
        fill(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# one more step than above, for what was there goes aside first; at the last one the new folder is in place
@pytest.mark.parametrize("count", range(1, FOLDER_STEPS + 1))
def test_a_failed_replacement_leaves_what_was_there(tmp_path: Path, count: int) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.bin").write_bytes(b"old")
    durable.set_fault_hook(fail_at(count))
    with pytest.raises(OSError, match="no space left"):
        fill(tmp_path / "out", replace=True)
    assert [(path.name, path.is_dir()) for path in tmp_path.rglob("*")] == [("out", True), ("old.bin", False)]


KILLED = """
import os, signal, sys
from pathlib import Path
from gristmill import durable
seen = 0
def hook(operation, path):
    global seen
    seen += 1
    if seen == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
durable.set_fault_hook(hook)
with durable.atomic_folder(Path(sys.argv[1])) as temporary:
    durable.write_inside(temporary / "a.bin", b"a" * 1000)
    (temporary / "sub").mkdir()
    durable.write_inside(temporary / "sub" / "b.bin", b"b" * 1000)
"""


def test_a_killed_writer_leaves_a_whole_folder_or_none(tmp_path: Path) -> None:
    for count in range(1, FOLDER_STEPS + 1):
        parent = tmp_path / str(count)
        parent.mkdir()
        process = subprocess.run([sys.executable, "-c", KILLED, str(parent / "out"), str(count)], check=False)
        assert process.returncode == -9
        whole = (parent / "out").exists()
        assert whole == (count == FOLDER_STEPS)  # only the parent's fsync comes after the rename
        leftovers = durable.remove_leftovers(parent)
        assert len(leftovers) == (0 if whole else 1)
        assert [p.name for p in parent.iterdir()] == (["out"] if whole else [])


def test_an_existing_folder_is_refused_or_replaced_as_asked(tmp_path: Path) -> None:
    fill(tmp_path / "out")
    with pytest.raises(FileExistsError, match="exists already"), durable.atomic_folder(tmp_path / "out"):
        pytest.fail("the block must not run")
    with durable.atomic_folder(tmp_path / "out", replace=True) as temporary:
        durable.write_inside(temporary / "c.bin", b"c")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["c.bin"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_appears_meanwhile_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError), durable.atomic_folder(tmp_path / "out"):
        (tmp_path / "out").mkdir()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_append_line(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    durable.append_line(log, "one")
    durable.append_line(log, "zwei ü")
    assert log.read_text(encoding="utf-8") == "one\nzwei ü\n"
    with pytest.raises(ValueError, match="line feed"):
        durable.append_line(log, "a\nb")


FULL_DISK = """
import resource, signal, sys
from gristmill import durable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
durable.append_line(sys.argv[1], "x" * 900)
for write, data in ((durable.append_line, "y" * 200), (durable.write_bytes, b"z" * 2000)):
    try:
        write(sys.argv[1], data)
    except OSError as error:
        print(error.errno)
"""


def test_a_full_disk_tears_no_line_and_no_file(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(log)], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["27", "27"]  # EFBIG, what a file size limit gives
    assert log.read_text() == "x" * 900 + "\n"
    assert list(tmp_path.iterdir()) == [log]


def test_sha256_file(tmp_path: Path) -> None:
    durable.write_bytes(tmp_path / "a", b"abc")
    assert durable.sha256_file(tmp_path / "a") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_remove_leftovers_of_a_missing_folder(tmp_path: Path) -> None:
    assert durable.remove_leftovers(tmp_path / "none") == []
