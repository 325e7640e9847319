"""The figures of the page: the answer, the curve's numbers, metrics side by side, the caveats with them."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from gristmill.advice_table import loss, shown_interval
from gristmill.comparison import TokenizerComparison
from gristmill.comparison_table import shown_change
from gristmill.report import NOT_APPLICABLE, SECTIONS
from gristmill.report_page.markup import Child, element
from gristmill.vocabulary_advice import SizePoint, VocabularyAdvice

# With more columns than these, a phone shows the table as it is, to be moved sideways.
_MOST_STACKED = 3


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
    flat = (
        []
        if advice.is_flat
        else [
            element(
                "p",
                None,
                "The curve still falls at the largest size: a larger one may be worth its parameters "
                "(ask for larger sizes).",
            )
        ]
    )
    return element(
        "div",
        "answer",
        element("div", None, "Recommended vocabulary"),
        element("div", "size", f"{advice.recommended:,} tokens"),
        element("p", "rule", f"Rule of thumb: {advice.rule}."),
        *flat,
        *([losses] if advice.beside else []),
    )


def size_table(advice: VocabularyAdvice) -> Element:
    """Return the curve in numbers, with the parameters of the embedding."""
    shape = advice.shape
    header = [
        ("Vocabulary", "tokens"),
        ("Tokens", "of the held-out text, EOS apart"),
        ("Compression", "UTF-8 bytes per token"),
        ("Next doubling saves", "share of tokens"),
        ("Tokens, relative", "to the recommended size"),
        ("Embedding", f"parameters: n_embd {shape.n_embd} × vocabulary"),
        ("Of the model", "share of its parameters"),
    ]
    head = element("tr", None)
    for title, unit in header:
        head.append(element("th", {"scope": "col"}, title, element("span", "rule", unit)))
    body = element("tbody")
    for point in (*advice.curve, *advice.beside):
        body.append(_size_row(advice, point))
    return scrolled("the curve in numbers", element("table", None, element("thead", None, head), body))


def _size_row(advice: VocabularyAdvice, point: SizePoint) -> Element:
    is_chosen = not point.name and point.vocab_size == advice.recommended
    label = point.name or ("recommended" if is_chosen else "")
    parameters = point.embedding_parameters + advice.shape.other_parameters
    return element(
        "tr",
        "chosen" if is_chosen else "",
        element("th", {"scope": "row"}, f"{point.vocab_size:,}", element("span", "rule", label)),
        element("td", None, f"{point.tokens:,}"),
        _cell(point.bytes_per_token, ".3f", shown_interval(point.interval)),
        _cell(point.saved_by_doubling, ".2%", shown_interval(point.saved_interval, as_share=True)),
        _cell(point.relative_tokens, ".1%", shown_interval(point.relative_interval, as_share=True)),
        element("td", None, f"{point.embedding_parameters:,}"),
        element("td", None, f"{point.embedding_parameters / parameters:.1%}"),
    )


def metric_table(comparison: TokenizerComparison) -> Element:
    """Return every metric in a row, a column for each tokenizer or corpus, rules under the names."""
    head = element("tr", {"role": "row"}, heading("columnheader", "Metric and rule"))
    for name in comparison.names:
        head.append(heading("columnheader", name, {"class": "name"}))
    body = element("tbody", {"role": "rowgroup"})
    section = None
    for name in comparison.metric_names:
        found = [next((m for m in report.metrics if m.name == name), None) for report in comparison.reports]
        metric = next(m for m in found if m is not None)
        if metric.section != section:
            section = metric.section
            title = heading("columnheader", SECTIONS[section], {"colspan": str(1 + len(found))})
            body.append(element("tr", {"class": "section", "role": "row"}, title))
        source = f" ({metric.source})" if metric.source else ""
        label = heading("rowheader", metric.label)
        label.append(element("span", "rule", f"{metric.rule}{source}"))
        row = element("tr", {"role": "row"}, label)
        for column, own in enumerate(found):
            parts: list[Child] = [] if own is None else [own.shown, *_changes(comparison, name, column)]
            row.append(element("td", {"role": "cell"}, *parts))
        body.append(row)
    # Stacked on a phone, which takes the roles of a table away: they are said again.
    kind = "wide stacked" if len(comparison.names) <= _MOST_STACKED else "wide"
    thead = element("thead", {"role": "rowgroup"}, head)
    return scrolled("metrics", element("table", {"class": kind, "role": "table"}, thead, body))


def heading(role: str, text: str, attributes: dict[str, str] | None = None) -> Element:
    """Return a heading of a table that is stacked on a phone."""
    scope = "row" if role == "rowheader" else "col"
    return element("th", {"role": role, "scope": scope} | (attributes or {}), text)


def _changes(comparison: TokenizerComparison, name: str, column: int) -> list[Element]:
    change, bracket, interval = shown_change(comparison, name, column).partition("[")
    lines = [change.strip(), bracket + interval]
    return [element("span", "small", line) for line in lines if line]


def scrolled(name: str, table: Element) -> Element:
    """Return a table in a frame that scrolls sideways, by keyboard as well."""
    return element("div", {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": name}, table)


def _cell(value: float | None, form: str, small: str) -> Element:
    return element(
        "td",
        None,
        NOT_APPLICABLE if value is None and small else _shown(value, form),
        element("span", "small", small),
    )


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
