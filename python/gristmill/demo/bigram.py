"""An interpolated Kneser-Ney bigram model: the bar that the demo's GPT-2 has to clear.

With absolute discount d, c(v, w) the count of a pair, N1+(·, w) the number of distinct tokens seen before w,
N the number of distinct pairs, and V the vocabulary's size:

    p(w | v) = max(c(v, w) - d, 0) / c(v)  +  d * N1+(v, ·) / c(v)  *  q(w)
    q(w)     = max(N1+(·, w) - d, 0) / N   +  d * |{w : N1+(·, w) > 0}| / N  *  1 / V

A context that was never seen leaves the whole mass to q, and q leaves some to every token of the vocabulary,
so no probability is zero. From R. Kneser and H. Ney, "Improved backing-off for m-gram language modeling"
(1995), in the interpolated form of S. Chen and J. Goodman (1999).

Pairs are taken inside blocks only: the first token of a block has no context and is never predicted, which is
also what a GPT-2 does with it. So both models are scored on labels 2 to `seq_length` of each block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DISCOUNT = 0.75


@dataclass(frozen=True)
class BigramScore:
    """The bigram model's result on a set of blocks.

    Attributes:
        bits: sum of -log2 p over the predicted positions.
        num_predicted: how many positions that were.
        num_bytes: UTF-8 bytes of the tokens at those positions (special tokens have none).
    """

    bits: float
    num_predicted: int
    num_bytes: int

    @property
    def bits_per_byte(self) -> float:
        """Bits for each byte of text; infinite where there is no byte."""
        return self.bits / self.num_bytes if self.num_bytes else float("inf")


class BigramModel:
    """Interpolated Kneser-Ney bigram over blocks of token ids.

    Args:
        blocks: `(num_blocks, seq_length)` token ids, any integer dtype.
        vocab_size: number of ids; every id must be below it.
        num_valid: `(num_blocks,)`, how many ids of each block are real (None: all).
        discount: between 0 and 1.

    Raises:
        ValueError: blocks are not two-dimensional or hold ids outside the vocabulary; a bad discount.

    Example:
        >>> model = BigramModel(np.array([[0, 1, 0, 1]]), vocab_size=2)
        >>> model.probabilities(0).sum().round(12)
        np.float64(1.0)
    """

    def __init__(
        self,
        blocks: NDArray[Any],
        vocab_size: int,
        *,
        num_valid: NDArray[np.int64] | None = None,
        discount: float = DISCOUNT,
    ) -> None:
        if not 0 < discount <= 1:
            raise ValueError(f"discount is {discount!r} (expected a number above 0, at most 1)")
        self.vocab_size = vocab_size
        self.discount = discount
        previous, following = self._pairs(blocks, num_valid)
        # One sorted array of pair codes: memory follows the pairs that occur, not the vocabulary's square.
        self._codes, self._counts = np.unique(previous * vocab_size + following, return_counts=True)

        contexts, continuations = np.divmod(self._codes, vocab_size)
        context_counts = np.bincount(contexts, weights=self._counts, minlength=vocab_size)
        followers = np.bincount(contexts, minlength=vocab_size)
        predecessors = np.bincount(continuations, minlength=vocab_size)

        num_pairs = max(len(self._codes), 1)
        uniform_mass = discount * np.count_nonzero(predecessors) / num_pairs if len(self._codes) else 1.0
        # (vocab_size,) float64 each: q(w), c(v), and the mass that context v leaves to q
        self._continuation = np.maximum(predecessors - discount, 0) / num_pairs + uniform_mass / vocab_size
        self._context_counts = np.maximum(context_counts, 1)
        self._backoff_mass = np.where(context_counts > 0, discount * followers / self._context_counts, 1.0)

    def probabilities(self, context: int) -> NDArray[np.float64]:
        """p(w | context) for every token w: `(vocab_size,)`, sums to 1."""
        following = np.arange(self.vocab_size, dtype=np.int64)
        return self._probability(np.full_like(following, context), following)

    def score(
        self,
        blocks: NDArray[Any],
        token_byte_lengths: NDArray[Any],
        num_valid: NDArray[np.int64] | None = None,
    ) -> BigramScore:
        """Score `(num_blocks, seq_length)` ids; token i stands for `token_byte_lengths[i]` UTF-8 bytes."""
        previous, following = self._pairs(blocks, num_valid)
        return BigramScore(
            bits=float(-np.log2(self._probability(previous, following)).sum()),
            num_predicted=len(following),
            num_bytes=int(np.asarray(token_byte_lengths, dtype=np.int64)[following].sum()),
        )

    def _probability(self, previous: NDArray[Any], following: NDArray[Any]) -> NDArray[np.float64]:
        codes = previous * self.vocab_size + following
        interpolated: NDArray[np.float64] = self._backoff_mass[previous] * self._continuation[following]
        if not len(self._codes):
            return interpolated
        place = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        counts = np.where(self._codes[place] == codes, self._counts[place], 0)
        interpolated += np.maximum(counts - self.discount, 0) / self._context_counts[previous]
        return interpolated

    def _pairs(
        self, blocks: NDArray[Any], num_valid: NDArray[np.int64] | None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """The (previous, following) ids of all predicted positions, flat."""
        if blocks.ndim != 2:
            raise ValueError(f"blocks have shape {blocks.shape} (expected two dimensions: blocks, ids)")
        if blocks.size and not 0 <= int(blocks.min()) <= int(blocks.max()) < self.vocab_size:
            raise ValueError(
                f"blocks hold ids from {blocks.min()} to {blocks.max()} (expected 0 to {self.vocab_size - 1})"
            )
        ids = blocks.astype(np.int64)
        previous, following = ids[:, :-1], ids[:, 1:]
        if num_valid is None:
            return previous.ravel(), following.ravel()
        real = np.arange(1, ids.shape[1]) < np.asarray(num_valid)[:, None]
        return previous[real], following[real]
