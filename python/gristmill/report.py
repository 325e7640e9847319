"""`TokenizerReport`: what was measured of a tokenizer on a corpus, each figure with its rule.

    TokenizerReport
    ├── tokenizer      TokenizerSummary      which one, which road encoded
    ├── corpus         CorpusSummary         how much was read
    ├── settings       MeasureSettings       what was asked for
    ├── metrics        Metric, Metric, ...   name, section, value, interval, rule: all that is one number
    ├── words          WordSummary, ...      one for each rule of what a word is: counts, sampled types
    ├── code           CodeSummary           which keywords, builtins, indentations are one token
    ├── vocabulary     VocabularySummary     longest, learned first and last, never used, unreachable
    ├── distributions  Distributions         rank and frequency, token lengths, outlying documents
    └── caveats        str, ...              what the scores do not say

All of it is frozen, `to_dict()` is JSON-able, and `TokenizerReport.from_dict` reads that back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gristmill.errors import FileFormatError
from gristmill.report_json import from_jsonable

NOT_APPLICABLE = "not applicable"

# Metrics come in this order; each `Metric.section` is one of these.
SECTIONS = {
    "words": "words",
    "compression": "compression",
    "coverage": "coverage of the vocabulary",
    "efficiency": "efficiency of the channel",
    "code": "code",
    "robustness": "robustness to noise",
    "parity": "parity between languages",
}

CAVEATS = (
    (
        "Fertility does not always predict how good a model will be: models are the final measure "
        "(Ali et al., Tokenizer Choice For LLM Training: Negligible or Crucial?, 2024; Schmidt et al., "
        "Tokenization Is More Than Compression, 2024)."
    ),
    (
        "Rényi efficiency can be gamed: there are tokenizers that raise it and lower a model's quality "
        "(Cognetta et al., Two Counterexamples to Tokenization and the Noiseless Channel, 2024)."
    ),
)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An interval of confidence: from `low` to `high`; `MeasureSettings` says of what confidence."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One figure.

    Attributes:
        name: as in `report.metric(name)`, for example "fertility".
        section: a key of `SECTIONS`.
        value: the figure, None where it is not applicable (nothing to divide by, a model without the token).
        is_share: it lies between 0 and 1, and is shown in per cent.
        numerator, denominator: the exact sums it is the ratio of, None where it is no ratio of two sums.
        interval: of confidence, over documents; None where there is none (too few documents, no sampling).
        rule: how it is defined, in one line, to stand beside the number; the same for every tokenizer and
            corpus that are measured alike.
        note: what holds for this number alone: the size of its vocabulary or sample, why it is not
            applicable; "" where there is nothing of the kind.
        source: the paper that defines it, "" where none does.
    """

    name: str
    section: str
    value: float | None
    rule: str
    is_share: bool = False
    numerator: int | None = None
    denominator: int | None = None
    interval: Interval | None = None
    note: str = ""
    source: str = ""

    @property
    def label(self) -> str:
        """The name in words, for people."""
        return self.name.replace("_", " ")

    @property
    def full_rule(self) -> str:
        """The rule with its note, as it stands beside the number."""
        return f"{self.rule}; {self.note}" if self.note else self.rule

    @property
    def shown(self) -> str:
        """The value as a text: four decimals, per cent for a share, or "not applicable"."""
        return self._format(self.value)

    @property
    def shown_interval(self) -> str:
        """The interval as a text, "" where there is none."""
        if self.interval is None:
            return ""
        return f"{self._format(self.interval.low)} to {self._format(self.interval.high)}"

    def _format(self, value: float | None) -> str:
        if value is None:
            return NOT_APPLICABLE
        return f"{value:.2%}" if self.is_share else f"{value:.4f}"


@dataclass(frozen=True, kw_only=True)
class TokenEntry:
    """A token.

    Attributes:
        id: its id.
        token: how the vocabulary spells it.
        text: what it stands for, readable: control characters escaped, stray bytes as `\\xNN`.
        count: how often it occurred in the corpus.
        num_bytes: how many UTF-8 bytes it stands for.
    """

    id: int
    token: str
    text: str
    count: int
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class TokenizerSummary:
    """Which tokenizer was measured.

    Attributes:
        name: what it was called: a path, mostly; "" where it was made in memory.
        fingerprint: SHA-256 of all that decides ids.
        engine, engine_reason: which road encoded, "gristmill" or "tokenizers", and why.
        model: the type of its model, for example "BPE".
        num_tokens: all tokens of the vocabulary, special ones included.
        num_ordinary_tokens: those that are not special.
    """

    name: str
    fingerprint: str
    engine: str
    engine_reason: str
    model: str
    num_tokens: int
    num_ordinary_tokens: int


