"""The HTML page without a browser: it parses, fetches nothing, escapes everything, has all its sections."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from tests.sample_report import sample_report

from gristmill import Tokenizer, advise_vocab_size, durable, inspect_text
from gristmill.comparison import MetricDifference, TokenizerComparison
from gristmill.report import Interval, OutlyingDocument, TokenizerReport
from gristmill.report_page import Excerpt, PageContent, render_page, write_page
from gristmill.report_page.markup import element, raw, to_html
from gristmill.report_page.scales import Scale, short
from gristmill.vocabulary_curve import CurvePoint, VocabularyCurve

VOID = {"meta", "br", "line", "polyline"}
HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "\"' onmouseover='alert(3)' x=\"",
    "</style></title></pre></table><!-- <![CDATA[ --> &lt;b&gt; &amp;",
    "javascript:alert(4)\x00\x1b[31m\u202e\r\n\ttab",
)


class Page(HTMLParser):
    """All elements with their attributes and direct text; refuses tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    @property
    def text(self) -> str:
        return "".join(text for tag, text in self.texts if tag not in ("style", "script"))

    def with_class(self, name: str) -> list[dict[str, str]]:
        return [attributes for _, attributes in self.elements if name in attributes.get("class", "").split()]


def hostile_report(name: str) -> TokenizerReport:
    report = sample_report(name)
    documents = tuple(
        OutlyingDocument(row=row, name=text + "\udcff", bytes=2048, tokens=512 + row)
        for row, text in enumerate(HOSTILE)
    )
    return replace(
        report,
        corpus=replace(report.corpus, name=HOSTILE[0]),
        distributions=replace(report.distributions, worst_documents=documents),
    )


def content(tokenizer: Tokenizer, names: tuple[str, ...], texts: tuple[str, ...]) -> PageContent:
    reports = tuple(hostile_report(name) for name in names)
    differences = tuple(
        MetricDifference(
            metric=metric.name,
            column=column,
            difference=0.5,
            interval=Interval(low=0.4, high=0.6),
            is_paired=True,
        )
        for column, report in enumerate(reports)
        if column
        for metric in report.metrics
    )
    points = (
        CurvePoint(vocab_size=512, bytes_per_token=2.0, interval=Interval(low=1.9, high=2.1)),
        CurvePoint(vocab_size=1024, bytes_per_token=2.5, interval=None),
    )
    return PageContent(
        title=HOSTILE[3],
        comparison=TokenizerComparison(
            axis="tokenizers", names=names, reports=reports, differences=differences
        ),
        curves=[VocabularyCurve(name=name, points=points) for name in names],
        curve_note=HOSTILE[1],
        excerpts=[
            Excerpt(title=text, note="", inspection=inspect_text({names[0]: tokenizer}, text))
            for text in texts
        ],
        advice=advise_vocab_size(
            [f"document {number} of them" for number in range(200)],
            vocab_sizes=[260, 270],
            beside={HOSTILE[0]: tokenizer},
            show_progress=False,
        ),
    )


@pytest.fixture(scope="module")
def hostile(tiny_tokenizer: Tokenizer) -> str:
    return render_page(content(tiny_tokenizer, (HOSTILE[2], HOSTILE[1]), HOSTILE))


def urls(html: str) -> Iterator[str]:
    for _, attributes in Page(html).elements:
        for name in ("src", "href", "action", "data", "poster", "srcset", "xlink:href", "formaction"):
            if name in attributes:
                yield attributes[name]


# --- what keeps a page safe and alone ---


def test_hostile_text_stays_text(hostile: str) -> None:
    page = Page(hostile)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 1
    assert tags.count("style") == 1
    assert not {"img", "iframe", "object", "embed", "link", "base", "form"} & set(tags)
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    for text in HOSTILE[:2]:
        assert page.text.count(text) >= 3  # as a name, a document, a title
    hostile.encode()  # no lone surrogate is left
    assert "\x00" not in hostile
    assert "\x1b" not in hostile


