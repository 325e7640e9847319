"""`VocabularyAdvice` as text: the answer first, then the curve, then what not to conclude."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gristmill.advice_reasons import is_in_doublings
from gristmill.report import NOT_APPLICABLE, Interval
from gristmill.text_table import count_of, format_table

if TYPE_CHECKING:
    from gristmill.vocabulary_advice import SizePoint, VocabularyAdvice


def format_advice(advice: VocabularyAdvice) -> str:
    """Lay the advice out for reading."""
    saves = "next doubling saves" if _is_in_doublings(advice) else "next size saves, per doubling"
    rows = [["vocabulary", "tokens", "bytes per token", "", saves, "", "embedding", ""]]
    rows += [_row(advice, point) for point in (*advice.curve, *advice.beside)]
    table = format_table(rows, ">>><><><").splitlines()
    shape = advice.shape
    return "\n".join(
        [
            *answer(advice),
            "",
            (
                f"measured on {count_of(advice.documents, 'document')}, {advice.bytes:,} bytes: "
                f"{advice.held_out_rule}"
            ),
            *table,
            (
                "bytes per token: UTF-8 bytes / tokens, EOS apart; "
                f"intervals: {advice.confidence:.0%}, bootstrap over documents, paired for what is saved"
            ),
            f"{saves}: {saving_rule(advice)}",
            (
                f"embedding: parameters, n_embd ({shape.n_embd}) × vocabulary; others of this GPT-2 (n_layer "
                f"{shape.n_layer}, n_positions {shape.n_positions}): {shape.other_parameters:,}"
            ),
            "",
            *(f"caveat: {caveat}" for caveat in advice.caveats),
        ]
    )


def answer(advice: VocabularyAdvice) -> list[str]:
    """Return the answer in sentences: the size, its rule, and what each other tokenizer loses."""
    point = advice.point
    lines = [f"recommended vocabulary: {advice.recommended:,} tokens ({advice.reason})"]
    return [*lines, *advice.notes] + [f"{other.name}: {loss(other, point)}" for other in advice.beside]


def saving_rule(advice: VocabularyAdvice) -> str:
    """Say what the column of what is saved means."""
    if _is_in_doublings(advice):
        return "share of the tokens, from this size to the next"
    return (
        "share of the tokens from this size to the next, s; where that is no doubling, what a doubling saves "
        "on average: 1 - (1 - s) ^ (1 / log2(next size / this size))"
    )


def loss(other: SizePoint, recommended: SizePoint) -> str:
    """Say what a tokenizer costs beside the recommended one."""
    if other.relative_tokens is None:
        return NOT_APPLICABLE
    change = other.relative_tokens - 1
    low, high = _changes(other.relative_interval)
    between = f" ({low} to {high})" if low else ""
    tokens = f"{abs(change):.1%} {'more' if change >= 0 else 'fewer'} tokens for the same text{between}"
    ratio = other.embedding_parameters / recommended.embedding_parameters
    return (
        f"{tokens}, and {other.embedding_parameters:,} embedding parameters instead of "
        f"{recommended.embedding_parameters:,} ({ratio:.1f} times)"
    )


def shown_interval(interval: Interval | None, as_share: bool = False) -> str:
    """Write an interval, "" where there is none."""
    if interval is None:
        return ""
    if as_share:
        return f"{interval.low:.2%} to {interval.high:.2%}"
    return f"{interval.low:.3f} to {interval.high:.3f}"


def _row(advice: VocabularyAdvice, point: SizePoint) -> list[str]:
    is_recommended = not point.name and point.vocab_size == advice.recommended
    saved = "" if point.saved_by_doubling is None else f"{point.saved_by_doubling:.2%}"
    return [
        f"{point.vocab_size:,}",
        f"{point.tokens:,}",
        NOT_APPLICABLE if point.bytes_per_token is None else f"{point.bytes_per_token:.3f}",
        shown_interval(point.interval),
        saved,
        shown_interval(point.saved_interval, as_share=True),
        f"{point.embedding_parameters:,}",
        point.name or ("recommended" if is_recommended else ""),
    ]


def _is_in_doublings(advice: VocabularyAdvice) -> bool:
    return is_in_doublings([point.vocab_size for point in advice.curve])


def _changes(interval: Interval | None) -> tuple[str, str]:
    if interval is None:
        return "", ""
    return f"{interval.low - 1:+.1%}", f"{interval.high - 1:+.1%}"
