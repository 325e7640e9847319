"""The newer patterns on the own engine: ids and vocabularies equal those of `tokenizers`."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
import tokenizers
from hypothesis import given, strategies as st
from tests import samples
from tests.test_tokenizer_exact import CODE, CONTEXTS, TRICKY, assert_exact, code_points
from tokenizers import models, pre_tokenizers, processors, trainers

from gristmill import Tokenizer, UnsupportedTokenizerError, train_tokenizer, training_engine
from gristmill._native import pattern_of
from gristmill.errors import ConfigError
from gristmill.splitting import SPLITTINGS

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
WORDS, SIGNS = r"[^\r\n\p{L}\p{N}]?\p{L}+", r" ?[^\s\p{L}\p{N}]+[\r\n]*"
WHITE_SPACE = r"\s*[\r\n]+|\s+(?!\S)|\s+"
CAPITALS, SMALL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
# As published files have them, put together here so that nobody need compare lines of 300 characters.
REGEXES = {
    "cl100k": rf"{CONTRACTIONS}|{WORDS}|\p{{N}}{{1,3}}|{SIGNS}|{WHITE_SPACE}",
    "cl100k (as tiktoken writes it)": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|"
        r"\s*[\r\n]|\s+(?!\S)|\s"
    ),
    "Qwen 2": rf"{CONTRACTIONS}|{WORDS}|\p{{N}}|{SIGNS}|{WHITE_SPACE}",
    "code": rf"{WORDS}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+(?:[\r\n]\s*)?|\s+",
    "o200k": (
        rf"[^\r\n\p{{L}}\p{{N}}]?{CAPITALS}*{SMALL}+{CONTRACTIONS}?|"
        rf"[^\r\n\p{{L}}\p{{N}}]?{CAPITALS}+{SMALL}*{CONTRACTIONS}?|"
        rf"\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{WHITE_SPACE}"
    ),
}
INSTRUCTIONS = ("avx512", "avx2", "portable")


def pre_tokenizer(regex: str, behavior: str = "isolated", invert: bool = False) -> Any:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(regex), behavior, invert),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False),
        ]
    )


@cache
def trained_json(name: str, vocab_size: int = 2000) -> str:
    """Return a tokenizer with this pattern, trained by `tokenizers`."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer(REGEXES[name])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[samples.EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*samples.TINY_CORPUS * 3, *samples.training_texts()[::16]], trainer)
    return tokenizer.to_str()