def test_nothing_comes_from_elsewhere(hostile: str) -> None:
    found = list(urls(hostile))
    assert found
    assert all(url.startswith("#") for url in found)
    style = "".join(text for tag, text in Page(hostile).texts if tag == "style")
    assert "url(" not in style
    assert "@import" not in style
    assert "http" not in style
    script = "".join(text for tag, text in Page(hostile).texts if tag == "script")
    for word in ("http", "fetch", "XMLHttpRequest", "import(", "innerHTML", "eval", "document.write"):
        assert word not in script


def test_the_policy_allows_its_own_script_alone(hostile: str) -> None:
    (script,) = [text for tag, text in Page(hostile).texts if tag == "script"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [
        a["content"] for _, a in Page(hostile).elements if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


@settings(max_examples=1000)
@given(
    text=st.text(st.characters() | st.sampled_from("<>&\"'/-!")),
    attribute=st.text(st.characters() | st.sampled_from("\"'<>&")),
)
def test_any_text_survives_the_markup(text: str, attribute: str) -> None:
    page = Page(to_html(element("p", {"title": attribute}, text, element("i", None, text), text)))
    assert [tag for tag, _ in page.elements] == ["p", "i"]
    kept = set("\n\t") | {c for c in text if unicodedata.category(c) not in ("Cc", "Cs")}
    expected = "".join(c if c in kept else "\ufffd" for c in text)
    assert page.text == expected * 3
    assert set(page.elements[0][1]) == {"title"}


def test_code_that_would_end_its_element_is_refused() -> None:
    with pytest.raises(ValueError, match="expected none"):
        raw("script", "x = '</script>'")


# --- what is on it ---


def test_all_sections_are_there(hostile: str) -> None:
    page = Page(hostile)
    ids = [attributes["id"] for tag, attributes in page.elements if tag == "section"]
    assert ids == [
        "answer",
        "compression",
        "figures",
        "frequency",
        "lengths",
        "outliers",
        "vocabulary",
        "split",
    ]
    assert list(urls(hostile)) == [f"#{section}" for section in ids]
    assert len(page.with_class("chart")) == 4
    assert len(page.with_class("x-label")) == len(page.with_class("y-label")) == 4


def test_figures_have_rules_and_caveats_beside_them(hostile: str) -> None:
    text = Page(hostile).text
    report = sample_report()
    for metric in report.metrics:
        assert f"{metric.label}{metric.rule}" in text
    for caveat in report.caveats:
        assert caveat in text
    assert text.index(report.caveats[1]) < text.index("fertilitytokens that cover")
    assert text.count(report.caveats[0]) == 1  # the advice says it, too
    assert "not applicable" in text
    assert "+0.5000 (+33.3%)" in text
    assert "the smallest size measured whose next doubling saves under 5% of the tokens" in text


def test_points_say_their_numbers_with_units(hostile: str) -> None:
    tips = [attributes["data-tip"] for attributes in Page(hostile).with_class("dot")]
    assert any("512 tokens\n2.000 bytes per token (1.900 to 2.100)" in tip for tip in tips)
    assert any("rank 1\n40 occurrences" in tip for tip in tips)
    assert any("4 bytes\n30 occurrences (37.50%)" in tip for tip in tips)
    assert any("4 bytes\n43 tokens of the vocabulary (14.38%)" in tip for tip in tips)


def test_split_text_is_whole_and_tokens_say_what_they_are(tiny_tokenizer: Tokenizer) -> None:
    text = "def é(x):\n\treturn 北"
    html = render_page(content(tiny_tokenizer, ("a",), (text,)))
    pre = re.findall(r"<pre.*?</pre>", html, re.S)
    assert len(pre) == 1
    page = Page(pre[0])
    tokens = page.with_class("t")
    assert len(tokens) == len(tiny_tokenizer.encode(text))
    shown = page.text.replace("·", " ").replace("→", "").replace("⏎", "")
    assert re.sub(r"\\x[0-9a-f]{2}", "", shown) == text
    assert "id 221" not in tokens[0]["data-tip"]
    assert tokens[0]["data-tip"].splitlines()[-2:] == ["characters 0–3, bytes 0–3", "UTF-8 64 65 66"]


def test_bytes_of_a_shared_character_are_explained_and_do_not_break(tiny_tokenizer: Tokenizer) -> None:
    html = render_page(content(tiny_tokenizer, ("a",), ("北",)))
    page = Page(html)
    assert "".join(page.text.split("北")[-1:]).startswith("\\x")
    marks = [text for tag, text in Page(re.findall(r"<pre.*?</pre>", html, re.S)[0]).texts if "\\x" in text]
    assert len(page.with_class("byte")) == len(marks) > 0
    assert ".t .byte { white-space: nowrap" in html
    assert "the others show their bytes, as \\x97" in page.text


def test_each_cell_says_its_column_where_tables_are_stacked(hostile: str) -> None:
    page = Page(hostile)
    cells = [attributes for tag, attributes in page.elements if tag == "td"]
    assert all("data-label" in attributes and attributes["role"] == "cell" for attributes in cells)
    labels = {attributes["data-label"] for attributes in cells}
    assert {HOSTILE[2], HOSTILE[1], "Bytes per token", "Bytes per token, UTF-8"} <= labels
    for attributes in [a for tag, a in page.elements if tag == "table"]:
        (width,) = re.findall(r"stack-(\d+)", attributes["class"])
        assert f"@container (max-width: {int(width) - 1}px)" in hostile
    assert ".stacked" not in hostile


def test_many_columns_are_always_stacked(tiny_tokenizer: Tokenizer) -> None:
    html = render_page(content(tiny_tokenizer, tuple("abcdefgh"), ()))
    assert Page(html).with_class("stack-9999")


def test_indentation_is_on_the_page(hostile: str) -> None:
    text = Page(hostile).text
    assert "indentation of tab, in code" in text
    assert "levels, of 1 to 1, that are one token in code, together with the line feed before them11" in text
    assert "indentation of 4 spaces, in code" in text
    assert (
        "levels, of 1 to 1, that are one token in code, together with the line feed before themnone" in text
    )


def test_keyboard_reaches_every_point_and_token(hostile: str) -> None:
    page = Page(hostile)
    assert len(page.with_class("chart")) + len(HOSTILE) == sum("data-rove" in a for _, a in page.elements)
    for attributes in [*page.with_class("dot"), *page.with_class("t")]:
        assert attributes["tabindex"] == "-1"  # the script makes one of each group a stop
    for attributes in page.with_class("scroll"):
        assert (attributes["tabindex"], attributes["role"]) == ("0", "region")


def test_a_page_of_one_report_and_no_text(tiny_tokenizer: Tokenizer) -> None:
    html = render_page(replace(content(tiny_tokenizer, ("a",), ()), advice=None))
    ids = [attributes["id"] for tag, attributes in Page(html).elements if tag == "section"]
    assert ids == ["compression", "figures", "frequency", "lengths", "outliers", "vocabulary", "split"]
    assert "could not be read a second time" in html
    assert "Differences are against" not in html


def test_the_file_appears_whole_or_not_at_all(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    def fail(operation: str, path: Path) -> None:
        if operation == "rename":
            raise OSError("disk full")

    page = content(tiny_tokenizer, ("a",), ())
    durable.set_fault_hook(fail)
    try:
        with pytest.raises(OSError, match="disk full"):
            write_page(tmp_path / "report.html", page)
    finally:
        durable.set_fault_hook(None)
    assert list(tmp_path.iterdir()) == []
    write_page(tmp_path / "report.html", page)
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>\n<html lang=")
    assert (tmp_path / "report.html").stat().st_size < 200_000


# --- axes ---

VALUES = st.lists(st.floats(1e-6, 1e12), min_size=1, max_size=10)


@given(values=VALUES, is_log=st.booleans())
def test_values_lie_on_the_axis_and_ticks_too(values: list[float], is_log: bool) -> None:
    scale = Scale.over(values, is_log)
    assert all(-1e-6 <= scale.position(value) <= 100 + 1e-6 for value in values)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 7
    assert ticks == sorted(set(ticks))
    assert all(-1e-4 <= scale.position(tick) <= 100 + 1e-4 for tick in ticks)
    assert all(math.isfinite(float(short(tick).rstrip("kMG"))) for tick in ticks)
