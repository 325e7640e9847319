"""Reports side by side: several tokenizers on one corpus, or one tokenizer on several corpora.

    documents ──► a TokenizerMeter for each column ──┬─► reports
                                                     └─► replicates ──► differences with intervals

On one corpus every tokenizer sees the same documents in the same draws, so that the interval of a difference
is paired: it tells how the tokenizers differ, not how the documents do. Corpora are drawn each for itself.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gristmill.bootstrap import GroupBootstrap
from gristmill.errors import ConfigError
from gristmill.metric_definitions import Figures, all_metrics
from gristmill.metrics import fill_meters
from gristmill.options import check_count
from gristmill.report import CAVEATS, Interval, TokenizerReport
from gristmill.report_building import with_differences
from gristmill.token_meter import NoiseOptions, TokenizerMeter, check_share
from gristmill.tokenizer import Tokenizer
from gristmill.tokenizer_loading import named_tokenizers

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

    def rule(self, metric: str) -> tuple[str, dict[int, str]]:
        """Return the rule of a metric that holds in all columns, and by column what holds there alone.

        Example:
            >>> comparison = compare_tokenizers({"a": tokenizer, "b": tokenizer}, ["def f(x):", "return x"])
            >>> comparison.rule("unknown_share")
            ('unknown tokens / tokens; the model has no such token', {})
        """
        found = {
            column: item
            for column, report in enumerate(self.reports)
            for item in report.metrics
            if item.name == metric
        }
        if len({item.full_rule for item in found.values()}) == 1 and len(found) == len(self.reports):
            return found[0].full_rule, {}
        if len({item.rule for item in found.values()}) == 1:
            own = {column: item.note for column, item in found.items() if item.note}
            return next(iter(found.values())).rule, own
        return "", {column: item.full_rule for column, item in found.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as one JSON-able dict."""
        value: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return value

    def __str__(self) -> str:
        from gristmill.comparison_table import format_comparison

        return format_comparison(self)


def compare_tokenizers(
    tokenizers: Tokenizer | Sequence[Tokenizer] | Mapping[str, Tokenizer],
    documents: object,
    *,
    text_column: str = "text",
    num_threads: int | None = None,
    on_bad: str = "error",
    rare_below: int = 10,
    noises: Sequence[str] = (),
    noise_rate: float = 0.1,
    seed: int = 0,
    reference: Tokenizer | None = None,
    reference_name: str = "the reference",
    parallel_to: object = None,
    confidence: float = 0.95,
    num_replicates: int = 1000,
) -> TokenizerComparison:
    """Measure several tokenizers on one corpus, or one tokenizer on several corpora, side by side.

    Each corpus is read once. Differences are against the first tokenizer, or the first corpus.

    Args:
        tokenizers: one, several, or a dict that names them.
        documents: a corpus, as for `measure_tokenizer`; or a dict of corpora by name.
        parallel_to: as for `measure_tokenizer`; with one corpus only.
        text_column, num_threads, on_bad, rare_below, noises, noise_rate, seed, reference, reference_name,
            confidence, num_replicates: as for `measure_tokenizer`.

    Raises:
        ConfigError: several tokenizers and several corpora at once, or an option out of its range.
        EmptyCorpusError, BadDocumentError, SourceError: as `measure_tokenizer`.

    Example:
        >>> comparison = compare_tokenizers({"a": tokenizer, "b": tokenizer}, ["def f(x):", "return x"])
        >>> comparison.difference("fertility", 1).difference
        0.0
    """
    named = named_tokenizers(tokenizers)
    corpora = dict(documents) if isinstance(documents, Mapping) else None
    if corpora is not None and (len(named) > 1 or not corpora):
        raise ConfigError(
            f"{len(named)} tokenizers and {len(corpora)} corpora (expected several tokenizers and one "
            "corpus, or one tokenizer and several corpora)"
        )
    if corpora is not None and parallel_to is not None:
        raise ConfigError("parallel_to is given with several corpora (expected one corpus)")
    check_count("rare_below", rare_below, 1)
    check_count("num_replicates", num_replicates, 0)
    check_share("confidence", confidence)
    noise = NoiseOptions(noises=tuple(noises), rate=noise_rate, seed=seed)
    reading: dict[str, Any] = {"text_column": text_column, "num_threads": num_threads, "on_bad": on_bad}
    reporting: dict[str, Any] = {
        "confidence": confidence,
        "num_replicates": num_replicates,
        "reference_name": reference_name,
    }
    columns: list[_Column] = []
    if corpora is None:
        meters = [TokenizerMeter(tokenizer, noise=noise, reference=reference) for tokenizer in named.values()]
        corpus, parallel = fill_meters(meters, documents, parallel_to=parallel_to, **reading)
        reporting |= {"corpus_name": corpus, "parallel_name": parallel}
        for name, meter in zip(named, meters, strict=True):
            columns.append(_Column(name, meter, meter.report(rare_below, name=name, **reporting)))
    else:
        ((tokenizer_name, tokenizer),) = named.items()
        for name, corpus_documents in corpora.items():
            meter = TokenizerMeter(tokenizer, noise=noise, reference=reference)
            fill_meters([meter], corpus_documents, **reading)
            report = meter.report(rare_below, name=tokenizer_name, corpus_name=str(name), **reporting)
            columns.append(_Column(str(name), meter, report))
    is_paired = corpora is None
    differences = tuple(
        difference
        for place, column in enumerate(columns[1:], start=1)
        for difference in _differences(columns[0], column, place, is_paired)
    )
    return TokenizerComparison(
        axis="tokenizers" if is_paired else "corpora",
        names=tuple(column.name for column in columns),
        reports=tuple(column.report for column in columns),
        differences=differences,
        caveats=CAVEATS if is_paired else (*CAVEATS, CORPORA_CAVEAT),
    )


