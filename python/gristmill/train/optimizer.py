"""AdamW with weight decay where it belongs, its learning rate, and its state as tensors by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from gristmill.errors import CheckpointError
from gristmill.train.config import TrainingConfig


def build_optimizer(model: torch.nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """Build AdamW; tensors of two or more dimensions decay, biases and norms do not.

    Example:
        >>> optimizer = build_optimizer(
        ...     torch.nn.Linear(2, 2), TrainingConfig(output_dir="run", max_steps=1, weight_decay=0.1)
        ... )
        >>> [(group["weight_decay"], group["names"]) for group in optimizer.param_groups]
        [(0.1, ['weight']), (0.0, ['bias'])]
    """
    parameters = dict(model.named_parameters())
    groups = []
    for decays in (True, False):
        names = [name for name, parameter in parameters.items() if (parameter.dim() >= 2) == decays]
        groups.append(
            {
                "params": [parameters[name] for name in names],
                "names": names,
                "weight_decay": config.weight_decay if decays else 0.0,
            }
        )
    return torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), eps=config.epsilon, fused=True
    )


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Return the learning rate of optimizer step `step`, counted from 0: a pure function, nothing to save.

    It rises linearly over `warmup_steps` (the first step already moves), then stays, or follows half a
    cosine down to `min_learning_rate_ratio` at the last step, and stays there.

    Example:
        >>> config = TrainingConfig(output_dir="run", max_steps=5, warmup_steps=2, learning_rate=1.0)
        >>> [round(learning_rate(step, config), 3) for step in range(6)]
        [0.5, 1.0, 1.0, 0.55, 0.1, 0.1]
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    decay_steps = config.resolved_decay_steps
    if decay_steps is None:
        return config.learning_rate
    # the last step of the decay, decay_steps - 1, is the one at the minimum
    length = max(1, decay_steps - 1 - config.warmup_steps)
    progress = min(1.0, (step - config.warmup_steps) / length)
    cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
    ratio = config.min_learning_rate_ratio
    return config.learning_rate * (ratio + (1.0 - ratio) * cosine)


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Give every parameter group the learning rate `value`."""
    for group in optimizer.param_groups:
        group["lr"] = value


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return the state as `{"exp_avg/transformer.wte.weight": tensor, ...}`; empty before the first step."""
    tensors = {}
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"{key}/{name}"] = value
    return tensors


def optimizer_groups(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Return the parameter groups as JSON: names and hyperparameters."""
    return [
        {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in group.items()
            if key != "params"
        }
        for group in optimizer.param_groups
    ]


def load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor], groups: list[dict[str, Any]]
) -> None:
    """Put a saved state into an optimizer of the same model.

    Raises:
        CheckpointError: groups, names or shapes differ.
    """
    saved_names = [group["names"] for group in groups]
    names = [group["names"] for group in optimizer.param_groups]
    if saved_names != names:
        raise CheckpointError("the optimizer state is of other parameters (expected those of the model)")
    index = {name: number for number, name in enumerate(name for group in names for name in group)}
    parameters = {
        name: parameter
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
    }
    state: dict[int, dict[str, torch.Tensor]] = {}
    for path, tensor in tensors.items():
        key, _, name = path.partition("/")
        if name not in index or (tensor.dim() > 0 and tensor.shape != parameters[name].shape):
            raise CheckpointError(
                f"the optimizer state {path!r} of shape {tuple(tensor.shape)} fits no parameter"
            )
        state.setdefault(index[name], {})[key] = tensor
    own = optimizer.state_dict()["param_groups"]
    restored = [
        group | {key: tuple(value) if key == "betas" else value for key, value in saved.items()}
        for group, saved in zip(own, groups, strict=True)
    ]
    optimizer.load_state_dict({"state": state, "param_groups": restored})
