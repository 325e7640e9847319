"""What is measured of a tokenizer: equal to a slow plain twin, however the corpus is cut, on both roads."""

from __future__ import annotations

import itertools
import json
import keyword
import math

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings, strategies as st
from tests import plain_metrics, samples
from tokenizers import models

from gristmill.errors import (
    SourceError,
)
from gristmill.metrics import (
    NOISES,
    NoiseOptions,
    TokenizerMeter,
    measure_tokenizer,
)
from gristmill.tokenizer import Tokenizer
from gristmill.vocabulary_report import completions, unreachable_tokens

ROADS = ("tiny_tokenizer", "split_bpe_tokenizer", "word_piece_tokenizer", "unigram_tokenizer")
SPACE_OR_NOT = st.sampled_from([*plain_metrics.SPACES, "\x1c", "\x1f", "\u180e", "\u200b", "\ufeff"])
# What others have published of GPT-2's tokenizer, by text (and what the notebook printed that this project
# began with); the sources are in docs/metrics.md.
ADD_NUMBERS = '''def add_numbers(a, b):
    """Add the two numbers `a` and `b`."""
    return a + b'''
SAY_HELLO = """
def say_hello():
    print("Hello, World!")
    # Print it
    say_hello()
"""
PUBLISHED_IDS = {"Hello world": [15496, 995], " Hello world": [18435, 995], "hello world": [31373, 995]}
PUBLISHED_TOKENS = {
    ADD_NUMBERS: (
        'def Ġadd _ n umbers ( a , Ġb ): Ċ Ġ Ġ Ġ Ġ""" Add Ġthe Ġtwo Ġnumbers Ġ` a ` Ġand Ġ` b ` ." "" '
        "Ċ Ġ Ġ Ġ Ġreturn Ġa Ġ+ Ġb"
    ),
    SAY_HELLO: (
        'Ċ def Ġsay _ hello (): Ċ Ġ Ġ Ġ Ġprint (" Hello , ĠWorld !" ) Ċ Ġ Ġ Ġ Ġ# ĠPrint Ġit '
        "Ċ Ġ Ġ Ġ Ġsay _ hello () Ċ"
    ),
}
PUBLISHED_LENGTHS = {ADD_NUMBERS: 36, SAY_HELLO: 33}
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


NOISE = st.builds(
    NoiseOptions,
    noises=st.permutations(NOISES).map(tuple),
    rate=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 2**64 - 1),
)


def plain_of(
    tokenizer: Tokenizer, texts: list[str], noise: NoiseOptions | None = None
) -> plain_metrics.Plain:
    """Return the plain twin's counters."""
    noise = noise or NoiseOptions()
    byte_level = tokenizer.native is not None
    plain = plain_metrics.Plain(
        tokenizer.to_str(), byte_level, noise.noises, round(noise.rate * 2**32), noise.seed
    )
    for text in texts:
        plain.add(text)
    return plain


def check_counters(meter: TokenizerMeter, plain: plain_metrics.Plain) -> None:
    """Compare all counters with those of the plain twin, to the last digit."""
    counters = meter.counters
    assert {name: count for name, count in meter.totals.items() if count} == {
        name: count for name, count in plain.totals.items() if count
    }
    counts = np.zeros(meter.tokenizer.max_token_id + 1, dtype=np.uint64)
    for token_id, count in plain.counts.items():
        counts[token_id] = count
    assert np.array_equal(meter.token_counts, counts)
    groups = np.zeros_like(counters.groups)
    for group, row in plain.groups.items():
        groups[group] = [row[column] for column in counters.columns]
    assert np.array_equal(counters.groups, groups)
    for rule, (overflowed, sample) in zip(plain_metrics.RULES[:2], counters.type_samples, strict=True):
        assert sample == plain.sample(rule)
        assert overflowed == (len(plain.types[rule]) > len(sample))


@pytest.mark.parametrize("road", ROADS)
@given(texts=TEXTS, cut=st.integers(0, 6), num_threads=st.integers(1, 2), noise=NOISE, data=st.data())
def test_counters_equal_the_plain_twin(
    road: str,
    texts: list[str],
    cut: int,
    num_threads: int,
    noise: NoiseOptions,
    data: st.DataObject,
    request: pytest.FixtureRequest,
) -> None:
    """Also sharded and merged, as bytes, at 1 and 2 threads; groups, samples and noise included."""
    tokenizer: Tokenizer = request.getfixturevalue(road)
    plain = plain_of(tokenizer, texts, noise)
    whole, left, right = (TokenizerMeter(tokenizer, noise=noise) for _ in range(3))
    whole.add(texts, num_threads=num_threads)
    left.add([text.encode() for text in texts[:cut]], num_threads=num_threads)
    for text in texts[cut:]:
        right.add([text])
    parts = data.draw(st.permutations([left, right]))
    parts[0].merge(parts[1])
    for meter in (whole, parts[0]):
        check_counters(meter, plain)


