"""The tables of a report, in Markdown: one function a part."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Report = dict[str, Any]
# Those of the target; the other cells are reported beside.
COUNTED_VOCABULARIES = ("trained-32768", "gpt2")


def exact_table(report: Report) -> str:
    """How many strings were compared with `tokenizers`, and with what."""
    return (
        f"{report['strings']:,} generated strings ({report['drawn_by_hypothesis']:,} of them by hypothesis), "
        f"{report['megabytes']:.1f} MB, seed {report['seed']}, each with {len(report['tokens'])} tokenizers "
        f"({', '.join(report['tokens'])}) on {', '.join(report['instructions'])}: "
        f"all {sum(report['tokens'].values()):,} ids equal, on each instruction set."
    )


def cells_table(report: Report) -> str:
    """Every peer in every cell, then what the targets speak of."""
    texts = []
    for cell in report["cells"]:
        texts.append(
            f"**{describe_cell(cell)}**, {cell['corpus']['bytes'] / 1e6:.0f} MB, {cell['rounds']} rounds\n"
        )
        texts.append("| | MB/s | gristmill is faster by | documents with other ids |\n|---|---|---|---|")
        for row in sorted(cell["peers"], key=lambda row: -row["megabytes_per_second"]):
            ratio = f"{row['gristmill_is_faster_by']:.2f}" if "gristmill_is_faster_by" in row else ""
            count = row["differing_documents"] or ""
            texts.append(f"| {row['peer']} | {row['megabytes_per_second']:.1f} | {ratio} | {count} |")
        texts += [f"| {name} | failed: {reason[:80]} | | |" for name, reason in cell["failed"].items()]
        texts.append("")
    texts.append(summary_table(report))
    texts += [
        f"\nNot the same output (words and signs, no ids): {other['peer']}, 1 thread, "
        f"{other['megabytes_per_second']:.2f} MB/s."
        for other in report.get("not_the_same_output", [])
    ]
    return "\n".join(texts)


def summary_table(report: Report) -> str:
    """One line a cell: the fastest peer with equal ids, and how much faster gristmill is."""
    lines = [
        "| cell | fastest peer with equal ids | faster by | AVX2, by | portable: than tiktoken | plain HF |",
        "|---|---|---|---|---|---|",
    ]
    counted = []
    for cell in report["cells"]:
        rows = {row["peer"]: row for row in cell["peers"]}
        fastest = fastest_peer(cell)
        if fastest is None or "gristmill" not in rows:
            continue
        if counts(cell):
            counted.append(fastest["gristmill_is_faster_by"])
        speed = {name: row["megabytes_per_second"] for name, row in rows.items()}

        def quotient(one: str, other: str, speed: dict[str, float] = speed) -> str:
            return f"{speed[one] / speed[other]:.2f}" if one in speed and other in speed else ""

        shown = [
            describe_cell(cell),
            fastest["peer"],
            f"{fastest['gristmill_is_faster_by']:.2f}",
            quotient("gristmill, AVX2", fastest["peer"]),
            quotient("gristmill, portable", "tiktoken + numpy"),
            f"{rows['hugging face, plain']['gristmill_is_faster_by']:.0f}"
            if "hugging face, plain" in rows
            else "",
        ]
        lines.append("| " + " | ".join(shown) + " |")
    if counted:
        mean = math.exp(sum(map(math.log, counted)) / len(counted))
        lines.append(
            f"\nGeometric mean over the {len(counted)} cells of the target (blocks; 32,768 and GPT-2's): "
            f"**{mean:.2f}**; smallest: **{min(counted):.2f}**."
        )
    return "\n".join(lines)


def readme_table(report: Report) -> str:
    """The cells of the target in one table: gristmill's rate, then how much faster it is than each peer."""
    cells = [cell for cell in report["cells"] if counts(cell)]
    names = list(dict.fromkeys(row["peer"] for cell in cells for row in cell["peers"]))
    lines = [
        "| | " + " | ".join(describe_cell(cell) for cell in cells) + " |",
        "|---" * (len(cells) + 1) + "|",
    ]

    def line(name: str, label: str, key: str, form: str) -> str:
        shown = []
        for cell in cells:
            row = next((row for row in cell["peers"] if row["peer"] == name), None)
            value = "–" if row is None else form.format(row[key])
            shown.append(value + (" (other ids)" if row is not None and row["differing_documents"] else ""))
        return f"| {label} | " + " | ".join(shown) + " |"

    lines.append(line("gristmill", "gristmill, MB/s", "megabytes_per_second", "{:.0f}"))
    peers = [name for name in names if not name.startswith("gristmill")]
    lines += [line(name, f"faster than {name} by", "gristmill_is_faster_by", "{:.2f}") for name in peers]
    for dress in (name for name in names if name.startswith("gristmill, ")):
        lines.append(line(dress, f"{dress}, MB/s", "megabytes_per_second", "{:.0f}"))
    return "\n".join(lines)


