"""A `TokenizerReport` as text: figures in sections, each with its interval and its rule."""

from __future__ import annotations

from collections.abc import Sequence

from gristmill.report import (
    NOT_APPLICABLE,
    SECTIONS,
    CodeSummary,
    Metric,
    TokenEntry,
    TokenizerReport,
    VocabularySummary,
    WordSummary,
)
from gristmill.text_table import count_of

_LONGEST_SHOWN = 40
_TOKENS_SHOWN = 10


def format_report(report: TokenizerReport) -> str:
    """Return the report as lines of text.

    Example:
        >>> print(format_report(report).splitlines()[-1])  # doctest: +SKIP
        caveat: Rényi efficiency can be gamed: ...
    """
    blocks = [_head(report)]
    for section, title in SECTIONS.items():
        metrics = [metric for metric in report.metrics if metric.section == section]
        if metrics:
            blocks.append("\n".join([title, *format_metrics(metrics)]))
    blocks.append(_code(report.code))
    blocks.append(_vocabulary(report.vocabulary))
    outliers = report.distributions
    worst, best = (
        ", ".join(
            f"{document.name} ({document.bytes_per_token:.2f})"
            for document in documents[:3]
            if document.bytes_per_token is not None
        )
        for documents in (outliers.worst_documents, outliers.best_documents)
    )
    blocks.append(
        f"documents of the fewest bytes per token: {worst or 'none'}\n  of the most: {best or 'none'}"
    )
    blocks.append("\n".join(f"caveat: {caveat}" for caveat in report.caveats))
    return "\n\n".join(blocks)


def format_metrics(metrics: Sequence[Metric]) -> list[str]:
    """Return one line for each metric, in columns: label, value, interval, rule."""
    rows = [(metric.label, metric.shown, metric.shown_interval, metric.full_rule) for metric in metrics]
    labels, values, intervals = (max((len(row[column]) for row in rows), default=0) for column in range(3))
    return [
        f"  {label:<{labels}}  {value:>{values}}  {interval:<{intervals}}  {rule}".rstrip()
        for label, value, interval, rule in rows
    ]


def _head(report: TokenizerReport) -> str:
    tokenizer, corpus, settings = report.tokenizer, report.corpus, report.settings
    name = f"{tokenizer.name}: " if tokenizer.name else ""
    skipped = f", {count_of(corpus.num_skipped, 'row')} skipped" if corpus.num_skipped else ""
    lines = [
        (
            f"tokenizer: {name}{tokenizer.model} of {tokenizer.num_tokens:,} tokens, "
            f"{tokenizer.num_ordinary_tokens:,} of them not special; encoded by {tokenizer.engine}"
        ),
        (
            f"corpus: {count_of(corpus.documents, 'document')}{skipped}, {corpus.bytes:,} bytes, "
            f"{corpus.characters:,} characters, {corpus.lines:,} lines ({corpus.code_lines:,} not blank)"
        ),
        f"tokens: {corpus.tokens:,} (EOS apart)",
    ]
    lines += [
        f"words ({summary.rule}): {summary.words:,}{_distinct(summary)}; {summary.definition}"
        for summary in report.words
    ]
    if any(metric.interval for metric in report.metrics):
        lines.append(
            f"intervals: {settings.confidence:.0%}, bootstrap of {settings.num_replicates:,} replicates over "
            f"{settings.num_groups:,} groups of documents"
        )
    return "\n".join(lines)


def _distinct(summary: WordSummary) -> str:
    if not summary.sampled_types:
        return ""
    return f", {'about ' if summary.is_sample else ''}{summary.estimated_types:,} distinct"


def _code(code: CodeSummary) -> str:
    lines = [f"Python {code.python}: what is one token"]
    for what, of, alone, after_blank in (
        ("keywords", code.keywords, code.keywords_single, code.keywords_single_after_blank),
        ("builtins", code.builtins, code.builtins_single, code.builtins_single_after_blank),
    ):
        lines.append(f"  {what} alone ({len(alone)} of {len(of)}): {_words(alone)}")
        lines.append(f"  {what} after a blank ({len(after_blank)} of {len(of)}): {_words(after_blank)}")
    lines += [
        (
            f"  indentation, levels of {kind}: one token alone: {format_levels(code, kind, in_code=False)}; "
            f"one token with the line feed, in code: {format_levels(code, kind, in_code=True)} "
            f"(of 1 to {code.num_levels(kind)})"
        )
        for kind in code.indentation_kinds
    ]
    return "\n".join(lines)


def format_levels(code: CodeSummary, kind: str, *, in_code: bool) -> str:
    """Return the levels of indentation that are one token, or "none"."""
    return " ".join(map(str, code.single_levels(kind, in_code=in_code))) or "none"


def _vocabulary(vocabulary: VocabularySummary) -> str:
    return "\n".join(
        [
            "vocabulary",
            f"  longest tokens: {format_tokens(vocabulary.longest)}",
            f"  most frequent:  {format_tokens(vocabulary.most_frequent)}",
            f"  learned first:  {format_tokens(vocabulary.first_learned)}",
            f"  learned last:   {format_tokens(vocabulary.last_learned)}",
            f"  never used ({vocabulary.never_used:,}): {format_tokens(vocabulary.never_used_tokens)}",
            f"  unreachable ({vocabulary.unreachable:,}): {format_tokens(vocabulary.unreachable_tokens)}",
            f"    {vocabulary.unreachable_rule}",
        ]
    )


def format_tokens(entries: tuple[TokenEntry, ...] | None) -> str:
    """Return tokens as readable text in quotes, long ones shortened; "not applicable" for None."""
    if entries is None:
        return NOT_APPLICABLE
    return " ".join(f"'{_shortened(entry.text)}'" for entry in entries[:_TOKENS_SHOWN]) or "none"


def _words(words: tuple[str, ...]) -> str:
    shown = " ".join(words[:_LONGEST_SHOWN])
    return f"{shown} …" if len(words) > _LONGEST_SHOWN else shown or "none"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:32]}…({len(text)} characters)"
