"""Checkpoints: whole or not at all, found by what they hold and never by a pointer.

    checkpoints/step-00000100/
        model.safetensors      parameters by name, tied ones once
        optimizer.safetensors  AdamW's state by parameter name
        optimizer.json         its parameter groups
        rng.safetensors        random states of every rank
        state.json             step, place in the data, counters, configuration, ...
        manifest.json          size and SHA-256 of each file above, and of itself

A checkpoint is good if every file is as its manifest says. The newest good one is found by reading them from
the newest on; damaged ones are passed over, with the reason.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from gristmill import durable
from gristmill.errors import CheckpointError

MANIFEST = "manifest.json"
_VERSION = 1
_TENSOR_FILES = ("model.safetensors", "optimizer.safetensors", "rng.safetensors")
_JSON_FILES = ("optimizer.json", "state.json")
_FOLDER = re.compile(r"step-(\d{8,})")
# a manifest names plain files of its own folder, nothing else
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What one checkpoint holds.

    Attributes:
        model: parameters by name.
        optimizer: optimizer state by `key/parameter name`.
        optimizer_groups: parameter groups, JSON.
        rng: random states by `rank<r>/<name>`.
        state: everything else, JSON; `state["step"]` is the number of optimizer steps taken.
    """

    model: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, torch.Tensor]
    optimizer_groups: list[dict[str, Any]]
    rng: Mapping[str, torch.Tensor]
    state: dict[str, Any]


@dataclass(frozen=True)
class Found:
    """The newest good checkpoint, None if there is none, and why each newer one was passed over."""

    newest: Path | None
    damaged: tuple[tuple[Path, str], ...]


def folder_of_step(root: Path, step: int) -> Path:
    """Return where the checkpoint of a step lies.

    Example:
        >>> folder_of_step(Path("run/checkpoints"), 100).name
        'step-00000100'
    """
    return root / f"step-{step:08d}"


def write_checkpoint(root: Path, checkpoint: Checkpoint) -> Path:
    """Write `root/step-…`, whole or not at all, in the place of one that may be there; return the folder.

    Raises:
        OSError: it could not be written; what was there before is as it was.
    """
    folder = folder_of_step(root, checkpoint.state["step"])
    tensors = (checkpoint.model, checkpoint.optimizer, checkpoint.rng)
    values = (checkpoint.optimizer_groups, checkpoint.state)
    with durable.atomic_folder(folder, replace=True) as temporary:
        for name, content in zip(_TENSOR_FILES, tensors, strict=True):
            durable.write_inside(temporary / name, _tensor_writer(content))
        for name, value in zip(_JSON_FILES, values, strict=True):
            durable.write_inside(temporary / name, json.dumps(value, allow_nan=False).encode())
        files = {
            name: {
                "size": (temporary / name).stat().st_size,
                "sha256": durable.sha256_file(temporary / name),
            }
            for name in (*_TENSOR_FILES, *_JSON_FILES)
        }
        durable.write_inside(
            temporary / MANIFEST,
            _manifest_bytes({"version": _VERSION, "step": checkpoint.state["step"], "files": files}),
        )
    return folder


def _tensor_writer(tensors: Mapping[str, torch.Tensor]) -> Any:
    def write(path: Path) -> None:
        # without gaps and views, which safetensors refuses
        whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        try:
            safetensors.torch.save_file(whole, path)
        except safetensors.SafetensorError as error:  # what it makes of a full disk
            raise OSError(f"{path.name} could not be written: {error}") from error

    return write


def verify_checkpoint(folder: Path) -> None:
    """Compare every file with the manifest.

    Raises:
        CheckpointError: what is missing, damaged, or names something outside the folder.
    """
    manifest = _read_manifest(folder)
    if _FOLDER.fullmatch(folder.name) and folder != folder_of_step(folder.parent, manifest["step"]):
        raise CheckpointError(f"{folder}: the manifest is of step {manifest['step']}")
    files = manifest["files"]
    for name in files:
        if not _FILE_NAME.fullmatch(name):
            raise CheckpointError(f"{folder}: the manifest names {name!r} (expected a file of its folder)")
    missing = {*_TENSOR_FILES, *_JSON_FILES} - set(files)
    if missing:
        raise CheckpointError(f"{folder}: the manifest lacks {', '.join(sorted(missing))}")
    for name, expected in files.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise CheckpointError(f"{path} is missing or no plain file")
        size = path.stat().st_size
        if size != expected["size"]:
            raise CheckpointError(f"{path} has {size} bytes (expected {expected['size']})")
        digest = durable.sha256_file(path)
        if digest != expected["sha256"]:
            raise CheckpointError(f"{path} has the SHA-256 {digest} (expected {expected['sha256']})")


