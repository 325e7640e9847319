"""Tokens of several tokenizers on the same documents, in one pass, with intervals that are paired.

    documents ──► every tokenizer's encode_batch ──► sums by group of documents ──► one set of weights
                                                                                    for all tokenizers

A bootstrap draws groups of documents anew; all tokenizers see the same draws, so that what a document does to
all of them alike falls out of their ratio (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gristmill.bootstrap import GroupBootstrap
from gristmill.corpus import iter_batches
from gristmill.errors import BadDocumentError, EmptyCorpusError
from gristmill.report import Interval
from gristmill.text_table import count_of
from gristmill.token_batch import as_str
from gristmill.tokenizer import Tokenizer

# Groups bound the memory of the bootstrap, however many documents there are.
NUM_GROUPS = 1000
NUM_REPLICATES = 1000
CONFIDENCE = 0.95
_BATCH_DOCUMENTS = 1000


@dataclass(frozen=True, kw_only=True)
class TokenTotals:
    """Sums over a corpus, by group of documents.

    Attributes:
        documents, num_skipped: how many were counted, and how many rows were no text.
        bytes: UTF-8 bytes: `(num_groups,)`, int64.
        tokens: by name of the tokenizer, EOS apart: `(num_groups,)`, int64.
        seed: of the bootstrap.
    """

    documents: int
    num_skipped: int
    bytes: NDArray[np.int64]
    tokens: Mapping[str, NDArray[np.int64]]
    seed: int = 0

    def bytes_per_token(self, name: str) -> tuple[float | None, Interval | None]:
        """Return UTF-8 bytes per token of a tokenizer, with an interval over documents."""
        return self._ratio(self.bytes, self.tokens[name])

    def relative_tokens(self, name: str, base: str) -> tuple[float | None, Interval | None]:
        """Return the tokens of one tokenizer over those of another, with a paired interval."""
        return self._ratio(self.tokens[name], self.tokens[base])

    def _ratio(
        self, numerators: NDArray[np.int64], denominators: NDArray[np.int64]
    ) -> tuple[float | None, Interval | None]:
        total = int(denominators.sum())
        if not total:
            return None, None
        # The groups of documents are the first ones, and the same for all: so are the draws.
        groups = np.column_stack([numerators, denominators])[: self.documents].astype(np.uint64)
        marked = np.column_stack([groups, np.ones(len(groups), dtype=np.uint64)])
        bootstrap = GroupBootstrap(marked, NUM_REPLICATES, CONFIDENCE, self.seed)
        return int(numerators.sum()) / total, bootstrap.interval(0, 1)


def count_tokens(
    tokenizers: Mapping[str, Tokenizer],
    documents: object,
    *,
    text_column: str = "text",
    num_threads: int | None = None,
    on_bad: str = "error",
    seed: int = 0,
) -> TokenTotals:
    """Count the tokens of each tokenizer on a corpus, which is read once.

    Raises:
        EmptyCorpusError: there is no text in the corpus.
        BadDocumentError: a value is no text, and `on_bad` is "error".

    Example:
        >>> totals = count_tokens({"mine": tokenizer}, ["def f(x):", "return x"])
        >>> int(totals.tokens["mine"].sum()), int(totals.bytes.sum())
        (8, 17)
    """
    num_documents = num_skipped = 0
    byte_sums = np.zeros(NUM_GROUPS, dtype=np.int64)
    token_sums = {name: np.zeros(NUM_GROUPS, dtype=np.int64) for name in tokenizers}
    for batch in iter_batches(documents, text_column, _BATCH_DOCUMENTS):
        texts = batch.texts
        for place, (name, tokenizer) in enumerate(tokenizers.items()):
            try:
                encoded = tokenizer.encode_batch(texts, num_threads, on_bad)
            except BadDocumentError as error:
                raise batch.bad_document(error) from None
            if place == 0:
                left_out = {index for index, _ in encoded.bad}
                num_skipped += len(left_out)
                texts = [text for index, text in enumerate(texts) if index not in left_out]
                groups = np.arange(num_documents, num_documents + len(texts)) % NUM_GROUPS
                sizes = np.array([_num_bytes(text) for text in texts], dtype=np.int64)
                np.add.at(byte_sums, groups, sizes)
                num_documents += len(texts)
            np.add.at(token_sums[name], groups, np.diff(encoded.offsets))
    if not num_documents:
        raise EmptyCorpusError(
            f"no text to count tokens of ({count_of(num_skipped, 'row')} skipped; expected at least one text)"
        )
    return TokenTotals(
        documents=num_documents, num_skipped=num_skipped, bytes=byte_sums, tokens=token_sums, seed=seed
    )


def _num_bytes(text: object) -> int:
    if isinstance(text, bytes):
        return len(text)
    whole = as_str(text)
    return len(whole) if whole.isascii() else len(whole.encode())
