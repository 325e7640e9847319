"""The installed `tokenizers` as an encoder: the reference of exactness, and the road of every model that the
own engine does not cover.

Its threads are its own (the environment variable RAYON_NUM_THREADS, read once per process, sets how many);
a count cannot be given per call. It costs more than 100 bytes of memory per byte of text, so batches go
through it in chunks, which also lets Ctrl-C through between them. A fork after its use is safe; version 0.21
prints a line about it in the new process, later ones do not.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from gristmill.errors import TokenizerError

# About a quarter of a second of work for each core.
_CHUNK_CHARACTERS_PER_CORE = 1 << 18


def default_num_threads() -> int:
    """Return how many CPU cores this process may use.

    Example:
        >>> default_num_threads() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


class ReferenceEncoder:
    """A private `tokenizers.Tokenizer` of a `tokenizer.json`, built when first used, never changed after.

    Each meaning of special tokens in texts gets an object of its own: toggling one would race between
    threads. No lock guards the building (two threads may both do it), so that a fork can never inherit a
    held one.
    """

    def __init__(self, tokenizer_json: str, name: str) -> None:
        self._json = tokenizer_json
        self._name = name
        self._built: dict[bool, tokenizers.Tokenizer] = {}

    def build(self) -> tokenizers.Tokenizer:
        """Return a new object as the file describes it, special tokens matching in texts."""
        try:
            return tokenizers.Tokenizer.from_str(self._json)
        except BaseException as error:
            if not _is_failure(error):
                raise
            raise TokenizerError(
                f"{self._name}: the installed tokenizers cannot read it: {error} (expected a tokenizer.json)"
            ) from None

    def get(self, allow_special: bool = False) -> tokenizers.Tokenizer:
        """Return the shared object. Nobody may change it."""
        if allow_special not in self._built:
            built = self.build()
            built.no_truncation()
            built.no_padding()
            built.encode_special_tokens = not allow_special
            self._built[allow_special] = built
        return self._built[allow_special]

    def encode(self, text: str, allow_special: bool) -> list[int]:
        """Return the ids of one text."""
        (encoding,) = _guarded(
            lambda texts: [self.get(allow_special).encode(texts[0], add_special_tokens=False)], [text], 0
        )
        ids: list[int] = encoding.ids
        return ids

    def encode_batch(
        self, texts: Sequence[str], allow_special: bool, dtype: np.dtype[Any]
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return `(ids, offsets)` of a batch: ids flat, offsets int64, one more than texts."""
        encode = self.get(allow_special).encode_batch_fast
        ids: list[NDArray[Any]] = []
        lengths = [0]
        for encoding in _chunked(lambda chunk: encode(chunk, add_special_tokens=False), texts):
            ids.append(np.array(encoding.ids, dtype=dtype))
            lengths.append(len(ids[-1]))
        flat = np.concatenate(ids) if ids else np.empty(0, dtype=dtype)
        return flat, np.cumsum(lengths, dtype=np.int64)

    def encode_with_spans(
        self, texts: Sequence[str], dtype: np.dtype[Any]
    ) -> Iterator[tuple[list[str], NDArray[Any], NDArray[np.int64], NDArray[np.int64]]]:
        """Yield `(texts, ids, offsets, spans)` chunk by chunk.

        Spans are `(num_tokens, 2)`, int64: the characters of its text that a token covers.
        """
        encode = self.get().encode_batch
        for first, chunk in _chunks(texts):
            encodings = _guarded(lambda part: encode(part, add_special_tokens=False), chunk, first)
            offsets = np.cumsum([0, *(len(encoding) for encoding in encodings)], dtype=np.int64)
            ids = np.fromiter(itertools.chain.from_iterable(e.ids for e in encodings), dtype, offsets[-1])
            spans = np.array([span for e in encodings for span in e.offsets], dtype=np.int64).reshape(-1, 2)
            yield chunk, ids, offsets, spans


def _chunked(encode: Callable[[list[str]], list[Any]], texts: Sequence[str]) -> Iterator[Any]:
    for first, chunk in _chunks(texts):
        yield from _guarded(encode, chunk, first)


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Cut a batch into runs of about a fixed number of characters; yield each with its first index."""
    limit = _CHUNK_CHARACTERS_PER_CORE * default_num_threads()
    first, size = 0, 0
    for index, text in enumerate(texts):
        if size and size + len(text) > limit:
            yield first, list(texts[first:index])
            first, size = index, 0
        size += len(text) + 1  # an empty text is work, too
    if first < len(texts):
        yield first, list(texts[first:])


def _guarded(encode: Callable[[list[str]], list[Any]], texts: list[str], first: int) -> list[Any]:
    """Call `encode`; turn what `tokenizers` raises, its panics too, into an error that names the document."""
    try:
        return encode(texts)
    except BaseException as error:
        if not _is_failure(error):
            raise
        index, cause = _culprit(encode, texts, error)
        raise TokenizerError(
            f"document {first + index} of the batch cannot be encoded by the installed tokenizers: {cause} "
            f"(its text begins with {texts[index][:40]!r})"
        ) from None


def _culprit(
    encode: Callable[[list[str]], list[Any]], texts: list[str], error: BaseException
) -> tuple[int, BaseException]:
    """Return the index of the first text that fails alone, with its error."""
    for index, text in enumerate(texts):
        try:
            encode([text])
        except BaseException as alone:
            if not _is_failure(alone):
                raise
            return index, alone
    return 0, error


def _is_failure(error: BaseException) -> bool:
    # A Rust panic arrives as pyo3_runtime.PanicException, which is no Exception and cannot be imported.
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"
