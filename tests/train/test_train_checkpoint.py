"""Checkpoints: what goes in comes out, and damage is found every time (faults rows 7 and 16)."""

from __future__ import annotations

import json
import pickle
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from gristmill import durable
from gristmill.errors import CheckpointError
from gristmill.train.checkpoint import (
    MANIFEST,
    Checkpoint,
    _manifest_bytes,
    find_checkpoint,
    load_model,
    model_tensors,
    prune_checkpoints,
    read_checkpoint,
    set_aside,
    verify_checkpoint,
    write_checkpoint,
)
from gristmill.train.config import TrainingConfig
from gristmill.train.optimizer import (
    build_optimizer,
    load_optimizer,
    optimizer_groups,
    optimizer_tensors,
)


@dataclass
class Trained:
    model: torch.nn.Module
    optimizer: torch.optim.AdamW


def train_a_little(num_steps: int, seed: int = 0) -> Trained:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 2))
    optimizer = build_optimizer(model, TrainingConfig(output_dir="run", max_steps=9))
    for _ in range(num_steps):
        optimizer.zero_grad()
        model(torch.rand(3, 4)).square().sum().backward()
        optimizer.step()
    return Trained(model, optimizer)


def checkpoint_of(trained: Trained, step: int) -> Checkpoint:
    return Checkpoint(
        model=model_tensors(trained.model),
        optimizer=optimizer_tensors(trained.optimizer),
        optimizer_groups=optimizer_groups(trained.optimizer),
        rng={"rank0/x": torch.tensor([step])},
        state={"step": step},
    )


