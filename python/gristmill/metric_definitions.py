"""Every metric: its name, its rule, and how it follows from the counters; at length in docs/metrics.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gristmill.report import Interval, MeasureSettings, Metric, WordSummary

RENYI_ALPHA = 2.5

WORD_RULES = {
    "whitespace": "a maximal run of characters that are no white space",
    "identifiers": (
        "a maximal run of letters, marks, numbers and underscores that begins with a letter or an underscore "
        "(keywords are among them)"
    ),
    "unicode": "a maximal run of letters, marks and numbers",
}
WORDS_OF_RULE = {"whitespace": "words", "identifiers": "identifiers", "unicode": "Unicode words"}

_ZOUHAR = "Zouhar et al., Tokenization and the Noiseless Channel, 2023"
_STRR = "Nayeem et al., Beyond Fertility: Analyzing STRR, 2025"
_RUST = "Rust et al., How Good is Your Tokenizer?, 2021"
_DAGAN = "Dagan et al., Getting the most out of your tokenizer, 2024"
_PETROV = "Petrov et al., Language Model Tokenizers Introduce Unfairness Between Languages, 2023"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What metrics are made of.

    Attributes:
        totals: the sums over all documents, by column.
        interval: the interval of a ratio of two columns, minus another ratio if given.
        words: the words by each rule.
        settings: what was asked for.
        token_counts: how often each token occurred, `(num_tokens,)`: special tokens included.
        num_ordinary: tokens that are not special.
        num_used, num_rare, num_unreachable: how many of them are so.
        has_unknown, has_byte_fallback: whether the model has such tokens.
        single_keywords, single_builtins: how many are one token after a blank, of how many.
        single_indentations: how many levels are one token in code, of how many.
    """

    totals: Mapping[str, int]
    interval: Callable[..., Interval | None]
    words: tuple[WordSummary, ...]
    settings: MeasureSettings
    token_counts: NDArray[np.uint64]
    num_ordinary: int
    num_used: int
    num_rare: int
    num_unreachable: int
    has_unknown: bool
    has_byte_fallback: bool
    single_keywords: tuple[int, int]
    single_builtins: tuple[int, int]
    single_indentations: tuple[int, int]

    def ratio(
        self,
        name: str,
        section: str,
        numerator: str,
        denominator: str,
        rule: str,
        *,
        source: str = "",
        is_share: bool = False,
    ) -> Metric:
        """Return the metric that is the ratio of two columns."""
        above, below = self.totals[numerator], self.totals[denominator]
        return Metric(
            name=name,
            section=section,
            value=above / below if below else None,
            numerator=above,
            denominator=below,
            interval=self.interval(numerator, denominator) if below else None,
            rule=rule,
            source=source,
            is_share=is_share,
        )


def share(
    name: str,
    section: str,
    count: int,
    of: int,
    rule: str,
    *,
    note: str = "",
    source: str = "",
    interval: Interval | None = None,
) -> Metric:
    """Return the metric that is the share of `count` in `of`."""
    return Metric(
        name=name,
        section=section,
        value=count / of if of else None,
        is_share=True,
        numerator=count,
        denominator=of,
        interval=interval,
        rule=rule,
        note=note,
        source=source,
    )


def all_metrics(figures: Figures) -> tuple[Metric, ...]:
    """Return every metric, section by section."""
    return tuple(
        metric
        for metrics in (_words, _compression, _coverage, _efficiency, _code, _robustness, _parity)
        for metric in metrics(figures)
    )


def _words(figures: Figures) -> Iterator[Metric]:
    for summary in figures.words:
        rule, words = summary.rule, WORDS_OF_RULE[summary.rule]
        of = "" if rule == "whitespace" else f"_of_{words.lower().replace(' ', '_')}"
        yield figures.ratio(
            f"fertility{of}",
            "words",
            f"tokens_in_words_{rule}",
            f"words_{rule}",
            f"tokens that cover at least one byte of a word / {words}; a blank in a token counts with it",
            source=_RUST,
        )
        yield figures.ratio(
            f"continued_share{of}",
            "words",
            f"continued_words_{rule}",
            f"words_{rule}",
            f"{words} that two or more tokens cover / {words}, running (PCW)",
            source=_RUST,
            is_share=True,
        )
        if rule != "unicode":  # not sampled: most of them are identifiers, too
            yield from _retention(summary, of, words, figures.settings.confidence)


