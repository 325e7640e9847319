"""What goes into an encoder and what comes out of it: texts checked, ids of a batch in one piece."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gristmill import _native
from gristmill.arrow_columns import in_arrow
from gristmill.errors import BadDocumentError
from gristmill.options import check_choice, check_count
from gristmill.reference import default_num_threads

# More than any machine has cores; each one costs memory.
MAX_THREADS = 1024


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """The ids of a batch of documents, in one piece.

    Attributes:
        ids: `(num_tokens,)`, uint16 or uint32: all documents behind one another, no EOS between them.
        offsets: `(num_documents + 1,)`, int64: document i has `ids[offsets[i]:offsets[i + 1]]`.
        bad: what `on_bad="skip"` left out: `(index in the batch, reason)`. Such texts have no offset.

    Example:
        >>> batch = TokenBatch(np.array([5, 6, 7], np.uint16), np.array([0, 2, 3]), ())
        >>> len(batch), batch[1].tolist()
        (2, [7])
    """

    ids: NDArray[Any]
    offsets: NDArray[np.int64]
    bad: tuple[tuple[int, str], ...] = ()

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[Any]:
        position = operator.index(index)
        if not -len(self) <= position < len(self):
            raise IndexError(f"document {position} of a batch of {len(self)}")
        position %= len(self)
        return self.ids[self.offsets[position] : self.offsets[position + 1]]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[index] for index in range(len(self)))


def check_num_threads(num_threads: int | None) -> int:
    """Return the number of threads to use, all cores for None.

    Raises:
        TypeError: no whole number. ConfigError: below 1, or above 1,024.
    """
    if num_threads is None:
        return default_num_threads()
    return check_count("num_threads", num_threads, 1, MAX_THREADS)


def check_tokenizer_type(tokenizer: object, name: str = "tokenizer") -> None:
    """Refuse what is no `gristmill.Tokenizer`, such as one of another package; `name` is the option's.

    Raises:
        TypeError: says what was given, and how to make one.
    """
    # By what it can do: importing the class here would close a circle. The class is asked, because an object
    # computes its fingerprint when it is asked for.
    kind = type(tokenizer)
    if not hasattr(kind, "fingerprint") or not hasattr(kind, "require_eos"):
        raise TypeError(
            f"{name} is a {type(tokenizer).__name__} (expected gristmill.Tokenizer; its "
            "from_transformers, from_tokenizers, from_file and from_pretrained make one)"
        )


def good_texts(texts: Sequence[object], skip_bad: bool) -> tuple[list[str], list[tuple[int, str]]]:
    """Return the texts as `str`, and what was left out of them as `(index, reason)`.

    Raises:
        BadDocumentError: at the first bad one, unless `skip_bad`.
    """
    if not isinstance(texts, list | tuple | str | bytes):  # a lone text is refused below
        texts = list(in_arrow(texts))  # it may be one that can be gone through only once
    bad = _native.check_texts(texts)
    if bad and not skip_bad:
        index, reason = bad[0]
        raise BadDocumentError("documents", index, reason)
    left_out = {index for index, _ in bad}
    return [as_str(text) for index, text in enumerate(texts) if index not in left_out], bad


def without_eos_inside(batch: TokenBatch, eos_token_id: int, skip_bad: bool) -> TokenBatch:
    """Treat documents that are encoded to EOS as bad ones: it could not tell any more where they end.

    Only models of the slow road can do that: Unigram and WordLevel vocabularies often hold `</s>` itself, so
    that a text with these characters is encoded to it, though special tokens are not looked for.

    Raises:
        BadDocumentError: there is such a document (`row` is its index), unless `skip_bad`.
    """
    places = np.flatnonzero(batch.ids == eos_token_id)
    if not places.size:
        return batch
    documents = np.unique(np.searchsorted(batch.offsets, places, side="right") - 1)
    left_out = {index for index, _ in batch.bad}
    index_of = [index for index in range(len(batch) + len(left_out)) if index not in left_out]
    reason = f"its text is encoded to the EOS token (id {eos_token_id})"
    if not skip_bad:
        raise BadDocumentError("documents", index_of[documents[0]], reason)
    good = np.ones(len(batch), dtype=bool)
    good[documents] = False
    lengths = np.diff(batch.offsets)
    bad = sorted([*batch.bad, *((index_of[document], reason) for document in documents)])
    offsets = np.concatenate([[0], np.cumsum(lengths[good])])
    return TokenBatch(batch.ids[np.repeat(good, lengths)], offsets, tuple(bad))


def as_str(text: object) -> str:
    """Return a text that passed the check as `str`."""
    return text.decode("utf-8") if isinstance(text, bytes) else str(text)


def is_skip(on_bad: str) -> bool:
    """Return whether bad texts are skipped; refuse what is neither "error" nor "skip"."""
    return check_choice("on_bad", on_bad, ("error", "skip")) == "skip"
