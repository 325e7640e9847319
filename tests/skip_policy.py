"""A skipped test fails the run, unless tests/allowed_skips.txt lists it with its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

ALLOWED_SKIPS = Path(__file__).parent / "allowed_skips.txt"


def read_allowed_skips(path: Path = ALLOWED_SKIPS) -> dict[str, str]:
    """Map the start of a test id to the reason why that test may be skipped (`id: reason`, # comments)."""
    allowed: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        test_id, separator, reason = line.partition(": ")
        if not separator or not reason.strip():
            raise ValueError(f"{path}, line {number}: {line!r} names no reason (expected 'test id: reason')")
        allowed[test_id] = reason.strip()
    return allowed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the unexplained skips at the end of the run."""
    unexplained = _unexplained_skips(terminalreporter)
    if unexplained:
        terminalreporter.section("skipped, but not listed in tests/allowed_skips.txt", red=True)
        for test_id in unexplained:
            terminalreporter.line(test_id)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn a run that passed with unexplained skips into a failed one."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and exitstatus == 0 and _unexplained_skips(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _unexplained_skips(reporter: pytest.TerminalReporter) -> list[str]:
    allowed = read_allowed_skips()
    skipped = (report.nodeid for report in reporter.stats.get("skipped", []))
    return [test_id for test_id in skipped if not any(test_id.startswith(start) for start in allowed)]