@dataclass(frozen=True, kw_only=True)
class CorpusSummary:
    """How much was read.

    Attributes:
        name: what the corpus is called.
        documents: texts that were measured.
        num_skipped: rows that are no text and were skipped.
        bytes, characters, lines: size of the texts; bytes as UTF-8; a last line without a line feed counts.
        code_lines: lines that are not blank: they hold something else than white space.
        tokens: ids, no EOS among them.
    """

    name: str
    documents: int
    num_skipped: int
    bytes: int
    characters: int
    lines: int
    code_lines: int
    tokens: int


@dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    """What was asked for.

    Attributes:
        rare_below: a token that occurs, but fewer times than this, is rare.
        confidence: of the intervals, 0.95 for 95%.
        num_replicates: of the bootstrap.
        num_groups: how many groups the documents fell into, which the bootstrap draws from.
        seed: of noise and bootstrap.
        noises: which noises were made.
        noise_rate: the share of words (of runs of blanks) that a noise changes.
        reference: name of the tokenizer that sequence lengths are normalized by, "" where none was given.
        parallel: name of the parallel text in the reference language, "" where none was given.
    """

    rare_below: int
    confidence: float
    num_replicates: int
    num_groups: int
    seed: int
    noises: tuple[str, ...]
    noise_rate: float
    reference: str
    parallel: str


@dataclass(frozen=True, kw_only=True)
class WordSummary:
    """The words by one rule.

    Attributes:
        rule: "whitespace", "identifiers" or "unicode".
        definition: what a word is by this rule.
        words: running words.
        tokens_in_words: tokens that cover at least one byte of a word.
        continued_words: words that two or more tokens cover.
        sampled_types: distinct words in the sample; all of them where there are no more than it holds; 0 for
            "unicode", which is not sampled.
        is_sample: whether there are more types than the sample holds.
        estimated_types: how many types there are: exact where they all are in the sample, else estimated.
        single_alone, single_after_blank: sampled types that are one token, encoded alone, and after a blank.
        standard_error: of the shares of types, at most: 0 where the sample holds all types.
    """

    rule: str
    definition: str
    words: int
    tokens_in_words: int
    continued_words: int
    sampled_types: int
    is_sample: bool
    estimated_types: int
    single_alone: int
    single_after_blank: int
    standard_error: float


@dataclass(frozen=True, kw_only=True)
class Indentation:
    """One level of indentation.

    Attributes:
        kind: "4 spaces", "2 spaces" or "tab".
        level: how many of them.
        tokens_alone: into how many tokens it is encoded alone.
        tokens_in_code: tokens of white space alone between two lines of code, the line feed included.
    """

    kind: str
    level: int
    tokens_alone: int
    tokens_in_code: int


@dataclass(frozen=True, kw_only=True)
class CodeSummary:
    """What of a programming language is one token.

    Attributes:
        python: the version whose keywords and builtins were asked for.
        keywords, builtins: all of them.
        keywords_single, keywords_single_after_blank: those that are one token, alone and after a blank.
        builtins_single, builtins_single_after_blank: likewise.
        indentations: levels of indentation, by kind and level.
    """

    python: str
    keywords: tuple[str, ...]
    keywords_single: tuple[str, ...]
    keywords_single_after_blank: tuple[str, ...]
    builtins: tuple[str, ...]
    builtins_single: tuple[str, ...]
    builtins_single_after_blank: tuple[str, ...]
    indentations: tuple[Indentation, ...]

    @property
    def indentation_kinds(self) -> tuple[str, ...]:
        """The kinds of indentation, in their order."""
        return tuple(dict.fromkeys(indentation.kind for indentation in self.indentations))

    def single_levels(self, kind: str, *, in_code: bool) -> tuple[int, ...]:
        """Return the levels of a kind that are one token: alone, or in code with the line feed."""
        return tuple(
            item.level
            for item in self.indentations
            if item.kind == kind and (item.tokens_in_code if in_code else item.tokens_alone) == 1
        )

    def num_levels(self, kind: str) -> int:
        """Return how many levels of a kind were tried."""
        return sum(item.kind == kind for item in self.indentations)


@dataclass(frozen=True, kw_only=True)
class VocabularySummary:
    """What the vocabulary holds. Special tokens are left out everywhere.

    Attributes:
        used, rare, never_used: how many tokens occurred; occurred but seldom; did not occur.
        unreachable: how many tokens no text is known to be encoded to.
        unreachable_rule: what exactly was tried.
        longest: the tokens of the most bytes.
        first_learned, last_learned: by the order of the merges; None where the model has none.
        most_frequent: the tokens that occurred most often.
        never_used_ids, unreachable_ids: of all these tokens, ascending.
        never_used_tokens, unreachable_tokens: ten of them at most: those of valid UTF-8 first, then by id.
    """

    used: int
    rare: int
    never_used: int
    unreachable: int
    unreachable_rule: str
    longest: tuple[TokenEntry, ...]
    first_learned: tuple[TokenEntry, ...] | None
    last_learned: tuple[TokenEntry, ...] | None
    most_frequent: tuple[TokenEntry, ...]
    never_used_ids: tuple[int, ...]
    unreachable_ids: tuple[int, ...]
    never_used_tokens: tuple[TokenEntry, ...]
    unreachable_tokens: tuple[TokenEntry, ...]


