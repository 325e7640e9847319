"""The random states of a rank: captured as tensors, restored, or derived from a seed. Never a pickle."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping

import numpy as np
import safetensors.torch
import torch

from gristmill.errors import CheckpointError

# Python's and numpy's gauss caches are a float or nothing: NaN stands for nothing
_NO_GAUSS = float("nan")


def derive_seed(seed: int, purpose: str, step: int, rank: int) -> int:
    """Hash the four to 63 bits, so that no two purposes, steps or ranks share a sequence.

    Example:
        >>> derive_seed(0, "dropout", 0, 0) != derive_seed(0, "dropout", 0, 1)
        True
    """
    text = f"{seed}/{purpose}/{step}/{rank}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little") >> 1


def seed_all(seed: int) -> None:
    """Seed torch (every device), numpy and Python in this process."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def capture(device: torch.device) -> bytes:
    """Return this rank's random states as safetensors bytes: torch CPU and CUDA, numpy, Python."""
    _, numpy_key, numpy_position, has_gauss, numpy_gauss = np.random.get_state(legacy=True)
    _, python_key, python_gauss = random.getstate()
    tensors = {
        "torch_cpu": torch.get_rng_state(),
        "numpy_key": torch.from_numpy(np.asarray(numpy_key, dtype=np.int64)),
        "numpy_position": torch.tensor([int(numpy_position)], dtype=torch.int64),
        "numpy_gauss": torch.tensor([numpy_gauss if has_gauss else _NO_GAUSS], dtype=torch.float64),
        "python_key": torch.tensor(python_key, dtype=torch.int64),
        "python_gauss": torch.tensor(
            [_NO_GAUSS if python_gauss is None else python_gauss], dtype=torch.float64
        ),
    }
    if device.type == "cuda":
        tensors["torch_cuda"] = torch.cuda.get_rng_state(device)
    return safetensors.torch.save(tensors)


def restore(tensors: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Set this rank's random states to captured ones, by the names that `capture` gives.

    Raises:
        CheckpointError: a state is missing.
    """
    try:
        torch.set_rng_state(tensors["torch_cpu"])
        if device.type == "cuda" and "torch_cuda" in tensors:  # saved on a CPU: the CUDA state stays seeded
            torch.cuda.set_rng_state(tensors["torch_cuda"], device)
        gauss = float(tensors["numpy_gauss"].item())
        np.random.set_state(
            (
                "MT19937",
                tensors["numpy_key"].numpy().astype(np.uint32),
                int(tensors["numpy_position"].item()),
                int(not np.isnan(gauss)),
                0.0 if np.isnan(gauss) else gauss,
            )
        )
        gauss = float(tensors["python_gauss"].item())
        key = tuple(tensors["python_key"].tolist())
    except KeyError as error:
        raise CheckpointError(f"the random state {error.args[0]!r} is missing from a checkpoint") from error
    random.setstate((3, key, None if np.isnan(gauss) else gauss))