def fastest_peer(cell: Report) -> Report | None:
    """The peer to beat: those with other ids do not count."""
    rows = [row for row in cell["peers"] if row["competes"] and "gristmill_is_faster_by" in row]
    return min(rows, key=lambda row: float(row["gristmill_is_faster_by"]), default=None)


def counts(cell: Report) -> bool:
    """Whether the target speaks of this cell."""
    return cell["output"] == "blocks" and cell["vocabulary"] in COUNTED_VOCABULARIES


def describe_cell(cell: Report) -> str:
    """A cell in a few words."""
    vocabulary = "GPT-2" if cell["vocabulary"] == "gpt2" else f"{int(cell['vocabulary'].split('-')[1]):,}"
    threads = "1 thread" if cell["threads"] == 1 else f"{cell['threads']} threads"
    lists = ", to lists" if cell["output"] == "lists" else ""
    return f"{cell['kind']}, {vocabulary}, {threads}{lists}"


TABLES: dict[str, Callable[[Report], str]] = {"exact": exact_table, "cells": cells_table}


def worst_table(report: Report) -> str:
    """Rates at the large size (the small one where a peer was over the limit there), and the ratio a byte."""
    small, large = (f"{size / 1e6:g} MB" for size in report["sizes"])
    threads = sorted({row["threads"] for row in report["cells"]})
    peers = list(dict.fromkeys(row["peer"] for row in report["cells"]))
    texts = []
    for count in threads:
        rows = [row for row in report["cells"] if row["threads"] == count]
        texts.append(
            f"**{count} thread{'s' if count > 1 else ''}**, MB/s at {large} (in brackets: {small})\n"
        )
        texts.append(f"| | {' | '.join(peers)} | gristmill: time a byte, {large} to {small} | memory, MB |")
        texts.append("|---" * (len(peers) + 3) + "|")
        for case in dict.fromkeys(row["kind"] for row in rows):
            found = {row["peer"]: row for row in rows if row["kind"] == case}
            cells = [_worst_rate(found.get(peer)) for peer in peers]
            runs = found.get("gristmill", {}).get("runs", [])
            ratio = memory = ""
            if len(runs) == 2:
                ratio = (
                    f"{runs[1]['seconds'] / runs[1]['bytes'] / (runs[0]['seconds'] / runs[0]['bytes']):.2f}"
                )
                memory = f"{max(run['peak_growth_bytes'] for run in runs) / 1e6:.0f}"
            texts.append(f"| {case} | {' | '.join(cells)} | {ratio} | {memory} |")
        texts.append("")
    texts.append("Ever-new words, one thread, in batches:\n")
    texts.append(
        "| | MB/s, second tenth | last tenth | last to second | resident MB after two tenths | at the end |"
    )
    texts.append("|---|---|---|---|---|---|")
    for row in report["bounded"]:
        if "failed" in row:
            texts.append(f"| {row['peer']} | failed: {row['failed']} | | | | |")
            continue
        figures = (
            f"{row['megabytes_per_second_in_second_tenth']:.1f}",
            f"{row['megabytes_per_second_in_last_tenth']:.1f}",
            f"{row['last_tenth_beside_second']:.2f}",
            f"{row['resident_megabytes_after_second_tenth']:.0f}",
            f"{row['resident_megabytes_at_end']:.0f}",
        )
        texts.append(f"| {row['peer']} | {' | '.join(figures)} |")
    return "\n".join(texts)


def _worst_rate(row: Report | None) -> str:
    if row is None:
        return "–"
    if not row.get("runs"):
        return str(row["failed"]).removeprefix("at the small size: ")
    last = row["runs"][-1]
    shown = f"{last['bytes'] / 1e6 / last['seconds']:.1f}"
    if len(row["runs"]) == 1:
        shown = f"({shown})"
    other = row.get("equal") is False or row.get("equal_when_large") is False
    return shown + (", other ids" if other else "")


