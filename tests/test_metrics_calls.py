"""Measuring as it is called: reports, shards, bad and empty corpora, options; on both roads."""

from __future__ import annotations

import dataclasses
import json
import keyword
import pickle
import time
from pathlib import Path

import pytest
from tests import samples

from gristmill.errors import (
    BadDocumentError,
    ConfigError,
    EmptyCorpusError,
    FileFormatError,
    MissingColumnError,
    TokenizerError,
)
from gristmill.metrics import (
    NOISES,
    NoiseOptions,
    TokenizerMeter,
    TokenizerReport,
    estimate_chars_per_token,
    measure_tokenizer,
)
from gristmill.tokenizer import Tokenizer

ROADS = ("tiny_tokenizer", "split_bpe_tokenizer", "word_piece_tokenizer", "unigram_tokenizer")


@pytest.mark.parametrize("road", ROADS)
def test_noise_changes_what_it_should(road: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(road)
    report = measure_tokenizer(tokenizer, samples.TINY_CORPUS, noises=NOISES, noise_rate=0.5)
    for noise in NOISES:
        distance = report.value(f"token_edit_distance_{noise}")
        assert distance is not None
        assert 0 < distance <= 1 or road in ("unigram_tokenizer", "word_piece_tokenizer")
        assert f"fertility change {noise}" in str(report)
    none = measure_tokenizer(tokenizer, samples.TINY_CORPUS, noises=NOISES, noise_rate=0)
    for noise in NOISES:
        assert none.value(f"token_edit_distance_{noise}") == none.value(f"fertility_change_{noise}") == 0
    other = measure_tokenizer(tokenizer, samples.TINY_CORPUS, noises=NOISES, noise_rate=0.5, seed=1)
    assert other.metrics != report.metrics


# The report ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("road", ROADS)
def test_report(road: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(road)
    report = measure_tokenizer(tokenizer, samples.TINY_CORPUS, noises=NOISES, name="mine")
    assert isinstance(report, TokenizerReport)
    assert TokenizerReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    assert report.tokenizer.engine == str(tokenizer.engine)
    assert report.tokenizer.fingerprint == tokenizer.fingerprint
    shown = str(report)
    for metric in report.metrics:
        assert metric.rule in shown
        assert metric.label in shown
        assert (metric.interval is None) or metric.interval.low <= metric.interval.high
    for caveat in report.caveats:
        assert caveat in shown
    assert "mine: " in shown
    assert "not applicable" in shown or report.value("unknown_share") is not None
    assert pickle.loads(pickle.dumps(report)) == report  # noqa: S301
    names = [metric.name for metric in report.metrics]
    assert len(set(names)) == len(names)


def test_notable_tokens_are_readable(tiny_tokenizer: Tokenizer) -> None:
    report = measure_tokenizer(tiny_tokenizer, samples.TINY_CORPUS)
    vocabulary = report.vocabulary
    assert vocabulary.first_learned is not None
    assert vocabulary.last_learned is not None
    assert len(vocabulary.longest) == len(vocabulary.first_learned) == len(vocabulary.last_learned) == 10
    merges = tiny_tokenizer.parsed_json()["model"]["merges"]
    assert [entry.token for entry in vocabulary.first_learned] == ["".join(pair) for pair in merges[:10]]
    assert [entry.token for entry in vocabulary.last_learned] == ["".join(pair) for pair in merges[-10:]]
    assert len(vocabulary.longest[0].token) == max(
        len(token) for token in tiny_tokenizer.get_vocab() if token != samples.EOS
    )
    for entry in (*vocabulary.longest, *vocabulary.first_learned, *vocabulary.last_learned):
        assert entry.text.isprintable()
        assert tiny_tokenizer.id_to_token(entry.id) == entry.token
    counts = [entry.count for entry in vocabulary.most_frequent]
    assert counts == sorted(counts, reverse=True)
    singles = {word for word in keyword.kwlist if tiny_tokenizer.encode(word).size == 1}
    assert set(report.code.keywords_single) == singles
    ranks = report.distributions.rank_frequency
    assert ranks[0].count == counts[0]
    assert ranks[-1].rank == vocabulary.used
    lengths = report.distributions.token_lengths
    assert sum(length.tokens for length in lengths) == report.tokenizer.num_ordinary_tokens
    assert sum(length.tokens * 0 + length.occurrences for length in lengths) == report.corpus.tokens


def test_indentations(tiny_tokenizer: Tokenizer) -> None:
    report = measure_tokenizer(tiny_tokenizer, samples.TINY_CORPUS)
    for indentation in report.code.indentations:
        unit = {"4 spaces": "    ", "2 spaces": "  ", "tab": "\t"}[indentation.kind]
        text = unit * indentation.level
        assert indentation.tokens_alone == tiny_tokenizer.encode(text).size
        tokens = tiny_tokenizer.tokens(f"x\n{text}x")
        white = [token for token in tokens if "x" not in token]
        assert indentation.tokens_in_code == len(white)


def test_outlying_documents_are_named(tiny_tokenizer: Tokenizer) -> None:
    texts = [*(["plain text " * 200] * 2500), "def " * 400, "\x01\x02" * 800, "short"]
    report = measure_tokenizer(tiny_tokenizer, texts)
    worst, best = report.distributions.worst_documents, report.distributions.best_documents
    assert (worst[0].row, best[0].row) == (2501, 2500)
    assert worst[0].name.endswith("row 2501")
    assert worst[0].bytes_per_token is not None
    assert worst[0].bytes_per_token < 1.1
    assert len(worst) == len(best) == 10


@pytest.mark.parametrize("road", ROADS)
def test_the_same_however_the_corpus_comes(road: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(road)
    texts = samples.TINY_CORPUS * 5
    expected = measure_tokenizer(tokenizer, texts)

    def same(report: TokenizerReport) -> bool:
        corpus = dataclasses.replace(report.corpus, name=expected.corpus.name)
        return dataclasses.replace(report, corpus=corpus) == expected

    for documents in (
        iter(texts),
        (text.encode() for text in texts),
        [texts[:3], texts[3:]],
        [{"text": text} for text in texts],
        texts[::-1],
    ):
        assert same(measure_tokenizer(tokenizer, documents))
    assert same(measure_tokenizer(tokenizer, texts, num_threads=2))
    columns = [{"content": text, "other": 1} for text in texts]
    assert same(measure_tokenizer(tokenizer, columns, text_column="content"))


@pytest.mark.parametrize("road", ROADS)
def test_saved_shards_give_the_figures_of_the_whole(
    road: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(road)
    texts = [*samples.TINY_CORPUS, "long " * 300, None]
    noise = NoiseOptions(noises=NOISES, seed=5)
    whole = TokenizerMeter(tokenizer, noise=noise, reference=tokenizer)
    whole.add(texts, on_bad="skip")
    for number, (first, last) in enumerate(((0, 2), (2, 8))):
        shard = TokenizerMeter(tokenizer, noise=noise, reference=tokenizer, first_row=first)
        shard.add(texts[first:last], on_bad="skip")
        shard.save(tmp_path / f"{number}.json")
    parts = [TokenizerMeter.load(tmp_path / f"{n}.json", tokenizer, reference=tokenizer) for n in (1, 0)]
    parts[0].merge(parts[1])
    assert parts[0].report() == whole.report()
    assert parts[0].report().corpus.num_skipped == 1


def test_what_is_no_saved_meter_is_refused(
    tmp_path: Path, tiny_tokenizer: Tokenizer, unigram_tokenizer: Tokenizer
) -> None:
    path = tmp_path / "meter.json"
    TokenizerMeter(tiny_tokenizer).save(path)
    with pytest.raises(TokenizerError, match="another tokenizer or reference"):
        TokenizerMeter.load(path, tiny_tokenizer, reference=tiny_tokenizer)
    saved = path.read_text()
    for wrong in ("", "[]", "{}", saved.replace('"first_row": 0', '"first_row": -1'), saved[:-20]):
        path.write_text(wrong)
        with pytest.raises(FileFormatError, match="no counters of a tokenizer"):
            TokenizerMeter.load(path, tiny_tokenizer)
    path.write_text(saved)
    with pytest.raises((TokenizerError, FileFormatError)):
        TokenizerMeter.load(path, unigram_tokenizer)


def test_a_sample_of_many_words(tiny_tokenizer: Tokenizer) -> None:
    """The error that is stated, and the number of words that is estimated, hold."""
    words = [f"w{number}" for number in range(30_000)]
    texts = [" ".join(words[begin : begin + 100]) for begin in range(0, len(words), 100)]
    report = measure_tokenizer(tiny_tokenizer, [*texts, *texts[::3]])
    summary = report.words[0]
    assert (summary.sampled_types, summary.is_sample) == (4096, True)
    assert summary.standard_error == 0.5 / 64
    assert abs(summary.estimated_types / 30_000 - 1) < 5 / 64
    metric = report.metric("single_token_retention")
    assert metric.interval is not None
    assert "about " in metric.note


# Bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("road", ROADS)
def test_bad_documents(road: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(road)
    documents = ["a"] * 1500 + [None, "b", b"\xff", "\ud800", 7]
    with pytest.raises(BadDocumentError) as raised:
        measure_tokenizer(tokenizer, documents)
    assert (raised.value.row, raised.value.reason) == (1500, "null")
    assert "documents" in raised.value.source
    report = measure_tokenizer(tokenizer, documents, on_bad="skip")
    assert (report.corpus.documents, report.corpus.num_skipped) == (1501, 4)
    assert "4 rows skipped" in str(report)
    clean = dataclasses.replace(report, corpus=dataclasses.replace(report.corpus, num_skipped=0))
    assert clean == measure_tokenizer(tokenizer, ["a"] * 1500 + ["b"])
    assert estimate_chars_per_token(tokenizer, [None, "aa"], on_bad="skip") > 0
    with pytest.raises(TypeError, match="reference is a int"):
        measure_tokenizer(tokenizer, documents, reference=7)  # type: ignore[arg-type]
    with pytest.raises(BadDocumentError):
        estimate_chars_per_token(tokenizer, [None, "aa"])


def test_many_bad_rows_cost_no_more_than_each_of_them(tiny_tokenizer: Tokenizer) -> None:
    rows = [None] * 500_000 + ["a long enough document " * 50]
    meter = TokenizerMeter(tiny_tokenizer)
    started = time.process_time()
    meter.add(rows, on_bad="skip")
    # Each row looked for among all the bad ones took most of a minute.
    assert time.process_time() - started < 5
    assert meter.num_skipped == 500_000
    assert [row for row, _, _ in meter.counters.outliers[0]] == [500_000]


@pytest.mark.parametrize("documents", [[], iter(()), [[]]])
def test_an_empty_corpus(documents: object, tiny_tokenizer: Tokenizer) -> None:
    with pytest.raises(EmptyCorpusError, match="no text to measure on"):
        measure_tokenizer(tiny_tokenizer, documents)
    with pytest.raises(EmptyCorpusError):
        estimate_chars_per_token(tiny_tokenizer, documents)


def test_a_corpus_of_nothing_but_bad_or_empty_texts(tiny_tokenizer: Tokenizer) -> None:
    with pytest.raises(EmptyCorpusError, match="found 2 rows, all of them skipped"):
        measure_tokenizer(tiny_tokenizer, [None, 3], on_bad="skip")
    report = measure_tokenizer(tiny_tokenizer, ["", ""])
    assert (report.corpus.documents, report.corpus.tokens) == (2, 0)
    assert report.fertility is report.chars_per_token is report.value("renyi_efficiency") is None
    assert "not applicable" in str(report)
    with pytest.raises(EmptyCorpusError, match="the first 2 documents hold no text"):
        estimate_chars_per_token(tiny_tokenizer, ["", ""])


def test_options_are_checked(tiny_tokenizer: Tokenizer, unigram_tokenizer: Tokenizer) -> None:
    for wrong in (0, -1):
        with pytest.raises(ConfigError, match="rare_below is"):
            measure_tokenizer(tiny_tokenizer, ["a"], rare_below=wrong)
        with pytest.raises(ConfigError, match="num_documents is"):
            estimate_chars_per_token(tiny_tokenizer, ["a"], num_documents=wrong)
        with pytest.raises(ConfigError, match="num_threads is"):
            measure_tokenizer(tiny_tokenizer, ["a"], num_threads=wrong)
    with pytest.raises(ConfigError, match="on_bad is"):
        measure_tokenizer(tiny_tokenizer, ["a"], on_bad="drop")
    for option, wrong_value in (
        ("noises", ("colour",)),
        ("noises", ("case", "case")),
        ("noise_rate", 1.5),
        ("confidence", -1),
        ("num_replicates", -1),
        ("seed", -1),
    ):
        with pytest.raises(ConfigError, match=f"{option} is"):
            measure_tokenizer(tiny_tokenizer, ["a"], **{option: wrong_value})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="put it in a list"):
        measure_tokenizer(tiny_tokenizer, "a lone text")
    for tokenizer in (tiny_tokenizer, unigram_tokenizer):
        with pytest.raises(TypeError, match="lone value of type str"):
            TokenizerMeter(tokenizer).add("a lone text")
    with pytest.raises(MissingColumnError, match="content"):
        measure_tokenizer(tiny_tokenizer, [{"content": "a"}])


def test_counters_of_another_tokenizer_are_refused(tiny_tokenizer: Tokenizer) -> None:
    other = Tokenizer.from_str(tiny_tokenizer.to_str(), eos_token="!")
    mine = TokenizerMeter(tiny_tokenizer)
    with pytest.raises(TokenizerError, match="expected the same tokenizer"):
        mine.merge(TokenizerMeter(other))
    with pytest.raises(TokenizerError, match="by the reference"):
        mine.merge(TokenizerMeter(tiny_tokenizer, reference=other))
    with pytest.raises(ConfigError, match="expected the same"):
        mine.merge(TokenizerMeter(tiny_tokenizer, noise=NoiseOptions(seed=1)))


# Characters per token ------------------------------------------------------------------------------------


@pytest.mark.parametrize("road", ROADS)
def test_estimate(road: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(road)
    texts = samples.TINY_CORPUS * 2
    for num_documents in (1, 7, 12, 500):
        first = texts[:num_documents]
        tokens = sum(tokenizer.encode(text).size for text in first)
        expected = sum(map(len, first)) / tokens
        assert estimate_chars_per_token(tokenizer, texts, num_documents) == expected
        assert estimate_chars_per_token(tokenizer, iter(texts), num_documents) == expected


def test_estimate_reads_no_more_than_it_needs(tiny_tokenizer: Tokenizer) -> None:
    read = 0

    def endless() -> object:
        nonlocal read
        while True:
            read += 1
            yield f"document {read}"

    assert estimate_chars_per_token(tiny_tokenizer, endless(), 40) > 0
    assert read <= 80


def test_all_never_used_and_unreachable_tokens_are_told(gpt2_tokenizer: Tokenizer) -> None:
    texts = ["def f(x): return x"]
    summary = TokenizerReport.from_dict(
        json.loads(json.dumps(measure_tokenizer(gpt2_tokenizer, texts).to_dict()))
    ).vocabulary
    used = set(gpt2_tokenizer.encode(texts[0]).tolist())
    ordinary = set(range(len(gpt2_tokenizer))) - {gpt2_tokenizer.eos_token_id}
    assert list(summary.never_used_ids) == sorted(ordinary - used)
    assert len(summary.never_used_ids) == summary.never_used
    assert len(summary.unreachable_ids) == summary.unreachable
    assert set(summary.unreachable_ids) <= set(summary.never_used_ids)
    # Ten are shown, and not bytes that are no text alone.
    assert len(summary.never_used_tokens) == 10
    assert not any("\\x" in entry.text for entry in summary.never_used_tokens)
