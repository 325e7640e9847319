"""Where a `Tokenizer` comes from and goes to: files, folders, other libraries; what is refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import tokenizers
import transformers
from tests import samples
from tokenizers import models, pre_tokenizers

from gristmill import durable
from gristmill.errors import TokenizerError
from gristmill.tokenizer import Tokenizer

TEXT = f"def say_hello(name): return 'é 北京' # it's{samples.EOS}\n"


def write_folder(folder: Path, tokenizer_json: str, **files: object) -> Path:
    folder.mkdir()
    folder.joinpath("tokenizer.json").write_text(tokenizer_json, encoding="utf-8")
    for name, content in files.items():
        folder.joinpath(f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


# In and out ----------------------------------------------------------------------------------------------


def test_all_ways_in_give_the_same(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", tiny_tokenizer.to_str())
    others = [
        Tokenizer.from_file(folder / "tokenizer.json"),
        Tokenizer.from_file(str(folder / "tokenizer.json")),
        Tokenizer.from_str(tiny_tokenizer.to_str()),
        Tokenizer.from_tokenizers(tiny_tokenizer.to_tokenizers()),
        Tokenizer.from_transformers(tiny_tokenizer.to_transformers()),
        Tokenizer.from_pretrained(folder),
    ]
    for other in others:
        assert other == tiny_tokenizer
        assert hash(other) == hash(tiny_tokenizer)
        assert other.fingerprint == tiny_tokenizer.fingerprint
        assert other.eos_token_id == tiny_tokenizer.eos_token_id == 0
        assert other.encode(TEXT).tolist() == tiny_tokenizer.encode(TEXT).tolist()
    assert tiny_tokenizer != tiny_tokenizer.to_str()


def test_equality_looks_at_what_decides_ids(tiny_tokenizer: Tokenizer, gpt2_tokenizer: Tokenizer) -> None:
    json_text = tiny_tokenizer.to_str()
    content = json.loads(json_text)
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]  # the older spelling
    content["model"]["vocab"] = dict(reversed(content["model"]["vocab"].items()))
    assert Tokenizer.from_str(json.dumps(content, indent=2)) == tiny_tokenizer
    assert tiny_tokenizer != gpt2_tokenizer
    assert Tokenizer.from_str(json_text, eos_token="Ġ") != tiny_tokenizer
    assert Tokenizer.from_str(json_text, pad_token=samples.EOS) != tiny_tokenizer
    content["model"]["merges"].pop()
    assert Tokenizer.from_str(json.dumps(content)) != tiny_tokenizer


@pytest.mark.parametrize("road", ["tiny", "gpt2", "word_piece", "unigram", "split_bpe"])
def test_saved_folder_loads_everywhere(road: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(f"{road}_tokenizer")
    eos = tokenizer.eos_token or "[EOS]"
    tokenizer = Tokenizer.from_str(tokenizer.to_str(), eos_token=eos, pad_token=eos)
    folder = tmp_path / "a" / "b"
    tokenizer.save_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    again = Tokenizer.from_pretrained(folder)
    assert again == tokenizer
    assert (again.eos_token, again.pad_token) == (eos, eos)
    expected = samples.reference(tokenizer.to_str()).encode(TEXT, add_special_tokens=False).ids
    for loaded in (
        transformers.AutoTokenizer.from_pretrained(folder),
        transformers.PreTrainedTokenizerFast.from_pretrained(folder),
        tokenizer.to_transformers(),
    ):
        assert (loaded.eos_token, loaded.eos_token_id) == (eos, tokenizer.eos_token_id)
        assert (loaded.pad_token, loaded.pad_token_id) == (eos, tokenizer.pad_token_id)
        assert (len(loaded), loaded.vocab_size) == (len(tokenizer), tokenizer.vocab_size)
        assert loaded.get_vocab() == tokenizer.get_vocab()
        found = loaded(TEXT, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert found == expected
        assert Tokenizer.from_transformers(loaded).encode(TEXT).tolist() == expected
    tokenizer.save_pretrained(folder)  # over what is there
    assert Tokenizer.from_pretrained(folder) == tokenizer


def test_saved_files_are_whole_or_absent(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Whatever write, fsync or rename fails, a tokenizer.json that is there is whole."""
    num_steps = 0

    def count(operation: str, path: Path) -> None:
        nonlocal num_steps
        num_steps += 1

    durable.set_fault_hook(count)
    try:
        tiny_tokenizer.save_pretrained(tmp_path / "unbroken")
        assert num_steps >= 6
        for failing in range(num_steps):
            seen = 0

            def fail(operation: str, path: Path, failing: int = failing) -> None:
                nonlocal seen
                seen += 1
                if seen == failing + 1:
                    raise OSError(28, "No space left on device")

            durable.set_fault_hook(fail)
            folder = tmp_path / f"broken {failing}"
            with pytest.raises(OSError, match="No space left"):
                tiny_tokenizer.save_pretrained(folder)
            if (folder / "tokenizer.json").exists():
                assert Tokenizer.from_pretrained(folder) == tiny_tokenizer
            assert all(path.suffix == ".json" for path in folder.iterdir())
    finally:
        durable.set_fault_hook(None)