def _retention(summary: WordSummary, of: str, words: str, confidence: float) -> Iterator[Metric]:
    sampled = (
        f"a sample of {summary.sampled_types:,} of about {summary.estimated_types:,}, "
        f"standard error at most {summary.standard_error:.2%}"
        if summary.is_sample
        else f"all {summary.sampled_types:,} of them"
    )
    for name, count, how in (
        ("single_token_retention", summary.single_after_blank, "encoded after a blank"),
        ("single_token_retention_alone", summary.single_alone, "encoded alone"),
    ):
        yield share(
            f"{name}{of}",
            "words",
            count,
            summary.sampled_types,
            f"distinct {words} that are one token, {how} / distinct {words} (STRR)",
            note=sampled,
            source=_STRR,
            interval=_binomial(count, summary, confidence),
        )


def _binomial(count: int, summary: WordSummary, confidence: float) -> Interval | None:
    """Return the interval of a share of sampled types: Wilson's; None where the sample holds all types."""
    if not summary.is_sample:
        return None
    number = summary.sampled_types
    z = normal_quantile((1 + confidence) / 2)
    found = count / number
    middle = (found + z * z / (2 * number)) / (1 + z * z / number)
    half = z / (1 + z * z / number) * math.sqrt(found * (1 - found) / number + z * z / (4 * number * number))
    return Interval(low=max(0.0, middle - half), high=min(1.0, middle + half))


def normal_quantile(probability: float) -> float:
    """Return the quantile of the standard normal distribution.

    Example:
        >>> round(normal_quantile(0.975), 4)
        1.96
    """
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)


def _compression(figures: Figures) -> Iterator[Metric]:
    yield figures.ratio("bytes_per_token", "compression", "bytes", "tokens", "UTF-8 bytes / tokens")
    yield figures.ratio(
        "chars_per_token", "compression", "characters", "tokens", "characters (code points) / tokens"
    )
    yield figures.ratio(
        "lines_per_token",
        "compression",
        "lines",
        "tokens",
        "lines / tokens; a last line without a line feed counts",
    )
    yield figures.ratio(
        "whitespace_share",
        "compression",
        "whitespace_tokens",
        "tokens",
        "tokens of white space alone / tokens",
        is_share=True,
    )
    if figures.settings.reference:
        yield figures.ratio(
            "normalized_sequence_length",
            "compression",
            "tokens",
            "reference_tokens",
            f"tokens / tokens of {figures.settings.reference} on the same texts; below 1 is shorter",
            source=_DAGAN,
        )


def _coverage(figures: Figures) -> Iterator[Metric]:
    for name, applies, column, rule in (
        ("unknown_share", figures.has_unknown, "unknown_tokens", "unknown tokens / tokens"),
        (
            "byte_fallback_share",
            figures.has_byte_fallback,
            "byte_fallback_tokens",
            "tokens that stand for one byte of what the model does not know / tokens",
        ),
    ):
        if applies:
            yield figures.ratio(name, "coverage", column, "tokens", rule, is_share=True)
        else:
            note = "the model has no such token"
            yield Metric(name=name, section="coverage", value=None, is_share=True, rule=rule, note=note)
    of = "tokens that are not special"
    yield share(
        "used_share", "coverage", figures.num_used, figures.num_ordinary, f"tokens that occurred / {of}"
    )
    yield share(
        "rare_share",
        "coverage",
        figures.num_rare,
        figures.num_ordinary,
        f"tokens that occurred, but fewer than {figures.settings.rare_below} times / {of}",
    )
    yield share(
        "never_used_share",
        "coverage",
        figures.num_ordinary - figures.num_used,
        figures.num_ordinary,
        f"tokens that did not occur / {of}",
    )
    yield share(
        "unreachable_share",
        "coverage",
        figures.num_unreachable,
        figures.num_ordinary,
        f"tokens that no tried text is encoded to / {of}",
    )


