"""`TokenizerMeter`: counters of one tokenizer over texts that come in parts, and the noise made of them.

Counters of shards are saved, loaded and merged; the figures are made from them by `report_building`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gristmill import _native, durable
from gristmill.arrow_columns import in_arrow
from gristmill.corpus import TextBatch
from gristmill.errors import (
    ConfigError,
    EmptyCorpusError,
    FileFormatError,
    TokenizerError,
)
from gristmill.options import check_count
from gristmill.report import (
    TokenEntry as TokenEntry,
    TokenizerReport as TokenizerReport,
)
from gristmill.report_building import build_report
from gristmill.text_table import count_of
from gristmill.token_batch import check_num_threads, check_tokenizer_type, good_texts, is_skip
from gristmill.tokenizer import Tokenizer
from gristmill.vocabulary_report import byte_fallback_tokens

NOISES = ("misspelling", "case", "whitespace", "homoglyphs")

# One counter for each id up to the largest: 128 MiB of them at most.
_MAX_IDS = 1 << 24
_MAX_SEED = (1 << 64) - 1


@dataclass(frozen=True, kw_only=True)
class NoiseOptions:
    """Which noise is made; see docs/metrics.md.

    Attributes:
        noises: of "misspelling", "case", "whitespace", "homoglyphs", or "all" alone, which becomes all of
            them; each costs one more encoding.
        rate: the share of runs of letters (of blanks) that are changed, from 0 to 1.
        seed: the same seed makes the same changes.
    """

    noises: tuple[str, ...] = ()
    rate: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if tuple(self.noises) == ("all",):
            object.__setattr__(self, "noises", NOISES)
        unknown = [noise for noise in self.noises if noise not in NOISES]
        if isinstance(self.noises, str) or unknown or len(set(self.noises)) < len(self.noises):
            raise ConfigError(
                f"noises is {self.noises!r} (expected some of {', '.join(NOISES)}, each once, or all alone)"
            )
        check_share("noise_rate", self.rate)
        check_count("seed", self.seed, 0, _MAX_SEED)


def check_share(name: str, value: object) -> float:
    """Return `value` as a float from 0 to 1.

    Raises:
        TypeError: no number. ConfigError: out of range; a ValueError.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is {value!r} (expected a number from 0 to 1)")
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} is {value} (expected a number from 0 to 1)")
    return float(value)


