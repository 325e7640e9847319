"""Ids equal those of the installed `tokenizers`: real files, random text, every code point, any threads."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, strategies as st
from tests import samples

from gristmill.tokenizer import Tokenizer

FAST = ("tokenizer_2500", "tokenizer_5096", "gpt2_tokenizer")
SLOW = ("word_piece_tokenizer", "unigram_tokenizer", "split_bpe_tokenizer")
SLOW_ROAD_SCRIPT = Path(__file__).with_name("encode_on_slow_road.py")


@cache
def reference_of(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    return samples.reference(tokenizer.to_str())


def assert_exact(tokenizer: Tokenizer, texts: list[str]) -> None:
    """Compare all four ways to encode a batch with the reference, in one array; and each text alone."""
    expected = samples.reference_ids(reference_of(tokenizer), texts)
    flat = np.fromiter(itertools.chain.from_iterable(expected), tokenizer.id_dtype)
    offsets = np.cumsum([0, *map(len, expected)])
    as_bytes = [text.encode() for text in texts]
    for num_threads, batch in itertools.product((1, 2), (texts, as_bytes)):
        found = tokenizer.encode_batch(batch, num_threads=num_threads)
        assert found.ids.dtype == tokenizer.id_dtype
        assert found.bad == ()
        if not (np.array_equal(found.offsets, offsets) and np.array_equal(found.ids, flat)):
            wrong = next(i for i, ids in enumerate(expected) if found[i].tolist() != ids)
            pytest.fail(f"{num_threads} threads: document {wrong}, {texts[wrong][:200]!r}")
    alone = [tokenizer.encode(text) for text in texts]  # all of them kept: none may lie where another does
    for text, ids, of_one in zip(texts, expected, alone, strict=True):
        assert of_one.dtype == tokenizer.id_dtype
        assert of_one.tolist() == ids, f"alone: {text[:200]!r}"


def test_files_that_cannot_be_decoded_are_listed() -> None:
    texts, undecodable = samples.standard_library()
    assert len(texts) > 1000
    # Broken on purpose, for the tests of Python's own tokenizer. A Python without its tests has none.
    assert all(name.startswith(("test/", "lib2to3/tests/")) for name in undecodable)
    assert len(undecodable) <= 8


@pytest.mark.parametrize("name", FAST)
def test_standard_library(name: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(name)
    assert str(tokenizer.engine) == "gristmill"
    texts, _ = samples.standard_library()
    assert_exact(tokenizer, texts)


def test_standard_library_on_the_slow_road(tmp_path: Path) -> None:
    tokenizer_file = tmp_path / "tokenizer.json"
    tokenizer_file.write_text(samples.word_piece_json(samples.training_texts()[::8]), encoding="utf-8")
    processes = []
    for num_threads in ("1", "2"):
        environment = os.environ | {"RAYON_NUM_THREADS": num_threads}
        # One compares with the reference, the other with the first one's digest.
        command = [sys.executable, SLOW_ROAD_SCRIPT, tokenizer_file, *(["--compare"] * (num_threads == "2"))]
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    results = [json.loads(process.communicate(timeout=500)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert results[0]["digests"] == results[1]["digests"]
    assert [result["engine"] for result in results] == ["tokenizers", "tokenizers"]
    assert results[0]["tokens"] > 5_000_000
    assert results[1]["compared"]


# Where pieces begin and end depends on white space, apostrophes, digits and scripts; draw many of them.
TRICKY = st.text(
    alphabet=st.one_of(
        st.sampled_from(
            "  \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u3000\u200b\ufeff"
        ),
        st.sampled_from("'''sdtmlrveSDTMLRVEaZéßſ"),
        st.sampled_from('0129²½٣१Ⅷ_-.,:;!?(){}[]<|>=+*/\\"#@'),
        st.sampled_from("你好가ӓ́ǅⅣ\U0001f600\U0001f1e9\u200d\u0301\ufffd\ufffe\U0010ffff\U00030000\x00\x7f"),
    ),
    max_size=60,
)
SNIPPETS = (
    *("def", "self", "return", "x1", "12345", "é", "🎉", ".", "#", '"""', "'s", "'ll", " 'RE"),
    *(" ", "    ", "\n", "\n\n", "\r\n", "    \n  x"),
    *("<|endoftext|>", "[EOS]", "</s>", "self.items", "Ġ", "Ċ", "▁", "##s"),
)
CODE = st.lists(st.sampled_from(SNIPPETS), max_size=25).map("".join)
RANDOM_TEXTS = st.lists(st.one_of(st.text(max_size=60), TRICKY, CODE), max_size=6)


