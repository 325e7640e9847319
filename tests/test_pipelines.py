"""What published files have around a byte-level BPE (as Llama 3, Qwen 2): ids equal those of `tokenizers`."""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from tests import samples
from tests.test_patterns import INSTRUCTIONS, REGEXES, SHAPES, trained_json
from tests.test_tokenizer_exact import CODE, TRICKY, assert_exact, code_points

from gristmill import Packer, Tokenizer, measure_tokenizer, train_tokenizer
from gristmill.errors import TokenizerError

FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def added(content: str, *flags: str, special: bool = False) -> dict[str, Any]:
    return {"id": 0, "content": content, "special": special} | {name: name in flags for name in FLAGS}


def byte_level(**options: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "trim_offsets": True} | options


def as_llama_3(content: dict[str, Any]) -> None:
    """Tokens that merges cannot reach, taken whole all the same."""
    content["model"]["ignore_merges"] = True
    tokens = ["Ġunreachable", "self.it", "Ġ=Ġ", "çķĮ", "Ċ" * 40, "x" * 50, "ĠÐ¿ÑĢÐ¸Ð²", "eÌģ"]
    for token in [*tokens, "Ġ" + "long" * 40]:
        content["model"]["vocab"].setdefault(token, len(content["model"]["vocab"]))
    merged = [" ".join(merge) if isinstance(merge, list) else merge for merge in content["model"]["merges"]]
    content["model"]["merges"] = merged  # as the published file writes them
    names = ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>")
    content["added_tokens"] += [added(name, special=True) for name in names]
    template = [{"SpecialToken": {"id": names[0], "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    first = {"id": names[0], "ids": [len(content["model"]["vocab"])], "tokens": [names[0]]}
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": template,
        "pair": [*template, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {names[0]: first},
    }


def as_qwen_2(content: dict[str, Any]) -> None:
    content["normalizer"] = {"type": "NFC"}
    content["added_tokens"] += [
        added("<|im_start|>", special=True),
        added("<|im_end|>", special=True),
        added("<tool_call>"),
        added("</tool_call>"),
        added("<think>"),
        added("<|fim_prefix|>"),
    ]


def with_all_kinds_of_added_tokens(content: dict[str, Any]) -> None:
    content["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFC"}]}
    content["added_tokens"] += [
        added("<|im_start|>", special=True),
        added("<left>", "lstrip"),
        added("<right>", "rstrip"),
        added("<both>", "lstrip", "rstrip", "normalized"),
        added("<both>x", "normalized"),
        added("\u00e9", "normalized"),
        added("i\u0301"),
        added("def"),  # a token of the model
        added("im", "normalized"),
        added("start|> "),
        added("\n\n"),
        added(" "),
        added("\u2003x", "rstrip"),
    ]


def with_prefix_space(content: dict[str, Any]) -> None:
    content["pre_tokenizer"] = byte_level(add_prefix_space=True, use_regex=True)
    content["added_tokens"] += [added("<x>"), added("<y>", "rstrip", "normalized")]


def uncut(content: dict[str, Any]) -> None:
    content["pre_tokenizer"] = byte_level(add_prefix_space=False, use_regex=False)


def uncut_with_everything(content: dict[str, Any]) -> None:
    with_all_kinds_of_added_tokens(content)
    content["pre_tokenizer"] = byte_level(add_prefix_space=True, use_regex=False)


# How the file is made, out of which trained one, and what the engine says of it.
PIPELINES: dict[str, tuple[str, Callable[[dict[str, Any]], None], str]] = {
    "llama 3": ("cl100k", as_llama_3, "with the cl100k pattern, ignore_merges"),
    "qwen 2": ("Qwen 2", as_qwen_2, "with the Qwen 2 pattern, NFC, 4 added tokens that are not special"),
    "all added": (
        "o200k",
        with_all_kinds_of_added_tokens,
        "with the o200k pattern, NFC, 12 added tokens that are not special",
    ),
    "prefix": (
        "GPT-2",
        with_prefix_space,
        "with the GPT-2 pattern, add_prefix_space, 2 added tokens that are not special",
    ),
    "uncut, of GPT-2's pattern": ("GPT-2", uncut, "without a pattern"),
    "uncut": ("uncut", uncut, "without a pattern"),
    "uncut, all": (
        "uncut",
        uncut_with_everything,
        "without a pattern, NFC, add_prefix_space, 12 added tokens that are not special",
    ),
}


@cache
def pipeline_json(name: str) -> str:
    base, change, _ = PIPELINES[name]
    if base in REGEXES:
        content = json.loads(trained_json(base))
    else:
        texts = [*samples.TINY_CORPUS * 3, *samples.training_texts()[::16]]
        content = json.loads(train_tokenizer(texts, 2000, show_progress=False).to_str())
        if base == "uncut":
            # Tokens over the ends of words, as a training on uncut lines gives.
            lines = [line for text in texts[::4] for line in text.split("\n")]
            gpt2 = train_tokenizer(texts[:1], 257, show_progress=False).parsed_json()
            gpt2["pre_tokenizer"] = byte_level(add_prefix_space=False, use_regex=False)
            like = Tokenizer.from_str(json.dumps(gpt2))
            content = train_tokenizer(lines, 2000, like=like, show_progress=False).parsed_json()
            assert any("Ġ" in token[1:-1] for token in content["model"]["vocab"])
    change(content)
    return json.dumps(content)


@cache
def tokenizers_of(name: str) -> list[Tokenizer]:
    """Return the tokenizer on each of the instruction sets that the machine has."""
    made = []
    with pytest.MonkeyPatch.context() as patch:
        for instructions in INSTRUCTIONS:
            patch.setenv("GRISTMILL_INSTRUCTIONS", instructions)
            try:
                made.append(Tokenizer.from_str(pipeline_json(name)))
            except ValueError:
                continue
    assert made
    return made


@pytest.mark.parametrize("name", PIPELINES)
def test_engine_says_what_is_done(name: str) -> None:
    for tokenizer in tokenizers_of(name):
        assert str(tokenizer.engine) == "gristmill"
        assert tokenizer.engine.reason == f"byte-level BPE {PIPELINES[name][2]}"


@pytest.mark.parametrize("name", PIPELINES)
def test_standard_library(name: str) -> None:
    texts, _ = samples.standard_library()
    # One piece of a whole text takes `tokenizers` long.
    texts = [text for text in texts[::4] if len(text) < 20_000] if "uncut" in name else texts
    decomposed = [unicodedata.normalize("NFD", text) for text in texts if not text.isascii()]
    for number, tokenizer in enumerate(tokenizers_of(name)):
        assert_exact(tokenizer, texts if number == 0 else texts[number::16])
        assert_exact(tokenizer, decomposed[number::3])


CONTEXTS: dict[str, Callable[[str], str]] = {
    "in a row": "".join,
    "between letters": "a".join,
    "before marks": "\u0301".join,
    "between two marks": "\u0323\u0301".join,
    "after a Hangul vowel": "\u1100\u1161".join,
    "between added tokens": "<both>".join,
    "around added tokens": "<left> <right>".join,
    "after blanks": "  ".join,
}


@pytest.mark.parametrize("name", PIPELINES)
def test_every_code_point(name: str) -> None:
    made = tokenizers_of(name)
    for number, (context, join) in enumerate(CONTEXTS.items()):
        # The planes without a single character are seen in one context.
        blocks = [
            block
            for block in code_points()
            if context == "in a row" or not "\U00040000" <= block[0] < "\U000e0000"
        ]
        # `tokenizers` takes long for what is not cut.
        length = 64 if "uncut" in name else len(blocks[0])
        parts = [block[i : i + length] for block in blocks for i in range(0, len(block), length)]
        assert_exact(made[number % len(made)], [join(part) for part in parts])


@cache
def reference_of(tokenizer: Tokenizer) -> Any:
    return samples.reference(tokenizer.to_str())


ADDED = st.lists(
    st.sampled_from(
        [
            *("<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<think>", "<|fim_prefix|>"),
            *("<left>", "<right>", "<both>", "<both>x", "<x>", "<y>", "start|> ", "im", "\u2003x", "\u2003"),
            *("<", ">", "<lef", "<|", " ", "  ", "\n", "\n\n", "x", "def", "é", "e", "\u0301", "\u0323", "i"),
            *("\u1100", "\u1161", "\u11a8", "\uac00", "か", "\u3099", "\u0344", "क", "\u093c", "\u212b"),
            *(
                " unreachable",
                "self.it",
                " = ",
                "x" * 50,
                "\n" * 40,
                " " + "long" * 40,
                "界",
                " прив",
                "<|eot_id|>",
            ),
        ]
    ),
    max_size=30,
).map("".join)


@given(texts=st.lists(st.one_of(ADDED, ADDED, st.text(max_size=60), TRICKY, CODE, SHAPES), max_size=6))
def test_random_text(texts: list[str]) -> None:
    for name in PIPELINES:
        for tokenizer in tokenizers_of(name):
            assert_exact(tokenizer, texts)


def test_allowed_special_tokens_match_as_before() -> None:
    text = "x <|im_start|> é e\u0301 <tool_call>"
    tokenizer = tokenizers_of("qwen 2")[0]
    expected = tokenizer.to_tokenizers().encode(text, add_special_tokens=False).ids
    assert tokenizer.encode(text, allow_special=True).tolist() == expected
    assert tokenizer.encode(text).tolist() != expected


@pytest.mark.parametrize("name", ["llama 3", "qwen 2", "all added", "prefix", "uncut, of GPT-2's pattern"])
def test_one_huge_document_on_several_threads(name: str) -> None:
    """More than a worker takes at a time, as it stands and changed by what is done to it."""
    tokenizer = tokenizers_of(name)[0]
    text = "\n".join(samples.training_texts())[:2_500_000]
    for changed in (text, text + "e\u0301<tool_call>"):
        alone = tokenizer.encode_batch([changed], num_threads=1)[0]
        assert np.array_equal(tokenizer.encode_batch(["a", changed], num_threads=2)[1], alone)
    if "uncut" not in name:
        assert alone.tolist() == reference_of(tokenizer).encode(changed, add_special_tokens=False).ids


# What stands around encoding ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PIPELINES)
def test_saved_and_loaded(name: str, tmp_path: Any) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = Tokenizer.from_str(pipeline_json(name), eos_token=samples.EOS)
    tokenizer.save_pretrained(tmp_path)
    assert Tokenizer.from_pretrained(tmp_path) == tokenizer
    texts = ["def x(): <tool_call> e\u0301 <left>", "a <both> b", " unreachable self.it\n"]
    for loaded in (
        transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path),
        tokenizer.to_transformers(),
    ):
        for text in texts:
            ids = loaded(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
            assert ids == tokenizer.encode(text).tolist()
    assert tokenizer.get_vocab() == tokenizer.to_tokenizers().get_vocab(with_added_tokens=True)
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text)) == reference_of(tokenizer).decode(
            tokenizer.encode(text).tolist(), skip_special_tokens=False
        )