def test_on_real_files(gpt2_tokenizer: Tokenizer) -> None:
    texts = [text[:3000] for text in samples.training_texts()[::120]]
    noise = NoiseOptions(noises=NOISES, seed=3)
    plain, meter = plain_of(gpt2_tokenizer, texts, noise), TokenizerMeter(gpt2_tokenizer, noise=noise)
    meter.add(texts)
    check_counters(meter, plain)


def test_the_rules_of_words_agree_on_every_code_point(tiny_tokenizer: Tokenizer) -> None:
    """Behind a letter, before one, alone, and after a number: 256 code points to a text."""
    meter = TokenizerMeter(tiny_tokenizer)
    for begin in range(0, 0x110000, 0x1000):
        characters = [chr(c) for c in range(begin, begin + 0x1000) if not 0xD800 <= c < 0xE000]
        for first in range(0, len(characters), 256):
            some = characters[first : first + 256]
            text = "".join(f"a{c}b {c} 1{c} _{c}.{c}c\n" for c in some)
            before = meter.totals
            meter.add([text])
            kinds = meter.totals
            for rule in plain_metrics.RULES:
                name = f"words_{rule}"
                found = kinds[name] - before[name]
                assert found == len(plain_metrics.words_of(text, rule)), (rule, hex(ord(some[0])))


@given(texts=TEXTS, seed=st.integers(0, 2**64 - 1))
@settings(max_examples=100)
def test_figures_and_intervals_equal_the_plain_twin(
    texts: list[str], seed: int, tiny_tokenizer: Tokenizer
) -> None:
    texts = [*texts, "some words", "ever more of them, 12"]
    noise = NoiseOptions(noises=NOISES, rate=0.5, seed=seed)
    plain, meter = plain_of(tiny_tokenizer, texts, noise), TokenizerMeter(tiny_tokenizer, noise=noise)
    meter.add(texts)
    report = meter.report(2, num_replicates=50, confidence=0.9)
    totals = plain.totals
    groups = [row for _, row in sorted(plain.groups.items())]
    assert report.settings.num_groups == len(groups)
    for name, above, below in (
        ("fertility", "tokens_in_words_whitespace", "words_whitespace"),
        ("fertility_of_identifiers", "tokens_in_words_identifiers", "words_identifiers"),
        ("continued_share_of_unicode_words", "continued_words_unicode", "words_unicode"),
        ("bytes_per_token", "bytes", "tokens"),
        ("chars_per_token", "characters", "tokens"),
        ("lines_per_token", "lines", "tokens"),
        ("tokens_per_code_line", "tokens", "code_lines"),
        ("token_edit_distance_case", "edits_case_noise", "longer_case_noise"),
    ):
        metric = report.metric(name)
        assert (metric.numerator, metric.denominator) == (totals[above], totals[below])
        assert metric.value == (totals[above] / totals[below] if totals[below] else None)
        pairs = [(row[above], row[below]) for row in groups]
        if len(groups) >= 2 and totals[below]:
            assert metric.interval is not None
            expected = plain_metrics.interval(pairs, 50, 0.9, seed)
            assert (metric.interval.low, metric.interval.high) == pytest.approx(expected)
    counts = [plain.counts[token_id] for token_id in sorted(tiny_tokenizer.get_vocab().values())]
    assert report.value("renyi_efficiency") == pytest.approx(plain_metrics.efficiency(counts, 2.5), rel=1e-12)
    assert report.value("shannon_efficiency") == pytest.approx(plain_metrics.efficiency(counts, 1), rel=1e-12)
    ordinary = len(tiny_tokenizer) - len(tiny_tokenizer.special_tokens)
    assert report.value("used_share") == len(plain.counts) / ordinary
    assert report.value("rare_share") == sum(count < 2 for count in plain.counts.values()) / ordinary
    for rule, of in (
        ("whitespace", ""),
        ("identifiers", "_of_identifiers"),
    ):
        types = plain.types[rule]
        for name, before in (("single_token_retention_alone", ""), ("single_token_retention", " ")):
            single = sum(len(tiny_tokenizer.encode(before + word)) == 1 for word in types)
            assert report.value(name + of) == (single / len(types) if types else None)


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
    corpus, vocabulary = report.corpus, report.vocabulary
    assert (corpus.documents, corpus.bytes, corpus.characters, corpus.num_skipped) == (3, 12, 12, 0)
    assert corpus.lines == 4  # "a word", "", "or" and the blanks
    assert corpus.code_lines == 2
    assert corpus.tokens == 8
    words = report.words[0]
    assert (words.words, words.tokens_in_words, words.continued_words) == (3, 4, 1)
    assert (words.sampled_types, words.is_sample, words.single_alone, words.single_after_blank) == (
        3,
        False,
        2,
        0,
    )
    assert report.fertility == 4 / 3
    assert report.continued_share == 1 / 3
    assert report.value("whitespace_share") == 0.5
    assert report.chars_per_token == report.bytes_per_token == 1.5
    assert report.value("lines_per_token") == 0.5
    assert report.value("tokens_per_code_line") == 4
    assert report.value("identifiers_single_share") == 2 / 3
    assert report.tokenizer.num_ordinary_tokens == 259  # EOS apart
    assert (vocabulary.used, vocabulary.rare, vocabulary.never_used) == (6, 4, 253)  # Ċ and Ġ occur twice
    assert report.value("used_share") == 6 / 259
    assert report.value("rare_share") == 4 / 259
    assert report.value("unknown_share") is None
    assert report.value("byte_fallback_share") is None
    assert [entry.text for entry in vocabulary.longest[:3]] == [" wor", " w", "or"]
    assert vocabulary.first_learned is not None
    assert [(entry.id, entry.token, entry.text) for entry in vocabulary.first_learned] == [
        (256, "Ġw", " w"),
        (257, "or", "or"),
        (258, "Ġwor", " wor"),
    ]
    assert vocabulary.last_learned == vocabulary.first_learned
    # Four of a, Ġwor, d, or once, Ċ and Ġ twice.
    shares = [1 / 8] * 4 + [2 / 8] * 2
    expected = math.log(sum(p**2.5 for p in shares)) / -1.5 / math.log(260)
    assert report.value("renyi_efficiency") == pytest.approx(expected, rel=1e-12)
    assert report.value("shannon_efficiency") == pytest.approx(2.5 * math.log(2) / math.log(260), rel=1e-12)
    assert report.code.keywords_single == ("or",)
    assert report.code.keywords_single_after_blank == ()
    assert report.code.keywords == tuple(keyword.kwlist)
    # The bytes that no UTF-8 holds.
    assert [entry.text for entry in vocabulary.unreachable_tokens[:3]] == ["\\xc0", "\\xc1", "\\xf5"]
    assert vocabulary.unreachable == 13
    assert report.distributions.token_lengths[0].tokens == 256


