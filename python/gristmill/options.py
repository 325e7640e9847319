"""Checks of option values, one wording for all: what was given, and what was expected."""

from __future__ import annotations

import math
import operator

from gristmill.errors import ConfigError


def check_count(name: str, value: object, minimum: int, maximum: int | None = None) -> int:
    """Return `value` as an int between `minimum` and `maximum` (both included).

    Raises:
        TypeError: not a whole number (`True` is none, nor is 2.0).
        ConfigError: out of range; a ValueError.

    Example:
        >>> check_count("num_lanes", 16, 1)
        16
        >>> check_count("seq_length", 1, 2)
        Traceback (most recent call last):
        gristmill.errors.ConfigError: seq_length is 1 (expected an integer of at least 2)
    """
    expected = f"an integer of at least {minimum}"
    if maximum is not None:
        expected = f"an integer from {minimum} to {maximum}"
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{name} is {value!r} (expected {expected})")
    if number < minimum or (maximum is not None and number > maximum):
        raise ConfigError(f"{name} is {number} (expected {expected})")
    return number


def check_flag(name: str, value: object) -> bool:
    """Return `value`, which has to be True or False.

    Raises:
        TypeError: anything else; 0 and "no" are not taken for False.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {value!r} (expected True or False)")
    return value


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> str:
    """Return `value`, which has to be one of `choices`.

    Raises:
        ConfigError: it is not; a ValueError.
    """
    if not isinstance(value, str) or value not in choices:
        raise ConfigError(f"{name} is {value!r} (expected {' or '.join(map(repr, choices))})")
    return value


def check_positive(name: str, value: object) -> float:
    """Return `value` as a float above 0 that is not infinite.

    Raises:
        TypeError: no number. ConfigError: out of range; a ValueError.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is {value!r} (expected a number above 0)")
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} is {value} (expected a number above 0)")
    return float(value)
