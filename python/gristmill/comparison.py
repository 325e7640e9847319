"""Reports side by side: several tokenizers on one corpus, or one tokenizer on several corpora."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal

from gristmill.report import CAVEATS, Interval, TokenizerReport
from gristmill.text_table import format_table

Axis = Literal["tokenizers", "corpora"]

CORPORA_CAVEAT = (
    "Corpora differ in more than the tokenizer's fit: bytes and characters per token compare texts of one "
    "script and language at best (one script takes more bytes a character than another)."
)


@dataclass(frozen=True, kw_only=True)
class MetricDifference:
    """One metric of one column, against the first column.

    Attributes:
        metric: its name.
        column: which column, from 0.
        difference: its value less that of the first column; None where either is not applicable.
        interval: of the difference, over documents; None where there is none.
        is_paired: whether the interval draws the same documents for both, which the same corpus allows.
    """

    metric: str
    column: int
    difference: float | None
    interval: Interval | None
    is_paired: bool


@dataclass(frozen=True, kw_only=True)
class TokenizerComparison:
    """What `compare_tokenizers` found; `str()` is a table.

    Attributes:
        axis: "tokenizers" on one corpus, or one tokenizer on several "corpora".
        names: of the columns.
        reports: one for each column.
        differences: of every metric, in every column but the first, against the first.
        caveats: what the scores do not say.
    """

    axis: Axis
    names: tuple[str, ...]
    reports: tuple[TokenizerReport, ...]
    differences: tuple[MetricDifference, ...]
    caveats: tuple[str, ...] = CAVEATS

    def difference(self, metric: str, column: int) -> MetricDifference:
        """Return the difference of a metric in a column.

        Raises:
            KeyError: there is none.
        """
        for item in self.differences:
            if (item.metric, item.column) == (metric, column):
                return item
        raise KeyError(
            f"no difference of {metric!r} in column {column} (expected a metric, and a column above 0)"
        )

    @property
    def metric_names(self) -> list[str]:
        """Names of all metrics, in the order of the reports."""
        return list(dict.fromkeys(metric.name for report in self.reports for metric in report.metrics))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as one JSON-able dict."""
        value: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return value

    def __str__(self) -> str:
        return _format(self)


def _format(comparison: TokenizerComparison) -> str:
    header = ["", *(cell for name in comparison.names for cell in (name, ""))]
    rows, rules = [header], dict[str, str]()
    for name in comparison.metric_names:
        row = [name.replace("_", " ")]
        for column, report in enumerate(comparison.reports):
            metric = next((metric for metric in report.metrics if metric.name == name), None)
            row += ["", ""] if metric is None else [metric.shown, shown_change(comparison, name, column)]
            if metric is not None:
                rules.setdefault(metric.label, metric.rule)
        rows.append(row)
    align = "<" + "><" * len(comparison.names)
    first = comparison.reports[0]
    one = (
        f"corpus: {first.corpus.name}"
        if comparison.axis == "tokenizers"
        else f"tokenizer: {first.tokenizer.name}"
    )
    paired = (
        "the same documents drawn for all"
        if comparison.axis == "tokenizers"
        else "each corpus drawn for itself"
    )
    return "\n".join(
        [
            one,
            (
                f"differences are against {comparison.names[0]!r}; intervals in brackets: "
                f"{first.settings.confidence:.0%}, bootstrap over documents, {paired}"
            ),
            "",
            format_table(rows, align),
            "",
            *(f"{label}: {rule}" for label, rule in rules.items()),
            "",
            *(f"caveat: {caveat}" for caveat in comparison.caveats),
        ]
    )


def shown_change(comparison: TokenizerComparison, name: str, column: int) -> str:
    """Write what stands beside a value: its interval in the first column, the difference in the others.

    Example:
        >>> shown_change(comparison, "fertility", 1)  # doctest: +SKIP
        '+0.31 (+8.2%) [0.29, 0.33]'
    """
    report = comparison.reports[column]
    metric = report.metric(name)
    decimals, factor, unit = (2, 100, " points") if metric.is_share else (4, 1, "")
    if column == 0:
        return "" if metric.interval is None else f"[{metric.shown_interval.replace(' to ', ', ')}]"
    item = comparison.difference(name, column)
    if item.difference is None:
        return ""
    parts = [f"{item.difference * factor:+.{decimals}f}{unit}"]
    base = comparison.reports[0].metric(name).value
    if base and not metric.is_share:
        parts.append(f"({item.difference / abs(base):+.1%})")
    if item.interval is not None:
        low, high = item.interval.low * factor, item.interval.high * factor
        parts.append(f"[{low:+.{decimals}f}, {high:+.{decimals}f}]")
    return " ".join(parts)
