"""Vocabularies cut out of larger ones, token totals with paired intervals, the advised size, the command."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from tests import samples

from gristmill import (
    ConfigError,
    EmptyCorpusError,
    ModelShape,
    SourceError,
    Tokenizer,
    TokenizerError,
    advise_vocab_size,
    cut_vocabulary,
    train_tokenizer,
)
from gristmill.advice_reasons import MeasuredCurve, notes, reason, rule_in_words
from gristmill.cli import main
from gristmill.report import Interval
from gristmill.report_page import write_advice_page
from gristmill.token_totals import NUM_GROUPS, NUM_REPLICATES, count_tokens
from gristmill.vocabulary_advice import HoldOut
from gristmill.vocabulary_curve import measure_curves
from gristmill.vocabulary_cut import smallest_vocab_size, why_not_cuttable

# --- a smaller vocabulary out of a larger one ---


@pytest.mark.parametrize("vocab_size", [257, 258, 300, 333, 400])
def test_a_cut_is_what_a_training_to_that_size_gives(vocab_size: int, tiny_tokenizer: Tokenizer) -> None:
    trained = train_tokenizer(samples.TINY_CORPUS * 3, vocab_size, show_progress=False)
    assert json.loads(cut_vocabulary(tiny_tokenizer, vocab_size).to_str()) == json.loads(trained.to_str())


def test_a_cut_on_real_files(tokenizer_5096: Tokenizer, tokenizer_2500: Tokenizer) -> None:
    assert cut_vocabulary(tokenizer_5096, 2500) == tokenizer_2500


@settings(max_examples=300)
@given(
    texts=st.lists(st.text(st.sampled_from("abcd é\n"), max_size=40), min_size=1, max_size=6), data=st.data()
)
def test_a_cut_of_any_training(texts: list[str], data: st.DataObject) -> None:
    largest = train_tokenizer(texts, 300, show_progress=False)
    size = data.draw(st.integers(257, len(largest)))
    assert cut_vocabulary(largest, size) == train_tokenizer(texts, size, show_progress=False)


def test_a_cut_of_gpt2(gpt2_tokenizer: Tokenizer) -> None:
    """Its EOS has the last id; ids are numbered anew, so that no row of an embedding is wasted."""
    small = cut_vocabulary(gpt2_tokenizer, 1000)
    assert (len(small), small.max_token_id, small.eos_token_id) == (1000, 999, 999)
    assert smallest_vocab_size(gpt2_tokenizer) == 257
    assert cut_vocabulary(gpt2_tokenizer, len(gpt2_tokenizer)) == gpt2_tokenizer
    assert cut_vocabulary(gpt2_tokenizer, 257).tokens("the é") == ["t", "h", "e", "Ġ", "Ã", "©"]
    assert small.decode(small.encode("the é\n")) == "the é\n"


def test_a_cut_on_the_slow_road(split_bpe_tokenizer: Tokenizer, unigram_tokenizer: Tokenizer) -> None:
    small = cut_vocabulary(split_bpe_tokenizer, 300)
    assert len(small) == 300
    assert "self.items" in small.tokens("x self.items")  # added tokens stay
    assert why_not_cuttable(unigram_tokenizer) is not None
    with pytest.raises(TokenizerError, match="cannot be cut: a model of type 'Unigram'"):
        cut_vocabulary(unigram_tokenizer, 100)
    with pytest.raises(ConfigError, match=r"vocab_size is 100 .*at least 258"):
        cut_vocabulary(split_bpe_tokenizer, 100)


# --- totals and their intervals ---


@settings(max_examples=200)
@given(
    texts=st.lists(st.text(max_size=20) | st.none(), max_size=30).filter(
        lambda texts: any(t is not None for t in texts)
    )
)
def test_totals_equal_encoding_one_by_one(texts: list[str | None], tiny_tokenizer: Tokenizer) -> None:
    small = cut_vocabulary(tiny_tokenizer, 300)
    totals = count_tokens({"tiny": tiny_tokenizer, "small": small}, texts, on_bad="skip")
    good = [text for text in texts if text is not None]
    assert (totals.documents, totals.num_skipped) == (len(good), len(texts) - len(good))
    assert totals.bytes[: len(good)].tolist() == [len(text.encode()) for text in good]
    for name, tokenizer in (("tiny", tiny_tokenizer), ("small", small)):
        assert totals.tokens[name][: len(good)].tolist() == [len(tokenizer.encode(text)) for text in good]


def test_groups_hold_every_document(tiny_tokenizer: Tokenizer) -> None:
    texts = ["ab" * (number % 7) for number in range(2 * NUM_GROUPS + 5)]
    totals = count_tokens({"tiny": tiny_tokenizer}, texts)
    assert int(totals.bytes.sum()) == sum(map(len, texts))
    assert int(totals.bytes[0]) == sum(len(texts[row]) for row in range(0, len(texts), NUM_GROUPS))


def test_intervals_by_hand_and_their_pairing(tiny_tokenizer: Tokenizer) -> None:
    texts = ["def f(x):\n" * number for number in range(1, 40)]
    small = cut_vocabulary(tiny_tokenizer, 280)
    totals = count_tokens({"a": tiny_tokenizer, "b": small}, texts, seed=3)
    value, interval = totals.bytes_per_token("a")
    assert interval is not None
    weights = np.random.default_rng(3).multinomial(39, [1 / 39] * 39, size=NUM_REPLICATES)
    replicates = sorted(
        sum(int(w) * b for w, b in zip(row, totals.bytes.tolist(), strict=False))
        / sum(int(w) * t for w, t in zip(row, totals.tokens["a"].tolist(), strict=False))
        for row in weights
    )
    assert interval.low == pytest.approx(np.quantile(replicates, 0.025))
    assert interval.high == pytest.approx(np.quantile(replicates, 0.975))
    assert value == int(totals.bytes.sum()) / int(totals.tokens["a"].sum())
    # Documents of one kind: both tokenizers scale alike, so the paired interval of their ratio is a point.
    ratio, between = totals.relative_tokens("b", "a")
    assert ratio is not None
    assert between is not None
    assert between.high - between.low < 0.01 * ratio
    same, exactly = totals.relative_tokens("a", "a")
    assert (same, exactly and (exactly.low, exactly.high)) == (1.0, (1.0, 1.0))


# --- the advice ---

TEXTS = [f"def function_{number}(argument):\n    return argument + {number}\n" for number in range(400)]


def test_advice_equals_its_rule_by_hand(gpt2_tokenizer: Tokenizer) -> None:
    sizes = [260, 280, 320, 400]
    advice = advise_vocab_size(
        TEXTS, vocab_sizes=sizes, beside={"gpt2": gpt2_tokenizer}, minimum_saving=0.3, show_progress=False
    )
    training, held_out = list(HoldOut(TEXTS, "text", False)), list(HoldOut(TEXTS, "text", True))
    assert advice.documents == len(held_out)
    largest = train_tokenizer(training, 400, show_progress=False)
    tokens = {}
    for point in advice.curve:
        trained = train_tokenizer(training, point.vocab_size, show_progress=False)
        tokens[point.vocab_size] = sum(len(trained.encode(text)) for text in held_out)
        assert point.tokens == tokens[point.vocab_size]
        assert point.embedding_parameters == 768 * point.vocab_size
        assert point.bytes_per_token == advice.bytes / point.tokens
    reached = sorted(tokens)
    savings = {
        small: 1 - (tokens[large] / tokens[small]) ** (1 / math.log2(large / small))
        for small, large in itertools.pairwise(reached)
    }
    for point in advice.curve[:-1]:
        assert point.saved_by_doubling == pytest.approx(savings[point.vocab_size])
    expected = next((size for size in reached[:-1] if savings[size] < 0.3), reached[-1])
    assert advice.recommended == expected
    assert advice.tokenizer == cut_vocabulary(largest, expected)
    (gpt2,) = advice.beside
    assert gpt2.tokens == sum(len(gpt2_tokenizer.encode(text)) for text in held_out)
    assert gpt2.relative_tokens == gpt2.tokens / tokens[expected]
    assert f"{abs(gpt2.relative_tokens - 1):.1%}" in str(advice)
    assert json.loads(json.dumps(advice.to_dict()))["recommended"] == expected
    assert "largest" not in advice.to_dict()


def test_held_out_documents_share_no_text_with_the_training() -> None:
    texts = TEXTS + TEXTS[:50]
    training, held_out = HoldOut(texts, "text", False), HoldOut(texts, "text", True)
    kept, left = list(training), list(held_out)
    assert not set(map(str, kept)) & set(map(str, left))
    assert sorted(map(str, [*kept, *left])) == sorted(texts)
    assert 0.03 < len(left) / len(texts) < 0.2
    assert texts[held_out.locate(3)[1]] == left[3]


def test_documents_given_for_measuring() -> None:
    advice = advise_vocab_size(iter(TEXTS), held_out=["def f"], vocab_sizes=[257, 280], show_progress=False)
    assert (advice.documents, advice.bytes) == (1, 5)
    assert advice.point.interval is None  # one document tells nothing of others


def test_a_corpus_without_more_pairs_ends_the_curve() -> None:
    advice = advise_vocab_size(
        ["ab"] * 3, held_out=["ab"], vocab_sizes=[257, 4096, 8192], show_progress=False
    )
    assert [point.vocab_size for point in advice.curve] == [257, 258]
    assert advice.largest_vocab_size == 258


def curve_of(
    savings: list[float],
    *,
    sizes: list[int] | None = None,
    asked: list[int] | None = None,
    width: float = 0.001,
) -> MeasuredCurve:
    sizes = sizes or [512 << number for number in range(len(savings) + 1)]
    return MeasuredCurve(
        sizes=sizes,
        savings=[(saved, Interval(low=saved - width, high=saved + width)) for saved in savings],
        minimum_saving=0.05,
        smallest_possible=257,
        asked=asked or sizes,
    )


def test_a_curve_that_still_falls_says_so() -> None:
    curve = curve_of([0.2, 0.1, 0.06])
    assert curve.recommended == 4096
    assert reason(curve).startswith("the largest size measured, named for want of a larger one")
    assert "still saves 6.00% per doubling" in reason(curve)
    (said,) = notes(curve)
    assert said.startswith("The curve still falls at the largest size")
    assert said.endswith("(ask for larger sizes).")


def test_the_smallest_size_may_not_be_small_enough() -> None:
    curve = curve_of([0.03, 0.02])
    assert (curve.recommended, reason(curve)) == (512, rule_in_words(curve))
    assert notes(curve) == ("No size below 512 was measured: a smaller one may do (ask for smaller sizes).",)
    assert notes(curve_of([0.03, 0.02], sizes=[257, 514, 1028])) == ()  # there is none without any merge


@pytest.mark.parametrize("savings", [[0.2, 0.1], [0.2, 0.01]])
def test_no_larger_sizes_where_the_corpus_has_no_more_pairs(savings: list[float]) -> None:
    text = " ".join(notes(curve_of(savings, sizes=[512, 1024, 1500], asked=[512, 1024, 2048, 4096])))
    assert "ran out of pairs to merge at 1,500 tokens" in text
    assert "stands on the curve for 2,048 and 4,096" in text
    assert "ask for larger" not in text


def test_steps_that_are_no_doubling_are_said() -> None:
    assert "each step counted per doubling" in rule_in_words(curve_of([0.2, 0.01], sizes=[512, 1024, 1500]))
    assert "counted" not in rule_in_words(curve_of([0.2, 0.01]))


def test_a_choice_within_the_noise_is_said() -> None:
    (said,) = notes(curve_of([0.2, 0.0492, 0.01], width=0.005))
    assert "within the noise: after 1,024 tokens a doubling saves 4.92%" in said
    assert "4.42% to 5.42%; 2,048 tokens may do as well" in said
    (said,) = notes(curve_of([0.2, 0.052, 0.01], width=0.005))
    assert said.endswith("1,024 tokens may do as well.")
    assert notes(curve_of([0.2, 0.06, 0.04], width=0.005)) == ()


def test_ends_of_the_curve_in_table_and_page(tmp_path: Path) -> None:
    advice = advise_vocab_size(
        ["ab ab"] * 9, held_out=["ab ab"], vocab_sizes=[257, 512, 8192], show_progress=False
    )
    assert [point.vocab_size for point in advice.curve] == [257, 259]
    write_advice_page(tmp_path / "a.html", advice, {}, ["ab ab"], is_held_out=False)
    for shown in (str(advice), (tmp_path / "a.html").read_text(encoding="utf-8")):
        assert "named for want of a larger one" in shown
        assert "ran out of pairs to merge at 259 tokens" in shown
        assert "ask for larger" not in shown
        assert "where that is no doubling" in shown
    assert "next size saves, per doubling" in str(advice)
    assert advice.to_dict()["notes"] == list(advice.notes)
    with pytest.raises(
        EmptyCorpusError, match="ran out of pairs to merge at 259 tokens, 257 of them without"
    ):
        advise_vocab_size(["ab ab"], held_out=["ab"], vocab_sizes=[512, 1024], show_progress=False)


def test_what_cannot_be_advised_on_is_refused() -> None:
    with pytest.raises(SourceError, match="can be read only once"):
        advise_vocab_size(iter(TEXTS), vocab_sizes=[260, 280])
    with pytest.raises(ConfigError, match="at least two sizes"):
        advise_vocab_size(TEXTS, vocab_sizes=[300, 300])
    with pytest.raises(ConfigError, match="vocab_sizes holds 100"):
        advise_vocab_size(TEXTS, vocab_sizes=[100, 300], show_progress=False)
    with pytest.raises(ConfigError, match=r"minimum_saving is 1\.5"):
        advise_vocab_size(TEXTS, minimum_saving=1.5)
    with pytest.raises(EmptyCorpusError, match="no document was held out"):
        advise_vocab_size(["ab"], vocab_sizes=[257, 258], show_progress=False)
    with pytest.raises(ConfigError, match="n_embd is 0"):
        ModelShape(n_embd=0)


def test_parameters_of_gpt2() -> None:
    """GPT-2 small has 124,439,808 parameters, its tied embedding counted once."""
    shape = ModelShape()
    assert shape.embedding_parameters(50_257) + shape.other_parameters == 124_439_808


def test_curves_of_a_tokenizers_own_sizes(tiny_tokenizer: Tokenizer, unigram_tokenizer: Tokenizer) -> None:
    big, flat = measure_curves(
        {"big": cut_vocabulary(tiny_tokenizer, 390), "flat": unigram_tokenizer}, TEXTS[:20]
    )
    assert [point.vocab_size for point in big.points] == [390]  # half of it would be below the alphabet
    assert [point.vocab_size for point in flat.points] == [len(unigram_tokenizer)]
    total = sum(len(unigram_tokenizer.encode(text)) for text in TEXTS[:20])
    assert flat.points[0].bytes_per_token == sum(map(len, TEXTS[:20])) / total


def test_a_curve_halves(tokenizer_2500: Tokenizer) -> None:
    (curve,) = measure_curves({"mine": tokenizer_2500}, TEXTS[:20])
    assert [point.vocab_size for point in curve.points] == [312, 625, 1250, 2500]
    assert sorted(curve.points, key=lambda point: point.bytes_per_token) == list(curve.points)


# --- the command ---


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_tokenizer: Tokenizer) -> None:
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    tiny_tokenizer.save_pretrained(tmp_path / "tiny")
    command = ["tokenizer", "advise", str(tmp_path / "corpus.jsonl"), "--vocab-sizes", "260,280,300"]
    command += [
        "--tokenizer",
        f"tiny={tmp_path / 'tiny'}",
        "--n-embd",
        "64",
        "--output",
        str(tmp_path / "out"),
    ]
    assert main([*command, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [point["name"] for point in value["beside"]] == ["tiny"]
    assert len(Tokenizer.from_pretrained(tmp_path / "out")) == value["recommended"]
    assert main([*command, "--overwrite"]) == 0
    table = capsys.readouterr().out
    assert table.startswith(f"recommended vocabulary: {value['recommended']:,} tokens (the largest size")
    assert "caveat: The recommended size is a rule of thumb" in table
    assert main([*command[:3], "--vocab-sizes", "260,200"]) == 2
    with pytest.raises(SystemExit):
        main([*command[:3], "--vocab-sizes", "many"])
