"""What the training of a tokenizer shows: bars or plain lines on a terminal, nothing elsewhere."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gristmill import training_progress
from gristmill.training_progress import TrainingProgress

REPOSITORY = Path(__file__).resolve().parent.parent

# 60 documents that take their time; without rich where asked.
SCRIPT = """
import sys, time
for module in sys.argv[1:]:
    sys.modules[module] = None
import gristmill
from tests import samples

class Slow:
    def __len__(self):
        return 40
    def __iter__(self):
        for text in samples.training_texts()[:40]:
            time.sleep(0.07)
            yield [text]

gristmill.train_tokenizer(Slow(), 3000)
"""


def on_a_terminal(*missing: str) -> str:
    """Run the script on a pseudo-terminal; return what it wrote there."""
    reader, writer = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *missing],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=writer,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"},
    )
    os.close(writer)
    written = b""
    while True:
        try:
            part = os.read(reader, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        written += part
    os.close(reader)
    assert child.wait(60) == 0, written.decode()
    assert child.stdout is not None
    with child.stdout as out:
        assert out.read() == b""
    return written.decode()


def test_bars_where_rich_is_installed() -> None:
    pytest.importorskip("rich")
    shown = on_a_terminal()
    assert "\x1b[" in shown
    assert "━" in shown
    assert re.search(r"\d+ documents, \d\.\d MB counted .*\d+ s left", shown)
    assert re.search(r"40 documents, \d\.\d MB counted in \d+\.\d s", shown)
    assert re.search(r"2,\d\d\d of at most 3,000 merges in \d+\.\d s", shown)


def test_plain_lines_where_it_is_not() -> None:
    shown = on_a_terminal("rich", "rich.console", "rich.progress").replace("\r\n", "\n")
    assert "\x1b" not in shown
    assert "\r" not in shown
    counted = r"\d+ documents, \d\.\d MB counted(, \d+ s left| in \d+\.\d s)?"
    merged = r"[\d,]+ of at most 3,000 merges(, \d+ s left| in \d+\.\d s)?"
    lines = shown.splitlines()
    assert all(re.fullmatch(f"{counted}|{merged}", line) for line in lines)
    assert sum(line.startswith("40 documents") and " in " in line for line in lines) == 1
    assert re.fullmatch(r"2,\d\d\d of at most 3,000 merges in \d+\.\d s", lines[-1])
    assert len(lines) > 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_times_and_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 seconds a look, by a clock of the test's own."""
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(training_progress.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(training_progress, "_bars", lambda stream: None)
    terminal = Terminal()
    with TrainingProgress(True, 4, terminal) as progress:  # lines begin at 0, the stage at 10
        progress.counted({"documents": 0, "bytes": 0})
        progress.counted({"documents": 2, "bytes": 3_000_000})  # 30 seconds for two, by the stage's clock
        progress.counted({"documents": 5, "bytes": 6_000_000})  # more than there should be
        progress.counted({"documents": 5, "bytes": 6_000_000}, end=True)
        progress.merged(50, 100)
        progress.merged(70, 100, end=True)
    assert terminal.getvalue().splitlines() == [
        "0 documents, 0.0 MB counted",
        "2 documents, 3.0 MB counted, 30 s left",
        "5 documents, 6.0 MB counted",
        "5 documents, 6.0 MB counted in 70.0 s",
        "50 of at most 100 merges, 10 s left",
        "70 of at most 100 merges in 30.0 s",
    ]


def test_nothing_is_shown_elsewhere(capfd: pytest.CaptureFixture[str]) -> None:
    for shown, stream in [(True, io.StringIO()), (False, Terminal())]:
        with TrainingProgress(shown, 4, stream) as progress:
            progress.counted({"documents": 4, "bytes": 6}, end=True)
        assert stream.getvalue() == ""
    with TrainingProgress(True, 4) as progress:
        progress.counted({"documents": 4, "bytes": 6}, end=True)
    assert capfd.readouterr() == ("", "")


def test_the_terminal_is_left_in_order() -> None:
    """What breaks the training ends the bar, which had hidden the cursor."""
    pytest.importorskip("rich")
    terminal = Terminal()

    def broken() -> None:
        with TrainingProgress(True, 4, terminal) as progress:
            progress.counted({"documents": 2, "bytes": 6})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    shown = terminal.getvalue()
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
