"""The text that is measured: Python files and English prose, each text once, in the order of a hash.

    pinned wheels ──┐             ┌─► python: one document a file
                    ├──► files ───┤
    installed ──────┘             └─► prose: the docstrings of one file, or one README, .rst, .md, .txt

    `read_corpus("python", megabytes=100)` gives documents; the first call builds what is kept in .cache

The packages of one list are measured, those of another are held out: the bench's vocabularies are trained on
them. `--quick` takes what is installed instead, dealt to the two sides by package. A document that holds the
literal EOS string is kept apart: the peers do not agree on what it means.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import re
import tokenize
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from packages import cache_folder, fetch_wheels, list_file

EOS_TOKEN = "<|endoftext|>"
MEGABYTE = 1_000_000
KINDS = ("python", "prose")
ROLES = ("measured", "held_out")
# Raised when the rules below change, so that nothing stale is taken from the cache.
RULES = 1
# No package gives more Python than this: three of them would otherwise be most of the corpus.
LARGEST_PACKAGE_BYTES = 24 * MEGABYTE
# Enough for `--quick`; reading takes seconds then.
INSTALLED_BYTES = {"measured": 16 * MEGABYTE, "held_out": 6 * MEGABYTE}
# Shorter ones ("Return the name.") say the same everywhere.
SHORTEST_DOCSTRING = 80
# Tables, checksums and change lists of bare numbers fall below these shares of letters and white space.
PROSE_SHARE = {".md": 0.7, ".rst": 0.7, ".txt": 0.8}
NOT_PROSE = re.compile(
    r"licen[cs]e|copying|notice|authors|requirements|(^|/)(tests?|testing|data|.*\.dist-info)/", re.I
)


@dataclass(frozen=True)
class Corpus:
    """Distinct documents of one kind.

    Attributes:
        kind: `python` or `prose`.
        source: where they come from, in words.
        documents: the texts.
        special: those that hold the literal EOS string, compared apart.
    """

    kind: str
    source: str
    documents: list[str]
    special: list[str]

    @property
    def num_bytes(self) -> int:
        """UTF-8 bytes of the documents."""
        return sum(len(text.encode("utf-8")) for text in self.documents)

    @property
    def sha256(self) -> str:
        """Tells whether two runs measured the same text."""
        return hashlib.sha256("\0".join(self.documents).encode("utf-8")).hexdigest()

    def head(self, megabytes: float | None) -> Corpus:
        """Give the first documents up to a size; None gives all."""
        if megabytes is None:
            return self
        size = 0
        for count, text in enumerate(self.documents, start=1):
            size += len(text.encode("utf-8"))
            if size >= megabytes * MEGABYTE:
                return Corpus(self.kind, self.source, self.documents[:count], self.special)
        return self


@dataclass(frozen=True)
class Documents:
    """What one package gives: (path, text) pairs."""

    python: list[tuple[str, str]]
    prose: list[tuple[str, list[str]]]  # the docstrings of a file, or the one text of a .md, .rst, .txt


def read_corpus(
    kind: str, role: str = "measured", *, megabytes: float | None = None, installed: bool = False
) -> Corpus:
    """Read a corpus of `KINDS` and `ROLES`; downloads and builds at first, then from the cache.

    With `installed`, of the packages installed here: no download, other text on each machine.
    """
    if kind not in KINDS or role not in ROLES:
        raise ValueError(f"corpus {kind!r}, {role!r} (expected one of {KINDS}, one of {ROLES})")
    if installed:
        return _read_installed()[role, kind].head(megabytes)
    lists = "".join(list_file(each).read_text(encoding="utf-8") for each in ROLES)
    key = hashlib.sha256(f"{RULES} {lists}".encode()).hexdigest()[:12]
    place = cache_folder() / f"corpus-{key}"
    if not place.exists():
        _write(build_corpora(_pinned_packages(), "pinned packages"), place)
    return _load(kind, place / f"{role}-{kind}.jsonl").head(megabytes)


def build_corpora(
    packages: Iterable[tuple[str, str, Documents]], source: str
) -> dict[tuple[str, str], Corpus]:
    """Sort the documents of (role, package, documents) into corpora: each text and each docstring once.

    What is measured comes first, so a text of both sides stays there and is missing in the held-out part.
    """
    found: dict[tuple[str, str], dict[str, str]] = {(role, kind): {} for role in ROLES for kind in KINDS}
    seen: set[bytes] = set()

    def is_new(text: str) -> bool:
        key = hashlib.sha256(text.encode("utf-8")).digest()[:16]
        return bool(text.strip()) and not (key in seen or seen.add(key))  # type: ignore[func-returns-value]

    for role, package, documents in sorted(packages, key=lambda item: (ROLES.index(item[0]), item[1])):
        for path, text in documents.python:
            if is_new(text):
                found[role, "python"][f"{package}/{path}"] = text
        for path, parts in documents.prose:
            if text := "\n\n".join(part for part in parts if is_new(part)):
                found[role, "prose"][f"{package}/{path}"] = text
    corpora = {}
    for (role, kind), texts in found.items():
        ordered = [texts[path] for path in sorted(texts, key=_by_hash)]
        special = [text for text in ordered if EOS_TOKEN in text]
        corpora[role, kind] = Corpus(
            kind, source, [text for text in ordered if EOS_TOKEN not in text], special
        )
    return corpora


def take_documents(files: Iterable[tuple[str, bytes]]) -> Documents:
    """Take the Python and the prose out of the files of one package, given as (path, content)."""
    python: list[tuple[str, str]] = []
    prose: list[tuple[str, list[str]]] = []
    room = LARGEST_PACKAGE_BYTES
    for path, content in files:
        suffix = PurePosixPath(path).suffix.lower()
        if suffix == ".py":
            text = decode_python(content)
            if text is None or len(content) > room:
                continue
            room -= len(content)
            python.append((path, text))
            if docstrings := list(find_docstrings(text)):
                prose.append((path, docstrings))
        elif path.endswith(".dist-info/METADATA"):
            prose += [(path, [content.decode("utf-8", "ignore").partition("\n\n")[2]])]
        elif suffix in PROSE_SHARE and not NOT_PROSE.search(path):
            text = content.decode("utf-8", "ignore")
            letters = sum(character.isalpha() or character.isspace() for character in text)
            if letters >= PROSE_SHARE[suffix] * len(text):
                prose.append((path, [text]))
    return Documents(python, prose)


def decode_python(content: bytes) -> str | None:
    """Decode a Python file as it declares (PEP 263), line ends as `\\n`; None where that fails."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        text = io.TextIOWrapper(io.BytesIO(content), encoding).read()
        text.encode("utf-8")
    except (SyntaxError, UnicodeError, LookupError):
        return None
    return text


