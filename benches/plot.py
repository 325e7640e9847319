"""The plot of a run: rates of every peer in the cells that count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tables import counts, describe_cell

# Colours that stay apart for colour-blind readers (Okabe and Ito), gristmill's the strongest.
COLOURS = {
    "gristmill": "#d55e00",
    "gristmill, AVX2": "#e69f00",
    "gigatoken": "#0072b2",
    "gigatoken-cachefix": "#56b4e9",
    "fastokens": "#009e73",
    "snaptokens": "#cc79a7",
    "tiktoken + numpy": "#999999",
    "tokenizers + numpy": "#666666",
    "hugging face, plain": "#222222",
}


def draw(report: dict[str, Any], place: Path) -> None:
    """Draw grouped bars, one group a cell, MB/s on the axis; writes a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    cells = [cell for cell in report["cells"] if counts(cell)]
    if not cells:
        return
    num_columns = min(4, len(cells))
    num_rows = -(-len(cells) // num_columns)
    figure, axes = pyplot.subplots(
        num_rows, num_columns, figsize=(3.6 * num_columns, 3.1 * num_rows + 1.2), squeeze=False, sharex=True
    )
    for axis in axes.flat[len(cells) :]:
        axis.set_visible(False)
    for axis, cell in zip(axes.flat, cells, strict=False):
        rows = [row for row in cell["peers"] if row["peer"] in COLOURS]
        rows.sort(key=lambda row: row["megabytes_per_second"])
        names = [row["peer"] + (" *" if row["differing_documents"] else "") for row in rows]
        speeds = [row["megabytes_per_second"] for row in rows]
        bars = axis.barh(names, speeds, color=[COLOURS[row["peer"]] for row in rows])
        axis.bar_label(
            bars, labels=[f"{speed:.0f}" if speed >= 10 else f"{speed:.1f}" for speed in speeds], padding=2
        )
        axis.set_title(describe_cell(cell), fontsize=10)
        axis.margins(x=0.18)
        axis.tick_params(labelsize=8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    machine = report["machine"]
    figure.suptitle("Documents to blocks of 1,024 token ids: MB of text a second", fontsize=13)
    stars = any(row["differing_documents"] for cell in cells for row in cell["peers"])
    figure.text(
        0.01,
        0.01,
        f"{report['date'][:10]}, {machine['processor']}, {machine['cores']} cores, {machine['fastest']}, "
        f"commit {report['commit']}. Distinct text, cold caches, {cells[0]['rounds']} interleaved rounds."
        + (" * other ids than `tokenizers`." if stars else ""),
        fontsize=8,
    )
    figure.tight_layout(rect=(0, 0.035, 1, 0.98))
    figure.savefig(place, dpi=120)
    pyplot.close(figure)
