"""Checks of configuration fields: each raises a `ConfigError` that names key, value and what was expected."""

from __future__ import annotations

import math
from typing import NoReturn, get_args

from gristmill.errors import ConfigError


def refuse(key: str, value: object, expected: str) -> NoReturn:
    """Raise the error: `key` has this `value`, something else was `expected`."""
    raise ConfigError(f"{key} is {'null' if value is None else repr(value)} (expected {expected})")


def check_integer(
    section: str,
    config: object,
    name: str,
    *,
    minimum: int,
    maximum: int | None = None,
    optional: bool = False,
) -> None:
    """Check a whole number between `minimum` and `maximum`; true and false are none."""
    value = getattr(config, name)
    if optional and value is None:
        return
    too_big = maximum is not None and isinstance(value, int) and value > maximum
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum or too_big:
        upper = "or more" if maximum is None else f"to {maximum}"
        refuse(
            f"{section}.{name}", value, f"a whole number, {minimum} {upper}{', or null' if optional else ''}"
        )


def check_number(
    section: str,
    config: object,
    name: str,
    *,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    optional: bool = False,
) -> None:
    """Check a finite number within bounds: `minimum` and `maximum` inclusive, `above` and `below` not."""
    value = getattr(config, name)
    if optional and value is None:
        return
    valid = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not valid or not (minimum <= value <= maximum and above < value < below):
        bounds = [
            f"{word} {bound:g}"
            for word, bound in (
                ("at least", minimum),
                ("at most", maximum),
                ("above", above),
                ("below", below),
            )
            if math.isfinite(bound)
        ]
        refuse(
            f"{section}.{name}", value, f"a number, {' and '.join(bounds)}{', or null' if optional else ''}"
        )


def check_text(section: str, config: object, name: str) -> None:
    """Check a text that is not empty."""
    value = getattr(config, name)
    if not isinstance(value, str) or not value:
        refuse(f"{section}.{name}", value, "a text that is not empty")


def check_boolean(section: str, config: object, name: str) -> None:
    """Check true or false."""
    value = getattr(config, name)
    if not isinstance(value, bool):
        refuse(f"{section}.{name}", value, "true or false")


def check_choice(section: str, config: object, name: str, literal: object) -> None:
    """Check that the value is one of those that a `Literal` lists."""
    value = getattr(config, name)
    if value not in get_args(literal):
        refuse(f"{section}.{name}", value, f"one of: {', '.join(get_args(literal))}")
