"""Why a size is advised, in sentences that hold for this curve: also at its ends, and within the noise.

The rule of thumb asks for the smallest size whose next doubling saves less than a share of the tokens. A
curve has ends, though: none of its sizes may meet the rule, or the first one may; the corpus may have no
pairs to merge for the sizes that were asked for; and what a doubling saves is known up to an interval.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from gristmill.report import Interval


@dataclass(frozen=True, kw_only=True)
class MeasuredCurve:
    """What is known before the sentences are written.

    Attributes:
        sizes: of the curve, ascending.
        savings: share of the tokens that a doubling saves, from each size to the next, with its interval.
        minimum_saving: the share that the rule asks for.
        smallest_possible: the size without any merge.
        asked: the sizes that were asked for, ascending; those above `sizes[-1]` have no merges.
    """

    sizes: Sequence[int]
    savings: Sequence[tuple[float, Interval | None]]
    minimum_saving: float
    smallest_possible: int
    asked: Sequence[int]

    @property
    def place(self) -> int | None:
        """Where the smallest size that meets the rule stands; None where none does."""
        found = (place for place, (saved, _) in enumerate(self.savings) if saved < self.minimum_saving)
        return next(found, None)

    @property
    def recommended(self) -> int:
        """The size that the rule picks, the largest one where it picks none."""
        return self.sizes[-1] if self.place is None else self.sizes[self.place]

    @property
    def beyond(self) -> list[int]:
        """The sizes asked for that the corpus has no pairs to merge for."""
        return [size for size in self.asked if size > self.sizes[-1]]


def is_in_doublings(sizes: Sequence[int]) -> bool:
    """Tell whether each size is twice the one before."""
    return all(large == 2 * small for small, large in itertools.pairwise(sizes))


def rule_in_words(curve: MeasuredCurve) -> str:
    """Return the rule of thumb.

    Example:
        >>> rule_in_words(curve)  # doctest: +SKIP
        'the smallest size measured whose next doubling saves under 5% of the tokens'
    """
    per_doubling = "" if is_in_doublings(curve.sizes) else ", each step counted per doubling"
    return (
        "the smallest size measured whose next doubling saves under "
        f"{_share(curve.minimum_saving)} of the tokens{per_doubling}"
    )


def reason(curve: MeasuredCurve) -> str:
    """Return why the recommended size is named."""
    if curve.place is not None:
        return rule_in_words(curve)
    saved, _ = curve.savings[-1]
    return (
        "the largest size measured, named for want of a larger one: no size meets the rule, and the step up "
        f"to this one still saves {saved:.2%} per doubling; the rule is {rule_in_words(curve)}"
    )


def notes(curve: MeasuredCurve) -> tuple[str, ...]:
    """Return what has to be known beside the reason, the most important first."""
    said = []
    if curve.beyond:
        left_out = _listed(curve.beyond)
        stands = (
            "stands on the curve for" if curve.sizes[-1] not in curve.asked else "ends the curve, without"
        )
        said.append(
            f"The corpus ran out of pairs to merge at {curve.sizes[-1]:,} tokens, which {stands} {left_out}: "
            "only a larger corpus gives a larger vocabulary."
        )
    elif curve.place is None:
        said.append(
            "The curve still falls at the largest size: a larger one may be worth its parameters (ask for "
            "larger sizes)."
        )
    if curve.place == 0 and curve.sizes[0] > curve.smallest_possible:
        said.append(
            f"No size below {curve.sizes[0]:,} was measured: a smaller one may do (ask for smaller sizes)."
        )
    return (*said, *_noise(curve))


def _noise(curve: MeasuredCurve) -> list[str]:
    """Say which other size the rule may as well have picked, for all that the documents tell."""
    last = len(curve.savings) - 1
    # The step that decided against the size before, and the one that decided for this size.
    deciding = (
        [last] if curve.place is None else [place for place in (curve.place - 1, curve.place) if place >= 0]
    )
    said = []
    for place in deciding:
        saved, interval = curve.savings[place]
        if interval is None or not interval.low <= curve.minimum_saving <= interval.high:
            continue
        other = curve.sizes[place + 1] if place == curve.place else curve.sizes[place]
        said.append(
            f"The choice lies within the noise: after {curve.sizes[place]:,} tokens a doubling saves "
            f"{saved:.2%}, and {_share(curve.minimum_saving)} lies within its interval, "
            f"{interval.low:.2%} to {interval.high:.2%}; {other:,} tokens may do as well."
        )
    return said


def _listed(sizes: Sequence[int]) -> str:
    return (
        " and ".join(f"{size:,}" for size in sizes)
        if len(sizes) < 3
        else ", ".join(f"{size:,}" for size in sizes)
    )


def _share(value: float) -> str:
    return f"{value * 100:.3g}%"
