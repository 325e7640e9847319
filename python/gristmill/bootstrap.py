"""How certain a ratio of two sums over documents is: a bootstrap over groups of documents.

    groups        sums of each group of documents: (num_groups, num_columns), empty groups left out
    draws         num_replicates times as many groups as there are, drawn with replacement
    interval      the middle part of the ratios of the replicates (the percentile interval)

Documents are dealt to groups by a hash of their text, so that the memory does not grow with the corpus and
shards can be added up. With fewer documents than groups nearly every document is a group of its own, and this
is the bootstrap of Efron ("Bootstrap Methods: Another Look at the Jackknife", 1979; Efron and Tibshirani, "An
Introduction to the Bootstrap", 1993, chapter 13); with more, groups stand for documents as the random groups
of Wolter ("Introduction to Variance Estimation", 2007, chapter 2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gristmill.report import Interval

_GOLDEN = 0x9E37_79B9_7F4A_7C15
_MASK = (1 << 64) - 1


class GroupBootstrap:
    """Replicates of the sums of groups; the same seed and groups give the same replicates, everywhere.

    Args:
        groups: `(num_groups, num_columns)`, uint64.
        num_replicates: how many.
        confidence: of the intervals, between 0 and 1.
        seed: of the draws.
    """

    def __init__(self, groups: NDArray[np.uint64], num_replicates: int, confidence: float, seed: int) -> None:
        self._filled = groups[groups.any(axis=1)]
        self._confidence = confidence
        self._replicates: NDArray[np.float64] | None = None
        if self.num_groups >= 2 and num_replicates:
            weights = draw_weights(self.num_groups, num_replicates, seed)
            # Exact: all of it are integers below 2**53.
            self._replicates = weights.astype(np.float64) @ self._filled.astype(np.float64)

    @property
    def num_groups(self) -> int:
        """How many groups hold a document."""
        return len(self._filled)

    def interval(
        self, numerator: int, denominator: int, other: tuple[int, int] | None = None
    ) -> Interval | None:
        """Return the interval of a ratio of two columns; None with fewer than two groups.

        With `other`, the ratio of its two columns is subtracted. Replicates without denominator are left out.
        """
        ratios = self.ratios(numerator, denominator, other)
        return None if ratios is None else self.interval_of(ratios)

    def ratios(
        self, numerator: int, denominator: int, other: tuple[int, int] | None = None
    ) -> NDArray[np.float64] | None:
        """Return the replicates of a ratio, as in `interval`: `(num_replicates,)`, NaN without denominator.

        The same documents and seed are the same draws: replicates of two tokenizers are paired one by one.
        """
        if self._replicates is None:
            return None
        ratios = _ratios(self._replicates, numerator, denominator)
        return ratios if other is None else ratios - _ratios(self._replicates, *other)

    def interval_of(self, replicates: NDArray[np.float64]) -> Interval | None:
        """Return the middle part of replicates; None where none of them is a number."""
        ratios = np.sort(replicates[np.isfinite(replicates)])
        if not len(ratios):
            return None
        tail = (1 - self._confidence) / 2
        low, high = np.quantile(ratios, [tail, 1 - tail])
        return Interval(low=float(low), high=float(high))


def draw_weights(num_groups: int, num_replicates: int, seed: int) -> NDArray[np.int64]:
    """Return how often each group is drawn in each replicate: `(num_replicates, num_groups)`, int64.

    The draws are words of SplitMix64 modulo `num_groups`, one after the other.

    Example:
        >>> draw_weights(3, 2, seed=0).sum(axis=1).tolist()
        [3, 3]
    """
    start = _mix_number((seed * _GOLDEN + _GOLDEN) & _MASK)
    counter = np.arange(1, num_replicates * num_groups + 1, dtype=np.uint64)
    words = np.uint64(start) + counter * np.uint64(_GOLDEN)
    words = (words ^ words >> np.uint64(30)) * np.uint64(0xBF58_476D_1CE4_E5B9)
    words = (words ^ words >> np.uint64(27)) * np.uint64(0x94D0_49BB_1331_11EB)
    words ^= words >> np.uint64(31)
    drawn = (words % np.uint64(num_groups)).astype(np.int64).reshape(num_replicates, num_groups)
    places = drawn + np.arange(num_replicates, dtype=np.int64)[:, None] * num_groups
    counts = np.bincount(places.ravel(), minlength=num_replicates * num_groups)
    return counts.reshape(num_replicates, num_groups)


def _mix_number(word: int) -> int:
    word = (word ^ word >> 30) * 0xBF58_476D_1CE4_E5B9 & _MASK
    word = (word ^ word >> 27) * 0x94D0_49BB_1331_11EB & _MASK
    return word ^ word >> 31


def _ratios(sums: NDArray[np.float64], numerator: int, denominator: int) -> NDArray[np.float64]:
    ratios = np.full(len(sums), np.nan)
    np.divide(sums[:, numerator], sums[:, denominator], out=ratios, where=sums[:, denominator] > 0)
    return ratios
