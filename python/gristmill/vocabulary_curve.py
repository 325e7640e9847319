"""Compression over vocabulary sizes: each BPE cut to smaller sizes, every other model as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gristmill.report import Interval
from gristmill.token_totals import count_tokens
from gristmill.tokenizer import Tokenizer
from gristmill.vocabulary_cut import cut_vocabulary, smallest_vocab_size, why_not_cuttable

# Half, a quarter, ... of the vocabulary: so many further encodings of the corpus.
_NUM_HALVINGS = 6


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A vocabulary of `vocab_size` tokens: UTF-8 bytes per token, with an interval over documents."""

    vocab_size: int
    bytes_per_token: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class VocabularyCurve:
    """The points of one tokenizer, ascending; one point where its vocabulary cannot be cut."""

    name: str
    points: tuple[CurvePoint, ...]


def measure_curves(
    tokenizers: Mapping[str, Tokenizer],
    documents: object,
    *,
    text_column: str = "text",
    num_threads: int | None = None,
    on_bad: str = "error",
) -> tuple[VocabularyCurve, ...]:
    """Measure each tokenizer at its size and at half, a quarter, ... of it, in one pass over the corpus.

    Raises:
        EmptyCorpusError, BadDocumentError: as `measure_tokenizer`.

    Example:
        >>> (curve,) = measure_curves({"mine": tokenizer}, ["def f(x):", "return x"])
        >>> curve.points[-1].vocab_size == len(tokenizer)
        True
    """
    cuts = {name: _cuts(tokenizer) for name, tokenizer in tokenizers.items()}
    flat = {f"{name}\0{size}": cut for name, sizes in cuts.items() for size, cut in sizes.items()}
    totals = count_tokens(flat, documents, text_column=text_column, num_threads=num_threads, on_bad=on_bad)
    curves = []
    for name, sizes in cuts.items():
        points = []
        for size in sorted(sizes):
            value, interval = totals.bytes_per_token(f"{name}\0{size}")
            if value is not None:
                points.append(CurvePoint(vocab_size=size, bytes_per_token=value, interval=interval))
        curves.append(VocabularyCurve(name=name, points=tuple(points)))
    return tuple(curves)


def _cuts(tokenizer: Tokenizer) -> dict[int, Tokenizer]:
    size = len(tokenizer)
    cuts = {size: tokenizer}
    if why_not_cuttable(tokenizer) is None:
        smallest = smallest_vocab_size(tokenizer)
        sizes = [size >> halving for halving in range(1, _NUM_HALVINGS + 1)]
        cuts |= {half: cut_vocabulary(tokenizer, half) for half in sizes if half > smallest}
    return cuts
