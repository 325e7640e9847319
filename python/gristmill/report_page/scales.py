"""Axes: where a value lies, in per cent of the plot, and which values get a label."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_MOST_TICKS = 6


@dataclass(frozen=True)
class Scale:
    """A linear or logarithmic axis from `low` to `high`."""

    low: float
    high: float
    is_log: bool = False

    @classmethod
    def over(cls, values: Iterable[float], is_log: bool = False, from_zero: bool = False) -> Scale:
        """Return an axis that holds the values, with a little room on both sides.

        Example:
            >>> Scale.over([1, 100], is_log=True).position(10)
            50.0
        """
        found = list(values) or [1.0]
        low, high = min(found), max(found)
        if is_log:
            room = (high / low) ** 0.04 if high > low else 1.5
            return cls(low / room, high * room, True)
        room = (high - low) * 0.06 if high > low else abs(high) * 0.1 or 1.0
        return cls(0.0 if from_zero else low - room, high + room, False)

    def position(self, value: float) -> float:
        """Return where a value lies, from 0 to 100."""
        if self.is_log:
            return 100 * math.log(value / self.low) / math.log(self.high / self.low)
        return 100 * (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Return a few round values on the axis.

        Example:
            >>> Scale(1, 1000, True).ticks(), Scale(0, 9.4).ticks()
            ([1.0, 10.0, 100.0, 1000.0], [0.0, 2.0, 4.0, 6.0, 8.0])
        """
        return self._log_ticks() if self.is_log else self._linear_ticks()

    def _log_ticks(self) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        ticks: list[float] = []
        for steps in ((1, 2, 5), (1, 3), (1,)):
            ticks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
            ticks = [tick for tick in ticks if self.low <= tick <= self.high]
            if len(ticks) <= _MOST_TICKS:
                break
        if len(ticks) < 2:
            return self._linear_ticks()
        return ticks[:: -(-len(ticks) // _MOST_TICKS)]

    def _linear_ticks(self) -> list[float]:
        rough = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(number * step, 12) for number in range(first, last + 1)]


def short(value: float) -> str:
    """Write a tick in few characters.

    Example:
        >>> [short(value) for value in (0.25, 10.0, 1500.0, 2e6)]
        ['0.25', '10', '1.5k', '2M']
    """
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{suffix}"
    return f"{value:.4g}"
