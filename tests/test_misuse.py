"""What newcomers get wrong, each answered by one clear error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from gristmill.dataset import ConstantLengthDataset
from gristmill.demo.settings import DemoSettings
from gristmill.demo.stages import sole_use
from gristmill.errors import ConfigError, EmptyCorpusError, TokenizerError
from gristmill.metrics import estimate_chars_per_token, measure_tokenizer
from gristmill.order import BlockStream
from gristmill.packing import Packer, pack
from gristmill.tokenizer import Tokenizer
from gristmill.tokenizer_training import train_tokenizer
from gristmill.train.model import model_size


class Frame:
    """Iterates over its columns' names, as data frames do."""

    columns = ("text",)
    dtypes = (str,)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.columns)


@pytest.mark.parametrize("wrong", [None, "tokenizer.json", tokenizers.Tokenizer(tokenizers.models.BPE())])
def test_a_tokenizer_of_another_kind_is_refused_by_name(wrong: object) -> None:
    for call in (
        lambda: pack(["a"], wrong),  # type: ignore[arg-type]
        lambda: Packer(wrong),  # type: ignore[arg-type]
        lambda: measure_tokenizer(wrong, ["a"]),  # type: ignore[arg-type]
        lambda: BlockStream(None, wrong),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match=r"tokenizer is a \w+ \(expected gristmill.Tokenizer"):
            call()


def test_like_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="like is a str"):
        train_tokenizer(["a"], 300, like="gpt2", show_progress=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("special_tokens", ["<eos>", [""], ["<eos>", ""], [5], ["<eos>", None]])
def test_special_tokens_are_a_list_of_texts(special_tokens: object) -> None:
    with pytest.raises(ConfigError, match="special_tokens is"):
        train_tokenizer(["a"], 300, special_tokens=special_tokens, show_progress=False)  # type: ignore[arg-type]


def test_a_data_frame_is_no_list_of_texts(tiny_tokenizer: Tokenizer) -> None:
    with pytest.raises(TypeError, match="documents is a Frame"):
        pack(Frame(), tiny_tokenizer, 2)


def test_an_id_that_no_counter_can_have() -> None:
    text = '{"model": {"type": "WordLevel", "vocab": {"a": 0, "?": 4294967295}, "unk_token": "?"}}'
    with pytest.raises(TokenizerError, match="the largest id is 4294967295"):
        measure_tokenizer(Tokenizer.from_str(text), ["a"])


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "run" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine", encoding="utf-8")
    from gristmill.demo.flow import run_demo

    with pytest.raises(ConfigError, match="is not a demo's and holds run"):
        run_demo(tmp_path, DemoSettings(max_steps=1), restart=True)
    assert mine.read_text(encoding="utf-8") == "mine"
    with sole_use(tmp_path / "new"):
        pass
    with sole_use(tmp_path / "new"):  # its own mark is known again
        pass


def test_an_empty_training_file_is_an_empty_corpus(tmp_path: Path) -> None:
    from gristmill.train.config import CorpusConfig
    from gristmill.train.corpora import open_corpus

    empty = tmp_path / "empty.jsonl"
    empty.touch()
    with pytest.raises(EmptyCorpusError, match=r"data.train has no document: .*empty.jsonl"):
        open_corpus("data.train", CorpusConfig(path="json", data_files=str(empty)), streaming=True)


def test_a_prompt_with_a_lone_surrogate_is_named() -> None:
    from gristmill.generate import _Model

    model = object.__new__(_Model)
    model._torch = None
    with pytest.raises(ConfigError, match="a lone surrogate at character 1"):
        model.complete("d\udce9f", None, 0)  # type: ignore[arg-type]


def test_a_vocabulary_size_that_no_id_type_holds() -> None:
    with pytest.raises(ConfigError, match=r"vocab_size is 4294967295 \(expected an integer from 1 to"):
        train_tokenizer(["a"], 2**32 - 1, show_progress=False)


@pytest.mark.parametrize("nothing", [None, 5])
def test_what_holds_no_texts_is_named(tiny_tokenizer: Tokenizer, nothing: object) -> None:
    with pytest.raises(TypeError, match=r"texts is a \w+ \(expected a sequence of texts\)"):
        tiny_tokenizer.encode_batch(nothing)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"folder is a \w+ \(expected the path of a local folder\)"):
        Tokenizer.from_pretrained(nothing)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"model is a \w+ \(expected a torch.nn.Module\)"):
        model_size(nothing)  # type: ignore[arg-type]


def test_an_estimate_from_nothing_names_the_corpus(tiny_tokenizer: Tokenizer) -> None:
    with pytest.raises(EmptyCorpusError, match=r"documents \(list\): the first 2 documents hold no text"):
        estimate_chars_per_token(tiny_tokenizer, ["", ""])


def test_objects_say_what_they_are(tiny_tokenizer: Tokenizer) -> None:
    packer = Packer(tiny_tokenizer, 8)
    packer.push(["def f(x): return x"])
    assert repr(packer).startswith("Packer(seq_length=8, final='drop', 1 documents, ")
    assert repr(pack(["def f(x): return x"], tiny_tokenizer, 2)).startswith("PackedBlocks(")
    data = ConstantLengthDataset(["a"], tiny_tokenizer, 8, shuffle=True)
    assert repr(data) == (
        "ConstantLengthDataset(documents (list), seq_length=8, num_lanes=16, shuffle=True, infinite=False, "
        "rank 0 of 1)"
    )


def test_ids_beyond_any_integer_type_are_named(tiny_tokenizer: Tokenizer) -> None:
    for use in (tiny_tokenizer.decode, tiny_tokenizer.decode_bytes, Packer(tiny_tokenizer, 8).push_ids):
        with pytest.raises(TokenizerError, match=rf"id {2**70} at position 1 is not in the vocabulary"):
            use([0, 2**70])


@pytest.mark.parametrize("path", [None, 5, b"tokenizer.json"])
def test_what_is_no_path_is_named(path: Any) -> None:
    with pytest.raises(TypeError, match=re.escape(f"path is {path!r} (expected the path of")):
        Tokenizer.from_file(path)


def test_a_path_with_a_nul_is_a_tokenizer_error() -> None:
    with pytest.raises(TokenizerError, match=r"'a\\x00b': cannot be read: embedded null byte"):
        Tokenizer.from_file("a\0b")