def find_docstrings(text: str) -> Iterator[str]:
    """Yield the docstrings of a Python file from its syntax tree; nothing of it is run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the file's own escapes
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring and len(docstring) >= SHORTEST_DOCSTRING and _is_utf8(docstring):
                yield docstring


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")  # an escape in a docstring may stand for a lone surrogate
    except UnicodeError:
        return False
    return True


def _by_hash(path: str) -> bytes:
    return hashlib.sha256(path.encode("utf-8", "surrogatepass")).digest()


def _pinned_packages() -> Iterator[tuple[str, str, Documents]]:
    wheels = [(role, pin.name, path) for role in ROLES for pin, path in fetch_wheels(role)]
    with ProcessPoolExecutor() as pool:
        taken = pool.map(_take_from_wheel, [path for _, _, path in wheels])
        for (role, name, _), documents in zip(wheels, taken, strict=True):
            yield role, name, documents


def _take_from_wheel(path: Path) -> Documents:
    with zipfile.ZipFile(path) as wheel:
        names = sorted((info.filename for info in wheel.infolist() if not info.is_dir()), key=_by_hash)
        return take_documents((name, wheel.read(name)) for name in names)


@cache
def _read_installed() -> dict[tuple[str, str], Corpus]:
    return build_corpora(_installed_packages(), "installed packages")


def _installed_packages() -> Iterator[tuple[str, str, Documents]]:
    """Yield packages in the order of a hash until either side has enough."""
    from gristmill.demo.corpus import find_packages

    size = dict.fromkeys(ROLES, 0)
    for package in find_packages():
        role = "held_out" if _by_hash(package.name)[0] < 96 else "measured"
        if size[role] < INSTALLED_BYTES[role]:
            room = INSTALLED_BYTES[role] // 8
            files = []
            for path in package.files:
                content = path.read_bytes()
                if len(content) <= room:
                    room -= len(content)
                    size[role] += len(content)
                    files.append((path.relative_to(package.root).as_posix(), content))
            yield role, package.name, take_documents(files)


def _write(corpora: dict[tuple[str, str], Corpus], place: Path) -> None:
    from gristmill import durable

    with durable.atomic_folder(place) as folder:
        for (role, kind), corpus in corpora.items():
            for suffix, texts in (("", corpus.documents), ("-special", corpus.special)):
                lines = "".join(json.dumps(text) + "\n" for text in texts)
                durable.write_inside(folder / f"{role}-{kind}{suffix}.jsonl", lines.encode("ascii"))


def _load(kind: str, path: Path) -> Corpus:
    documents, special = (
        [json.loads(line) for line in file.read_text(encoding="ascii").splitlines()]
        for file in (path, path.with_stem(f"{path.stem}-special"))
    )
    return Corpus(kind, "pinned packages", documents, special)
