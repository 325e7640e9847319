"""`compare_tokenizers`: reports as measured alone, differences with paired intervals, commands, pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests import samples
from tests.test_report_page import Page

from gristmill import (
    ConfigError,
    EmptyCorpusError,
    Tokenizer,
    TokenizerComparison,
    compare_tokenizers,
    cut_vocabulary,
    measure_tokenizer,
    write_report_page,
)
from gristmill.bootstrap import draw_weights
from gristmill.cli import main
from gristmill.metrics import TokenizerMeter
from gristmill.report_page import single_report

TEXTS = [f"def function_{number}(argument):\n    return argument + {number}\n" for number in range(150)]
TEXTS += samples.TINY_CORPUS


@pytest.fixture(scope="module")
def tokenizers(
    tiny_tokenizer: Tokenizer, gpt2_tokenizer: Tokenizer, unigram_tokenizer: Tokenizer
) -> dict[str, Tokenizer]:
    return {"tiny": tiny_tokenizer, "gpt2": gpt2_tokenizer, "unigram": unigram_tokenizer}


@pytest.fixture(scope="module")
def comparison(tokenizers: dict[str, Tokenizer]) -> TokenizerComparison:
    return compare_tokenizers(tokenizers, TEXTS, noises=("case",), seed=5, reference=tokenizers["gpt2"])


# --- reports and differences ---


def test_reports_are_those_of_measuring_alone(
    comparison: TokenizerComparison, tokenizers: dict[str, Tokenizer]
) -> None:
    assert comparison.axis == "tokenizers"
    assert comparison.names == ("tiny", "gpt2", "unigram")
    for (name, tokenizer), report in zip(tokenizers.items(), comparison.reports, strict=True):
        alone = measure_tokenizer(
            tokenizer, TEXTS, noises=("case",), seed=5, reference=tokenizers["gpt2"], name=name
        )
        assert report == alone


def test_differences_are_against_the_first(comparison: TokenizerComparison) -> None:
    first = comparison.reports[0]
    for column, report in enumerate(comparison.reports[1:], start=1):
        for metric in report.metrics:
            base = first.value(metric.name)
            item = comparison.difference(metric.name, column)
            assert item.is_paired
            if base is None or metric.value is None:
                assert (item.difference, item.interval) == (None, None)
            else:
                assert item.difference == metric.value - base
    with pytest.raises(KeyError, match="no difference of 'fertility' in column 0"):
        comparison.difference("fertility", 0)


def replicates(
    tokenizer: Tokenizer, above: str, below: str, seed: int, texts: list[str] = TEXTS
) -> Iterator[float]:
    """The ratio of two columns in each draw of groups, summed in integers."""
    meter = TokenizerMeter(tokenizer)
    meter.add(texts)
    columns = meter.counters.columns
    groups = [row for row in meter.counters.groups.tolist() if any(row)]
    for weights in draw_weights(len(groups), 1000, seed).tolist():
        sums = [
            sum(weight * row[columns.index(column)] for weight, row in zip(weights, groups, strict=True))
            for column in (above, below)
        ]
        yield sums[0] / sums[1]


@pytest.mark.parametrize(
    ("metric", "above", "below"),
    [("bytes_per_token", "bytes", "tokens"), ("fertility", "tokens_in_words_whitespace", "words_whitespace")],
)
def test_intervals_are_paired(metric: str, above: str, below: str, tiny_tokenizer: Tokenizer) -> None:
    small = cut_vocabulary(tiny_tokenizer, 350)
    found = compare_tokenizers([tiny_tokenizer, small], TEXTS, seed=5)
    first, other = (list(replicates(tokenizer, above, below, 5)) for tokenizer in (tiny_tokenizer, small))
    low, high = np.quantile([b - a for a, b in zip(first, other, strict=True)], [0.025, 0.975])
    interval = found.difference(metric, 1).interval
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((low, high))
    # Much narrower than if both were drawn for themselves: what pairing is for.
    apart = list(replicates(small, above, below, 6))
    unpaired = np.quantile([b - a for a, b in zip(first, apart, strict=True)], [0.025, 0.975])
    assert high - low < 0.8 * (unpaired[1] - unpaired[0])


def test_a_tokenizer_does_not_differ_from_itself(tiny_tokenizer: Tokenizer) -> None:
    same = compare_tokenizers({"a": tiny_tokenizer, "b": tiny_tokenizer}, TEXTS, noises=("case",))
    for item in same.differences:
        assert item.difference in (0.0, None)
        if item.interval is not None:
            assert (item.interval.low, item.interval.high) == (0.0, 0.0)
    assert same.difference("fertility_change_case", 1).interval is not None


def test_what_no_draw_of_documents_tells_has_no_interval(comparison: TokenizerComparison) -> None:
    for name in ("single_token_retention", "used_share", "renyi_efficiency", "keywords_single_share"):
        assert comparison.difference(name, 1).difference is not None
        assert comparison.difference(name, 1).interval is None


def test_several_corpora(tiny_tokenizer: Tokenizer) -> None:
    corpora = {"functions": TEXTS[:150], "mixed": samples.TINY_CORPUS * 3}
    found = compare_tokenizers({"tiny": tiny_tokenizer}, corpora)
    assert (found.axis, found.names) == ("corpora", ("functions", "mixed"))
    assert found.reports[1].corpus.documents == 18
    first = list(replicates(tiny_tokenizer, "bytes", "tokens", 0, corpora["functions"]))
    other = list(replicates(tiny_tokenizer, "bytes", "tokens", 1, corpora["mixed"]))
    item = found.difference("bytes_per_token", 1)
    assert item.interval is not None
    expected = np.quantile([b - a for a, b in zip(first, other, strict=True)], [0.025, 0.975])
    assert (item.interval.low, item.interval.high) == pytest.approx(tuple(expected))
    assert not item.is_paired
    assert any("Corpora differ in more" in caveat for caveat in found.caveats)


def test_a_corpus_is_read_once(tiny_tokenizer: Tokenizer) -> None:
    named = {"tiny": tiny_tokenizer, "small": cut_vocabulary(tiny_tokenizer, 300)}
    assert compare_tokenizers(named, iter(TEXTS)).differences == compare_tokenizers(named, TEXTS).differences


def test_parity_is_compared(tiny_tokenizer: Tokenizer) -> None:
    texts, german = ["the house", "a dog"], ["das Haus", "ein Hund"]
    found = compare_tokenizers(
        [tiny_tokenizer, cut_vocabulary(tiny_tokenizer, 300)], texts, parallel_to=german
    )
    for report, tokenizer in zip(
        found.reports, (tiny_tokenizer, cut_vocabulary(tiny_tokenizer, 300)), strict=True
    ):
        counts = [sum(len(tokenizer.encode(text)) for text in part) for part in (texts, german)]
        assert report.value("parity") == counts[0] / counts[1]


def test_what_cannot_be_compared(tiny_tokenizer: Tokenizer) -> None:
    with pytest.raises(ConfigError, match="2 tokenizers and 2 corpora"):
        compare_tokenizers([tiny_tokenizer] * 2, {"a": TEXTS, "b": TEXTS})
    with pytest.raises(ConfigError, match="1 tokenizers and 0 corpora"):
        compare_tokenizers(tiny_tokenizer, {})
    with pytest.raises(EmptyCorpusError):
        compare_tokenizers([tiny_tokenizer] * 2, [])


def test_the_table_and_its_caveats(comparison: TokenizerComparison) -> None:
    table = str(comparison)
    assert "differences are against 'tiny'" in table
    assert "fertility: tokens that cover at least one byte of a word" in table
    assert all(f"caveat: {caveat}" in table for caveat in comparison.caveats)
    value = comparison.to_dict()
    assert json.loads(json.dumps(value)) == value
    assert len(value["reports"]) == 3


def test_every_column_has_its_own_rule(comparison: TokenizerComparison, tmp_path: Path) -> None:
    """Sizes of vocabularies and reasons why something is not applicable differ from column to column."""
    sizes = {
        name: report.tokenizer.num_tokens
        for name, report in zip(comparison.names, comparison.reports, strict=True)
    }
    assert len(set(sizes.values())) == 3
    table = str(comparison).splitlines()
    for metric in ("renyi efficiency", "shannon efficiency"):
        (place,) = [number for number, line in enumerate(table) if line.startswith(f"{metric}: ")]
        assert "|V| =" not in table[place]
        said = table[place + 1 : place + 4]
        assert said == [f"  {name}: |V| = {size:,}" for name, size in sizes.items()]
    (place,) = [number for number, line in enumerate(table) if line.startswith("unknown share: ")]
    assert table[place] == "unknown share: unknown tokens / tokens"
    assert table[place + 1] == "  tiny, gpt2: the model has no such token"
    assert comparison.reports[2].value("unknown_share") is not None
    assert comparison.rule("fertility")[1] == {}
    assert comparison.rule("single_token_retention")[0].endswith(" of them")  # one corpus, one sample
    write_report_page(tmp_path / "page.html", comparison, {}, {})
    text = Page((tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert [text.count(f"|V| = {size:,}") for size in sizes.values()] == [2, 2, 2]
    assert text.count("the model has no such token") == 2 + 1  # of two without unknown, all without fallback


def test_samples_of_corpora_have_their_own_size(tiny_tokenizer: Tokenizer) -> None:
    corpora = {"a": [" ".join(f"w{n}" for n in range(5000))], "b": ["one two three"]}
    table = str(compare_tokenizers({"tiny": tiny_tokenizer}, corpora)).splitlines()
    (place,) = [n for n, line in enumerate(table) if line.startswith("single token retention: ")]
    assert "sample" not in table[place]
    assert table[place + 1].startswith("  a: a sample of 4,096 of about ")
    assert table[place + 2] == "  b: all 3 of them"


def test_sizes_words_and_indentation_in_the_table(comparison: TokenizerComparison) -> None:
    rows = {line.split("  ")[0]: line.split() for line in str(comparison).splitlines()}
    reports = comparison.reports
    assert rows["documents"][1:] == [f"{len(TEXTS):,}"] * 3
    assert rows["bytes"][1:] == [f"{sum(len(text.encode()) for text in TEXTS):,}"] * 3
    assert rows["tokens"][1:] == [f"{report.corpus.tokens:,}" for report in reports]
    assert rows["vocabulary"][1:] == [f"{report.tokenizer.num_tokens:,}" for report in reports]
    for rule in reports[0].words:
        assert f": rule {rule.rule!r}: {rule.definition}" in str(comparison)
    for kind in ("4 spaces", "2 spaces", "tab"):
        for name, in_code in (("alone", False), ("in code", True)):
            found = [report.code.single_levels(kind, in_code=in_code) for report in reports]
            shown = [part for levels in found for part in (map(str, levels) if levels else ["none"])]
            assert " ".join(rows[f"indentation of {kind}, {name}"]).endswith(" ".join(shown))
    share = [report.metric("indentations_single_share") for report in reports]
    for metric, report in zip(share, reports, strict=True):
        single = sum(item.tokens_in_code == 1 for item in report.code.indentations)
        assert (metric.numerator, metric.denominator) == (single, 24)


# --- pages and commands ---


def test_pages_of_real_reports(
    comparison: TokenizerComparison, tokenizers: dict[str, Tokenizer], tmp_path: Path
) -> None:
    write_report_page(tmp_path / "a.html", comparison, tokenizers, {"corpus": TEXTS})
    page = Page((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert "3 tokenizers, compared" in page.text
    assert "UTF-8 bytes / tokens" in page.text
    tips = [attributes["data-tip"] for attributes in page.with_class("dot")]
    gpt2 = [tip for tip in tips if tip.startswith("gpt2\n") and "bytes per token" in tip]
    assert len(gpt2) == 7  # its own size, and six halves of it
    assert len([tip for tip in tips if tip.startswith("unigram\n") and "bytes per token" in tip]) == 1
    assert len(page.with_class("split")) >= 3

    report = measure_tokenizer(tokenizers["tiny"], iter(TEXTS), name="tiny")
    write_report_page(
        tmp_path / "b.html", single_report(report), {"tiny": tokenizers["tiny"]}, {"": iter(TEXTS)}
    )
    text = Page((tmp_path / "b.html").read_text(encoding="utf-8")).text
    assert "tiny: a tokenizer, measured" in text
    assert "the corpus could not be read a second time" in text


@pytest.fixture
def place(tmp_path: Path, tiny_tokenizer: Tokenizer) -> Path:
    tiny_tokenizer.save_pretrained(tmp_path / "tiny")
    cut_vocabulary(tiny_tokenizer, 300).save_pretrained(tmp_path / "small")
    for name, texts in (("a", TEXTS[:100]), ("b", TEXTS[100:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (tmp_path / "<img src=x onerror=alert(1)>.py").write_text("x = '</script>'\n" * 200)
    return tmp_path


def test_compare_commands(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inputs = [str(place / "a.jsonl"), str(place / "b.jsonl")]
    both = ["--tokenizer", f"tiny={place / 'tiny'}", "--tokenizer", f"small={place / 'small'}"]
    command = ["tokenizer", "compare", *inputs, *both, "--html", str(place / "r.html"), "--noise", "case"]
    assert main([*command, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["names"] == ["tiny", "small"]
    assert value["reports"][0]["corpus"]["documents"] == len(TEXTS)
    assert any(metric["name"] == "token_edit_distance_case" for metric in value["reports"][1]["metrics"])
    assert "2 tokenizers, compared" in Page((place / "r.html").read_text(encoding="utf-8")).text

    command = ["tokenizer", "compare", *inputs, *both[:2], "--each-input", "--html", str(place / "c.html")]
    assert main(command) == 0
    assert "each corpus drawn for itself" in capsys.readouterr().out
    assert "2 corpora, compared" in Page((place / "c.html").read_text(encoding="utf-8")).text
    assert main(["tokenizer", "compare", *inputs, *both[:2]]) == 2
    assert "expected two or more, or --each-input" in capsys.readouterr().err


def test_pages_of_measure_and_advise(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inputs = [str(place / "a.jsonl"), str(place / "b.jsonl"), str(place / "<img src=x onerror=alert(1)>.py")]
    command = ["tokenizer", "measure", str(place / "tiny"), *inputs, "--html", str(place / "m.html")]
    assert main(command) == 0
    page = Page((place / "m.html").read_text(encoding="utf-8"))
    assert "a tokenizer, measured" in page.text
    assert f"{place}/<img src=x onerror=alert(1)>.py" in page.text  # an outlier, named by its path
    command = [
        "tokenizer",
        "advise",
        *inputs,
        "--vocab-sizes",
        "260,280,300",
        "--html",
        str(place / "v.html"),
    ]
    assert main([*command, "--tokenizer", f"tiny={place / 'tiny'}"]) == 0
    page = Page((place / "v.html").read_text(encoding="utf-8"))
    ids = [attributes["id"] for tag, attributes in page.elements if tag == "section"]
    assert ids[0] == "answer"
    assert "Rule of thumb: the largest size measured, named for want of a larger one" in page.text
    assert "of the model" in page.text.lower()
    capsys.readouterr()