def test_special_tokens_from_the_files_beside(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    json_text = tiny_tokenizer.to_str()
    config = {"eos_token": {"content": "Ġ", "lstrip": False}, "pad_token": None, "model_max_length": 8}
    folder = write_folder(tmp_path / "1", json_text, tokenizer_config=config)
    tokenizer = Tokenizer.from_pretrained(folder)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("Ġ", None)
    tokens_map = {"eos_token": samples.EOS, "pad_token": "!", "bos_token": "<gone>", "unk_token": samples.EOS}
    folder = write_folder(tmp_path / "2", json_text, tokenizer_config=config, special_tokens_map=tokens_map)
    tokenizer = Tokenizer.from_pretrained(folder)
    assert tokenizer.roles == {"eos_token": "Ġ", "pad_token": "!", "unk_token": samples.EOS}
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id) == (tokenizer.token_to_id("!"), None)
    tokenizer = Tokenizer.from_pretrained(folder, eos_token=samples.EOS, pad_token=samples.EOS)
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 0)


def test_later_changes_to_the_original_are_not_seen(tiny_tokenizer: Tokenizer) -> None:
    original = tiny_tokenizer.to_tokenizers()
    copy = Tokenizer.from_tokenizers(original)
    original.add_tokens(["say_hello"])
    original.enable_truncation(2)
    assert copy.encode(TEXT).tolist() == tiny_tokenizer.encode(TEXT).tolist()


@pytest.mark.parametrize("road", ["tiny", "gpt2", "word_piece", "split_bpe"])
def test_the_vocabulary_is_that_of_the_reference(road: str, request: pytest.FixtureRequest) -> None:
    """On the fast road it is made when it is asked for, out of what the engine has read."""
    json_text = request.getfixturevalue(f"{road}_tokenizer").to_str()
    content = json.loads(json_text)
    model_size = len(content["model"]["vocab"])
    added = [{"id": 0, "content": text, "special": True} for text in ("Ġthe end", " the", "é", "<é>", "中")]
    fields = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    content["added_tokens"] = [*content["added_tokens"], *(entry | fields for entry in added)]
    expected = tokenizers.Tokenizer.from_str(json.dumps(content))
    tokenizer = Tokenizer.from_str(json.dumps(content), eos_token="<é>")
    assert (str(tokenizer.engine) == "gristmill") == (road in ("tiny", "gpt2"))
    ids = expected.get_vocab(with_added_tokens=True)
    assert len(tokenizer) == len(ids)
    assert (tokenizer.vocab_size, tokenizer.max_token_id) == (model_size, max(ids.values()))
    assert tokenizer.eos_token_id == ids["<é>"]
    assert tokenizer.require_eos() == ids["<é>"]
    assert tokenizer.get_vocab() == ids
    for token, token_id in ids.items():
        assert (tokenizer.token_to_id(token), tokenizer.id_to_token(token_id)) == (token_id, token)
    assert tokenizer.token_to_id("no such token") is None
    assert tokenizer.id_to_token(len(ids)) is None


