"""How `make test` shares the tests between processes: files stay whole, the trainer's stay together."""

from __future__ import annotations

from typing import Any

import pytest


def group_of(test_id: str) -> str:
    """Name the group of a test; one process runs a group from start to end, and so makes its fixtures once.

    The trainer's tests are one group, for the unbroken run that they compare with. It has the most tests, so
    pytest-xdist begins with it.
    """
    file = test_id.split("::", maxsplit=1)[0]
    return "trainer" if file.startswith("tests/train/") else file


@pytest.hookimpl(optionalhook=True)  # a bare environment has no pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Schedule `--dist loadfile` by our groups; other choices are left to pytest-xdist."""
    if config.getvalue("dist") != "loadfile":
        return None
    # Not `--dist loadgroup` and its marks: with pytest 9.2, pytest-xdist 3.8 does not see them.
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return GroupScheduling(config, log)
