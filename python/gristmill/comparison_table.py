"""`TokenizerComparison` as text: metrics in rows, tokenizers or corpora in columns, rules below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gristmill.text_table import format_table

if TYPE_CHECKING:
    from gristmill.comparison import TokenizerComparison


def format_comparison(comparison: TokenizerComparison) -> str:
    """Lay a comparison out for reading."""
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
