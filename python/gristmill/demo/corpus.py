"""The demo's corpus: Python files that are on every machine that can run it.

    standard library ┐                      ┌► train.jsonl
                     ├► packages ► files ───┤              one row a file: text, path, package
    site-packages    ┘   (whole packages    └► validation.jsonl
                          on one side)

A *package* is a top-level module or package of the standard library, or an installed distribution. It is
wholly in the training part or wholly in the validation part: files of one package resemble each other, and a
model that has seen half of a package is not measured by the other half.

What is left out, and why: test suites and vendored copies (they repeat what is elsewhere in the corpus), what
cannot be decoded as it declares (counted), empty files, files whose text was already taken, and this package.
Everything is ordered by hashes of names, so the same environment gives the same corpus, byte for byte.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from gristmill import durable
from gristmill.documents import read_python_source
from gristmill.errors import EmptyCorpusError

MEGABYTE = 1_000_000
# No package gives more than this share of the corpus: the three largest installed ones would fill it alone.
LARGEST_PACKAGE_SHARE = 1 / 20
VALIDATION_SHARE = 0.05

STDLIB_PREFIX = "stdlib/"
TEST_FOLDERS = frozenset({"test", "tests", "idle_test", "__pycache__"})
VENDORED_FOLDERS = frozenset(
    {"_vendor", "vendor", "_vendored", "vendored", "_distutils", "third_party", "extern"}
)
SITE_FOLDERS = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True)
class SourceFile:
    """One Python file of the corpus.

    Attributes:
        text: its decoded text, line ends as `\\n`.
        path: where it lies, relative to the standard library or site-packages folder.
        package: the package that owns it, such as `stdlib/json` or `numpy`.
    """

    text: str
    path: str
    package: str

    @property
    def num_bytes(self) -> int:
        """UTF-8 bytes of the text."""
        return len(self.text.encode("utf-8"))


@dataclass(frozen=True)
class CorpusFigures:
    """What a demo corpus holds, and what was left out of it.

    Attributes:
        train_files, train_bytes, train_packages: the training part (UTF-8 bytes of text).
        validation_files, validation_bytes, validation_packages: the validation part.
        duplicate_files: files whose text another file already had.
        copied_files: files left out of the validation part, most of their lines being in the training part.
        undecodable_files: files that are not in the encoding they declare, or cannot be read.
    """

    train_files: int
    train_bytes: int
    train_packages: int
    validation_files: int
    validation_bytes: int
    validation_packages: int
    duplicate_files: int
    copied_files: int
    undecodable_files: int

    def __str__(self) -> str:
        def part(name: str, files: int, num_bytes: int, packages: int) -> str:
            return f"{name:<12}{files:>7,} files  {num_bytes / MEGABYTE:>7.2f} MB  {packages:>5,} packages"

        left_out = (
            f"left out: {self.duplicate_files:,} files whose text was already there, {self.copied_files:,} "
            f"validation files that mostly copy training files, {self.undecodable_files:,} not decodable"
        )
        return "\n".join(
            [
                part("training", self.train_files, self.train_bytes, self.train_packages),
                part("validation", self.validation_files, self.validation_bytes, self.validation_packages),
                left_out,
            ]
        )


@dataclass(frozen=True)
class Corpus:
    """A demo corpus in memory: two lists of files without a common package or text, and the figures."""

    train: list[SourceFile]
    validation: list[SourceFile]
    figures: CorpusFigures


@dataclass(frozen=True)
class Package:
    """A package of the standard library or an installed distribution.

    Attributes:
        name: `stdlib/json`, `numpy`.
        root: the folder that paths are told from.
        files: its Python files, in the order of a hash of their paths.
    """

    name: str
    root: Path
    files: tuple[Path, ...]


def collect_corpus(num_megabytes: float, *, packages: Iterable[Package] | None = None) -> Corpus:
    """Read the Python files of this environment and split them by package.

    The standard library comes first, then installed packages in the order of a hash of their names, until the
    texts have `num_megabytes` (of 1,000,000 UTF-8 bytes). Each package gives at most a twentieth of that.
    Packages are then dealt to the validation part, again by hash, until it has a twentieth of all bytes.

    Raises:
        EmptyCorpusError: one of the two parts is left without a file.

    Example:
        >>> corpus = collect_corpus(0.5)
        >>> {file.package for file in corpus.train} & {file.package for file in corpus.validation}
        set()
    """
    limit = int(num_megabytes * MEGABYTE)
    reader = _Reader(largest_package_bytes=int(limit * LARGEST_PACKAGE_SHARE))
    by_package: dict[str, list[SourceFile]] = {}
    total = 0
    for package in find_packages() if packages is None else packages:
        if total >= limit:
            break
        files = reader.read(package)
        if files:
            by_package.setdefault(package.name, []).extend(files)
            total += sum(file.num_bytes for file in files)

    validation_names = _validation_packages(by_package)
    train = [file for name in sorted(by_package) if name not in validation_names for file in by_package[name]]
    validation = [file for name in sorted(validation_names) for file in by_package[name]]
    kept = _without_copies(validation, train)
    if not train or not kept:
        raise EmptyCorpusError(
            f"the demo corpus of {num_megabytes:g} MB has {len(train)} training and {len(kept)} validation "
            "files (expected some of each: ask for more megabytes)"
        )
    figures = CorpusFigures(
        train_files=len(train),
        train_bytes=sum(file.num_bytes for file in train),
        train_packages=len({file.package for file in train}),
        validation_files=len(kept),
        validation_bytes=sum(file.num_bytes for file in kept),
        validation_packages=len({file.package for file in kept}),
        duplicate_files=reader.num_duplicates,
        copied_files=len(validation) - len(kept),
        undecodable_files=reader.num_undecodable,
    )
    return Corpus(train, kept, figures)


def write_corpus(corpus: Corpus, folder: Path) -> None:
    """Write `train.jsonl` and `validation.jsonl` (columns text, path, package), each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, files in (("train", corpus.train), ("validation", corpus.validation)):
        rows = (json.dumps(asdict(file), ensure_ascii=False) for file in files)
        durable.write_text(folder / f"{name}.jsonl", "".join(f"{row}\n" for row in rows))


