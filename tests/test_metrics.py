"""What is measured of a tokenizer: equal to a slow plain twin, however the corpus is cut, on both roads."""

from __future__ import annotations

import dataclasses
import json
import keyword
import pickle

import numpy as np
import pytest
import tokenizers
from hypothesis import given, strategies as st
from tests import plain_metrics, samples
from tokenizers import models

from gristmill.errors import (
    BadDocumentError,
    ConfigError,
    EmptyCorpusError,
    MissingColumnError,
    TokenizerError,
)
from gristmill.metrics import TokenizerMeter, TokenizerReport, estimate_chars_per_token, measure_tokenizer
from gristmill.tokenizer import Tokenizer

ROADS = ("tiny_tokenizer", "split_bpe_tokenizer", "word_piece_tokenizer", "unigram_tokenizer")
SPACE_OR_NOT = st.sampled_from([*plain_metrics.SPACES, "\x1c", "\x1f", "\u180e", "\u200b", "\ufeff"])
TEXTS = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.text(alphabet=st.one_of(SPACE_OR_NOT, st.sampled_from("ab'9_é你🎉\n ")), max_size=40),
        st.sampled_from(
            [*samples.TINY_CORPUS, "  \n\n", "a\n", "a\r\nb", "<|endoftext|> </s>[EOS]", "self.items x"]
        ),
    ),
    max_size=6,
)


@pytest.mark.parametrize("road", ROADS)
@given(texts=TEXTS, cut=st.integers(0, 6), num_threads=st.integers(1, 2), data=st.data())
def test_counters_equal_the_plain_twin(
    road: str,
    texts: list[str],
    cut: int,
    num_threads: int,
    data: st.DataObject,
    request: pytest.FixtureRequest,
) -> None:
    """Also sharded and merged, as bytes, at 1 and 2 threads."""
    tokenizer: Tokenizer = request.getfixturevalue(road)
    totals, counts = plain_metrics.count(tokenizer.to_str(), texts, road == "tiny_tokenizer")
    expected = np.zeros(tokenizer.max_token_id + 1, dtype=np.uint64)
    for token_id, count in counts.items():
        expected[token_id] = count
    whole, left, right = (TokenizerMeter(tokenizer) for _ in range(3))
    whole.add(texts, num_threads=num_threads)
    left.add([text.encode() for text in texts[:cut]], num_threads=num_threads)
    for text in texts[cut:]:
        right.add([text])
    parts = data.draw(st.permutations([left, right]))
    parts[0].merge(parts[1])
    for meter in (whole, parts[0]):
        assert meter.totals == totals
        assert np.array_equal(meter.token_counts, expected)


def test_on_real_files(gpt2_tokenizer: Tokenizer) -> None:
    texts = samples.training_texts()[::60]
    totals, counts = plain_metrics.count(gpt2_tokenizer.to_str(), [text[:3000] for text in texts], True)
    report = measure_tokenizer(gpt2_tokenizer, [text[:3000] for text in texts])
    assert report.fertility == totals["tokens_in_words"] / totals["words"]
    assert report.vocabulary_used == len(counts)


# Goldens -------------------------------------------------------------------------------------------------