@cache
def tokenizers_of(name: str) -> dict[str, Tokenizer]:
    """Return the tokenizer by the instructions that its engine uses, as far as the machine has them."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        for instructions in INSTRUCTIONS:
            patch.setenv("GRISTMILL_INSTRUCTIONS", instructions)
            try:
                made[instructions] = Tokenizer.from_str(trained_json(name))
            except ValueError:
                continue
    assert "portable" in made
    return made


# Encoding ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REGEXES)
def test_standard_library(name: str) -> None:
    texts, _ = samples.standard_library()
    for number, tokenizer in enumerate(tokenizers_of(name).values()):
        assert str(tokenizer.engine) == "gristmill"
        assert tokenizer.engine.reason == f"byte-level BPE with the {name} pattern"
        # All of it once, a part for the slower instructions.
        assert_exact(tokenizer, texts if number == 0 else texts[number::8])


NEWER_CONTEXTS = CONTEXTS | {
    "between capitals": "A".join,
    "between small letters and signs": "a!".join,
    "after two signs": "!!".join,
    "behind newlines": "!\n".join,
    "between contractions": "'S".join,
    "behind an apostrophe and a letter": "x'".join,
    "between ideographs": "中".join,
    "between marks": "\u0301".join,
    "between lines of white space": "\n ".join,
    "before slashes": "/".join,
}


@pytest.mark.parametrize("name", REGEXES)
def test_every_code_point(name: str) -> None:
    by_instructions = list(tokenizers_of(name).values())
    for number, (context, join) in enumerate(NEWER_CONTEXTS.items()):
        # The planes without a single character are seen in one context.
        blocks = [
            block
            for block in code_points()
            if context == "in a row" or not "\U00040000" <= block[0] < "\U000e0000"
        ]
        assert_exact(by_instructions[number % len(by_instructions)], [join(block) for block in blocks])


SHAPES = st.lists(
    st.sampled_from(
        [
            *(
                "foo",
                "Bar",
                "HTML",
                " x",
                "'s",
                "'RE",
                "'\u017f",
                "'",
                "12345",
                "٣٤٥٦",
                "!",
                "!!",
                ");",
                "/",
                "//",
                "é",
            ),
            *(
                " ",
                "  ",
                "\t",
                "\n",
                "\r\n",
                "\n    ",
                " \n",
                "\n \n",
                "\u3000",
                "\u2028",
                "中",
                "中文A",
                "\u0301",
                "❤\ufe0f",
            ),
            *("ʰ", "ǅ", "ก็", "हिन्दी", "\U0001f468\u200d\U0001f469", "\u1c8a", "\U0001e030", "\u0378"),
        ]
    ),
    max_size=40,
).map("".join)


@given(texts=st.lists(st.one_of(st.text(max_size=60), TRICKY, CODE, SHAPES), max_size=6))
def test_random_text(texts: list[str]) -> None:
    for name in REGEXES:
        for tokenizer in tokenizers_of(name).values():
            assert_exact(tokenizer, texts)


def test_which_files_are_known() -> None:
    for name, regex in REGEXES.items():
        content = json.loads(trained_json(name))
        for kept in (pre_tokenizer(regex), pre_tokenizer(regex, "removed", invert=True)):
            tokenizer = tokenizers.Tokenizer.from_str(trained_json(name))
            tokenizer.pre_tokenizer = kept
            assert pattern_of(json.dumps(json.loads(tokenizer.to_str())["pre_tokenizer"])) == name
        content["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": regex + "|x"}
        assert str(Tokenizer.from_str(json.dumps(content)).engine) == "tokenizers"
        with pytest.raises(UnsupportedTokenizerError, match="a pattern that is not known"):
            pattern_of(json.dumps(content["pre_tokenizer"]))


# Training ------------------------------------------------------------------------------------------------


@cache
def corpus() -> list[str]:
    lines = [
        "if x == 12345:\n        y = 'it''S'\n\n",
        "fooBar(HTMLParser) // x\n",
        "Ёлка ЕЛКА 中文A 3.14159 ❤\ufe0f\n",
    ]
    return [*samples.TINY_CORPUS * 5, *samples.training_texts()[::12], *lines * 20]


@pytest.mark.parametrize("vocab_size", [2500, 8000])
@pytest.mark.parametrize("splitting", SPLITTINGS)
def test_training_equals_tokenizers(splitting: Any, vocab_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole file is that of the other road, which learns with `BpeTrainer`; also `like` it."""
    engine = training_engine(splitting=splitting)
    assert str(engine) == "gristmill"
    trained = train_tokenizer(corpus(), vocab_size, splitting=splitting, show_progress=False)
    assert trained.engine == engine
    again = train_tokenizer(corpus(), vocab_size, like=trained, show_progress=False)
    assert training_engine(trained) == engine
    monkeypatch.setattr("gristmill.own_training.why_not_covered", lambda *_: "a test")
    theirs = train_tokenizer(corpus(), vocab_size, splitting=splitting, show_progress=False)
    assert trained.parsed_json() == theirs.parsed_json()
    assert again == trained
    assert_exact(trained, [*samples.TINY_CORPUS, *samples.standard_library()[0][::40]])


def test_a_trained_file_does_the_same_in_transformers(tmp_path: Any) -> None:
    transformers = pytest.importorskip("transformers")
    trained = train_tokenizer(corpus(), 1000, splitting="o200k", show_progress=False)
    trained.save_pretrained(tmp_path)
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in corpus()[-20:]:
        assert loaded(text)["input_ids"] == trained.encode(text).tolist()


def test_misuse_of_splitting(tiny_tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match=r"splitting is 'gpt4' \(expected one of \['gpt2', "):
        train_tokenizer(["a"], 300, splitting="gpt4")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`like` says how texts are cut"):
        train_tokenizer(["a"], 300, splitting="gpt2", like=tiny_tokenizer)
