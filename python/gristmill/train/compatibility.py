"""Whether a checkpoint belongs to this run: same tokenizer, same configuration where it matters."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from gristmill.errors import ResumeError
from gristmill.train.config import RunConfig, TrainingConfig

_ABSENT = "absent"


def refuse_other_run(saved: Mapping[str, Any], config: RunConfig, tokenizer_fingerprint: str) -> list[str]:
    """Compare what a checkpoint was made with to this run; return the free fields that differ, as text.

    `saved` is a checkpoint's state: it holds `config` (what `RunConfig.to_dict` gave) and
    `tokenizer_fingerprint`.

    Raises:
        ResumeError: a field that the sequence of steps depends on differs, or the tokenizer does; the
            message names the field and both values.
    """
    if saved["tokenizer_fingerprint"] != tokenizer_fingerprint:
        raise ResumeError(
            "the checkpoint was made with another tokenizer: its fingerprint is "
            f"{saved['tokenizer_fingerprint']}, "
            f"that of data.tokenizer {config.data.tokenizer!r} is {tokenizer_fingerprint} (expected the same)"
        )
    free_changes = []
    for key, old, new, is_free in _differences(saved["config"], config):
        if not is_free:
            raise ResumeError(
                f"the checkpoint was made with another configuration: {key} was {_show(old)}, "
                f"is now {_show(new)} (expected the same, as the steps depend on it)"
            )
        free_changes.append(f"{key}: {_show(old)} -> {_show(new)}")
    return free_changes


def _differences(saved: Mapping[str, Any], config: RunConfig) -> Iterator[tuple[str, Any, Any, bool]]:
    yield from _walk("", saved, config.to_dict(), config, False)
    old, new = _decay_steps(saved["training"]), config.training.resolved_decay_steps
    if old != new:  # null means max_steps, which alone is free
        yield "training.decay_steps (null takes max_steps)", old, new, False


def _decay_steps(training: Mapping[str, Any]) -> Any:
    if training["schedule"] == "constant":
        return None
    return training["max_steps"] if training["decay_steps"] is None else training["decay_steps"]


def _walk(
    prefix: str, saved: Mapping[str, Any], current: Mapping[str, Any], config: Any, is_free: bool
) -> Iterator[tuple[str, Any, Any, bool]]:
    for field in dataclasses.fields(config):
        key = f"{prefix}{field.name}"
        if (type(config), field.name) == (TrainingConfig, "decay_steps"):
            continue
        old, new = saved.get(field.name, _ABSENT), current[field.name]
        free = is_free or bool(field.metadata.get("free"))
        if old == new:
            continue
        if isinstance(old, dict) and dataclasses.is_dataclass(getattr(config, field.name)):
            yield from _walk(f"{key}.", old, new, getattr(config, field.name), free)
        else:
            # a corpus to evaluate on does not change what is learnt
            yield key, old, new, free or key == "data.validation"


def _show(value: object) -> str:
    return "null" if value is None else repr(value)
