"""Which vocabulary size a corpus wants: one training, then a curve over sizes on documents that it never saw.

    documents ──► held out? ──no──► train at the largest size ──► cut to each size ──┐
                     │                                            (vocabulary_cut)   ├──► curve, a size,
                    yes ─────────────────────────────────────────────────────────────┘    what others lose

The recommendation is a rule of thumb over compression and says so; models are the final measure.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gristmill import advice_reasons
from gristmill.advice_reasons import MeasuredCurve
from gristmill.corpus import as_source, iter_batches
from gristmill.errors import ConfigError, EmptyCorpusError, SourceError
from gristmill.options import check_count
from gristmill.report import CAVEATS, Interval
from gristmill.token_totals import CONFIDENCE, TokenTotals, count_tokens
from gristmill.tokenizer import Tokenizer
from gristmill.tokenizer_training import train_tokenizer
from gristmill.vocabulary_cut import cut_vocabulary, smallest_vocab_size

DEFAULT_VOCAB_SIZES = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
# Of so many documents, one is held out: about a tenth.
_HOLD_OUT_ONE_OF = 10

ADVICE_CAVEATS = (
    (
        "The recommended size is a rule of thumb: it weighs tokens alone. How good the model gets is the "
        "final measure: train small models alike with two or three sizes and compare their bits per byte."
    ),
    "The curve holds for text like the documents held out; on other text a vocabulary trained here loses.",
)


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The GPT-2 whose parameters are shown beside the tokens (embedding and output share their weights)."""

    n_embd: int = 768
    n_layer: int = 12
    n_positions: int = 1024

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            check_count(name, value, 1)

    def embedding_parameters(self, vocab_size: int) -> int:
        """Return the parameters of the token embedding: `n_embd` for each token."""
        return self.n_embd * vocab_size

    @property
    def other_parameters(self) -> int:
        """Parameters that no vocabulary changes: layers, positions, the last norm."""
        width = self.n_embd
        return self.n_layer * (12 * width * width + 13 * width) + 2 * width + self.n_positions * width


@dataclass(frozen=True, kw_only=True)
class SizePoint:
    """One vocabulary on the documents held out.

    Attributes:
        name: "" on the curve, else the name of the tokenizer.
        vocab_size: its tokens.
        tokens: of the documents held out, EOS apart.
        bytes_per_token, interval: UTF-8 bytes over tokens, with an interval over documents.
        saved_by_doubling: share of the tokens that the next doubling of the vocabulary saves, from the next
            size on the curve (per doubling where that is not twice this one); None for the last one and
            beside the curve.
        saved_interval: its interval, paired over documents.
        embedding_parameters: `n_embd` × `vocab_size`.
        relative_tokens, relative_interval: tokens over those of the recommended size, paired.
    """

    name: str
    vocab_size: int
    tokens: int
    bytes_per_token: float | None
    interval: Interval | None
    saved_by_doubling: float | None
    saved_interval: Interval | None
    embedding_parameters: int
    relative_tokens: float | None
    relative_interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class VocabularyAdvice:
    """What `advise_vocab_size` found; `str()` is a table.

    Attributes:
        corpus: what the corpus is called.
        held_out_rule: which documents were measured on.
        documents, bytes: how much was held out.
        recommended: the size that the rule picks.
        rule: the rule, in words.
        reason: why the recommended size is named: the rule, or that no size meets it.
        notes: what has to be known beside it: whether the corpus ran out of pairs to merge, the choice lies
            at an end of the curve or within the noise.
        minimum_saving: the share of tokens that the rule asks for.
        largest_vocab_size: tokens that the training reached; fewer than asked for where no pair was left.
        is_flat: whether the curve got flat; if not, the largest size is recommended for want of a larger one.
        curve: sizes of the vocabulary trained here, ascending.
        beside: the tokenizers to compare with.
        shape: the model whose embedding is counted.
        confidence: of the intervals.
        caveats: what the figures do not say.
        largest: the trained tokenizer that the curve is cut from; not part of `to_dict()`.
    """

    corpus: str
    held_out_rule: str
    documents: int
    bytes: int
    recommended: int
    rule: str
    reason: str
    notes: tuple[str, ...]
    minimum_saving: float
    largest_vocab_size: int
    is_flat: bool
    curve: tuple[SizePoint, ...]
    beside: tuple[SizePoint, ...]
    shape: ModelShape
    confidence: float = CONFIDENCE
    caveats: tuple[str, ...] = ADVICE_CAVEATS + CAVEATS[:1]
    largest: Tokenizer = field(repr=False, compare=False)

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the recommended size, ready to be saved."""
        return cut_vocabulary(self.largest, self.recommended)

    @property
    def point(self) -> SizePoint:
        """The point of the curve at the recommended size."""
        return next(point for point in self.curve if point.vocab_size == self.recommended)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the tokenizer as one JSON-able dict."""
        bare = dataclasses.replace(self, largest=None)  # type: ignore[arg-type]
        value: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(bare)))
        del value["largest"]
        return value

    def __str__(self) -> str:
        from gristmill.advice_table import format_advice

        return format_advice(self)