def small_table(report: Report) -> str:
    """Microseconds a call, milliseconds to create, milliseconds to import."""
    sizes = ("10", "100", "1000")
    lines = [
        "| | encode 10 bytes, µs | 100 bytes | 1,000 bytes | create with GPT-2's vocabulary, ms | ids |",
        "|---|---|---|---|---|---|",
    ]
    for row in report["cells"]:
        if "failed" in row:
            lines.append(f"| {row['peer']} | failed: {row['failed']} | | | | |")
            continue
        calls = " | ".join(f"{row['microseconds'][size]:.2f}" for size in sizes)
        equal = "equal" if row["equal"] else "other"
        lines.append(f"| {row['peer']} | {calls} | {row['creation_milliseconds']:.1f} | {equal} |")
    imports = report["import_milliseconds"]
    lines.append(
        "\nImporting, ms: " + ", ".join(f"{name} {value:.0f}" for name, value in imports.items()) + "."
    )
    return "\n".join(lines)


TABLES["worst"] = worst_table
TABLES["small"] = small_table


def training_table(report: Report) -> str:
    """Seconds, ratios and peak memory of every trainer."""
    texts = []
    for kind, vocab_size in dict.fromkeys((row["kind"], row["vocab_size"]) for row in report["cells"]):
        rows = [row for row in report["cells"] if (row["kind"], row["vocab_size"]) == (kind, vocab_size)]
        texts.append(f"**{kind}, {rows[0]['bytes'] / 1e6:.0f} MB, vocabulary {vocab_size:,}**\n")
        texts.append("| | threads | seconds | faster by | by CPU time | peak MB (before) | merges | rounds |")
        texts.append("|---" * 8 + "|")
        for row in rows:
            if "failed" in row:
                texts.append(f"| {row['peer']} | | failed: {row['failed']} | | | | | |")
                continue
            figures = (row["seconds"], row["gristmill_is_faster_by"], row["in_cpu_seconds"])
            shown = " | ".join(f"{figure:.2f}" for figure in figures)
            memory = f"{row['peak_mb']:.0f} ({row['mb_before']:.0f})"
            texts.append(
                f"| {row['peer']} | {row['threads']} | {shown} | {memory} | {row['merges']} "
                f"| {row['rounds']} |"
            )
        texts.append("")
    return "\n".join(texts)


TABLES["training"] = training_table


def measuring_table(report: Report) -> str:
    """Every pass as a share of the encodings that it counts as."""
    texts = [
        "| text | road | threads | pass | MB/s | encodings | share of encoding | by CPU time |",
        "|---" * 8 + "|",
    ]
    counted = []
    for cell in report["cells"]:
        where = f"{cell['kind']}, {cell['bytes'] / 1e6:.1f} MB | {cell['road']} | {cell['threads']}"
        for row in cell["passes"]:
            if cell["road"] == "gristmill" and row["pass"] != "encode":
                counted.append(row["share_of_encoding"])
            texts.append(
                f"| {where} | {row['pass']} | {row['megabytes_per_second']:.1f} | {row['encodings']} "
                f"| {row['share_of_encoding']:.2f} | {row['share_in_cpu_seconds']:.2f} |"
            )
    if counted:
        texts.append(f"\nSmallest share on the own engine: **{min(counted):.2f}** (the target is 0.5).")
    return "\n".join(texts)


TABLES["measuring"] = measuring_table


def packing_table(report: Report) -> str:
    """Gigabytes a second beside memcpy, then best fit with its waste."""
    texts = []
    for cell in report["joining"]:
        texts.append(
            f"**Ready ids to blocks, documents of {cell['average_length']:,} tokens on average**, "
            f"{cell['bytes'] / 1e6:.0f} MB, {cell['rounds']} rounds\n"
        )
        texts.append("| | GB/s | of memcpy |\n|---|---|---|")
        texts += [
            f"| {row['way']} | {row['gigabytes_per_second']:.2f} | {row['share_of_memcpy']:.1%} |"
            for row in sorted(cell["ways"], key=lambda row: -row["share_of_memcpy"])
        ]
        texts.append("")
    for cell in report["fitting"]:
        texts.append(
            f"**Best fit, documents of {cell['average_length']:,} tokens on average**, "
            f"{cell['documents']:,} documents, {cell['rounds']} rounds\n"
        )
        texts.append("| | million tokens/s | padding | tokens lost |\n|---|---|---|---|")
        texts += [
            f"| {row['way']} | {row['million_tokens_per_second']:.1f} | {row['padding_share']:.2%} "
            f"| {row['tokens_lost']:,} |"
            for row in cell["ways"]
        ]
        texts.append("")
    return "\n".join(texts)


TABLES["packing"] = packing_table
