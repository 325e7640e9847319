"""How fast the training goes."""

from __future__ import annotations

import time


class Timer:
    """Tokens per second of training since the last time that it was asked, pauses left out."""

    def __init__(self) -> None:
        self._tokens = 0
        self._seconds = 0.0
        self._total = 0.0
        self._last = time.monotonic()

    def restart(self) -> None:
        """Begin to count from now on."""
        self._last = time.monotonic()

    def count(self, tokens: int) -> None:
        """Count `tokens` for the time since the last call."""
        now = time.monotonic()
        self._seconds += now - self._last
        self._total += now - self._last
        self._last = now
        self._tokens += tokens

    def tokens_per_second(self) -> float:
        """Return the speed since the last time this was asked."""
        speed = self._tokens / max(self._seconds, 1e-9)
        self._tokens, self._seconds = 0, 0.0
        return speed

    def take_seconds(self) -> float:
        """Return the seconds since the last time this was asked."""
        total, self._total = self._total, 0.0
        return total

    def paused(self) -> Pause:
        """Return a context whose time does not count."""
        return Pause(self)


class Pause:
    """What happens inside a `with` block of it does not count."""

    def __init__(self, timer: Timer) -> None:
        self._timer = timer

    def __enter__(self) -> None:
        self._timer.count(0)

    def __exit__(self, *_: object) -> None:
        self._timer.restart()
