"""Training a byte-level BPE, side by side: `python benches/training_speed.py [--megabytes 10]`.

    documents ──► equal merges? ──► interleaved rounds, a fresh process each ──► medians ──► table, JSON

Each run goes from a Python list of `str` to vocabulary and merges; imports are not timed. Merges are compared
with those of `tokenizers` before anything is timed; a peer with other merges is timed, and listed with the
first one that differs. Peers that are not installed are left out and named. Ratios are medians over rounds.

Memory is the peak of the process while it trains, documents and interpreter included, and how far that is
above what it held before: the kernel's mark of the peak is set back in between.

A run of all peers takes minutes. With `--output` the rounds can be made one at a time: those in the file are
kept as long as commit, machine, versions and settings are the same, and so is the comparison of merges.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import datetime
import gc
import importlib.metadata
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
EOS = "<|endoftext|>"
Merges = list[tuple[bytes, bytes]]
Training = Callable[[], Any]


def bytes_of(token: str) -> bytes:
    from gristmill.byte_alphabet import bytes_of_token

    return bytes_of_token(token)


# The peers: what is not timed, then what is, then its merges as bytes ------------------------------------


def gristmill(
    texts: list[str], vocab_size: int, num_threads: int
) -> tuple[Training, Callable[[Any], Merges]]:
    # Imports are not timed: these two come with the package's public face.
    import numpy  # noqa: F401
    import tokenizers  # noqa: F401

    from gristmill._native import BpeTrainer
    from gristmill.byte_alphabet import BYTE_CHARACTERS

    def train() -> Any:
        trainer = BpeTrainer()
        for start in range(0, len(texts), 1000):
            trainer.push_texts(texts[start : start + 1000], num_threads, False)
        return trainer.train(vocab_size, 0, [EOS], BYTE_CHARACTERS)

    def merges(result: Any) -> Merges:
        tokens, pairs = result
        return [(bytes_of(tokens[left]), bytes_of(tokens[right])) for left, right in pairs.tolist()]

    return train, merges


def gristmill_tokenizer(
    texts: list[str], vocab_size: int, num_threads: int
) -> tuple[Training, Callable[[Any], Merges]]:
    """The public call, which gives a `Tokenizer` ready to encode."""
    from gristmill import train_tokenizer

    def train() -> Any:
        return train_tokenizer(texts, vocab_size, num_threads=num_threads, show_progress=False)

    return train, lambda result: pairs_of(result.parsed_json()["model"]["merges"])


def tokenizers(texts: list[str], vocab_size: int, _: int) -> tuple[Training, Callable[[Any], Merges]]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    def train() -> Any:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[EOS],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return tokenizer

    return train, lambda result: pairs_of(json.loads(result.to_str())["model"]["merges"])


def gigatoken(texts: list[str], vocab_size: int, _: int) -> tuple[Training, Callable[[Any], Merges]]:
    """Takes bytes, documents apart by a separator; joining them is not timed."""
    from gigatoken import train_bpe

    joined = EOS.encode().join(text.encode() for text in texts)
    texts.clear()

    def train() -> Any:
        return train_bpe(joined, vocab_size, [EOS], separator=EOS.encode())

    return train, lambda result: [(bytes(left), bytes(right)) for left, right in result[1]]


def gigabpe(texts: list[str], vocab_size: int, num_threads: int) -> tuple[Training, Callable[[Any], Merges]]:
    """Reads files; writing one is not timed. One for all documents: with many it is several times slower."""
    from gigabpe import train_bpe

    files = [str(Path(tempfile.mkdtemp()) / "documents.txt")]
    Path(files[0]).write_bytes("\n".join(texts).encode())
    texts.clear()

    def train() -> Any:
        return train_bpe(files, vocab_size, special_tokens=[EOS], threads=num_threads)

    return train, lambda result: pairs_of(result[1])


def rustbpe(texts: list[str], vocab_size: int, _: int) -> tuple[Training, Callable[[Any], Merges]]:
    """Gives ranks, not merges; other ties."""
    from rustbpe import Tokenizer

    pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

    def train() -> Any:
        tokenizer = Tokenizer()
        tokenizer.train_from_iterator(iter(texts), vocab_size - 1, pattern=pattern)
        return tokenizer

    return train, lambda _: []


PEERS = {
    "gristmill": gristmill,
    "gristmill.train_tokenizer": gristmill_tokenizer,
    "tokenizers": tokenizers,
    "gigatoken": gigatoken,
    "gigabpe": gigabpe,
    "rustbpe": rustbpe,
}


def pairs_of(merges: Any) -> Merges:
    return [(bytes_of(left), bytes_of(right)) for left, right in merges]


# A run, in a process of its own ---------------------------------------------------------------------------


def run_once(peer: str, documents: Path, vocab_size: int, num_threads: int, with_merges: bool) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:num_threads])
    with documents.open(encoding="utf-8") as lines:
        texts = [json.loads(line) for line in lines]
    train, merges = PEERS[peer](texts, vocab_size, num_threads)
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    held = memory("VmRSS")
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    result = train()
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    peak = memory("VmHWM")
    answer: dict[str, Any] = {
        "seconds": seconds,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_mb": peak,
        "added_mb": peak - held,
    }
    if with_merges:
        answer["merges"] = [[left.hex(), right.hex()] for left, right in merges(result)]
    print(json.dumps(answer))


def memory(name: str) -> float:
    """Megabytes of this process, by their name in /proc."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024 / 1e6
    raise SystemExit(f"/proc/self/status has no {name}")