def find_checkpoint(root: Path) -> Found:
    """Look for the newest good checkpoint in `root`; nothing is changed.

    Raises:
        CheckpointError: there are checkpoints, and none of them is good.
    """
    damaged = []
    for folder in sorted(_folders(root), key=lambda path: _step_of(path), reverse=True):
        try:
            verify_checkpoint(folder)
        except (CheckpointError, OSError) as error:
            damaged.append((folder, str(error)))
        else:
            return Found(folder, tuple(damaged))
    if damaged:
        reasons = "; ".join(reason for _, reason in damaged)
        raise CheckpointError(f"none of the {len(damaged)} checkpoints in {root} is good: {reasons}")
    return Found(None, ())


def has_checkpoints(root: Path) -> bool:
    """Return whether `root` holds checkpoints, good or not."""
    return bool(_folders(root))


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a verified checkpoint; tensors on the CPU.

    Raises:
        CheckpointError: a file is unreadable.
    """
    try:
        model, optimizer, rng = (safetensors.torch.load_file(folder / name) for name in _TENSOR_FILES)
        groups, state = (json.loads((folder / name).read_bytes()) for name in _JSON_FILES)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{folder}: cannot be read: {error}") from error
    return Checkpoint(model=model, optimizer=optimizer, optimizer_groups=groups, rng=rng, state=state)


def set_aside(folder: Path) -> Path:
    """Rename a damaged checkpoint out of the way, deleting nothing; return its new name."""
    number = 0
    while (target := folder.with_name(f"damaged-{folder.name}" + (f"-{number}" if number else ""))).exists():
        number += 1
    folder.rename(target)
    return target


def prune_checkpoints(root: Path, keep_last: int | None) -> list[Path]:
    """Remove all but the newest `keep_last` checkpoints; None keeps all. Call it once the newest is complete.

    Each is renamed first, so that one half removed never looks like a checkpoint.
    """
    folders = sorted(_folders(root), key=_step_of)
    surplus = [] if keep_last is None else folders[:-keep_last]
    for folder in surplus:
        doomed = folder.with_name(f".tmp-{folder.name}-pruned")
        folder.rename(doomed)
        shutil.rmtree(doomed)
    return surplus


def load_model(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy saved parameters into a model of the same shape; tied ones are held once.

    Raises:
        CheckpointError: a name, a shape or a type differs.
    """
    own = model_tensors(model)
    if own.keys() != tensors.keys():
        different = ", ".join(sorted(own.keys() ^ tensors.keys())[:4])
        raise CheckpointError(f"the checkpoint is of another model: they differ in {different}")
    with torch.no_grad():
        for name, tensor in own.items():
            saved = tensors[name]
            if saved.shape != tensor.shape or saved.dtype != tensor.dtype:
                raise CheckpointError(
                    f"the checkpoint's {name} is {tuple(saved.shape)} {saved.dtype} "
                    f"(expected {tuple(tensor.shape)} {tensor.dtype})"
                )
            tensor.copy_(saved)


def model_tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return parameters and persistent buffers by name, each tensor once."""
    seen: set[int] = set()
    tensors = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor
    return tensors


def _folders(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return [
        path
        for path in root.iterdir()
        if _FOLDER.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    ]


def _step_of(folder: Path) -> int:
    match = _FOLDER.fullmatch(folder.name)
    return int(match.group(1)) if match else -1


def _manifest_bytes(manifest: dict[str, Any]) -> bytes:
    body = json.dumps(manifest, sort_keys=True)
    return (
        json.dumps({**manifest, "self": hashlib.sha256(body.encode()).hexdigest()}, indent=1).encode() + b"\n"
    )


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
        manifest = json.loads(data)
        content = {key: manifest[key] for key in ("version", "step", "files")}
        # byte for byte, so that no flipped bit passes, be it in a blank
        if data != _manifest_bytes(content):
            raise CheckpointError(f"{path} does not match its own SHA-256")
        if content["version"] != _VERSION:
            raise CheckpointError(f"{path} is of version {content['version']} (expected {_VERSION})")
        for name, file in content["files"].items():
            if not isinstance(file["size"], int) or not isinstance(file["sha256"], str):
                raise CheckpointError(f"{path} says no size and SHA-256 of {name!r}")
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} is unreadable: {error!r}") from error
    return content