# Truncation, padding, dropout ------------------------------------------------------------------------------


@pytest.mark.parametrize("road", ["tiny_tokenizer", "word_piece_tokenizer"])
def test_truncation_and_padding_are_ignored_with_one_line(
    road: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:
    plain: Tokenizer = request.getfixturevalue(road)
    made = plain.to_tokenizers()
    made.enable_truncation(3)
    made.enable_padding(length=64)
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    with caplog.at_level(logging.INFO):
        tokenizer = Tokenizer.from_file(path)
        assert tokenizer.encode(TEXT).tolist() == plain.encode(TEXT).tolist()
        assert tokenizer.encode_batch([TEXT, "a"])[0].tolist() == plain.encode(TEXT).tolist()
        assert tokenizer.encode(TEXT, allow_special=True).size > 3
        assert (
            tokenizer.to_transformers()(TEXT)["input_ids"]
            == tokenizer.encode(TEXT, allow_special=True).tolist()
        )
    assert [record.message for record in caplog.records] == [
        f"{path}: the stored truncation and padding is ignored: documents are encoded whole"
    ]
    assert not recwarn.list
    assert tokenizer == plain


@pytest.mark.parametrize("pattern", [None, "slow"])
def test_dropout_is_refused(tiny_tokenizer: Tokenizer, pattern: str | None) -> None:
    content = tiny_tokenizer.parsed_json()
    if pattern:
        content["pre_tokenizer"] = None
    content["model"]["dropout"] = 0.1
    with pytest.raises(TokenizerError, match=r"the model has dropout 0.1 \(expected none"):
        Tokenizer.from_str(json.dumps(content))
    content["model"]["dropout"] = 0.0
    assert Tokenizer.from_str(json.dumps(content)).encode("a").size == 1


# What is refused -------------------------------------------------------------------------------------------


def test_python_only_tokenizers_are_refused_by_name() -> None:
    with pytest.raises(TokenizerError, match="ByT5Tokenizer is no fast tokenizer"):
        Tokenizer.from_transformers(transformers.ByT5Tokenizer())
    with pytest.raises(TokenizerError, match="dict is no fast tokenizer"):
        Tokenizer.from_transformers({})


def test_parts_made_in_python_are_refused() -> None:
    class Nothing:
        def pre_tokenize(self, text: object) -> None:
            """Leave the text whole."""

    made = tokenizers.Tokenizer(models.BPE({"a": 0}, []))
    made.pre_tokenizer = pre_tokenizers.PreTokenizer.custom(Nothing())
    with pytest.raises(TokenizerError, match="cannot be written as JSON"):
        Tokenizer.from_tokenizers(made)


def test_wrong_types_are_refused(tiny_tokenizer: Tokenizer) -> None:
    with pytest.raises(TypeError, match=r"tokenizer is str \(expected tokenizers.Tokenizer\)"):
        Tokenizer.from_tokenizers("tokenizer.json")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tokenizer_json is bytes"):
        Tokenizer.from_str(b"{}")  # type: ignore[arg-type]


def test_missing_files_and_folders(tmp_path: Path) -> None:
    missing = tmp_path / "no" / "tokenizer.json"
    with pytest.raises(TokenizerError, match=f"{missing}: cannot be read: No such file"):
        Tokenizer.from_file(missing)
    with pytest.raises(TokenizerError, match=f"{tmp_path}: cannot be read: Is a directory"):
        Tokenizer.from_file(tmp_path)
    with pytest.raises(TokenizerError, match=f"{missing.parent}: no such folder .* nothing is fetched"):
        Tokenizer.from_pretrained(missing.parent)
    with pytest.raises(TokenizerError, match=r"no tokenizer.json in it \(found: nothing; expected"):
        Tokenizer.from_pretrained(tmp_path)
    tmp_path.joinpath("vocab.json").write_text("{}")
    with pytest.raises(TokenizerError, match=r"no tokenizer.json in it \(found: vocab.json; expected"):
        Tokenizer.from_pretrained(tmp_path)


BYTE_LEVEL = '"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true}'
UNREADABLE = {
    "": "no JSON",
    "{": "no JSON",
    "\ufeff{}": "no JSON",
    "[" * 100_000: "no JSON",
    "[1]": r"a JSON array \(expected a JSON object",
    '"a"': "a JSON string",
    "null": "a JSON null",
    "{}": "(?i)model",
    '{"model": 3}': "invalid type: integer `3`",
    '{"model": null}': "(?i)model",
    '{"model": {"type": "BPE"}}': "vocab",
    '{"model": {"type": "New"}}': "(?i)cannot read it",
    '{"model": {"type": "BPE", "vocab": [], "merges": []}}': "expected a map",
    '{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}': "invalid value: integer `-1`",
    '{"model": {"type": "BPE", "vocab": {"a": 4294967296}, "merges": []}}': "4294967296",
    '{"model": {"type": "BPE", "vocab": {"a": "b"}, "merges": []}}': "invalid type: string",
    '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "x"]]}}': "(?i)token .?x.",
    '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["aa"]}}': "(?i)merge",
    '{"model": {"type": "BPE", "vocab": {}, "merges": []}}': "the vocabulary is empty",
    '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "added_tokens": 3}': "integer `3`",
    '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "added_tokens": [{}]}': "missing field",
    '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "decoder": {"type": "X"}}': "cannot read it",
    '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "normalizer": 7}': "cannot read it",
    '{"model": {"type": "Unigram", "vocab": [["a"]], "unk_id": 0}}': "cannot read it",
    '{"model": {"type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 9}}': "cannot read it",
    '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["\\ud800 a"]}, '
    + BYTE_LEVEL
    + "}": "hex escape",
}


@pytest.mark.parametrize("text", UNREADABLE, ids=lambda text: text[:90] or "empty")
def test_an_unreadable_tokenizer_json(text: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(text, encoding="utf-8")
    for read in (lambda: Tokenizer.from_file(path), lambda: Tokenizer.from_pretrained(tmp_path)):
        with pytest.raises(TokenizerError, match=UNREADABLE[text]) as raised:
            read()
        assert str(raised.value).startswith(f"{path}: ")
    with pytest.raises(TokenizerError, match=UNREADABLE[text]):
        Tokenizer.from_str(text)


def test_files_that_are_no_utf8(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(b'{"model": "\xff"}')
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: invalid UTF-8 at byte 11"):
        Tokenizer.from_file(path)
    path.write_text(tiny_tokenizer.to_str(), encoding="utf-8")
    path.with_name("tokenizer_config.json").write_bytes(b"\xff")
    with pytest.raises(TokenizerError, match=r"tokenizer_config\.json: invalid UTF-8 at byte 0"):
        Tokenizer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"eos_token": 5}, "tokenizer_config.json: eos_token is 5"),
        ({"eos_token": {"text": 5, "content": []}}, "tokenizer_config.json: eos_token is {'text': 5"),
        ({"eos_token": "</s>"}, "eos_token '</s>' is not in the vocabulary"),
        ({"pad_token": "[PAD]"}, r"pad_token '\[PAD\]' is not in the vocabulary"),
        ([], "tokenizer_config.json: a JSON array"),
    ],
)
def test_an_unusable_config(config: object, message: str, tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    folder = write_folder(tmp_path / "folder", tiny_tokenizer.to_str(), tokenizer_config=config)
    with pytest.raises(TokenizerError, match=message):
        Tokenizer.from_pretrained(folder)


def test_a_lone_surrogate_in_the_text_of_a_tokenizer() -> None:
    with pytest.raises(TokenizerError, match="surrogates not allowed"):
        Tokenizer.from_str('{"model": {"type": "BPE", "vocab": {"\ud800": 0}, "merges": []}}')