@dataclass(frozen=True)
class _Column:
    name: str
    meter: TokenizerMeter
    report: TokenizerReport


def _differences(first: _Column, other: _Column, place: int, is_paired: bool) -> list[MetricDifference]:
    intervals = _difference_intervals(first, other, place, is_paired)
    values = {metric.name: metric.value for metric in first.report.metrics}
    differences = []
    for metric in other.report.metrics:
        base = values.get(metric.name)
        both = metric.value is not None and base is not None
        differences.append(
            MetricDifference(
                metric=metric.name,
                column=place,
                difference=metric.value - base if metric.value is not None and base is not None else None,
                interval=intervals.get(metric.name) if both else None,
                is_paired=is_paired,
            )
        )
    return differences


def _difference_intervals(first: _Column, other: _Column, place: int, is_paired: bool) -> dict[str, Interval]:
    """Return the intervals of differences, by metric; none for what is no ratio of sums over documents.

    The definitions of the metrics ask for the interval of a ratio by its columns; here they get that of the
    ratio less the same ratio of the first tokenizer or corpus.
    """
    settings = other.report.settings
    columns, groups = with_differences(other.meter.counters.columns, other.meter.counters.groups)
    _, first_groups = with_differences(first.meter.counters.columns, first.meter.counters.groups)
    number = {column: index for index, column in enumerate(columns)}
    draws = (settings.num_replicates, settings.confidence)
    # Of the same documents, the same seed draws the same groups. Other documents get other draws.
    mine = GroupBootstrap(groups, *draws, settings.seed if is_paired else settings.seed + place)
    theirs = GroupBootstrap(first_groups, *draws, settings.seed)
    if is_paired and not np.array_equal(groups[:, number["documents"]], first_groups[:, number["documents"]]):
        raise ConfigError(
            "the tokenizers saw different documents (expected the same, for paired differences)"
        )
    made: list[Interval] = []

    def interval(above: str, below: str, minus: tuple[str, str] | None = None) -> Interval | None:
        asked = number[above], number[below], None if minus is None else (number[minus[0]], number[minus[1]])
        found, base = mine.ratios(*asked), theirs.ratios(*asked)
        if found is None or base is None:
            return None
        result = mine.interval_of(found - base)
        if result is not None:
            made.append(result)
        return result

    figures = _figures(other.report, dict(zip(columns, map(int, groups.sum(axis=0)), strict=True)), interval)
    return {
        metric.name: metric.interval
        for metric in all_metrics(figures)
        if metric.interval is not None and any(metric.interval is own for own in made)
    }


def _figures(report: TokenizerReport, totals: Mapping[str, int], interval: Any) -> Figures:
    """Return figures that have the intervals in question; of the others, only that they are there."""
    nothing: NDArray[np.uint64] = np.zeros(0, dtype=np.uint64)
    return Figures(
        totals=totals,
        interval=interval,
        words=report.words,
        settings=report.settings,
        token_counts=nothing,
        num_ordinary=report.tokenizer.num_ordinary_tokens,
        num_used=report.vocabulary.used,
        num_rare=report.vocabulary.rare,
        num_unreachable=report.vocabulary.unreachable,
        has_unknown=report.value("unknown_share") is not None,
        has_byte_fallback=report.value("byte_fallback_share") is not None,
        single_keywords=(0, 0),
        single_builtins=(0, 0),
        single_indentations=(0, 0),
    )
