"""One run a folder at a time: a lock that dies with its process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from pathlib import Path

from gristmill.errors import ConfigError

LOCK_FILE = ".lock"


class RunLock:
    """Holds the folder of a run for this process; makes the folder where there is none.

    The kernel drops the lock with the process, so a run that was killed is no obstacle to the next one; the
    file that stays behind holds who had it last. Where a file system has no such locks, none is taken.

    Args:
        folder: `training.output_dir`.

    Raises:
        ConfigError: another run holds the folder, or it cannot be made or written to.

    Example:
        >>> RunLock(Path("/proc/run"))
        Traceback (most recent call last):
        gristmill.errors.ConfigError: training.output_dir is '/proc/run', where nothing can be written: ...
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / LOCK_FILE
        self._is_new = not folder.exists()
        self._descriptor: int | None = None
        try:
            self._take()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ConfigError(
                f"training.output_dir is {str(folder)!r}, where nothing can be written: {reason} (expected a "
                "folder that can be made and written to)"
            ) from error

    def _take(self) -> None:
        while self._descriptor is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
                os.close(descriptor)
                raise ConfigError(
                    f"training.output_dir is {str(self._folder)!r}, where another run is at work"
                    f"{f' ({holder})' if holder else ''} (expected a folder of its own for each run)"
                ) from None
            except OSError:  # a file system without locks
                os.close(descriptor)
                return
            # between opening and locking, its last holder may have removed the file with the folder
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), self._path.stat()):
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
                    self._descriptor = descriptor
                    return
            os.close(descriptor)

    def release(self) -> None:
        """Let go; a folder that was made here and holds nothing else is removed again."""
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):
            if self._is_new and [entry.name for entry in self._folder.iterdir()] == [LOCK_FILE]:
                self._path.unlink()
                self._folder.rmdir()
        os.close(self._descriptor)
        self._descriptor = None
