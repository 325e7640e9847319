"""Fixtures of the trainer's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from tests.train.launching import Zygote
from tests.train.projects import Project, Unbroken, make_project, recorded


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small models are faster without threads, above all where the cores are busy."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """Ranks by forking: one import of torch and transformers for all tests here."""
    started = Zygote(tmp_path_factory.mktemp("zygote"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A corpus of 30 documents, its tokenizer, and a configuration of 24 steps."""
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def unbroken(zygote: Zygote, project: Project, tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    folder = tmp_path_factory.mktemp("unbroken")
    arguments = project.arguments(folder / "run")
    zygote.run("run_main", 2, arguments=arguments, record=str(folder / "ids")).check(0)
    return Unbroken(folder / "run", recorded(folder / "ids", 2))