class TokenizerMeter:
    """Counters of one tokenizer over texts that come in parts; counters of shards can be saved and merged.

    Args:
        tokenizer: what is measured.
        noise: which noise is made.
        reference: sequence lengths are normalized by those of this tokenizer.
        first_row: number of the first row of this part in the whole corpus; only names of outliers need it.

    Example:
        >>> left, right = TokenizerMeter(tokenizer), TokenizerMeter(tokenizer)
        >>> left.add(["def f(x):"]); right.add(["return x"])
        >>> left.merge(right)
        >>> left.report().value("fertility")
        2.0
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        noise: NoiseOptions | None = None,
        reference: Tokenizer | None = None,
        first_row: int = 0,
    ) -> None:
        check_tokenizer_type(tokenizer)
        if reference is not None:
            check_tokenizer_type(reference, "reference")
        if tokenizer.max_token_id >= _MAX_IDS:
            raise TokenizerError(
                f"the largest id is {tokenizer.max_token_id} (expected less than {_MAX_IDS}: "
                "each id has a counter)"
            )
        self.tokenizer, self.reference = tokenizer, reference
        self.noise = noise or NoiseOptions()
        self.num_skipped = 0
        self.num_rows = 0
        self._first_row = check_count("first_row", first_row, 0)
        self._row_names: dict[int, str] = {}
        fallback_ids = map(tokenizer.token_to_id, byte_fallback_tokens(tokenizer))
        self._counters = _native.MetricCounters(
            tokenizer.max_token_id + 1,
            tokenizer.unk_token_id,
            [token_id for token_id in fallback_ids if token_id is not None],
            list(self.noise.noises),
            round(self.noise.rate * (1 << 32)),
            self.noise.seed,
        )

    def add(
        self,
        texts: Sequence[object],
        *,
        num_threads: int | None = None,
        on_bad: str = "error",
        parallel_texts: Sequence[object] | None = None,
    ) -> None:
        """Count a batch of texts; `parallel_texts` are the same in the reference language, one for one.

        Raises:
            BadDocumentError: a value is no text, and `on_bad` is "error"; nothing of the batch was counted.
        """
        threads, skip_bad = check_num_threads(num_threads), is_skip(on_bad)
        texts = in_arrow(texts)
        first_row, num_texts = self._first_row + self.num_rows, len(texts)
        rows: list[int] | None = None
        if parallel_texts is not None:
            # A pair counts where both are texts.
            _, bad = good_texts(texts, skip_bad)
            _, other_bad = good_texts(parallel_texts, skip_bad)
            left_out = {index for index, _ in (*bad, *other_bad)}
            rows = [first_row + index for index in range(num_texts) if index not in left_out]
            texts = [text for index, text in enumerate(texts) if index not in left_out]
            parallel_texts = [text for index, text in enumerate(parallel_texts) if index not in left_out]
        reference_tokens = self._num_tokens(self.reference, texts, threads)
        parallel_tokens = self._num_tokens(self.tokenizer, parallel_texts, threads)
        native = self.tokenizer.native
        # Where texts are changed before they are encoded, only `tokenizers` knows what a token covers.
        if native is not None and native.tiles_texts:
            bad = self._counters.add_texts(
                native,
                texts,
                threads,
                skip_bad,
                first_row,
                reference_tokens,
                parallel_tokens,
                rows,
            )
            num_good = len(texts) - len(bad)
        else:
            good, bad = good_texts(texts, skip_bad)
            left_out = {index for index, _ in bad}
            if rows is None:
                rows = [first_row + index for index in range(num_texts) if index not in left_out]
            self._add_encoded(good, rows, reference_tokens, parallel_tokens)
            num_good = len(good)
        self.num_rows += num_texts
        self.num_skipped += num_texts - num_good

    def _add_encoded(
        self,
        texts: Sequence[str],
        rows: list[int],
        reference_tokens: NDArray[np.int64] | None,
        parallel_tokens: NDArray[np.int64] | None,
    ) -> None:
        done = 0
        for part in self.tokenizer.encode_with_spans(texts):
            here = slice(done, done + len(part[0]))
            noised = [self._encoded(noisy) for noisy in self._counters.noised_texts(part[0])]
            self._counters.add_encoded(
                part,
                rows[here],
                noised,
                None if reference_tokens is None else reference_tokens[here],
                None if parallel_tokens is None else parallel_tokens[here],
            )
            done = here.stop

    def _encoded(
        self, texts: Sequence[str]
    ) -> tuple[list[str], NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
        parts = list(self.tokenizer.encode_with_spans(texts))
        lengths = np.concatenate([[0], *(np.diff(offsets) for _, _, offsets, _ in parts)]).astype(np.int64)
        return (
            list(texts),
            np.concatenate([ids for _, ids, _, _ in parts]),
            np.cumsum(lengths),
            np.concatenate([spans for _, _, _, spans in parts]),
        )

    @staticmethod
    def _num_tokens(
        tokenizer: Tokenizer | None, texts: Sequence[object] | None, threads: int
    ) -> NDArray[np.int64] | None:
        if tokenizer is None or texts is None:
            return None
        return np.diff(tokenizer.encode_batch(texts, threads, on_bad="skip").offsets)

    def merge(self, other: TokenizerMeter) -> None:
        """Add the counters of another part of the corpus.

        Raises:
            TokenizerError: they are of another tokenizer, or another reference.
            ConfigError: their noise is another one.
        """
        for what, mine, others in (
            ("", self.tokenizer, other.tokenizer),
            ("by the reference ", self.reference, other.reference),
        ):
            if mine != others:
                raise TokenizerError(
                    f"counters {what}of {others!r} cannot be merged into those of {mine!r} "
                    "(expected the same tokenizer)"
                )
        if self.noise != other.noise:
            raise ConfigError(
                f"counters with {other.noise} cannot be merged into those with {self.noise} "
                "(expected the same)"
            )
        self._counters.merge(other._counters)
        self.num_skipped += other.num_skipped
        self.num_rows += other.num_rows
        self._row_names |= other._row_names

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the counters to a file, for `load` and `merge` elsewhere.

        Example:
            >>> meter = TokenizerMeter(tokenizer)
            >>> meter.add(["def f(x):"])
            >>> meter.save("/tmp/gristmill-doc-meter.json")
            >>> TokenizerMeter.load("/tmp/gristmill-doc-meter.json", tokenizer).totals == meter.totals
            True
        """
        content = {
            "tokenizer": self.tokenizer.fingerprint,
            "reference": "" if self.reference is None else self.reference.fingerprint,
            "noise": {"noises": list(self.noise.noises), "rate": self.noise.rate, "seed": self.noise.seed},
            "first_row": self._first_row,
            "num_rows": self.num_rows,
            "num_skipped": self.num_skipped,
            "row_names": {str(row): name for row, name in self._row_names.items()},
            "counters": self._counters.to_json(),
        }
        durable.write_json(Path(path), content)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], tokenizer: Tokenizer, *, reference: Tokenizer | None = None
    ) -> TokenizerMeter:
        """Read counters that `save` wrote.

        Raises:
            FileFormatError: the file holds no counters.
            TokenizerError: they are of another tokenizer, or another reference.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            fingerprints = content["tokenizer"], content["reference"]
            noise = NoiseOptions(**{**content["noise"], "noises": tuple(content["noise"]["noises"])})
            meter = cls(tokenizer, noise=noise, reference=reference, first_row=content["first_row"])
            meter.num_rows, meter.num_skipped = int(content["num_rows"]), int(content["num_skipped"])
            meter._row_names = {int(row): str(name) for row, name in content["row_names"].items()}
            counters = _native.MetricCounters.from_json(content["counters"])
            # Refuses those of other options.
            meter._counters.merge(counters)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FileFormatError(
                f"{path}: no counters of a tokenizer: {error!r} (expected a file of TokenizerMeter.save)"
            ) from None
        if fingerprints != (tokenizer.fingerprint, "" if reference is None else reference.fingerprint):
            raise TokenizerError(
                f"{path}: its counters are of another tokenizer or reference (fingerprints {fingerprints}; "
                "expected those of the given ones)"
            )
        return meter

    def name_outliers(self, batch: TextBatch) -> None:
        """Ask the source of a batch, just added, what its documents that are outliers are called."""
        worst, best = self._counters.outliers
        for row, _, _ in (*worst, *best):
            index = row - self._first_row - batch.first_row
            if row not in self._row_names and 0 <= index < len(batch.texts):
                place, number = batch.origin.locate(batch.first_row + index, batch.texts[index])
                self._row_names[row] = f"{place}, row {number}"

    @property
    def totals(self) -> dict[str, int]:
        """The counters by name: documents, bytes, characters, lines, tokens, `words_whitespace` and so on."""
        return self._counters.totals

    @property
    def token_counts(self) -> NDArray[np.uint64]:
        """How often each id occurred: `(max_token_id + 1,)`, uint64."""
        return self._counters.token_counts

    @property
    def counters(self) -> _native.MetricCounters:
        """The counters themselves, for those who build figures from them."""
        return self._counters

    @property
    def row_names(self) -> dict[int, str]:
        """What outlying documents are called, by row."""
        return dict(self._row_names)

    def report(
        self,
        rare_below: int = 10,
        *,
        confidence: float = 0.95,
        num_replicates: int = 1000,
        name: str = "",
        corpus_name: str = "",
        reference_name: str = "the reference",
        parallel_name: str = "",
    ) -> TokenizerReport:
        """Return the figures of what was counted so far; the arguments are those of `measure_tokenizer`.

        Raises:
            EmptyCorpusError: no text was counted.
        """
        check_count("rare_below", rare_below, 1)
        if not self.totals["documents"]:
            skipped = count_of(self.num_skipped, "row")
            raise EmptyCorpusError(f"no text to measure on ({skipped} skipped; expected at least one text)")
        return build_report(
            self,
            rare_below=rare_below,
            confidence=confidence,
            num_replicates=num_replicates,
            name=name,
            corpus_name=corpus_name,
            reference_name=reference_name,
            parallel_name=parallel_name,
        )