class HoldOut:
    """Part of a repeatable corpus, by the hash of each text: copies of a text never lie on both sides.

    Example:
        >>> texts = [f"document {number}" for number in range(1000)]
        >>> parts = HoldOut(texts, "text", False), HoldOut(texts, "text", True)
        >>> sorted([*parts[0], *parts[1]]) == sorted(texts), len(list(parts[1]))
        (True, 98)
    """

    def __init__(self, documents: object, text_column: str, is_held_out: bool) -> None:
        self._source = as_source(documents, text_column)
        self._text_column = text_column
        self._is_held_out = is_held_out
        self._rows = array("q")
        self.source_name = self._source.name

    def __iter__(self) -> Iterator[object]:
        self._rows = array("q")
        for batch in iter_batches(self._source, self._text_column):
            for index, text in enumerate(batch.texts):
                if _is_held_out(text) == self._is_held_out:
                    self._rows.append(batch.first_row + index)
                    yield text

    def locate(self, row: int) -> tuple[str, int]:
        """Give the place of the `row`-th document of the last iteration in the whole corpus."""
        return self._source.locate(self._rows[row], "")


def advise_vocab_size(
    documents: object,
    *,
    held_out: object = None,
    vocab_sizes: Sequence[int] = DEFAULT_VOCAB_SIZES,
    beside: Mapping[str, Tokenizer] | None = None,
    minimum_saving: float = 0.05,
    shape: ModelShape = ModelShape(),
    text_column: str = "text",
    num_threads: int | None = None,
    on_bad: str = "error",
    show_progress: bool = True,
) -> VocabularyAdvice:
    """Train once at the largest size, measure every smaller one on documents held out, and pick a size.

    The rule: the smallest size whose next doubling saves less than `minimum_saving` of the tokens. Where no
    size meets it, the largest one is named, and `reason` says so.

    Args:
        documents: what is trained on; any repeatable corpus (it is read once more where nothing is held out).
        held_out: other documents to measure on; without them, about a tenth of `documents`, chosen by the
            hash of their text, is kept out of the training.
        vocab_sizes: the sizes of the curve. Where the corpus has no pairs to merge for the larger ones, the
            size that it has them for stands in their place.
        beside: tokenizers to compare with, by name.
        minimum_saving: share of tokens, above 0 and below 1.
        shape: the model whose embedding is counted beside the tokens.
        text_column, num_threads, on_bad: as for `measure_tokenizer`.
        show_progress: whether to show on a terminal how far training has come.

    Raises:
        EmptyCorpusError: there is no text to train on, or none held out.
        ConfigError: fewer than two sizes, or one too small for the alphabet.
        EmptyCorpusError: the corpus has pairs to merge for none of the sizes.
        SourceError: `documents` can be read only once, and nothing else is held out.

    Example:
        >>> texts = [f"def function_{number}(x): return x" for number in range(500)]
        >>> advice = advise_vocab_size(texts, vocab_sizes=[260, 270, 280], show_progress=False)
        >>> advice.recommended, len(advice.tokenizer)
        (280, 280)
    """
    sizes = sorted({check_count("vocab_sizes", size, 1) for size in vocab_sizes})
    if len(sizes) < 2:
        raise ConfigError(f"vocab_sizes is {list(vocab_sizes)} (expected at least two sizes)")
    if not (isinstance(minimum_saving, int | float) and 0 < minimum_saving < 1):
        raise ConfigError(f"minimum_saving is {minimum_saving!r} (expected a share above 0 and below 1)")
    training, measured, rule = _parts(documents, held_out, text_column)
    options: dict[str, Any] = {"text_column": text_column, "num_threads": num_threads, "on_bad": on_bad}
    largest = train_tokenizer(training, sizes[-1], show_progress=show_progress, **options)
    smallest = smallest_vocab_size(largest)
    # Where the corpus has no more pairs to merge, larger sizes are the same tokenizer: one stands for all.
    asked, sizes = sizes, sorted({min(size, len(largest)) for size in sizes})
    if asked[0] < smallest:
        raise ConfigError(f"vocab_sizes holds {asked[0]} (expected at least {smallest}, without any merge)")
    if len(sizes) < 2:
        raise EmptyCorpusError(
            f"the corpus ran out of pairs to merge at {len(largest)} tokens, {smallest} of them without any "
            f"merge, and the smallest size is {asked[0]} (expected a larger corpus, or two sizes of which "
            f"the smaller one is below {len(largest)})"
        )
    tokenizers = {_curve_name(size): cut_vocabulary(largest, size) for size in sizes}
    tokenizers |= {_beside_name(name): tokenizer for name, tokenizer in (beside or {}).items()}
    try:
        totals = count_tokens(tokenizers, measured, **options)
    except EmptyCorpusError as error:
        raise EmptyCorpusError(f"no document was held out to measure on: {error}") from None
    if not totals.bytes.sum():
        raise EmptyCorpusError("the documents held out hold no text (expected some, to measure on)")
    savings = [_saving(totals, small, large) for small, large in itertools.pairwise(sizes)]
    measured_curve = MeasuredCurve(
        sizes=sizes,
        savings=savings,
        minimum_saving=minimum_saving,
        smallest_possible=smallest,
        asked=asked,
    )
    recommended = measured_curve.recommended

    def point(key: str, name: str, vocab_size: int, place: int | None = None) -> SizePoint:
        bytes_per_token, interval = totals.bytes_per_token(key)
        relative, relative_interval = totals.relative_tokens(key, _curve_name(recommended))
        saved = savings[place] if place is not None and place < len(savings) else (None, None)
        return SizePoint(
            name=name,
            vocab_size=vocab_size,
            tokens=int(totals.tokens[key].sum()),
            bytes_per_token=bytes_per_token,
            interval=interval,
            saved_by_doubling=saved[0],
            saved_interval=saved[1],
            embedding_parameters=shape.embedding_parameters(vocab_size),
            relative_tokens=relative,
            relative_interval=relative_interval,
        )

    return VocabularyAdvice(
        corpus=as_source(documents, text_column).name,
        held_out_rule=rule,
        documents=totals.documents,
        bytes=int(totals.bytes.sum()),
        recommended=recommended,
        rule=advice_reasons.rule_in_words(measured_curve),
        reason=advice_reasons.reason(measured_curve),
        notes=advice_reasons.notes(measured_curve),
        minimum_saving=minimum_saving,
        largest_vocab_size=len(largest),
        is_flat=measured_curve.place is not None,
        curve=tuple(point(_curve_name(size), "", size, place) for place, size in enumerate(sizes)),
        beside=tuple(
            point(_beside_name(name), name, len(tokenizer)) for name, tokenizer in (beside or {}).items()
        ),
        shape=shape,
        largest=largest,
    )


