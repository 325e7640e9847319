"""What the demo has already done: each stage leaves a marker with a key of all that went into it.

A stage whose marker has the same key is not done again. The marker is written last, so a stage that was
interrupted counts as not done.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gristmill import durable
from gristmill.errors import ConfigError, GristmillError

_LOCK = ".lock"


class FolderInUseError(GristmillError, RuntimeError):
    """Another demo works in the folder."""


class Stages:
    """The markers of one demo folder.

    Example:
        >>> import tempfile
        >>> stages = Stages(Path(tempfile.mkdtemp()))
        >>> key = stages.key({"vocab_size": 1024})
        >>> stages.finish("tokenizer", key, {"tokens": 1024})
        >>> stages.found("tokenizer", key)
        {'tokens': 1024}
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "stages"

    @staticmethod
    def key(inputs: dict[str, Any]) -> str:
        """Hash what a stage depends on (JSON values)."""
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()

    def found(self, stage: str, key: str) -> dict[str, Any] | None:
        """Give the figures of a stage that was finished with these inputs, else None."""
        try:
            marker = json.loads((self.folder / f"{stage}.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # never done, or a marker that somebody edited
            return None
        return marker["figures"] if marker.get("key") == key else None

    def finish(self, stage: str, key: str, figures: dict[str, Any]) -> None:
        """Note that a stage is done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        durable.write_json(self.folder / f"{stage}.json", {"key": key, "figures": figures})


@contextlib.contextmanager
def sole_use(folder: Path) -> Iterator[int]:
    """Hold the folder's lock; yields its file descriptor, to be handed to child processes that work there.

    The system frees the lock when the last process that holds the descriptor ends, however it ends. So a
    trainer that outlives a killed demo keeps the next demo out.

    The lock file also marks the folder as a demo's: another one that holds anything is refused, because the
    demo removes and overwrites what lies under the names it uses.

    Raises:
        ConfigError: the folder holds files, and none of them is a demo's.
        FolderInUseError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / _LOCK
    if not lock.exists() and any(folder.iterdir()):
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:5])
        raise ConfigError(
            f"the folder {str(folder)!r} is not a demo's and holds {found} (expected an empty or new folder, "
            "or one that gristmill demo made)"
        )
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUseError(
                f"another gristmill demo works in {str(folder)!r} (expected one at a time: wait for it, or "
                "choose another --folder)"
            ) from None
        yield file.fileno()