def two_words() -> Tokenizer:
    """Bytes and three merges: "Ġw", "or", "Ġwor"."""
    vocabulary = {character: number for number, character in enumerate(samples.byte_alphabet())}
    merges = [("Ġ", "w"), ("o", "r"), ("Ġw", "or")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    made = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.add_special_tokens([samples.EOS])
    return Tokenizer.from_tokenizers(made)


def test_figures_by_hand() -> None:
    # a | Ġwor d | Ċ | Ċ | or | Ġ Ġ ...; words: a, word, or. Tokens: [a][Ġwor][d][Ċ][Ċ][or][Ġ][Ġ]
    report = measure_tokenizer(two_words(), ["a word\n\nor", "", "  "], rare_below=2)
    assert (report.documents, report.bytes, report.characters, report.num_skipped) == (3, 12, 12, 0)
    assert report.lines == 4  # "a word", "", "or" and the blanks
    assert (report.words, report.tokens) == (3, 8)
    assert (report.tokens_in_words, report.whitespace_tokens, report.continued_words) == (4, 4, 1)
    assert report.fertility == 4 / 3
    assert report.continued_share == 1 / 3
    assert report.whitespace_share == 0.5
    assert report.chars_per_token == report.bytes_per_token == 1.5
    assert report.lines_per_token == 0.5
    assert report.vocabulary_tokens == 259  # EOS apart
    assert report.vocabulary_used == 6
    assert report.vocabulary_rare == 4  # Ċ and Ġ occur twice
    assert report.used_share == 6 / 259
    assert report.rare_share == 4 / 259
    assert report.unknown_tokens is None
    assert report.unknown_share is None
    assert [entry.text for entry in report.longest[:3]] == [" wor", " w", "or"]
    assert report.first_learned is not None
    assert report.last_learned is not None
    assert [(entry.id, entry.token, entry.text) for entry in report.first_learned] == [
        (256, "Ġw", " w"),
        (257, "or", "or"),
        (258, "Ġwor", " wor"),
    ]
    assert report.last_learned == report.first_learned
    assert report.keywords_single == ("or",)
    assert report.keywords_single_after_blank == ()
    assert report.num_keywords == len(keyword.kwlist)


def test_unknown_share() -> None:
    made = tokenizers.Tokenizer(models.WordLevel({"?": 0, "a": 1}, unk_token="?"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    report = measure_tokenizer(Tokenizer.from_tokenizers(made), ["a b a c"])
    assert (report.unknown_tokens, report.unknown_share) == (2, 0.5)
    assert report.first_learned is None
    assert "learned first:  not applicable" in str(report)


@pytest.mark.parametrize("road", ROADS)
def test_unknown_tokens_of_each_model(road: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(road)
    report = measure_tokenizer(tokenizer, ["I \U00012000 I"])
    if "bpe" in road or "tiny" in road:
        assert report.unknown_share is None
    else:
        assert report.unknown_tokens == 1


# The report ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("road", ROADS)
def test_report(road: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(road)
    report = measure_tokenizer(tokenizer, samples.TINY_CORPUS)
    assert isinstance(report, TokenizerReport)
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.tokens = 3  # type: ignore[misc]
    as_dict = json.loads(json.dumps(report.to_dict()))
    assert as_dict["fertility"] == report.fertility
    assert as_dict["engine"] == str(tokenizer.engine)
    assert as_dict["tokenizer"] == tokenizer.fingerprint
    shown = str(report)
    for name, rule in report.rules.items():
        assert rule in shown
        assert as_dict["rules"][name] == rule
        assert name.replace("_", " ") in shown
    assert f"{report.fertility:.4f}" in shown
    assert "not applicable" in shown or report.unknown_share is not None
    assert pickle.loads(pickle.dumps(report)) == report  # noqa: S301


def test_notable_tokens_are_readable(tiny_tokenizer: Tokenizer) -> None:
    report = measure_tokenizer(tiny_tokenizer, samples.TINY_CORPUS)
    assert report.first_learned is not None
    assert report.last_learned is not None
    assert len(report.longest) == len(report.first_learned) == len(report.last_learned) == 10
    merges = tiny_tokenizer.parsed_json()["model"]["merges"]
    assert [entry.token for entry in report.first_learned] == ["".join(pair) for pair in merges[:10]]
    assert [entry.token for entry in report.last_learned] == ["".join(pair) for pair in merges[-10:]]
    assert len(report.longest[0].token) == max(
        len(token) for token in tiny_tokenizer.get_vocab() if token != samples.EOS
    )
    for entry in (*report.longest, *report.first_learned, *report.last_learned):
        assert entry.text.isprintable()
        assert tiny_tokenizer.id_to_token(entry.id) == entry.token
    singles = {word for word in keyword.kwlist if tiny_tokenizer.encode(word).size == 1}
    assert set(report.keywords_single) == singles
    assert "for" in {word for word in keyword.kwlist if tiny_tokenizer.encode(f" {word}").size == 1} | singles


@pytest.mark.parametrize("road", ROADS)
def test_the_same_however_the_corpus_comes(road: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(road)
    texts = samples.TINY_CORPUS * 5
    expected = measure_tokenizer(tokenizer, texts)
    for documents in (
        iter(texts),
        (text.encode() for text in texts),
        [texts[:3], texts[3:]],
        [{"text": text} for text in texts],
    ):
        assert measure_tokenizer(tokenizer, documents) == expected
    assert measure_tokenizer(tokenizer, texts, num_threads=2) == expected
    columns = [{"content": text, "other": 1} for text in texts]
    assert measure_tokenizer(tokenizer, columns, text_column="content") == expected


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
    assert (report.documents, report.num_skipped) == (1501, 4)
    assert "4 rows skipped" in str(report)
    assert dataclasses.replace(report, num_skipped=0) == measure_tokenizer(tokenizer, ["a"] * 1500 + ["b"])
    assert estimate_chars_per_token(tokenizer, [None, "aa"], on_bad="skip") > 0
    with pytest.raises(BadDocumentError):
        estimate_chars_per_token(tokenizer, [None, "aa"])


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
    assert (report.documents, report.tokens, report.fertility, report.chars_per_token) == (2, 0, None, None)
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
    with pytest.raises(TypeError, match="put it in a list"):
        measure_tokenizer(tiny_tokenizer, "a lone text")
    for tokenizer in (tiny_tokenizer, unigram_tokenizer):
        with pytest.raises(TypeError, match="lone value of type str"):
            TokenizerMeter(tokenizer).add("a lone text")
    with pytest.raises(MissingColumnError, match="content"):
        measure_tokenizer(tiny_tokenizer, [{"content": "a"}])


def test_counters_of_another_tokenizer_are_refused(tiny_tokenizer: Tokenizer) -> None:
    other = Tokenizer.from_str(tiny_tokenizer.to_str(), eos_token="!")
    with pytest.raises(TokenizerError, match="expected the same tokenizer"):
        TokenizerMeter(tiny_tokenizer).merge(TokenizerMeter(other))


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
