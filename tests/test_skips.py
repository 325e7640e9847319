"""The rule that a skipped test has to be explained, and that the list of explanations is well formed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from tests.skip_policy import read_allowed_skips

pytest_plugins = ["pytester"]
SKIP_POLICY = Path(__file__).with_name("skip_policy.py")


@pytest.mark.parametrize(("allowed", "exit_code"), [("", 1), ("test_it.py::test_gpu: no GPU here\n", 0)])
def test_a_skip_fails_unless_listed(pytester: pytest.Pytester, allowed: str, exit_code: int) -> None:
    pytester.makeconftest(SKIP_POLICY.read_text(encoding="utf-8"))
    pytester.path.joinpath("allowed_skips.txt").write_text(allowed, encoding="utf-8")
    pytester.makepyfile(
        test_it="import pytest\ndef test_gpu():\n    pytest.skip('none')\ndef test_runs():\n    pass\n"
    )
    # as `make test` runs it; a bare environment has no pytest-xdist
    shared = ["--numprocesses", "2"] if importlib.util.find_spec("xdist") else []
    for arguments in ([], shared):
        assert pytester.runpytest_subprocess(*arguments).ret == exit_code


def test_a_listed_skip_needs_a_reason(tmp_path: Path) -> None:
    listing = tmp_path / "skips.txt"
    listing.write_text("tests/test_it.py::test_gpu\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 1"):
        read_allowed_skips(listing)


def test_the_list_is_well_formed() -> None:
    assert all(reason for reason in read_allowed_skips().values())