def _efficiency(figures: Figures) -> Iterator[Metric]:
    of = "|V|: the whole vocabulary, also what did not occur"
    note = f"|V| = {len(figures.token_counts):,}"
    yield Metric(
        name="renyi_efficiency",
        section="efficiency",
        value=efficiency(figures.token_counts, RENYI_ALPHA),
        rule=f"Rényi entropy of the tokens at alpha = {RENYI_ALPHA} / log |V|; {of}",
        note=note,
        source=_ZOUHAR,
    )
    yield Metric(
        name="shannon_efficiency",
        section="efficiency",
        value=efficiency(figures.token_counts, 1.0),
        rule=f"Shannon entropy of the tokens / log |V|; {of}",
        note=note,
        source=_ZOUHAR,
    )


def efficiency(counts: NDArray[np.uint64], alpha: float) -> float | None:
    """Return the entropy of order `alpha` of a distribution, over the largest that so many outcomes can have.

    Args:
        counts: how often each outcome occurred, zeros included: `(num_outcomes,)`.
        alpha: the order; 1 is Shannon's entropy.

    Returns:
        `log(sum(p ** alpha)) / (1 - alpha) / log(num_outcomes)`, or `-sum(p * log(p)) / log(num_outcomes)`;
        None where nothing occurred or there is one outcome (Zouhar et al. 2023, sections 3 and 4).

    Example:
        >>> round(efficiency(np.array([1, 1, 1, 1], dtype=np.uint64), 2.5), 12)
        1.0
    """
    total = int(counts.sum())
    if not total or len(counts) < 2:
        return None
    p = counts[counts > 0] / total
    if alpha == 1.0:
        entropy = -math.fsum((p * np.log(p)).tolist())
    else:
        entropy = math.log(math.fsum((p**alpha).tolist())) / (1 - alpha)
    return abs(entropy) / math.log(len(counts))


def _code(figures: Figures) -> Iterator[Metric]:
    yield figures.ratio(
        "tokens_per_code_line",
        "code",
        "tokens",
        "code_lines",
        "tokens, all of them / lines that are not blank: that hold something else than white space",
    )
    yield figures.ratio(
        "identifiers_single_share",
        "code",
        "single_identifiers",
        "words_identifiers",
        "identifiers that at most one token covers / identifiers, running",
        is_share=True,
    )
    for what, (single, of) in (("keywords", figures.single_keywords), ("builtins", figures.single_builtins)):
        yield share(
            f"{what}_single_share",
            "code",
            single,
            of,
            f"{what} of Python that are one token after a blank / {what}",
        )
    yield share(
        "indentations_single_share",
        "code",
        *figures.single_indentations,
        "levels of indentation (1 to 8, of 4 blanks, 2 blanks, tabs) that are one token in code, together "
        "with the line feed before them / levels",
    )


def _robustness(figures: Figures) -> Iterator[Metric]:
    rate = f"{figures.settings.noise_rate:.0%}"
    for noise in figures.settings.noises:
        above, below = (
            figures.totals[f"tokens_in_words_{noise}_noise"],
            figures.totals[f"words_{noise}_noise"],
        )
        clean = figures.totals["tokens_in_words_whitespace"], figures.totals["words_whitespace"]
        columns = (f"tokens_in_words_{noise}_noise", f"words_{noise}_noise")
        units = "runs of blanks" if noise == "whitespace" else "runs of letters"
        yield Metric(
            name=f"fertility_change_{noise}",
            section="robustness",
            value=above / below - clean[0] / clean[1] if below and clean[1] else None,
            interval=(
                figures.interval(*columns, ("tokens_in_words_whitespace", "words_whitespace"))
                if below and clean[1]
                else None
            ),
            rule=f"fertility with {noise} noise in {rate} of the {units} - fertility without",
        )
        yield figures.ratio(
            f"token_edit_distance_{noise}",
            "robustness",
            f"edits_{noise}_noise",
            f"longer_{noise}_noise",
            "Levenshtein distance of the ids with and without noise, summed over stretches (lines, at most "
            "about 128 bytes) / tokens of the longer side",
        )


def _parity(figures: Figures) -> Iterator[Metric]:
    if figures.settings.parallel:
        yield figures.ratio(
            "parity",
            "parity",
            "tokens",
            "parallel_tokens",
            f"tokens / tokens of the parallel text, {figures.settings.parallel}; 1 is parity",
            source=_PETROV,
        )