def test_a_checkpoint_gives_back_model_and_optimizer(tmp_path: Path) -> None:
    trained = train_a_little(3)
    folder = write_checkpoint(tmp_path, checkpoint_of(trained, 3))
    assert folder == tmp_path / "step-00000003"
    verify_checkpoint(folder)
    read = read_checkpoint(folder)
    other = train_a_little(0, seed=1)
    load_model(other.model, read.model)
    load_optimizer(other.optimizer, read.optimizer, read.optimizer_groups)
    for each in (trained, other):
        torch.manual_seed(9)
        each.optimizer.zero_grad()
        each.model(torch.rand(3, 4)).square().sum().backward()
        each.optimizer.step()
    for one, two in zip(trained.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(one, two)
    assert other.optimizer.param_groups[0]["betas"] == (0.9, 0.95)


def test_before_the_first_step_there_is_no_optimizer_state(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, checkpoint_of(train_a_little(0), 0))
    assert read_checkpoint(folder).optimizer == {}


def test_tied_weights_are_held_once(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    model[1].weight = model[0].weight
    assert sorted(model_tensors(model)) == ["0.bias", "0.weight", "1.bias"]
    saved = {name: torch.ones_like(tensor) for name, tensor in model_tensors(model).items()}
    load_model(model, saved)
    assert torch.equal(model[1].weight, torch.ones(4, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("0.bias"), "they differ in 0.bias"),
        (lambda tensors: tensors.update({"0.bias": torch.ones(3)}), r"0.bias is \(3,\)"),
        (lambda tensors: tensors.update({"0.bias": torch.ones(8).double()}), "torch.float64"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(change: Any, message: str) -> None:
    tensors = dict(model_tensors(train_a_little(1).model))
    change(tensors)
    with pytest.raises(CheckpointError, match=message):
        load_model(train_a_little(0).model, tensors)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 30, 100_000_000):
        write_checkpoint(tmp_path, checkpoint_of(train_a_little(1), step))
    assert [path.name for path in prune_checkpoints(tmp_path, 2)] == ["step-00000001", "step-00000002"]
    assert prune_checkpoints(tmp_path, None) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000030", "step-100000000"]
    newest = find_checkpoint(tmp_path).newest
    assert newest is not None
    assert newest.name == "step-100000000"


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    trained = train_a_little(2)
    first, second = (write_checkpoint(tmp_path, checkpoint_of(trained, step)) for step in (1, 2))
    return first, second


FILES = (
    "model.safetensors",
    "optimizer.safetensors",
    "optimizer.json",
    "rng.safetensors",
    "state.json",
    MANIFEST,
)


@pytest.mark.parametrize("name", FILES)
def test_damage_is_found_every_time(two: tuple[Path, Path], name: str) -> None:
    """Row 7: truncated at 0, half, last byte; one bit flipped, at 40 seeded places of each file; removed."""
    first, second = two
    path = second / name
    whole = path.read_bytes()
    rng_ = random.Random(name)
    places = [rng_.randrange(8 * len(whole)) for _ in range(40)] + [0, 8 * len(whole) - 1]
    damaged = [b"", whole[: len(whole) // 2], whole[:-1], whole + b"\0"]
    damaged += [flipped(whole, place) for place in places]
    for data in damaged:
        path.write_bytes(data)
        found = find_checkpoint(first.parent)
        assert found.newest == first
        assert [folder for folder, _ in found.damaged] == [second]
        assert name in found.damaged[0][1]
    path.unlink()
    assert find_checkpoint(first.parent).newest == first
    path.write_bytes(whole)
    assert find_checkpoint(first.parent).newest == second


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_every_byte_of_a_manifest_counts(two: tuple[Path, Path]) -> None:
    path = two[1] / MANIFEST
    whole = path.read_bytes()
    for number in range(len(whole)):
        path.write_bytes(flipped(whole, 8 * number + number % 8))
        with pytest.raises(CheckpointError):
            verify_checkpoint(two[1])


def resign(folder: Path, change: Any) -> None:
    """Change a manifest, and sign it again as an attacker could."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest.pop("self")
    change(manifest)
    (folder / MANIFEST).write_bytes(_manifest_bytes(manifest))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["files"].update({"../secret": {"size": 1, "sha256": ""}}), "'../secret'"),
        (lambda m: m["files"].update({"/etc/passwd": {"size": 1, "sha256": ""}}), "'/etc/passwd'"),
        (lambda m: m["files"].update({"a/b": {"size": 1, "sha256": ""}}), "'a/b'"),
        (lambda m: m["files"].update({"..": {"size": 1, "sha256": ""}}), r"'\.\.'"),
        (lambda m: m["files"].pop("model.safetensors"), "lacks model.safetensors"),
        (lambda m: m.update(step=7), "the manifest is of step 7"),
        (lambda m: m.update(version=2), r"version 2 \(expected 1\)"),
        (lambda m: m.update(files=[]), "unreadable"),
        (lambda m: m.update(files={"model.safetensors": {"size": "1", "sha256": ""}}), "says no size"),
    ],
)
def test_a_manifest_names_its_own_folder_alone(two: tuple[Path, Path], change: Any, message: str) -> None:
    resign(two[1], change)
    with pytest.raises(CheckpointError, match=message):
        verify_checkpoint(two[1])
    assert find_checkpoint(two[0].parent).newest == two[0]


def test_a_link_is_no_checkpoint_file(two: tuple[Path, Path], tmp_path: Path) -> None:
    path = two[1] / "state.json"
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(CheckpointError, match="no plain file"):
        verify_checkpoint(two[1])


def test_a_pickle_is_not_read(two: tuple[Path, Path], tmp_path: Path) -> None:
    """Row 16: weights that are a pickle, in a checkpoint that is otherwise in order."""
    witness = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return Path.touch, (witness,)

    path = two[1] / "model.safetensors"
    path.write_bytes(pickle.dumps(Evil()))

    def sign(manifest: dict[str, Any]) -> None:
        manifest["files"]["model.safetensors"] = {
            "size": path.stat().st_size,
            "sha256": durable.sha256_file(path),
        }

    resign(two[1], sign)
    verify_checkpoint(two[1])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(two[1])
    assert not witness.exists()


def test_no_good_checkpoint_is_an_error_not_a_new_start(two: tuple[Path, Path]) -> None:
    for folder in two:
        (folder / MANIFEST).unlink()
    with pytest.raises(CheckpointError, match="none of the 2 checkpoints"):
        find_checkpoint(two[0].parent)
    assert find_checkpoint(two[0].parent / "none").newest is None


def test_damaged_ones_are_renamed_and_nothing_is_deleted(two: tuple[Path, Path]) -> None:
    root = two[0].parent
    assert set_aside(two[1]).name == "damaged-step-00000002"
    write_checkpoint(root, checkpoint_of(train_a_little(1), 2))
    assert set_aside(two[1]).name == "damaged-step-00000002-1"
    assert find_checkpoint(root).newest == two[0]
    assert len(list(root.iterdir())) == 3


def test_a_checkpoint_takes_the_place_of_an_older_one_of_its_step(two: tuple[Path, Path]) -> None:
    write_checkpoint(two[0].parent, checkpoint_of(train_a_little(5), 2))
    verify_checkpoint(two[1])
    assert float(read_checkpoint(two[1]).optimizer["step/0.weight"]) == 5