@given(texts=RANDOM_TEXTS)
def test_random_text(
    texts: list[str], tokenizer_2500: Tokenizer, tokenizer_5096: Tokenizer, gpt2_tokenizer: Tokenizer
) -> None:
    for tokenizer in (tokenizer_2500, tokenizer_5096, gpt2_tokenizer):
        assert_exact(tokenizer, texts)
        for text in texts[:1]:
            assert tokenizer.encode(text).tolist() == reference_of(tokenizer).encode(text).ids
            assert tokenizer.decode(tokenizer.encode(text)) == text


@given(texts=RANDOM_TEXTS)
def test_random_text_on_the_slow_road(
    texts: list[str],
    word_piece_tokenizer: Tokenizer,
    unigram_tokenizer: Tokenizer,
    split_bpe_tokenizer: Tokenizer,
) -> None:
    for tokenizer in (word_piece_tokenizer, unigram_tokenizer, split_bpe_tokenizer):
        expected = [reference_of(tokenizer).encode(text, add_special_tokens=False).ids for text in texts]
        for batch in (texts, [text.encode() for text in texts]):
            assert [ids.tolist() for ids in tokenizer.encode_batch(batch)] == expected
        assert [tokenizer.encode(text).tolist() for text in texts] == expected


@given(texts=RANDOM_TEXTS)
def test_special_tokens_allowed(
    texts: list[str],
    tiny_tokenizer: Tokenizer,
    word_piece_tokenizer: Tokenizer,
    split_bpe_tokenizer: Tokenizer,
) -> None:
    for tokenizer in (tiny_tokenizer, word_piece_tokenizer, split_bpe_tokenizer):
        plain = tokenizers.Tokenizer.from_str(tokenizer.to_str())
        expected = samples.reference_ids(plain, texts)
        found = tokenizer.encode_batch(texts, allow_special=True)
        assert [ids.tolist() for ids in found] == expected
        assert [tokenizer.encode(text, allow_special=True).tolist() for text in texts] == expected


@given(data=st.data())
def test_decoding_any_ids(data: st.DataObject, tiny_tokenizer: Tokenizer, gpt2_tokenizer: Tokenizer) -> None:
    """Also sequences that no text is encoded to: characters cut in two, special tokens among others."""
    for tokenizer in (tiny_tokenizer, gpt2_tokenizer):
        ids = data.draw(st.lists(st.integers(0, tokenizer.max_token_id), max_size=30))
        expected = reference_of(tokenizer).decode(ids, skip_special_tokens=False)
        assert tokenizer.decode(ids) == expected
        assert tokenizer.decode_bytes(ids).decode("utf-8", errors="replace") == expected
        expected = reference_of(tokenizer).decode(ids, skip_special_tokens=True)
        assert tokenizer.decode(ids, skip_special_tokens=True) == expected


def code_points() -> Iterator[str]:
    """Yield all code points but the surrogates, as texts of 512."""
    numbers = itertools.chain(range(0xD800), range(0xE000, 0x110000))
    while block := "".join(map(chr, itertools.islice(numbers, 512))):
        yield block


CONTEXTS = {
    "in a row": "".join,
    "between letters": "a".join,
    "between digits": "1".join,
    "between blanks": " ".join,
    "after two blanks": "  ".join,
    "after an apostrophe": "'".join,
    "after a line feed, before punctuation": "!\n".join,
}


@pytest.mark.parametrize("name", FAST)
def test_every_code_point(name: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(name)
    for context, join in CONTEXTS.items():
        # The six planes without a single character are seen in one context.
        blocks = [
            block
            for block in code_points()
            if context == "in a row" or not "\U00040000" <= block[0] < "\U000e0000"
        ]
        assert_exact(tokenizer, [join(block) for block in blocks])
