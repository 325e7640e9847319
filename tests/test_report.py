"""The report's structure: through JSON and back, and what its table shows."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from tests.sample_report import sample_report

from gristmill.errors import FileFormatError
from gristmill.report import CAVEATS, SECTIONS, TokenizerReport


def test_through_json_and_back() -> None:
    report = sample_report()
    assert TokenizerReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    assert TokenizerReport.from_dict(report.to_dict()) == report
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.caveats = ()  # type: ignore[misc]


@pytest.mark.parametrize(
    ("path", "wrong", "told"),
    [
        (("corpus", "bytes"), "many", r"report\.corpus\.bytes is 'many' \(expected int\)"),
        (("corpus", "bytes"), True, r"report\.corpus\.bytes is True"),
        (("metrics", 0, "value"), "1.5", r"report\.metrics\[0\]\.value is '1\.5' \(expected float\)"),
        (("metrics",), 3, r"report\.metrics is 3"),
        (("corpus",), None, "report.corpus is None .expected a mapping with the parts of CorpusSummary"),
        (("tokenizer", "colour"), "red", r"unknown parts \['colour'\]"),
    ],
)
def test_what_is_no_report_is_refused(path: tuple[Any, ...], wrong: object, told: str) -> None:
    content = json.loads(json.dumps(sample_report().to_dict()))
    place = content
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = wrong
    with pytest.raises(FileFormatError, match=told):
        TokenizerReport.from_dict(content)
    with pytest.raises(FileFormatError, match="lacks"):
        TokenizerReport.from_dict({})


def test_metrics_by_name() -> None:
    report = sample_report()
    assert report.value("fertility") == report.fertility == 1.5
    assert report.metric("unknown_share").shown == "not applicable"
    with pytest.raises(KeyError, match="no metric is called 'beauty'"):
        report.value("beauty")


def test_the_table_shows_every_figure_with_its_rule() -> None:
    report = sample_report()
    shown = str(report)
    for metric in report.metrics:
        assert metric.section in SECTIONS
        assert metric.rule in shown
        assert metric.label in shown
        assert metric.shown in shown
    for text in (*CAVEATS, "1.4000 to 1.6000", "unreachable (1)", "def if", "' wor'", "1 row skipped"):
        assert text in shown
