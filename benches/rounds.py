"""One cell: workers started, every document compared, then interleaved rounds.

documents ──► a process a peer ──► blocks and ids equal to the reference's? ──► rounds ──► rates, ratios
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus import EOS_TOKEN, MEGABYTE, Corpus
from packages import cache_folder, peer_path
from peers import PEERS, Peer

HERE = Path(__file__).resolve().parent
SEQ_LENGTH = 1024
REFERENCE = "tokenizers + numpy"
# What a slow peer is timed on, at least: less says nothing.
SMALLEST_SHARE_BYTES = MEGABYTE
THREAD_VARIABLES = (
    "RAYON_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ARROW_NUM_THREADS",
    "TIKTOKEN_MAX_THREADS",
)


@dataclass(frozen=True)
class Cell:
    """What is measured side by side.

    Attributes:
        corpus: the text.
        vocabulary: its name; `tokenizer_file` holds it.
        num_threads: of every peer.
        lists: to Python lists of ids instead of blocks.
    """

    corpus: Corpus
    vocabulary: str
    tokenizer_file: Path
    num_threads: int
    lists: bool = False

    @property
    def key(self) -> dict[str, Any]:
        """What tells it from the other cells of a report."""
        return {
            "kind": self.corpus.kind,
            "vocabulary": self.vocabulary,
            "threads": self.num_threads,
            "output": "lists" if self.lists else "blocks",
        }


def run_cell(
    cell: Cell, peers: Sequence[Peer], num_rounds: int, folder: Path, may_download: bool
) -> dict[str, Any]:
    """Measure one cell; gives its part of the report. Peers that fail are listed with the reason."""
    failed: dict[str, str] = {}
    checks: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        reference = _reference(cell, folder)
        workers: dict[str, Worker] = {}
        for peer in peers:
            try:
                worker = stack.enter_context(start_worker(peer, cell, folder, may_download))
                checks[peer.name] = worker.ask({"do": "check", "file": str(reference)})
                workers[peer.name] = worker
            except RuntimeError as error:
                failed[peer.name] = str(error)
                print(f"{peer.name}: not measured, {error}")
        print(describe_equality(cell, checks), flush=True)
        if "gristmill" in failed:
            raise SystemExit(f"gristmill failed: {failed['gristmill']}")
        if any(is_ours(name) and check["differing_documents"] for name, check in checks.items()):
            raise SystemExit("gristmill's ids differ from those of `tokenizers`: nothing is timed")
        passes = time_rounds(workers, failed, num_rounds, "time lists" if cell.lists else "time")
    return {
        **cell.key,
        "corpus": {
            "source": cell.corpus.source,
            "documents": len(cell.corpus.documents),
            "special_documents": len(cell.corpus.special),
            "bytes": cell.corpus.num_bytes,
            "sha256": cell.corpus.sha256,
        },
        "rounds": num_rounds,
        "failed": failed,
        "peers": summarise(passes, checks, peers),
    }


class Worker:
    """A peer's process; see worker.py."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self, request: dict[str, str]) -> dict[str, Any]:
        """Give the answer. Raises RuntimeError with the worker's words, or how it ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"its process ended with status {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


@contextlib.contextmanager
def start_worker(peer: Peer, cell: Cell, folder: Path, may_download: bool) -> Iterator[Worker]:
    """Start a peer's process, its thread variables set. Raises RuntimeError where it is not to be had."""
    everything = write_documents(folder, cell.corpus, 1.0)
    timed = write_documents(folder, cell.corpus, peer.share)
    job = {
        "peer": peer.name,
        "num_threads": cell.num_threads,
        "tokenizer_file": str(cell.tokenizer_file),
        "eos_token": EOS_TOKEN,
        "seq_length": SEQ_LENGTH,
        "documents": {
            "checked": str(timed if peer.checks_share else everything),
            "timed": str(timed),
            "special": str(_write(folder / f"special-{cell.corpus.kind}.jsonl", cell.corpus.special)),
        },
    }
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(cell.num_threads))
    environment |= {"TOKENIZERS_PARALLELISM": "true", "HF_HUB_OFFLINE": "1", **dict(peer.environment)}
    if peer.folder is not None:
        environment |= peer_path(peer.folder, may_download=may_download)
    process = subprocess.Popen(
        [sys.executable, str(HERE / "worker.py"), json.dumps(job)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        yield Worker(process)
    finally:
        process.kill()
        process.wait()


def write_documents(folder: Path, corpus: Corpus, share: float) -> Path:
    """Write the first documents, up to a share of the bytes, as one JSON string a line."""
    part = corpus
    if share < 1:
        part = corpus.head(max(share * corpus.num_bytes, SMALLEST_SHARE_BYTES) / MEGABYTE)
    return _write(folder / f"documents-{corpus.kind}-{corpus.num_bytes}-{share}.jsonl", part.documents)


def _write(place: Path, texts: list[str]) -> Path:
    if not place.exists():
        place.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="ascii")
    return place


def _reference(cell: Cell, folder: Path) -> Path:
    """Hashes of what `tokenizers` makes of every document; slow, so kept by text, vocabulary and version."""
    import importlib.metadata

    from gristmill.durable import sha256_file

    version = importlib.metadata.version("tokenizers")
    names = (cell.corpus.sha256, sha256_file(cell.tokenizer_file))
    place = cache_folder() / f"reference-{names[0][:12]}-{names[1][:12]}-tokenizers-{version}.json"
    if not place.exists():
        peer = next(peer for peer in PEERS if peer.name == REFERENCE)
        whole = Peer(peer.name, peer.load, peer.packages)
        all_threads = Cell(cell.corpus, cell.vocabulary, cell.tokenizer_file, len(os.sched_getaffinity(0)))
        with start_worker(whole, all_threads, folder, may_download=False) as worker:
            temporary = folder / "reference.json"
            worker.ask({"do": "reference", "file": str(temporary)})
            place.write_bytes(temporary.read_bytes())
    return place


def is_ours(name: str) -> bool:
    """Whether a peer is gristmill, in whatever dress."""
    return name.partition(",")[0] == "gristmill"


def describe_equality(cell: Cell, checks: dict[str, Any]) -> str:
    """Say what was compared, and who differs; printed before any figure."""
    exact = [name for name, check in checks.items() if not check["differing_documents"]]
    words = ", ".join(f"{key} {value}" for key, value in cell.key.items())
    lines = [
        f"{words}: {len(exact)} of {len(checks)} equal `tokenizers` in every document and block compared"
    ]
    for name, check in checks.items():
        for what, count in (("documents", "differing_documents"), ("special documents", "differing_special")):
            if check[count]:
                lines.append(f"  {name}: other ids for {check[count]} of the {what}")
    return "\n".join(lines)


def time_rounds(
    workers: dict[str, Worker], failed: dict[str, str], num_rounds: int, request: str
) -> dict[str, list[dict[str, Any]]]:
    """Time every peer once a round, beginning with another one each time; one that fails is left out."""
    passes: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
    for number in range(num_rounds):
        names = list(workers)
        start = number % len(names)
        for name in names[start:] + names[:start]:
            try:
                passes[name].append(workers[name].ask({"do": request}))
            except RuntimeError as error:
                failed[name] = str(error)
                print(f"{name}: not measured, {error}")
                del workers[name], passes[name]
        print(f"  round {number + 1} of {num_rounds} done", file=sys.stderr)
    return passes


def summarise(
    passes: dict[str, list[dict[str, Any]]], checks: dict[str, Any], peers: Sequence[Peer]
) -> list[dict[str, Any]]:
    """Medians of rates, and of the rounds' ratios to gristmill's."""
    rows = []
    for peer in peers:
        if not (mine := passes.get(peer.name)):
            continue
        row: dict[str, Any] = {
            "peer": peer.name,
            "competes": peer.competes and not checks[peer.name]["differing_documents"],
            "megabytes_per_second": statistics.median(map(_rate, mine)),
            "megabytes_per_cpu_second": statistics.median(_rate(each, "cpu_seconds") for each in mine),
            "bytes": mine[0]["bytes"],
            "seconds": [each["seconds"] for each in mine],
            "cpu_seconds": [each["cpu_seconds"] for each in mine],
            **checks[peer.name],
        }
        if ours := passes.get("gristmill"):
            row["gristmill_is_faster_by"] = statistics.median(
                _rate(own) / _rate(theirs) for own, theirs in zip(ours, mine, strict=True)
            )
        rows.append(row)
    return rows


def _rate(one_pass: dict[str, Any], seconds: str = "seconds") -> float:
    return float(one_pass["bytes"] / MEGABYTE / one_pass[seconds])
