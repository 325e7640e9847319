"""From counters to a `TokenizerReport`: sums to metrics, ids to tokens, samples of words to shares."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gristmill import tokenizer_file as files
from gristmill.bootstrap import GroupBootstrap
from gristmill.byte_alphabet import readable
from gristmill.metric_definitions import WORD_RULES, Figures, all_metrics
from gristmill.report import (
    CorpusSummary,
    Distributions,
    MeasureSettings,
    OutlyingDocument,
    RankFrequency,
    TokenEntry,
    TokenizerReport,
    TokenizerSummary,
    TokenLength,
    VocabularySummary,
    WordSummary,
)
from gristmill.tokenizer import Tokenizer
from gristmill.vocabulary_report import (
    UNREACHABLE_RULE,
    byte_fallback_tokens,
    code_summary,
    num_tokens,
    token_bytes,
    unreachable_tokens,
)

if TYPE_CHECKING:
    from gristmill.token_meter import TokenizerMeter

_NUM_LISTED = 10
_NUM_RANKS = 60
_OUTLIER_MIN_BYTES = 1024
# Columns that follow from two others: name, minuend, subtrahend.
_DIFFERENCES = (
    ("whitespace_tokens", "tokens", "tokens_in_words_whitespace"),
    ("single_identifiers", "words_identifiers", "continued_words_identifiers"),
)


def build_report(
    meter: TokenizerMeter,
    *,
    rare_below: int,
    confidence: float,
    num_replicates: int,
    name: str,
    corpus_name: str,
    reference_name: str,
    parallel_name: str,
) -> TokenizerReport:
    """Return the report of what a meter has counted; the arguments are those of `TokenizerMeter.report`."""
    tokenizer, counters = meter.tokenizer, meter.counters
    columns, groups = with_differences(counters.columns, counters.groups)
    totals = dict(zip(columns, map(int, groups.sum(axis=0)), strict=True))
    bootstrap = GroupBootstrap(groups, num_replicates, confidence, meter.noise.seed)
    column_of = {column: number for number, column in enumerate(columns)}

    def interval(above: str, below: str, other: tuple[str, str] | None = None):  # type: ignore[no-untyped-def]
        minus = None if other is None else (column_of[other[0]], column_of[other[1]])
        return bootstrap.interval(column_of[above], column_of[below], minus)

    settings = MeasureSettings(
        rare_below=rare_below,
        confidence=confidence,
        num_replicates=num_replicates,
        num_groups=bootstrap.num_groups,
        seed=meter.noise.seed,
        noises=meter.noise.noises,
        noise_rate=meter.noise.rate,
        reference="" if meter.reference is None else reference_name,
        parallel=parallel_name or ("the parallel text" if totals["parallel_tokens"] else ""),
    )
    content = tokenizer.parsed_json()
    vocabulary = tokenizer.get_vocab()
    spelt = token_bytes(tokenizer)
    counts = counters.token_counts
    entries = _Entries(tokenizer, spelt, counts)
    summary = _vocabulary(entries, content, rare_below)
    words = tuple(_words(tokenizer, totals, counters.type_samples))
    code = code_summary(tokenizer)
    figures = Figures(
        totals=totals,
        interval=interval,
        words=words,
        settings=settings,
        token_counts=counts[np.array(sorted(vocabulary.values()), dtype=np.int64)],
        num_ordinary=len(spelt),
        num_used=summary.used,
        num_rare=summary.rare,
        num_unreachable=summary.unreachable,
        has_unknown=tokenizer.unk_token_id is not None,
        has_byte_fallback=bool(byte_fallback_tokens(tokenizer)),
        single_keywords=(len(code.keywords_single_after_blank), len(code.keywords)),
        single_builtins=(len(code.builtins_single_after_blank), len(code.builtins)),
        single_indentations=(
            sum(len(code.single_levels(kind, in_code=True)) for kind in code.indentation_kinds),
            len(code.indentations),
        ),
    )
    return TokenizerReport(
        tokenizer=TokenizerSummary(
            name=name,
            fingerprint=tokenizer.fingerprint,
            engine=tokenizer.engine.name,
            engine_reason=tokenizer.engine.reason,
            model=str(content["model"].get("type", "unknown")),
            num_tokens=len(tokenizer),
            num_ordinary_tokens=len(spelt),
        ),
        corpus=CorpusSummary(
            name=corpus_name,
            documents=totals["documents"],
            num_skipped=meter.num_skipped,
            bytes=totals["bytes"],
            characters=totals["characters"],
            lines=totals["lines"],
            code_lines=totals["code_lines"],
            tokens=totals["tokens"],
        ),
        settings=settings,
        metrics=all_metrics(figures),
        words=words,
        code=code,
        vocabulary=summary,
        distributions=_distributions(entries, counters.outliers, meter.row_names),
    )


def with_differences(
    columns: Sequence[str], groups: NDArray[np.uint64]
) -> tuple[list[str], NDArray[np.uint64]]:
    """Return columns and groups with those that follow from two others, such as tokens of white space."""
    number = {column: place for place, column in enumerate(columns)}
    more = [groups[:, number[above]] - groups[:, number[below]] for _, above, below in _DIFFERENCES]
    return [*columns, *(name for name, _, _ in _DIFFERENCES)], np.column_stack([groups, *more])


class _Entries:
    """Tokens with what is told of them, special ones left out."""

    def __init__(self, tokenizer: Tokenizer, spelt: Mapping[str, bytes], counts: NDArray[np.uint64]) -> None:
        self.tokenizer = tokenizer
        self.spelt = spelt
        self.ids = {token: token_id for token, token_id in tokenizer.get_vocab().items() if token in spelt}
        self.counts = {token: int(counts[token_id]) for token, token_id in self.ids.items()}
        self.by_id = sorted(self.ids, key=self.ids.__getitem__)

    def entry(self, token: str) -> TokenEntry:
        """Return what is told of a token."""
        data = self.spelt[token]
        return TokenEntry(
            id=self.ids[token],
            token=token,
            text=readable(data),
            count=self.counts[token],
            num_bytes=len(data),
        )

    def listed(self, tokens: Sequence[str]) -> tuple[TokenEntry, ...]:
        """Return the first tokens of a list."""
        return tuple(self.entry(token) for token in tokens[:_NUM_LISTED])

    def texts_first(self, tokens: Sequence[str]) -> list[str]:
        """Return tokens with those that are valid UTF-8 before those that are not, which tell little."""
        return sorted(tokens, key=lambda token: not _is_utf8(self.spelt[token]))


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _vocabulary(entries: _Entries, content: dict[str, object], rare_below: int) -> VocabularySummary:
    by_id, counts = entries.by_id, entries.counts
    unused = [token for token in by_id if not counts[token]]
    # What occurred was reached, whatever its own bytes are encoded to ("'l" of "'ll").
    unreachable = [token for token in unreachable_tokens(entries.tokenizer) if not counts[token]]
    learned = None
    model = content["model"]
    if isinstance(model, dict) and "merges" in model:
        # A token that two merges make was learned with the first of them.
        pairs = files.merge_pairs(model)
        learned = [
            token for token in dict.fromkeys(left + right for left, right in pairs) if token in entries.ids
        ]
    return VocabularySummary(
        used=len(by_id) - len(unused),
        rare=sum(0 < counts[token] < rare_below for token in by_id),
        never_used=len(unused),
        unreachable=len(unreachable),
        unreachable_rule=UNREACHABLE_RULE,
        longest=entries.listed(sorted(by_id, key=lambda token: -len(entries.spelt[token]))),
        first_learned=None if learned is None else entries.listed(learned),
        last_learned=None if learned is None else entries.listed(learned[-_NUM_LISTED:]),
        most_frequent=entries.listed(
            sorted(by_id, key=lambda token: -counts[token])[: sum(map(bool, counts.values()))]
        ),
        never_used_ids=tuple(entries.ids[token] for token in unused),
        unreachable_ids=tuple(entries.ids[token] for token in unreachable),
        never_used_tokens=entries.listed(entries.texts_first(unused)),
        unreachable_tokens=entries.listed(entries.texts_first(unreachable)),
    )


def _words(
    tokenizer: Tokenizer,
    totals: Mapping[str, int],
    samples: Sequence[tuple[bool, Sequence[tuple[int, str | None]]]],
) -> Iterator[WordSummary]:
    for number, (rule, definition) in enumerate(WORD_RULES.items()):
        is_sample, sample = samples[number] if number < len(samples) else (False, ())
        words = [word for _, word in sample if word is not None]
        size = len(sample)
        estimated = round((size - 1) * 2.0**64 / sample[-1][0]) if is_sample else size
        yield WordSummary(
            rule=rule,
            definition=definition,
            words=totals[f"words_{rule}"],
            tokens_in_words=totals[f"tokens_in_words_{rule}"],
            continued_words=totals[f"continued_words_{rule}"],
            sampled_types=size,
            is_sample=is_sample,
            estimated_types=estimated,
            single_alone=num_tokens(tokenizer, words, "").count(1),
            single_after_blank=num_tokens(tokenizer, words, " ").count(1),
            standard_error=0.5 / math.sqrt(size) if is_sample else 0.0,
        )


def _distributions(
    entries: _Entries,
    outliers: tuple[Sequence[tuple[int, int, int]], Sequence[tuple[int, int, int]]],
    row_names: Mapping[int, str],
) -> Distributions:
    ordered = sorted((count for count in entries.counts.values() if count), reverse=True)
    ranks = sorted({round(rank) for rank in np.geomspace(1, len(ordered), _NUM_RANKS)}) if ordered else []
    tokens: dict[int, int] = {}
    occurrences: dict[int, int] = {}
    for token, data in entries.spelt.items():
        tokens[len(data)] = tokens.get(len(data), 0) + 1
        occurrences[len(data)] = occurrences.get(len(data), 0) + entries.counts[token]
    worst, best = (
        tuple(
            OutlyingDocument(row=row, name=row_names.get(row, f"row {row}"), bytes=size, tokens=num_tokens)
            for row, size, num_tokens in kept
        )
        for kept in outliers
    )
    return Distributions(
        rank_frequency=tuple(RankFrequency(rank=rank, count=ordered[rank - 1]) for rank in ranks),
        token_lengths=tuple(
            TokenLength(num_bytes=length, tokens=tokens[length], occurrences=occurrences[length])
            for length in sorted(tokens)
        ),
        worst_documents=worst,
        best_documents=best,
        outlier_min_bytes=_OUTLIER_MIN_BYTES,
    )
