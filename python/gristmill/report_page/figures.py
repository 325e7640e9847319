"""The figures of the page: the answer, the curve's numbers, metrics side by side, the caveats with them."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from gristmill.advice_table import loss, saving_rule, shown_interval
from gristmill.comparison import TokenizerComparison
from gristmill.comparison_table import shown_change, size_rows
from gristmill.report import NOT_APPLICABLE, SECTIONS
from gristmill.report_page.markup import Child, element
from gristmill.report_page.tables import Column, Row, table
from gristmill.vocabulary_advice import SizePoint, VocabularyAdvice


def caveats(texts: Sequence[str]) -> Element:
    """Return what the scores do not say."""
    listed = element("ul", None, *(element("li", None, text) for text in texts))
    return element("div", {"class": "caveats", "role": "note"}, element("strong", None, "Caveats"), listed)


def answer(advice: VocabularyAdvice) -> Element:
    """Return the recommended size and what each other tokenizer loses."""
    losses = element("ul", None)
    for other in advice.beside:
        losses.append(
            element("li", None, element("strong", None, other.name), f": {loss(other, advice.point)}")
        )
    said = " ".join(advice.notes)
    return element(
        "div",
        "answer",
        element("div", None, "Recommended vocabulary"),
        element("div", "size", f"{advice.recommended:,} tokens"),
        element("p", "rule", f"Rule of thumb: {advice.reason}."),
        *([element("p", None, said)] if said else []),
        *([losses] if advice.beside else []),
    )


def size_table(advice: VocabularyAdvice) -> Element:
    """Return the curve in numbers, with the parameters of the embedding."""
    columns = [
        Column(title="Vocabulary", unit="tokens", width=111),
        Column(title="Tokens", unit="of the held-out text, EOS apart", width=91),
        Column(title="Bytes per token", unit="UTF-8", width=96),
        Column(title="Next doubling saves", unit=saving_rule(advice), width=101),
        Column(title="Tokens, relative", unit="to the recommended size", width=111),
        Column(title="Embedding", unit=f"parameters: n_embd {advice.shape.n_embd} × vocabulary", width=108),
        Column(title="Of the model", unit="share of its parameters", width=96),
    ]
    rows = [_size_row(advice, point) for point in (*advice.curve, *advice.beside)]
    return table("the curve in numbers", columns, rows)


def _size_row(advice: VocabularyAdvice, point: SizePoint) -> Row:
    is_chosen = not point.name and point.vocab_size == advice.recommended
    parameters = point.embedding_parameters + advice.shape.other_parameters
    return Row(
        title=f"{point.vocab_size:,}",
        rule=point.name or ("recommended" if is_chosen else ""),
        is_chosen=is_chosen,
        cells=[
            [f"{point.tokens:,}"],
            _cell(point.bytes_per_token, ".3f", shown_interval(point.interval)),
            _cell(point.saved_by_doubling, ".2%", shown_interval(point.saved_interval, as_share=True)),
            _cell(point.relative_tokens, ".1%", shown_interval(point.relative_interval, as_share=True)),
            [f"{point.embedding_parameters:,}"],
            [f"{point.embedding_parameters / parameters:.1%}"],
        ],
    )


def metric_table(comparison: TokenizerComparison) -> Element:
    """Return every metric in a row, a column for each tokenizer or corpus, rules under the names."""
    columns = [
        Column(title="Metric and rule", width=260),
        *(Column(title=name, width=150) for name in comparison.names),
    ]
    rows = [Row(title="sizes")]
    for label, rule, cells in size_rows(comparison.reports):
        rows.append(Row(title=label, rule=rule, cells=[[cell] for cell in cells]))
    section = None
    for name in comparison.metric_names:
        found = [next((m for m in report.metrics if m.name == name), None) for report in comparison.reports]
        metric = next(m for m in found if m is not None)
        if metric.section != section:
            section = metric.section
            rows.append(Row(title=SECTIONS[section]))
        rule, own_rules = comparison.rule(name)
        source = f" ({metric.source})" if metric.source else ""
        row_cells: list[list[Child]] = []
        for column, own in enumerate(found):
            parts: list[Child] = [] if own is None else [own.shown, *_changes(comparison, name, column)]
            if column in own_rules:
                parts.append(element("span", "small", own_rules[column]))
            row_cells.append(parts)
        rows.append(Row(title=metric.label, rule=f"{rule}{source}", cells=row_cells))
    return table("metrics", columns, rows)


def _changes(comparison: TokenizerComparison, name: str, column: int) -> list[Element]:
    change, bracket, interval = shown_change(comparison, name, column).partition("[")
    lines = [change.strip(), bracket + interval]
    return [element("span", "small", line) for line in lines if line]


def _cell(value: float | None, form: str, small: str) -> list[Child]:
    shown = NOT_APPLICABLE if value is None and small else _shown(value, form)
    return [shown, element("span", "small", small)] if small else [shown]


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