def start(
    peer: str, documents: Path, vocab_size: int, num_threads: int, merges: bool = False
) -> dict[str, Any]:
    environment = os.environ | {"RAYON_NUM_THREADS": str(num_threads), "TOKENIZERS_PARALLELISM": "true"}
    command = [sys.executable, __file__, "--run", peer, str(documents), str(vocab_size), str(num_threads)]
    done = subprocess.run(
        [*command, str(int(merges))], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{peer} failed:\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


# All runs -------------------------------------------------------------------------------------------------


def main() -> None:
    if sys.argv[1:2] == ["--run"]:
        peer, documents_path, size, threads, with_merges = sys.argv[2:]
        run_once(peer, Path(documents_path), int(size), int(threads), with_merges == "1")
        return
    options = parse()
    from corpus import read_corpus
    from gristmill import durable

    wanted = [peer for peer in PEERS if peer in {*options.peers, "gristmill", "tokenizers"}]
    peers = [peer for peer in wanted if importlib.util.find_spec(peer.partition(".")[0])]
    missing = sorted(set(wanted) - set(peers))
    print("not installed: " + ", ".join(missing) if missing else "all peers are installed")
    with tempfile.TemporaryDirectory() as folder:
        if options.documents:
            documents, source = options.documents, {"kind": options.documents.name}
        else:
            corpus = read_corpus(options.corpus, megabytes=options.megabytes, installed=options.quick)
            source = {"kind": corpus.kind, "source": corpus.source, "sha256": corpus.sha256}
            documents = Path(folder) / "documents.jsonl"
            lines = "".join(json.dumps(text) + "\n" for text in corpus.documents)
            documents.write_text(lines, encoding="ascii")
            del corpus, lines
        report = begin_report(options, peers, source)
        if not report["equality"]:
            report["equality"] = compare(peers, documents, options)
        print(json.dumps(report["equality"], indent=2))
        for _ in range(options.rounds):
            number = 1 + max((run["round"] for run in report["runs"]), default=-1)
            for threads in options.threads:
                for peer in peers[number % len(peers) :] + peers[: number % len(peers)]:
                    answer = start(peer, documents, options.vocab_size, threads)
                    report["runs"].append({"round": number, "peer": peer, "threads": threads} | answer)
    report["cells"] = summarise(report["runs"], peers, options.threads) if report["runs"] else []
    print(table(report["cells"]))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        durable.write_json(options.output, report)


def begin_report(options: argparse.Namespace, peers: list[str], source: dict[str, str]) -> dict[str, Any]:
    """Say what is measured where; take over the rounds of an earlier call that measured the same."""
    from report import describe_machine, git_commit

    packages = {peer.partition(".")[0] for peer in peers}
    report: dict[str, Any] = {
        "bench": "training_speed",
        "commit": git_commit(),
        "machine": describe_machine(),
        "versions": {package: importlib.metadata.version(package) for package in sorted(packages)},
        "vocab_size": options.vocab_size,
        "megabytes": options.megabytes,
        "documents": source,
        "peers": peers,
        "threads": options.threads,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "equality": {},
        "runs": [],
    }
    if options.output and options.output.exists():
        earlier = json.loads(options.output.read_text(encoding="utf-8"))
        same = ("commit", "machine", "versions", "vocab_size", "megabytes", "documents", "peers", "threads")
        if differing := [name for name in same if earlier.get(name) != report[name]]:
            raise SystemExit(
                f"{options.output} was measured with other {', '.join(differing)}: name a new file"
            )
        return earlier | {"date": report["date"]}
    return report


def compare(peers: list[str], documents: Path, options: argparse.Namespace) -> dict[str, str]:
    """Say which peers have the merges of `tokenizers`; end here if this package has not."""
    threads = max(options.threads)
    merges = {
        peer: start(peer, documents, options.vocab_size, threads, merges=True)["merges"] for peer in peers
    }
    equality = {peer: describe_difference(merges[peer], merges["tokenizers"]) for peer in peers}
    for peer in peers:
        if peer.startswith("gristmill") and equality[peer] != "equal":
            raise SystemExit(f"{peer}: {equality[peer]}; nothing is timed")
    return equality


def describe_difference(merges: Any, expected: Any) -> str:
    if not merges:
        return "not compared (it gives ranks, not merges)"
    if merges == expected:
        return "equal"
    same = next((i for i, pair in enumerate(zip(merges, expected, strict=False)) if pair[0] != pair[1]), -1)
    return f"differs from merge {same} on ({len(merges)} of {len(expected)})"


def summarise(runs: list[dict[str, Any]], peers: list[str], all_threads: list[int]) -> list[dict[str, Any]]:
    cells = []
    for threads in all_threads:
        own = {run["round"]: run for run in runs if (run["peer"], run["threads"]) == ("gristmill", threads)}
        for peer in peers:
            mine = [run for run in runs if (run["peer"], run["threads"]) == (peer, threads)]

            def median(name: str, mine: list[dict[str, Any]] = mine) -> float:
                return statistics.median(run[name] for run in mine)

            cells.append(
                {
                    "peer": peer,
                    "threads": threads,
                    "seconds": median("seconds"),
                    "cpu_seconds": median("cpu_seconds"),
                    "peak_mb": median("peak_mb"),
                    "added_mb": median("added_mb"),
                    "gristmill_is_faster_by": statistics.median(
                        run["seconds"] / own[run["round"]]["seconds"] for run in mine
                    ),
                    "in_cpu_seconds": statistics.median(
                        run["cpu_seconds"] / own[run["round"]]["cpu_seconds"] for run in mine
                    ),
                }
            )
    return cells


def table(cells: list[dict[str, Any]]) -> str:
    lines = [
        "| peer | threads | seconds, median | gristmill is faster by | by CPU time | peak MB | added MB |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for cell in cells:
        figures = [cell["seconds"], cell["gristmill_is_faster_by"], cell["in_cpu_seconds"]]
        shown = " | ".join(f"{figure:.2f}" for figure in figures)
        megabytes = f"{cell['peak_mb']:.0f} | {cell['added_mb']:.0f}"
        lines.append(f"| {cell['peer']} | {cell['threads']} | {shown} | {megabytes} |")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", choices=["python", "prose"], default="python")
    parser.add_argument(
        "--megabytes", type=float, default=100, help="how much of the corpus to train on (default: 100)"
    )
    parser.add_argument("--quick", action="store_true", help="train on the installed packages: no download")
    parser.add_argument("--documents", type=Path, help="train on this JSONL of strings instead")
    parser.add_argument("--vocab-size", type=int, default=32_768)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="the JSON; rounds in it are added to")
    return parser.parse_args()


if __name__ == "__main__":
    main()
