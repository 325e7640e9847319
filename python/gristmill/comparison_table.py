"""`TokenizerComparison` as text: metrics in rows, tokenizers or corpora in columns, rules below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gristmill.metric_definitions import WORDS_OF_RULE
from gristmill.report_table import format_levels
from gristmill.text_table import format_table

if TYPE_CHECKING:
    from gristmill.comparison import TokenizerComparison
    from gristmill.report import TokenizerReport

# A label, its rule, and a cell for each column.
Row = tuple[str, str, list[str]]


def format_comparison(comparison: TokenizerComparison) -> str:
    """Lay a comparison out for reading."""
    rows = [["", *(cell for name in comparison.names for cell in (name, ""))]]
    rules = []
    for label, rule, cells in size_rows(comparison.reports):
        rows.append([label, *(part for cell in cells for part in (cell, ""))])
        rules.append(f"{label}: {rule}")
    rows.append([])
    for name in comparison.metric_names:
        label = name.replace("_", " ")
        row = [label]
        for column, report in enumerate(comparison.reports):
            metric = next((metric for metric in report.metrics if metric.name == name), None)
            row += ["", ""] if metric is None else [metric.shown, shown_change(comparison, name, column)]
        rows.append(row)
        rules += _rule_lines(comparison, name, label)
    rows.append([])
    for label, rule, cells in indentation_rows(comparison.reports):
        rows.append([label, *(part for cell in cells for part in (cell, ""))])
        rules.append(f"{label}: {rule}")
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
            *rules,
            "",
            *(f"caveat: {caveat}" for caveat in comparison.caveats),
        ]
    )


def size_rows(reports: Sequence[TokenizerReport]) -> Iterator[Row]:
    """Yield how much was measured, and by which rules words were found."""
    yield "vocabulary", "its tokens, special ones included", [f"{r.tokenizer.num_tokens:,}" for r in reports]
    corpora = [report.corpus for report in reports]
    yield "documents", "texts that were measured", [f"{corpus.documents:,}" for corpus in corpora]
    yield "bytes", "of the texts as UTF-8", [f"{corpus.bytes:,}" for corpus in corpora]
    yield "lines", "a last line without a line feed counts", [f"{corpus.lines:,}" for corpus in corpora]
    for place, first in enumerate(reports[0].words):
        cells = [f"{report.words[place].words:,}" for report in reports]
        yield WORDS_OF_RULE[first.rule], f"rule {first.rule!r}: {first.definition}", cells
    yield "tokens", "of the texts, EOS apart", [f"{corpus.tokens:,}" for corpus in corpora]


def indentation_rows(reports: Sequence[TokenizerReport]) -> Iterator[Row]:
    """Yield which levels of indentation are one token, alone and in code."""
    code = reports[0].code
    for kind in code.indentation_kinds:
        of = f"levels, of 1 to {code.num_levels(kind)}, that are one token"
        for in_code, where in ((False, "alone"), (True, "in code, together with the line feed before them")):
            cells = [format_levels(report.code, kind, in_code=in_code) for report in reports]
            yield f"indentation of {kind}, {'in code' if in_code else 'alone'}", f"{of} {where}", cells


def _rule_lines(comparison: TokenizerComparison, name: str, label: str) -> Iterator[str]:
    """Yield the rule that all columns share, then what holds in some alone, those that agree in one line."""
    rule, own = comparison.rule(name)
    yield f"{label}: {rule}".rstrip()
    for text in dict.fromkeys(own.values()):
        columns = ", ".join(comparison.names[column] for column, said in own.items() if said == text)
        yield f"  {columns}: {text}"


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