def test_unreachable_tokens() -> None:
    """A token whose parts never come together, and one that has to be completed."""
    made = json.loads(two_words().to_str())
    vocabulary, merges = made["model"]["vocab"], made["model"]["merges"]
    for left, right in (("d", "Ġ"), ("r", "d"), ("or", "d"), ("o", "rd"), ("Ã", "©"), ("ä", "¸")):
        vocabulary.setdefault(left + right, len(vocabulary))
        merges.append([left, right])
    del made["added_tokens"]
    tokenizer = Tokenizer.from_str(json.dumps(made))
    # "dĠ" spans two pieces. "rd" is what "ord" is not made of, yet "rd" alone is it. "ä¸" begins a character.
    assert [token for token in unreachable_tokens(tokenizer) if len(token) > 1] == ["dĠ"]


def test_completions() -> None:
    assert list(completions(b"ab")) == ["ab"]
    assert list(completions("é".encode()[:1])) == [chr(c) for c in range(0xC0, 0x100)]
    assert next(completions(b"\xb8\xad")) is not None
    for data in (
        b"\xa9",
        b"\xe4",
        b"\xe4\xb8",
        b"\xb8\xad",
        b"\x98\x80",
        b"\x80\x80\x80",
        b"\xf0\x9f",
        b"\xad!\xe4",
    ):
        found = list(itertools.islice(completions(data), 5000))
        assert found
        assert all(data in text.encode() for text in found)
        assert len(set(found)) == len(found)
    for data in (b"\xff", b"\xc0", b"a\xf5", b"\x80\x80\x80\x80", b"\xe4a"):
        assert list(completions(data)) == []