@pytest.mark.parametrize("name", ["llama 3", "qwen 2", "prefix"])
def test_training_like_it(name: str) -> None:
    like = Tokenizer.from_str(pipeline_json(name), eos_token=samples.EOS)
    trained = train_tokenizer(samples.TINY_CORPUS * 5, 500, like=like, show_progress=False)
    before, after = like.parsed_json(), trained.parsed_json()
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        assert after[part] == before[part]
    assert after["model"]["ignore_merges"] == before["model"]["ignore_merges"]
    assert str(trained.engine) == "gristmill"
    assert_exact(trained, [*samples.TINY_CORPUS, "e\u0301 x", *samples.standard_library()[0][::80]])


@pytest.mark.parametrize("name", ["llama 3", "qwen 2", "all added", "prefix"])
def test_measured_and_packed(name: str) -> None:
    texts = ["def x():  <tool_call> e\u0301 <left>\n", "a  <both> b", *samples.TINY_CORPUS]
    tokenizer = Tokenizer.from_str(pipeline_json(name), eos_token=samples.EOS)
    num_tokens = sum(len(tokenizer.encode(text)) for text in texts)
    report = measure_tokenizer(tokenizer, texts)
    num_bytes = sum(len(text.encode()) for text in texts)
    assert report.value("bytes_per_token") == pytest.approx(num_bytes / num_tokens)
    packer = Packer(tokenizer, 8)
    packer.push(texts)
    packer.finish()
    assert packer.ledger.tokens - packer.ledger.eos_tokens == num_tokens


