"""Stop signals: noted when they come, acted on by all ranks at the next step boundary."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

_Handler = Callable[[int, FrameType | None], object] | int | None

# EX_TEMPFAIL of sysexits.h: not done, worth starting again (with --resume)
EXIT_STOPPED = 75


class StopFlag:
    """Says whether SIGTERM or SIGINT has come.

    The first signal only sets the flag. In a process of its own, a second SIGINT interrupts at once; under
    torchrun, which passes a Ctrl-C on to ranks that the terminal has already told, it does not.

    Example:
        >>> StopFlag().requested
        False
    """

    def __init__(self) -> None:
        self.requested = False
        self.signal_name = ""
        self._previous: dict[int, _Handler] = {}

    def install(self) -> StopFlag:
        """Listen from now on; does nothing outside the main thread, where Python allows no handlers."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def restore(self) -> None:
        """Listen no more: signals do what they did before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _note(self, number: int, _: FrameType | None) -> None:
        is_second = self.requested and number == signal.SIGINT
        self.requested = True
        self.signal_name = signal.Signals(number).name
        if is_second and "TORCHELASTIC_RUN_ID" not in os.environ:
            raise KeyboardInterrupt