def _parts(documents: object, held_out: object, text_column: str) -> tuple[object, object, str]:
    """Return what to train on, what to measure on, and the rule that divides them."""
    if held_out is not None:
        name = as_source(held_out, text_column).name
        return documents, held_out, f"documents given for it: {name}"
    source = as_source(documents, text_column)
    if not source.repeatable:
        raise SourceError(
            f"{source.name} can be read only once (expected held_out=..., or a corpus that can be read again)"
        )
    rule = f"about one document of {_HOLD_OUT_ONE_OF}, by the hash of its text, left out of the training"
    return HoldOut(source, text_column, False), HoldOut(source, text_column, True), rule


def _is_held_out(text: object) -> bool:
    data = text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest()) % _HOLD_OUT_ONE_OF == 0


def _saving(totals: TokenTotals, small: int, large: int) -> tuple[float, Interval | None]:
    """Return the share of tokens that one doubling saves, on average from one size to the next."""
    ratio, interval = totals.relative_tokens(_curve_name(large), _curve_name(small))
    doublings = math.log2(large / small)

    def saved(relative: float) -> float:
        return float(1 - relative ** (1 / doublings))

    if interval is None:
        return saved(ratio or 1.0), None
    return saved(ratio or 1.0), Interval(low=saved(interval.high), high=saved(interval.low))


def _curve_name(size: int) -> str:
    return f"curve {size}"


def _beside_name(name: str) -> str:
    return f"beside {name}"
