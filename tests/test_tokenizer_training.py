"""`train_tokenizer`: the same result as the libraries people know, whatever the corpus comes as."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest
import tokenizers
import transformers
from tests import samples
from tokenizers import models, pre_tokenizers, processors, trainers

from gristmill.errors import (
    BadDocumentError,
    ConfigError,
    EmptyCorpusError,
    MissingColumnError,
    TokenizerError,
)
from gristmill.tokenizer import Tokenizer
from gristmill.tokenizer_training import train_tokenizer

REPOSITORY = Path(__file__).resolve().parent.parent
CORPUS = samples.TINY_CORPUS * 3

DIGEST_SCRIPT = """
import hashlib
from gristmill.tokenizer_training import train_tokenizer
from tests import samples
trained = train_tokenizer(samples.training_texts()[::5], 1500, show_progress=False)
print(hashlib.sha256(trained.to_str().encode()).hexdigest())
"""


def train(documents: object = CORPUS, vocab_size: int = 400, **options: object) -> Tokenizer:
    return train_tokenizer(documents, vocab_size, show_progress=False, **options)  # type: ignore[arg-type]


# The result ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vocab_size", [2500, 5096])
def test_like_gpt2_equals_train_new_from_iterator(vocab_size: int, gpt2_tokenizer: Tokenizer) -> None:
    texts = samples.training_texts()
    batches = (texts[start : start + 100] for start in range(0, len(texts), 100))
    expected = gpt2_tokenizer.to_transformers().train_new_from_iterator(
        batches, vocab_size, show_progress=False
    )
    trained = train_tokenizer(texts, vocab_size, like=gpt2_tokenizer, show_progress=False)
    theirs = Tokenizer.from_transformers(expected)
    assert trained.parsed_json()["model"] == theirs.parsed_json()["model"]
    assert trained.get_vocab() == expected.get_vocab()
    assert len(trained) == trained.vocab_size == vocab_size
    assert trained.eos_token == theirs.eos_token == samples.EOS
    assert trained.eos_token_id == theirs.eos_token_id == 0
    assert trained == theirs
    assert str(trained.engine) == "gristmill"


def test_plain_training_equals_like_gpt2(
    gpt2_tokenizer: Tokenizer, tokenizer_2500: Tokenizer, tokenizer_5096: Tokenizer
) -> None:
    """The pipeline made here is GPT-2's; a larger vocabulary begins with a smaller one."""
    like = train_tokenizer(samples.training_texts(), 2500, like=gpt2_tokenizer, show_progress=False)
    assert like == tokenizer_2500
    merges = tokenizer_5096.parsed_json()["model"]["merges"]
    assert merges[: 2500 - 257] == tokenizer_2500.parsed_json()["model"]["merges"]


@pytest.mark.parametrize("road", ["word_piece", "unigram", "split_bpe"])
def test_like_other_models(road: str, request: pytest.FixtureRequest) -> None:
    model: Tokenizer = request.getfixturevalue(f"{road}_tokenizer")
    vocab_size = 200 if road == "unigram" else 350
    theirs = Tokenizer.from_transformers(
        model.to_transformers().train_new_from_iterator([CORPUS], vocab_size, show_progress=False)
    )
    trained = train(CORPUS, vocab_size, like=model)
    content, expected = trained.parsed_json(), theirs.parsed_json()
    for part in ("normalizer", "pre_tokenizer", "decoder", "added_tokens"):
        assert content[part] == expected[part]
    assert content["model"].keys() == expected["model"].keys()
    if road == "split_bpe":
        assert trained == theirs
    else:  # `tokenizers` numbers the tokens of these models by a hash table, in another order each time
        assert abs(len(trained) - len(theirs)) < 10
    assert trained.eos_token == theirs.eos_token == model.eos_token
    assert trained.engine.name == "tokenizers"


def test_like_keeps_special_tokens_and_post_processor() -> None:
    made = tokenizers.Tokenizer.from_str(samples.split_bpe_json(CORPUS))
    made.add_special_tokens([tokenizers.AddedToken("<s>", lstrip=True), "</s>"])
    specials = [("<s>", made.token_to_id("<s>")), ("</s>", made.token_to_id("</s>"))]
    made.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=specials)
    like = Tokenizer.from_tokenizers(made, eos_token="</s>", pad_token="<s>")
    trained = train(CORPUS, 350, like=like, special_tokens=["<new>"])
    assert [trained.id_to_token(token_id) for token_id in range(4)] == [samples.EOS, "<s>", "</s>", "<new>"]
    assert (trained.eos_token_id, trained.pad_token_id) == (2, 1)
    assert trained.special_tokens == {samples.EOS, "<s>", "</s>", "<new>"}
    assert "self.items" not in trained.get_vocab() or trained.vocab_size == len(trained)
    again = trained.to_tokenizers()
    assert again.encode("a").ids == [1, *again.encode("a", add_special_tokens=False).ids, 2]
    assert again.encode("  <s>").ids[1:-1] == [1]  # lstrip was kept
    made.post_processor = processors.BertProcessing(("</s>", 402), ("<s>", 401))
    trained = train(CORPUS, 350, like=Tokenizer.from_tokenizers(made, eos_token="</s>"))
    assert trained.parsed_json()["post_processor"]["cls"] == ["<s>", 1]


