from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.train.launching import Zygote


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """Ranks by forking: one import of torch and transformers for all tests here."""
    started = Zygote(tmp_path_factory.mktemp("zygote"))
    yield started
    started.close()
