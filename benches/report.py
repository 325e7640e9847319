"""What comes out: JSON files that say where and with what was measured, the tables, and the plot.

`python benches/report.py FOLDER` puts the table and the plot of a run into README.md and docs/speed.png.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tables import COUNTED_VOCABULARIES, TABLES, readme_table

if TYPE_CHECKING:
    from options import Options

HERE = Path(__file__).resolve().parent
# The extensions that decide how fast tokenizing can be.
INSTRUCTION_SETS = (
    "sse4_2",
    "avx2",
    "bmi2",
    "aes",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_vbmi",
    "avx512_vbmi2",
)


def header(part: str, versions: dict[str, str]) -> dict[str, Any]:
    """What every file begins with."""
    return {
        "benchmark": part,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": git_commit(),
        "machine": describe_machine(),
        "python": platform.python_version(),
        "versions": dict(sorted(versions.items())),
    }


def run_part(part: str, measure: Callable[[Options], dict[str, Any]], options: Options) -> int:
    """Measure a part, put it beside the others of the run, and show its tables."""
    report = measure(options)
    place = save(part, report, options.output)
    print("\n" + TABLES[part](json.loads(place.read_text(encoding="utf-8"))))
    print(f"\n{place}")
    return 0


def save(part: str, report: dict[str, Any], folder: Path) -> Path:
    """Write a part's JSON. Cells of an earlier call of the same run stay, where this one has none."""
    from gristmill import durable

    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{part}.json"
    if place.exists() and "cells" in report:
        earlier = json.loads(place.read_text(encoding="utf-8"))
        mine = {_key(cell) for cell in report["cells"]}
        report["cells"] = [cell for cell in earlier["cells"] if _key(cell) not in mine] + report["cells"]
        report["cells"].sort(key=_order)
        for name in ("versions", "vocabularies"):
            report[name] = earlier.get(name, {}) | report.get(name, {})
        if not report.get("not_the_same_output") and "not_the_same_output" in earlier:
            report["not_the_same_output"] = earlier["not_the_same_output"]
    durable.write_json(place, report)
    return place


def write_summary(folder: Path) -> Path:
    """Write all tables of a run as Markdown, and the plot, from the JSON files that are there."""
    from gristmill import durable
    from plot import draw

    texts = []
    for part, table in TABLES.items():
        place = folder / f"{part}.json"
        if place.exists():
            report = json.loads(place.read_text(encoding="utf-8"))
            texts.append(f"## {part}\n\n{describe_run(report)}\n\n{table(report)}")
            if part == "cells":
                draw(report, folder / "speed.png")
    place = folder / "report.md"
    durable.write_text(place, "\n\n".join(texts) + "\n")
    return place


def describe_run(report: dict[str, Any]) -> str:
    """One line: date, machine, commit, versions."""
    machine = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return (
        f"{report['date'][:10]}, {machine['processor']}, {machine['cores']} cores, {machine['fastest']}; "
        f"commit {report['commit']}; Python {report['python']}; {versions}"
    )


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, instruction sets and load."""
    cpu: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            cpu.setdefault(key.strip(), value.strip())
    flags = set(cpu.get("flags", "").split())
    # As the engine chooses: rust/core/src/instructions.rs.
    fastest = "portable"
    if {"avx2", "bmi2", "aes"} <= flags:
        fastest = "AVX-512" if {"avx512f", "avx512bw", "avx512vl", "avx512_vbmi2"} <= flags else "AVX2"
    return {
        "processor": cpu.get("model name", platform.processor()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "fastest": fastest,
        "system": f"{platform.system()} {platform.release()}",
        "load_average": list(os.getloadavg()),
    }


def git_commit() -> str:
    """The commit that is checked out, `-modified` where files differ from it."""

    def git(*words: str) -> str:
        run = subprocess.run(["git", "-C", str(HERE), *words], capture_output=True, text=True, check=False)
        return run.stdout.strip()

    commit = git("rev-parse", "--short=12", "HEAD") or "unknown"
    return commit + ("-modified" if git("status", "--porcelain", "--untracked-files=no") else "")


def _order(cell: dict[str, Any]) -> tuple[Any, ...]:
    # As a run measures them: Python first, the vocabularies that count first.
    vocabulary = (*COUNTED_VOCABULARIES, cell.get("vocabulary")).index(cell.get("vocabulary"))
    return (cell.get("kind") != "python", vocabulary, cell.get("output", ""), cell.get("threads", 0))


def _key(cell: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(
        cell.get(name) for name in ("kind", "vocabulary", "threads", "output", "peer", "vocab_size", "road")
    )


def put_into_readme(folder: Path) -> None:
    """Replace what stands between the two marks of README.md, and the plot beside it."""
    from gristmill import durable

    report = json.loads((folder / "cells.json").read_text(encoding="utf-8"))
    write_summary(folder)
    root = HERE.parent
    shutil.copyfile(folder / "speed.png", root / "docs" / "speed.png")
    readme = (root / "README.md").read_text(encoding="utf-8")
    before, mark, rest = readme.partition("<!-- bench: begin -->\n")
    _, end, after = rest.partition("<!-- bench: end -->")
    if not mark or not end:
        raise SystemExit("README.md has no marks of the bench (expected <!-- bench: begin --> and … end -->)")
    rounds = min(cell["rounds"] for cell in report["cells"])
    words = (
        f"{readme_table(report)}\n\n{describe_run(report)}; medians of {rounds} interleaved rounds or more.\n"
    )
    durable.write_text(root / "README.md", before + mark + words + end + after)


if __name__ == "__main__":
    put_into_readme(Path(sys.argv[1]))
