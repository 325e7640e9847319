"""Measure a tokenizer on a corpus: one streaming pass, integer counters in Rust, figures at the end.

    documents ──► TokenizerMeter.add ──► counters ──┐
    (shards)      TokenizerMeter.add ──► counters ──┴► merge ──► TokenizerReport

A word is a maximal run of characters that are no white space, in the running text: nothing is encoded again,
and a token that carries the blank before a word is a token of that word.
"""

from __future__ import annotations

import keyword
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gristmill import _native, tokenizer_file as files
from gristmill.arrow_columns import in_arrow
from gristmill.byte_alphabet import bytes_of_token, readable
from gristmill.corpus import as_source, iter_batches
from gristmill.errors import BadDocumentError, EmptyCorpusError, TokenizerError
from gristmill.options import check_count
from gristmill.token_batch import check_num_threads, check_tokenizer_type, good_texts, is_skip
from gristmill.tokenizer import Tokenizer
from gristmill.tokenizer_report import TokenEntry as TokenEntry, TokenizerReport as TokenizerReport

# One counter for each id up to the largest: 128 MiB of them at most.
_MAX_IDS = 1 << 24

_BATCH_DOCUMENTS = 1000
_NUM_LISTED = 10


def measure_tokenizer(
    tokenizer: Tokenizer,
    documents: object,
    *,
    text_column: str = "text",
    num_threads: int | None = None,
    on_bad: str = "error",
    rare_below: int = 10,
) -> TokenizerReport:
    """Measure a tokenizer on a corpus, which is read once. Memory does not grow with the corpus.

    Args:
        tokenizer: what is measured.
        documents: any iterable of texts, of lists of texts, or of rows with a text column; Arrow memory.
        text_column: the column of rows that holds the text.
        num_threads: Rust threads, all cores by default. No figure depends on it.
        on_bad: "error" raises at the first value that is no text, "skip" counts such values and goes on.
        rare_below: a token that occurs at least once, but fewer times than this, is rarely used.

    Raises:
        EmptyCorpusError: there is no text in the corpus.
        BadDocumentError: a value is no text, and `on_bad` is "error".

    Example:
        >>> report = measure_tokenizer(tokenizer, ["def f(x):", "return x"])
        >>> report.fertility, report.continued_share
        (2.0, 0.5)
    """
    check_count("rare_below", rare_below, 1)
    meter, source = TokenizerMeter(tokenizer), as_source(documents, text_column)
    for batch in iter_batches(source, text_column, _BATCH_DOCUMENTS):
        try:
            meter.add(batch.texts, num_threads=num_threads, on_bad=on_bad)
        except BadDocumentError as error:
            raise batch.bad_document(error) from None
    if not meter.totals["documents"]:
        skipped = f"{meter.num_skipped} rows, all of them skipped" if meter.num_skipped else "no rows"
        raise EmptyCorpusError(
            f"{source.name}: no text to measure on (found {skipped}; expected at least one text)"
        )
    return meter.report(rare_below)


def estimate_chars_per_token(
    tokenizer: Tokenizer,
    documents: object,
    num_documents: int = 500,
    *,
    text_column: str = "text",
    on_bad: str = "error",
) -> float:
    """Return the characters per token of the first documents of a corpus (no EOS counted).

    An iterator is read that far and not given back; take the estimate from something repeatable.

    Raises:
        EmptyCorpusError: those documents hold no text.
        BadDocumentError: a value is no text, and `on_bad` is "error".
        ConfigError: `num_documents` is below 1.

    Example:
        >>> estimate_chars_per_token(tokenizer, ["def f(x):", "return x"])
        2.125
    """
    left = check_count("num_documents", num_documents, 1)
    meter = TokenizerMeter(tokenizer)
    source = as_source(documents, text_column)
    for batch in iter_batches(source, text_column, min(left, _BATCH_DOCUMENTS)):
        texts = batch.texts[:left]
        try:
            meter.add(texts, on_bad=on_bad)
        except BadDocumentError as error:
            raise batch.bad_document(error) from None
        left -= len(texts)
        if not left:
            break
    totals = meter.totals
    if not totals["tokens"]:
        raise EmptyCorpusError(
            f"{source.name}: the first {totals['documents']} documents hold no text (expected some, to "
            "estimate from)"
        )
    return totals["characters"] / totals["tokens"]