def test_equals_tokenizers_used_directly() -> None:
    direct = tokenizers.Tokenizer(models.BPE())
    direct.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[samples.EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=3,
        show_progress=False,
    )
    direct.train_from_iterator(CORPUS, trainer)
    assert train(min_frequency=3).get_vocab() == direct.get_vocab()


def test_options(tmp_path: Path) -> None:
    trained = train(special_tokens=["<pad>", "<end>"], eos_token="<end>")
    assert (trained.eos_token, trained.eos_token_id, trained.token_to_id("<pad>")) == ("<end>", 1, 0)
    assert train(special_tokens=["<pad>", "<end>"]).eos_token == "<pad>"
    assert train(special_tokens=["<pad>", "</s>"]).eos_token == "</s>"
    assert train(special_tokens=[]).eos_token_id is None
    with pytest.raises(TypeError, match="eos_token is 3 of type int"):
        train(special_tokens=["<pad>", "</s>"], eos_token=3)
    few = train(vocab_size=100, initial_alphabet=[])
    assert len(few) == 100
    assert few.engine.name == "tokenizers"  # bytes that the corpus lacks cannot be encoded
    large = train(vocab_size=5000)
    assert len(large) < 5000  # the corpus has no more pairs
    assert len(train(vocab_size=5000, min_frequency=4)) < len(large)
    folder = tmp_path / "trained"
    large.save_pretrained(folder)
    assert Tokenizer.from_pretrained(folder) == large


def test_learned_tokens_decode(tiny_tokenizer: Tokenizer) -> None:
    for text in CORPUS:
        assert tiny_tokenizer.decode(tiny_tokenizer.encode(text)) == text
    assert tiny_tokenizer.encode(CORPUS[0]).size < len(CORPUS[0]) / 2


def test_the_same_in_every_process() -> None:
    """3 processes, with other hash seeds and thread counts."""
    expected = train_tokenizer(samples.training_texts()[::5], 1500, show_progress=False).to_str()
    digests = {hashlib.sha256(expected.encode()).hexdigest()}
    for seed, num_threads in (("0", "1"), ("1", "2"), ("2", "3")):
        run = subprocess.run(
            [sys.executable, "-c", DIGEST_SCRIPT],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": num_threads},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=120,
        )
        digests.add(run.stdout.strip())
    assert len(digests) == 1


# Where documents come from -------------------------------------------------------------------------------


def rows() -> Iterator[dict[str, object]]:
    for text in CORPUS:
        yield {"content": text, "size": len(text)}


def test_any_kind_of_corpus(tiny_tokenizer: Tokenizer) -> None:
    data_set = datasets.Dataset.from_dict({"content": CORPUS})
    corpora = [
        iter(CORPUS),
        tuple(CORPUS),
        (text.encode() for text in CORPUS),
        [CORPUS[:4], CORPUS[4:]],
        (CORPUS[start : start + 2] for start in range(0, len(CORPUS), 2)),
        list(rows()),
        data_set,
        data_set.to_iterable_dataset(),
        datasets.IterableDataset.from_generator(rows),
    ]
    for corpus in corpora:
        assert train(corpus, text_column="content") == tiny_tokenizer
    assert train(CORPUS + [""] * 10) == tiny_tokenizer


def test_progress_is_drawn_only_on_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    train_tokenizer(CORPUS, 300)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


# Bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (None, "null"),
        (3, "a value of type int: 3"),
        ("a\ud800", "a lone surrogate U\\+D800 at character 1"),
        (b"\xff", "invalid UTF-8 at byte 0"),
    ],
)
def test_bad_documents(
    bad: object, reason: str, tiny_tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    documents = [*CORPUS * 10, bad, "never read", bad]
    with pytest.raises(BadDocumentError, match=f"row {len(CORPUS) * 10}: {reason}") as raised:
        train(documents)
    assert raised.value.row == len(CORPUS) * 10
    with caplog.at_level(logging.INFO, "gristmill"):
        trained = train([bad, *CORPUS, bad], on_bad="skip")
    assert trained == tiny_tokenizer
    assert "2 rows that are no text were skipped" in caplog.text


@pytest.mark.parametrize("documents", [[], iter(()), [[]], [None]])
def test_an_empty_corpus(documents: object) -> None:
    with pytest.raises(EmptyCorpusError, match="no text to train on"):
        train(documents, on_bad="skip")


def test_a_corpus_of_empty_texts_gives_the_alphabet() -> None:
    assert len(train(["", ""])) == 257


def test_a_failing_iterator_keeps_its_error() -> None:
    class BrokenError(RuntimeError):
        pass

    def documents() -> Iterator[str]:
        yield from CORPUS
        raise BrokenError("the disk is gone")

    with pytest.raises(BrokenError, match="the disk is gone"):
        train(documents())
    with pytest.raises(MissingColumnError, match="text"):
        train(rows())


def test_sizes_that_cannot_be(gpt2_tokenizer: Tokenizer) -> None:
    with pytest.raises(
        ConfigError,
        match=r"vocab_size is 256 \(expected at least 257: an alphabet of 256 and 1 special tokens\)",
    ):
        train(vocab_size=256)
    assert len(train(vocab_size=257)) == 257
    with pytest.raises(ConfigError, match=r"vocab_size is 200 \(expected at least 258"):
        train(vocab_size=200, like=gpt2_tokenizer, special_tokens=["<new>"])
    with pytest.raises(ConfigError, match="vocab_size is 0"):
        train(vocab_size=0)
    with pytest.raises(ConfigError, match="min_frequency is -1"):
        train(min_frequency=-1)
    for wrong in ("400", 400.0, None, True):
        with pytest.raises(TypeError, match="vocab_size is"):
            train(vocab_size=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="on_bad is"):
        train(on_bad="drop")
    with pytest.raises(TokenizerError, match=r"eos_token is '<end>' \(expected one of the special"):
        train(eos_token="<end>")
    with pytest.raises(TypeError, match="put it in a list"):
        train("a lone text")


def trained_in_two_ways() -> list[Tokenizer]:
    """One on the plain road, one with several special tokens and roles."""
    special = ["<|endoftext|>", "<pad>", "<|user|>"]
    return [train(), train(vocab_size=500, special_tokens=special, eos_token="<|endoftext|>")]


TEXTS = [
    *CORPUS[:6],
    "",
    "  leading and trailing  ",
    "naïve 中文 😀\u200b\n\n\tx",
    "a<|endoftext|>b <|user|> c",
]


@pytest.mark.parametrize("which", [0, 1])
def test_behaves_the_same_in_transformers(which: int, tmp_path: Path) -> None:
    """As a folder of `from_pretrained` and as a lone `tokenizer.json`, there and back again."""
    trained = trained_in_two_ways()[which]
    trained.save_pretrained(tmp_path / "folder")
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "folder")
    (tmp_path / "tokenizer.json").write_text(trained.to_str(), encoding="utf-8")
    alone = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert loaded.get_vocab() == alone.get_vocab() == trained.get_vocab()
    assert (loaded.eos_token, loaded.eos_token_id) == (trained.eos_token, trained.eos_token_id)
    assert set(loaded.all_special_tokens) >= {"<|endoftext|>"}
    assert len(loaded) == len(trained)
    for text in TEXTS:
        allowed = trained.encode(text, allow_special=True).tolist()
        assert loaded(text)["input_ids"] == alone.encode(text).ids == allowed
        assert loaded.decode(allowed, clean_up_tokenization_spaces=False) == text == trained.decode(allowed)
        data = trained.encode(text).tolist()  # special tokens in it are ordinary text
        assert loaded(text, split_special_tokens=True)["input_ids"] == data
    for token in trained.special_tokens:
        assert loaded.convert_tokens_to_ids(token) == trained.token_to_id(token)
        assert loaded(token)["input_ids"] == [trained.token_to_id(token)]
        assert loaded.decode([trained.token_to_id(token)], skip_special_tokens=True) == ""

    loaded.save_pretrained(tmp_path / "again")
    again = Tokenizer.from_pretrained(tmp_path / "again")
    assert again.get_vocab() == trained.get_vocab()
    assert (again.eos_token, again.eos_token_id) == (trained.eos_token, trained.eos_token_id)
    assert str(again.engine) == "gristmill"
    assert all((again.encode(text) == trained.encode(text)).all() for text in TEXTS)
    assert Tokenizer.from_pretrained(tmp_path / "folder") == trained
    assert Tokenizer.from_file(tmp_path / "tokenizer.json").get_vocab() == trained.get_vocab()


@pytest.mark.parametrize(
    ("special_tokens", "message"),
    [
        (["<s>", "<e>", "<s>"], "special_tokens has '<s>' twice"),
        (["\ud800"], r"special_tokens has '\\ud800', with a lone surrogate"),
    ],
)
def test_special_tokens_that_cannot_be_are_named(special_tokens: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train_tokenizer(["a b"], 300, special_tokens=special_tokens, show_progress=False)
