"""What comes out: the table, and a JSON file that says where and with what it was measured."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# The extensions that decide how fast tokenizing can be.
INSTRUCTION_SETS = ("sse4_2", "avx2", "bmi2", "aes", "avx512f", "avx512bw", "avx512_vbmi", "avx512_vbmi2")


def format_table(report: dict[str, Any]) -> str:
    lines = ["| peer | threads | MB/s, median | gristmill is faster by | documents with other ids |"]
    lines.append("|---|---|---|---|---|")
    for cell in report["cells"]:
        ratio = f"{cell['gristmill_is_faster_by']:.2f}" if "gristmill_is_faster_by" in cell else ""
        differing = report["differing_documents"][cell["peer"]]
        rate = cell["megabytes_per_second"]
        lines.append(f"| {cell['peer']} | {cell['threads']} | {rate:.2f} | {ratio} | {differing} |")
    return "\n".join(lines)


def describe_machine() -> dict[str, Any]:
    cpu: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            cpu.setdefault(key.strip(), value.strip())
    flags = cpu.get("flags", "").split()
    return {
        "processor": cpu.get("model name", platform.processor()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "system": f"{platform.system()} {platform.release()}",
    }


def git_commit() -> str:
    def git(*words: str) -> str:
        run = subprocess.run(["git", "-C", str(HERE), *words], capture_output=True, text=True, check=False)
        return run.stdout.strip()

    commit = git("rev-parse", "--short=12", "HEAD") or "unknown"
    return commit + ("-modified" if git("status", "--porcelain", "--untracked-files=no") else "")


def save(report: dict[str, Any], folder: Path) -> Path:
    from gristmill import durable

    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"packing_speed-{report['date'][:10]}-{report['commit']}-{report['tokenizer']}.json"
    durable.write_json(place, report)
    return place