@dataclass(frozen=True, kw_only=True)
class RankFrequency:
    """The `count` of the token that is the `rank`-th most frequent one, from 1."""

    rank: int
    count: int


@dataclass(frozen=True, kw_only=True)
class TokenLength:
    """How many `tokens` of the vocabulary stand for `num_bytes` bytes, and how often they occurred."""

    num_bytes: int
    tokens: int
    occurrences: int


@dataclass(frozen=True, kw_only=True)
class OutlyingDocument:
    """A document whose compression lies far from the corpus'.

    Attributes:
        row: its number in the corpus, from 0; rows that were skipped have a number, too.
        name: where it lies, as the source tells it.
        bytes, tokens: its size.
    """

    row: int
    name: str
    bytes: int
    tokens: int

    @property
    def bytes_per_token(self) -> float | None:
        """Bytes over tokens."""
        return self.bytes / self.tokens if self.tokens else None


@dataclass(frozen=True, kw_only=True)
class Distributions:
    """What plots are made of.

    Attributes:
        rank_frequency: at ranks evenly spaced on a logarithmic scale, the first and the last included.
        token_lengths: by bytes, ascending.
        worst_documents, best_documents: of the fewest and of the most bytes per token, among documents of at
            least `outlier_min_bytes` bytes; the farthest one first.
        outlier_min_bytes: documents that are shorter are no outliers.
    """

    rank_frequency: tuple[RankFrequency, ...]
    token_lengths: tuple[TokenLength, ...]
    worst_documents: tuple[OutlyingDocument, ...]
    best_documents: tuple[OutlyingDocument, ...]
    outlier_min_bytes: int


@dataclass(frozen=True, kw_only=True)
class TokenizerReport:
    """What `measure_tokenizer` found; `str()` is a table.

    Attributes:
        tokenizer, corpus, settings: of what, on what, how.
        metrics: every figure, section by section; `metric(name)` and `value(name)` look one up.
        words: one summary for each rule of what a word is, "whitespace" first.
        code, vocabulary, distributions: what is more than a number.
        caveats: what the scores do not say; printed with them.

    Example:
        >>> report = measure_tokenizer(tokenizer, ["def f(x):", "return x"])
        >>> report.value("fertility"), report.metric("fertility").denominator
        (2.0, 4)
    """

    tokenizer: TokenizerSummary
    corpus: CorpusSummary
    settings: MeasureSettings
    metrics: tuple[Metric, ...]
    words: tuple[WordSummary, ...]
    code: CodeSummary
    vocabulary: VocabularySummary
    distributions: Distributions
    caveats: tuple[str, ...] = CAVEATS

    def metric(self, name: str) -> Metric:
        """Return the metric of a name.

        Raises:
            KeyError: there is none.
        """
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise KeyError(
            f"no metric is called {name!r} (expected one of: {', '.join(m.name for m in self.metrics)})"
        )

    def value(self, name: str) -> float | None:
        """Return the value of a metric, None where it is not applicable.

        Raises:
            KeyError: there is none of this name.
        """
        return self.metric(name).value

    @property
    def fertility(self) -> float | None:
        """Tokens that cover at least one byte of a word, over words (runs of non-whitespace)."""
        return self.value("fertility")

    @property
    def continued_share(self) -> float | None:
        """Words that two or more tokens cover, over words (runs of non-whitespace)."""
        return self.value("continued_share")

    @property
    def bytes_per_token(self) -> float | None:
        """UTF-8 bytes over tokens."""
        return self.value("bytes_per_token")

    @property
    def chars_per_token(self) -> float | None:
        """Characters over tokens."""
        return self.value("chars_per_token")

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as one JSON-able dict, its keys the names of the attributes."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TokenizerReport:
        """Build a report from what `to_dict` gave, also after a way through JSON.

        Raises:
            FileFormatError: a part is missing, unknown or of another type.
        """
        report = from_jsonable(cls, content, "report")
        if not isinstance(report, cls):
            raise FileFormatError(f"the report is {type(report).__name__} (expected a mapping)")
        return report

    def __str__(self) -> str:
        """Return a table of figures with their rules."""
        from gristmill.report_table import format_report

        return format_report(self)