def test_an_end_that_a_piece_can_be_is_refused() -> None:
    """A token that no merge makes still stands for a piece that is spelt as it, where merges are ignored."""
    reachable = Tokenizer.from_str(pipeline_json("llama 3"), eos_token="x" * 50)
    with pytest.raises(TokenizerError, match="texts can be encoded to the EOS token 'xxx"):
        reachable.require_eos()
    assert Tokenizer.from_str(pipeline_json("llama 3"), eos_token=samples.EOS).require_eos() is not None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content["added_tokens"].append(added("<w>", "single_word")), "single_word"),
        (
            # found inside of what the one before took, it would have nothing left to match
            lambda content: content["added_tokens"].extend((added("<w>", "rstrip"), added("\n", "lstrip"))),
            "begins with white space",
        ),
        (lambda content: content["added_tokens"].append(added("\n", "lstrip", "rstrip")), r'beside "\n"'),
        (lambda content: content.update(normalizer={"type": "NFKC"}), "NFKC"),
        (
            lambda content: content.update(
                normalizer={"type": "NFC"}, added_tokens=[added("e\u0301", "normalized")]
            ),
            "which NFC changes",
        ),
        (
            lambda content: content["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True),
            "add_prefix_space=true",
        ),
    ],
)
def test_what_is_not_covered_says_why(change: Callable[[Any], None], reason: str) -> None:
    content = json.loads(trained_json("cl100k"))
    change(content)
    tokenizer = Tokenizer.from_str(json.dumps(content))
    assert str(tokenizer.engine) == "tokenizers"
    assert reason in tokenizer.engine.reason
    assert_exact(tokenizer, ["x <w> e\u0301", "a\n\nb", "\n\n", "<w> \n", *samples.TINY_CORPUS])


def test_random_order_of_added_tokens_changes_nothing() -> None:
    content = json.loads(pipeline_json("all added"))
    model = {entry["content"] for entry in content["added_tokens"]}
    random.Random(0).shuffle(content["added_tokens"])
    shuffled = Tokenizer.from_str(json.dumps(content))
    assert {token for token in shuffled.get_vocab() if token in model} == model
    assert_exact(shuffled, ["<both>x <left> im<|im_start|> def\n\n\n", *samples.TINY_CORPUS])
