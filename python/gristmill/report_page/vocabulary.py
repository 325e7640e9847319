"""What the vocabularies hold: longest tokens, learned first and last, never used, keywords as one token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element

from gristmill.comparison_table import indentation_rows
from gristmill.report import NOT_APPLICABLE, TokenEntry, TokenizerReport
from gristmill.report_page.markup import Child, element
from gristmill.report_page.tables import Column, Row, table

_MOST_SHOWN = 10
_LONGEST_SHOWN = 24

Entries = tuple[TokenEntry, ...] | None
Listing = tuple[str, str, Callable[[TokenizerReport], Sequence[Child]]]


def vocabulary_table(names: Sequence[str], reports: Sequence[TokenizerReport]) -> Element:
    """Return the notable tokens, a column for each report."""
    first = reports[0]
    python = f"of Python {first.code.python}"
    listings: list[Listing] = [
        ("longest tokens", "of the most UTF-8 bytes", lambda r: _tokens(r.vocabulary.longest)),
        ("most frequent", "in the corpus", lambda r: _tokens(r.vocabulary.most_frequent)),
        ("learned first", "by the order of the merges", lambda r: _tokens(r.vocabulary.first_learned)),
        ("learned last", "by the order of the merges", lambda r: _tokens(r.vocabulary.last_learned)),
        (
            "never used",
            "tokens that did not occur in the corpus; of text first, by id",
            lambda r: _counted(r.vocabulary.never_used, r.vocabulary.never_used_tokens),
        ),
        (
            "unreachable",
            first.vocabulary.unreachable_rule,
            lambda r: _counted(r.vocabulary.unreachable, r.vocabulary.unreachable_tokens),
        ),
        (
            "keywords that are one token, alone",
            python,
            lambda r: _words(r.code.keywords_single, len(r.code.keywords)),
        ),
        (
            "keywords that are one token, after a blank",
            python,
            lambda r: _words(r.code.keywords_single_after_blank, len(r.code.keywords)),
        ),
        (
            "builtins that are one token, after a blank",
            python,
            lambda r: _words(r.code.builtins_single_after_blank, len(r.code.builtins)),
        ),
    ]
    columns = [
        Column(title="Tokens", width=240),
        *(Column(title=name, width=200, is_text=True) for name in names),
    ]
    rows = [
        Row(title=label, rule=rule, cells=[cell(report) for report in reports])
        for label, rule, cell in listings
    ]
    for label, rule, cells in indentation_rows(reports):
        rows.append(Row(title=label, rule=rule, cells=[[cell] for cell in cells]))
    return table("vocabulary", columns, rows)


def _counted(count: int, entries: Entries) -> Sequence[Child]:
    return [element("strong", None, f"{count:,}"), " ", *(_tokens(entries) if count else [])]


def _tokens(entries: Entries) -> Sequence[Child]:
    if entries is None:
        return [NOT_APPLICABLE]
    parts: list[Child] = []
    for entry in entries[:_MOST_SHOWN]:
        text = entry.text
        if len(text) > _LONGEST_SHOWN:
            text = f"{text[:_LONGEST_SHOWN]}… ({entry.num_bytes} bytes)"
        title = f"id {entry.id}, {entry.num_bytes} bytes, {entry.count:,} occurrences"
        # Blanks at the ends count: they are made visible.
        parts += [element("code", {"title": title}, text.replace(" ", "·")), " "]
    return parts or ["none"]


def _words(words: Sequence[str], of: int) -> Sequence[Child]:
    return [element("strong", None, f"{len(words)} of {of}"), f" {' '.join(words)}"]