def find_packages() -> Iterator[Package]:
    """Yield the packages of the standard library, then the installed ones, each by a hash of the names."""
    paths = sysconfig.get_paths()
    yield from _packages_under(Path(paths["stdlib"]), {}, prefix=STDLIB_PREFIX)
    # A folder's owner is its distribution, so that torch, torchgen and functorch stay together.
    owners = {top: sorted(names)[0] for top, names in importlib.metadata.packages_distributions().items()}
    for folder in sorted({paths["purelib"], paths["platlib"]}):
        yield from _packages_under(Path(folder), owners, prefix="")


class _Reader:
    """Reads packages, leaves out repeated texts, and counts what it leaves out."""

    def __init__(self, largest_package_bytes: int) -> None:
        self.largest_package_bytes = largest_package_bytes
        self.num_duplicates = 0
        self.num_undecodable = 0
        self._seen: set[bytes] = set()

    def read(self, package: Package) -> list[SourceFile]:
        files: list[SourceFile] = []
        room = self.largest_package_bytes
        for path in package.files:
            try:
                text = read_python_source(path)
            except OSError:  # gone meanwhile, or not ours to read
                text = None
            if text is None:
                self.num_undecodable += 1
                continue
            if not text.strip():
                continue
            key = _digest(text)
            if key in self._seen:
                self.num_duplicates += 1
                continue
            file = SourceFile(text, path.relative_to(package.root).as_posix(), package.name)
            if file.num_bytes > room:
                continue
            self._seen.add(key)
            files.append(file)
            room -= file.num_bytes
        return files


def _packages_under(root: Path, owners: dict[str, str], prefix: str) -> list[Package]:
    found: dict[str, list[Path]] = {}
    for entry in sorted(root.iterdir()) if root.is_dir() else []:
        top = entry.stem if entry.is_file() else entry.name
        name = owners.get(top, top)
        if entry.name in SITE_FOLDERS or name == "gristmill" or top == "gristmill":
            continue
        if entry.is_file() and entry.suffix == ".py" and not _is_test(entry.name):
            found.setdefault(name, []).append(entry)
        elif entry.is_dir() and entry.name not in TEST_FOLDERS:
            found.setdefault(name, []).extend(_python_files(entry))
    packages = [
        # By hash too, so that the files taken of a large package come from all over it.
        Package(
            prefix + name,
            root,
            tuple(sorted(files, key=lambda file: _digest(file.relative_to(root).as_posix()))),
        )
        for name, files in found.items()
        if files
    ]
    return sorted(packages, key=lambda package: _digest(package.name))


def _python_files(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            if entry.name not in TEST_FOLDERS | VENDORED_FOLDERS:
                yield from _python_files(entry)
        elif entry.suffix == ".py" and not _is_test(entry.name):
            yield entry


def _is_test(file_name: str) -> bool:
    return file_name.startswith("test_") or file_name.endswith("_test.py") or file_name == "conftest.py"


def _validation_packages(by_package: dict[str, list[SourceFile]]) -> set[str]:
    """Deal packages to the validation part by hash.

    The standard library and the installed packages each give their share, and no package gives more than a
    quarter of it: so the part is made of many small packages of both kinds.
    """
    chosen: set[str] = set()
    for is_stdlib in (True, False):
        sizes = {
            name: sum(file.num_bytes for file in files)
            for name, files in by_package.items()
            if name.startswith(STDLIB_PREFIX) == is_stdlib
        }
        wanted_bytes = room = int(sum(sizes.values()) * VALIDATION_SHARE)
        for name in sorted(sizes, key=lambda name: _digest(f"validation {name}")):
            if sizes[name] <= min(room, wanted_bytes // 4):
                chosen.add(name)
                room -= sizes[name]
    return chosen


def _without_copies(validation: list[SourceFile], train: list[SourceFile]) -> list[SourceFile]:
    """Leave out validation files of which most long lines stand in the training part.

    Equal files are gone already; this finds the edited copies (a fork of a standard module, a backport).
    """
    train_lines = {line for file in train for line in _long_lines(file.text)}

    def is_copy(file: SourceFile) -> bool:
        lines = _long_lines(file.text)
        return sum(line in train_lines for line in lines) * 2 > len(lines)

    return [file for file in validation if not is_copy(file)]


def _long_lines(text: str) -> set[int]:
    # Short lines ("else:", "return None") are the same everywhere. Hashes keep the set small.
    return {hash(line) for line in map(str.strip, text.splitlines()) if len(line) >= 20}


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
