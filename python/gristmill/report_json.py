"""Frozen dataclasses back from the dicts that `dataclasses.asdict` makes, each value checked by its type."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from gristmill.errors import FileFormatError


def from_jsonable(kind: Any, value: object, where: str) -> Any:
    """Return `value` as a `kind`: a dataclass, `tuple[X, ...]`, `X | None`, or a plain type.

    Args:
        kind: the type that is expected.
        value: what `json.loads` gives, or `dataclasses.asdict`.
        where: how errors call the place.

    Raises:
        FileFormatError: a field is missing, unknown or of another type.

    Example:
        >>> from_jsonable(tuple[int, ...], [1, 2], "counts")
        (1, 2)
    """
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(from_jsonable(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return from_jsonable(arguments[0], value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    name = getattr(kind, "__name__", str(kind))
    raise FileFormatError(f"{where} is {value!r} (expected {name})")


def _dataclass(kind: type, value: object, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise FileFormatError(f"{where} is {value!r} (expected a mapping with the parts of {kind.__name__})")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(map(str, set(value) - set(fields)))
    missing = sorted(set(fields) - set(value))
    if unknown or missing:
        raise FileFormatError(
            f"{where} has the unknown parts {unknown} and lacks {missing} (expected those of {kind.__name__})"
        )
    return kind(**{name: from_jsonable(hints[name], value[name], f"{where}.{name}") for name in fields})
