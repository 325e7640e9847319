"""The one module that writes files which must outlast the process: whole, or not at all.

    write aside ──► flush, fsync the file ──► rename onto its name ──► fsync the folder

Whoever opens a name finds the old content or the new one, also after a power cut. Logs are the exception:
`append_line` adds one line at a time, and a reader cuts a torn last line off.

Every step first calls the fault hook, so that a test can fail, or die, at the n-th write, fsync or rename.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

# "write", "fsync" or "rename", and the path that it is about to happen to
FaultHook = Callable[[str, Path], None]

_TEMPORARY_PREFIX = ".tmp-"
_fault_hook: FaultHook | None = None


def set_fault_hook(hook: FaultHook | None) -> None:
    """Have `hook(operation, path)` called before each write, fsync and rename; None takes it away.

    For fault tests alone: a hook that raises stands for a full disk, one that ends the process for a crash.

    Example:
        >>> seen = []
        >>> set_fault_hook(lambda operation, path: seen.append(operation))
        >>> write_text("/tmp/gristmill-doc.txt", "whole")
        >>> set_fault_hook(None)
        >>> seen
        ['write', 'fsync', 'rename', 'fsync']
    """
    global _fault_hook
    _fault_hook = hook


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Make `path` hold `data`, atomically and durably. The folder must exist.

    Raises:
        OSError: nothing was changed, and nothing is left beside `path`.

    Example:
        >>> write_bytes("/tmp/gristmill-doc.bin", b"whole")
    """
    with atomic_file(path) as temporary, temporary.open("xb") as file:
        file.write(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Make `path` hold `text` as UTF-8, atomically and durably; see `write_bytes`.

    Example:
        >>> write_text("/tmp/gristmill-doc.txt", "whole")
    """
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike[str], value: object) -> None:
    """Make `path` hold `value` as JSON (UTF-8, indented, line feed at the end), atomically and durably.

    Raises:
        TypeError, ValueError: `value` is no JSON (NaN and infinities are not); nothing was written.

    Example:
        >>> write_json("/tmp/gristmill-doc.json", {"step": 3})
    """
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes the name `path` when the block ends well.

    For writers that want a path (safetensors); on an error the file is removed and `path` is as it was.

    Example:
        >>> with atomic_file("/tmp/gristmill-doc.txt") as temporary:
        ...     _ = temporary.write_text("whole")
    """
    path = Path(path)
    temporary = _temporary_beside(path)
    try:
        _before("write", path)
        yield temporary
        _fsync(temporary, path)
        _before("rename", path)
        temporary.replace(path)
        _fsync(path.parent, path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str], *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder to fill; it becomes `path`, with all that is in it, when the block ends well.

    Every file and folder in it is fsynced first. On an error it is removed. Files inside may be written by
    any means; `write_inside` is the one that the fault hook sees. A process that is killed leaves a folder
    named `.tmp-…` behind, which `remove_leftovers` takes away.

    Args:
        path: a folder that does not exist; its parent is made where missing.
        replace: take the place of an existing folder, which is moved aside and then removed, and moved back
            on an error. (A crash between the two renames leaves none at `path`; at no time is one there that
            is half written.)

    Raises:
        FileExistsError: `path` exists and `replace` was not asked for.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_folder(Path(folder) / "out") as temporary:
        ...         write_inside(temporary / "a.txt", b"whole")
        ...     (Path(folder) / "out" / "a.txt").read_text()
        'whole'
    """
    path = Path(path)
    _refuse_existing(path, replace)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, aside = _temporary_beside(path), _temporary_beside(path)
    temporary.mkdir()
    try:
        yield temporary
        for folder, _, names in os.walk(temporary, topdown=False):
            for name in sorted(names):
                file = Path(folder) / name
                _fsync(file, path / file.relative_to(temporary))
            _fsync(Path(folder), path / Path(folder).relative_to(temporary))
        # rename() would silently take the place of an empty folder that appeared meanwhile
        _refuse_existing(path, replace)
        if path.exists():
            _before("rename", path)
            path.rename(aside)
        _before("rename", path)
        temporary.rename(path)
        _fsync(path.parent, path.parent)
        shutil.rmtree(aside, ignore_errors=True)
    except BaseException:
        if aside.exists():
            if not os.path.lexists(path):  # the new one did not get there: what was there comes back
                aside.rename(path)
            shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_inside(path: str | os.PathLike[str], data: bytes | Callable[[Path], object]) -> None:
    """Write a file of an `atomic_folder` that is still being filled: no rename, the folder's own comes last.

    `data` is the content, or a function that writes it to the path it is given (safetensors does that without
    a copy in memory).

    Example:
        >>> with atomic_folder("/tmp/gristmill-doc", replace=True) as folder:
        ...     write_inside(folder / "a.bin", b"whole")
    """
    path = Path(path)
    _before("write", path)
    if callable(data):
        data(path)
    else:
        with path.open("xb") as file:
            file.write(data)


def remove_leftovers(folder: str | os.PathLike[str]) -> list[Path]:
    """Remove what killed writers left in `folder` (names that begin with `.tmp-`) and return the paths.

    Only for a folder that one job writes to, when no writer is at work.

    Example:
        >>> remove_leftovers("/tmp/no-such-folder")
        []
    """
    folder = Path(folder)
    if not folder.is_dir():
        return []
    leftovers = sorted(path for path in folder.iterdir() if path.name.startswith(_TEMPORARY_PREFIX))
    for path in leftovers:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return leftovers


def append_line(path: str | os.PathLike[str], text: str) -> None:
    """Append `text` and a line feed in one write; the file is made where missing.

    Not fsynced: a log line may be lost in a power cut, never torn by an error that the process survives
    (a full disk in the middle of the line: it is cut off again).

    Raises:
        ValueError: `text` holds a line feed.
        OSError: the line could not be written, and the file is as it was.

    Example:
        >>> append_line("/tmp/gristmill-doc.jsonl", '{"step": 3}')
    """
    if "\n" in text:
        raise ValueError(f"a log line holds a line feed: {text[:80]!r} (expected one line)")
    path = Path(path)
    _before("write", path)
    with path.open("ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        data = (text + "\n").encode("utf-8")
        try:
            while data:
                data = data[file.write(data) :]
        except OSError:
            file.truncate(size)
            raise


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes in hex, read in pieces.

    Example:
        >>> write_bytes("/tmp/gristmill-doc.bin", b"abc")
        >>> sha256_file("/tmp/gristmill-doc.bin")[:8]
        'ba7816bf'
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _before(operation: str, path: Path) -> None:
    if _fault_hook is not None:
        _fault_hook(operation, path)


def _temporary_beside(path: Path) -> Path:
    # on the same file system, or the rename would copy; not mkstemp's 0600, whose mode would outlive it
    return path.with_name(f"{_TEMPORARY_PREFIX}{path.name}-{uuid.uuid4().hex[:12]}")


def _refuse_existing(path: Path, replace: bool) -> None:
    if os.path.lexists(path) and not replace:
        raise FileExistsError(f"{path} exists already (expected a folder that is not there yet)")


def _fsync(path: Path, final_path: Path) -> None:
    """Flush a file or a folder to the disk; the hook is told the name that it will have."""
    _before("fsync", final_path)
    flags = os.O_RDONLY
    if path.is_dir():
        if os.name == "nt":  # folders cannot be opened there
            return
        flags |= os.O_DIRECTORY
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