class TokenizerMeter:
    """Counters of one tokenizer over texts that come in parts; counters of shards can be merged.

    Example:
        >>> left, right = TokenizerMeter(tokenizer), TokenizerMeter(tokenizer)
        >>> left.add(["def f(x):"]); right.add(["return x"])
        >>> left.merge(right)
        >>> left.report().words
        4
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        check_tokenizer_type(tokenizer)
        if tokenizer.max_token_id >= _MAX_IDS:
            raise TokenizerError(
                f"the largest id is {tokenizer.max_token_id} (expected less than {_MAX_IDS}: "
                "each id has a counter)"
            )
        self.tokenizer = tokenizer
        self.num_skipped = 0
        self._counters = _native.MetricCounters(tokenizer.max_token_id + 1)

    def add(self, texts: Sequence[object], *, num_threads: int | None = None, on_bad: str = "error") -> None:
        """Count a batch of texts.

        Raises:
            BadDocumentError: a value is no text, and `on_bad` is "error"; nothing of the batch was counted.
        """
        threads, skip_bad = check_num_threads(num_threads), is_skip(on_bad)
        if self.tokenizer.native is not None:
            bad = self._counters.add_texts(self.tokenizer.native, in_arrow(texts), threads, skip_bad)
        else:
            good, bad = good_texts(texts, skip_bad)
            for part in self.tokenizer.encode_with_spans(good):
                self._counters.add_encoded(*part)
        self.num_skipped += len(bad)

    def merge(self, other: TokenizerMeter) -> None:
        """Add the counters of another part of the corpus.

        Raises:
            TokenizerError: they are of another tokenizer.
        """
        if self.tokenizer != other.tokenizer:
            raise TokenizerError(
                f"counters of {other.tokenizer!r} cannot be merged into those of {self.tokenizer!r} "
                "(expected the same tokenizer)"
            )
        self._counters.merge(other._counters)
        self.num_skipped += other.num_skipped

    @property
    def totals(self) -> dict[str, int]:
        """The counters: documents, bytes, characters, lines, words, tokens and so on."""
        return self._counters.totals

    @property
    def token_counts(self) -> NDArray[np.uint64]:
        """How often each id occurred: `(max_token_id + 1,)`, uint64."""
        return self._counters.token_counts

    def report(self, rare_below: int = 10) -> TokenizerReport:
        """Return the figures of what was counted so far.

        Raises:
            EmptyCorpusError: no text was counted.
        """
        check_count("rare_below", rare_below, 1)
        totals = self.totals
        if not totals["documents"]:
            raise EmptyCorpusError(
                f"no text to measure on ({self.num_skipped} rows skipped; expected at least one text)"
            )
        tokenizer = self.tokenizer
        vocabulary = tokenizer.get_vocab()
        ordinary = [
            token_id for token, token_id in vocabulary.items() if token not in tokenizer.special_tokens
        ]
        counts = self.token_counts
        ordinary_counts = counts[np.array(ordinary, dtype=np.int64)]
        unknown_id = tokenizer.unk_token_id
        content = tokenizer.parsed_json()
        return TokenizerReport(
            tokenizer=tokenizer.fingerprint,
            engine=tokenizer.engine.name,
            num_skipped=self.num_skipped,
            documents=totals["documents"],
            bytes=totals["bytes"],
            characters=totals["characters"],
            lines=totals["lines"],
            words=totals["words"],
            tokens=totals["tokens"],
            tokens_in_words=totals["tokens_in_words"],
            whitespace_tokens=totals["whitespace_tokens"],
            continued_words=totals["continued_words"],
            vocabulary_tokens=len(ordinary),
            vocabulary_used=int(np.count_nonzero(ordinary_counts)),
            rare_below=rare_below,
            vocabulary_rare=int(np.count_nonzero((ordinary_counts > 0) & (ordinary_counts < rare_below))),
            unknown_tokens=None if unknown_id is None else int(counts[unknown_id]),
            **_keywords(tokenizer),
            **_notable_tokens(tokenizer, content),
        )


def _keywords(tokenizer: Tokenizer) -> dict[str, Any]:
    def single(prefix: str) -> tuple[str, ...]:
        return tuple(word for word in keyword.kwlist if len(tokenizer.encode(prefix + word)) == 1)

    return {
        "num_keywords": len(keyword.kwlist),
        "keywords_single": single(""),
        "keywords_single_after_blank": single(" "),
    }


def _notable_tokens(tokenizer: Tokenizer, content: dict[str, Any]) -> dict[str, Any]:
    """Return the longest tokens, and those that were learned first and last (known of BPE alone)."""
    added = {entry["content"] for entry in files.added_tokens(content)}
    spelt_in_bytes = (content.get("decoder") or {}).get("type") == "ByteLevel"

    def spelt(token: str) -> bytes:
        return bytes_of_token(token) if spelt_in_bytes and token not in added else token.encode()

    def entry(token: str) -> TokenEntry:
        return TokenEntry(vocabulary[token], token, readable(spelt(token)))

    vocabulary = tokenizer.get_vocab()
    ordinary = [token for token in vocabulary if token not in tokenizer.special_tokens]
    ordinary.sort(key=lambda token: (-len(spelt(token)), vocabulary[token]))
    notable: dict[str, Any] = {"longest": tuple(map(entry, ordinary[:_NUM_LISTED]))}
    if "merges" not in content["model"]:
        return notable | {"first_learned": None, "last_learned": None}
    # A token that two merges make was learned with the first of them.
    learned = list(dict.fromkeys(left + right for left, right in files.merge_pairs(content["model"])))
    return notable | {
        "first_learned": tuple(map(entry, learned[:_NUM_LISTED])),
        "last_learned": tuple(map(entry, learned[-_NUM_LISTED:])),
    }