@pytest.mark.parametrize("road", ROADS)
def test_what_the_corpus_reaches_is_not_called_unreachable(road: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(road)
    meter = TokenizerMeter(tokenizer)
    meter.add(samples.TINY_CORPUS)
    occurred = {tokenizer.id_to_token(int(token_id)) for token_id in np.flatnonzero(meter.token_counts)}
    unreachable = set(unreachable_tokens(tokenizer))
    # "'l" alone is two pieces, but it begins the piece "'ll".
    assert occurred & unreachable <= {"'l"}
    assert meter.report().vocabulary.unreachable == len(unreachable - occurred)


def test_unknown_share() -> None:
    made = tokenizers.Tokenizer(models.WordLevel({"?": 0, "a": 1}, unk_token="?"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    report = measure_tokenizer(Tokenizer.from_tokenizers(made), ["a b a c"])
    assert report.value("unknown_share") == 0.5
    assert report.vocabulary.first_learned is None
    assert "learned first:  not applicable" in str(report)


def test_byte_fallback_share() -> None:
    vocabulary = {"<unk>": 0, **{f"<0x{byte:02X}>": byte + 1 for byte in range(256)}, "a": 257, "b": 258}
    made = tokenizers.Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    report = measure_tokenizer(Tokenizer.from_tokenizers(made), ["abé"])
    assert report.value("byte_fallback_share") == 0.5
    assert report.value("unknown_share") == 0
    assert report.metric("byte_fallback_share").numerator == 2


@pytest.mark.parametrize("road", ROADS)
def test_unknown_tokens_of_each_model(road: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(road)
    report = measure_tokenizer(tokenizer, ["I \U00012000 I"])
    if "bpe" in road or "tiny" in road:
        assert report.value("unknown_share") is None
    else:
        assert report.metric("unknown_share").numerator == 1


# Published figures ---------------------------------------------------------------------------------------


def test_published_figures_with_the_vocabulary_of_gpt2(gpt2_tokenizer: Tokenizer) -> None:
    for text, ids in PUBLISHED_IDS.items():
        assert gpt2_tokenizer.encode(text).tolist() == ids
        assert measure_tokenizer(gpt2_tokenizer, [text]).corpus.tokens == len(ids)
    for text, tokens in PUBLISHED_TOKENS.items():
        assert gpt2_tokenizer.tokens(text) == tokens.split(" ")
        report = measure_tokenizer(gpt2_tokenizer, [text])
        assert report.corpus.tokens == PUBLISHED_LENGTHS[text]
        # "as we can see, this is not too efficient": no level of indentation is one token in code.
        assert not any(indentation.tokens_in_code == 1 for indentation in report.code.indentations[:8])
    assert report.tokenizer.num_tokens == 50_257
    assert len(gpt2_tokenizer.parsed_json()["model"]["merges"]) == 50_000


# References, parallel text, noise ------------------------------------------------------------------------


@pytest.mark.parametrize("road", ROADS)
def test_normalized_sequence_length_and_parity(
    road: str, tokenizer_2500: Tokenizer, request: pytest.FixtureRequest
) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(road)
    texts, others = samples.TINY_CORPUS, samples.TINY_CORPUS[::-1]
    report = measure_tokenizer(
        tokenizer, texts, reference=tokenizer_2500, reference_name="2500", parallel_to=others
    )
    own = sum(len(tokenizer.encode(text)) for text in texts)
    assert report.metric("normalized_sequence_length").numerator == own
    assert report.metric("normalized_sequence_length").denominator == sum(
        len(tokenizer_2500.encode(text)) for text in texts
    )
    assert "tokens of 2500" in report.metric("normalized_sequence_length").rule
    assert report.value("parity") == 1
    itself = measure_tokenizer(tokenizer, texts, reference=tokenizer)
    assert itself.value("normalized_sequence_length") == 1
    assert "parity" not in str(itself)


@pytest.mark.parametrize("road", ["tiny_tokenizer", "unigram_tokenizer"])
def test_pairs_of_parallel_texts(road: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(road)
    left, right = ["one", None, "three", "four"], ["eins", "zwei", b"\xff", "vier"]
    report = measure_tokenizer(tokenizer, left, parallel_to=right, on_bad="skip")
    assert (report.corpus.documents, report.corpus.num_skipped) == (2, 2)
    tokens = [
        sum(len(tokenizer.encode(text)) for text in texts) for texts in (["one", "four"], ["eins", "vier"])
    ]
    assert report.value("parity") == tokens[0] / tokens[1]
    with pytest.raises(SourceError, match="ends after 2 documents"):
        measure_tokenizer(tokenizer, ["a", "b", "c"], parallel_to=["a", "b"])
    with pytest.raises(SourceError, match="more documents"):
        measure_tokenizer(tokenizer, ["a"], parallel_to=["a", "b"])
