"""Training on the own engine: equal to `BpeTrainer` of `tokenizers`, bounded, and easy to stop."""

from __future__ import annotations

import io
import json
import logging
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from functools import cache

import pytest
from hypothesis import given, strategies as st
from tests import samples
from tokenizers import Tokenizer as Reference, models, pre_tokenizers, trainers

from gristmill import _unicode, own_training
from gristmill._native import BpeTrainer
from gristmill.byte_alphabet import BYTE_CHARACTERS
from gristmill.errors import BadDocumentError, ConfigError, EmptyCorpusError, TrainingMemoryError
from gristmill.tokenizer import Tokenizer
from gristmill.tokenizer_training import train_tokenizer, training_engine

Model = tuple[list[str], list[tuple[int, int]]]


def own(
    texts: Sequence[str],
    vocab_size: int,
    min_frequency: int = 0,
    special_tokens: Sequence[str] = (),
    initial_alphabet: Sequence[str] = (),
    max_token_length: int | None = None,
    num_threads: int = 2,
) -> Model:
    trainer = BpeTrainer()
    for start in range(0, len(texts), 200):
        trainer.push_texts(texts[start : start + 200], num_threads, False)
    vocabulary, merges = trainer.train(
        vocab_size, min_frequency, special_tokens, initial_alphabet, max_token_length
    )
    return vocabulary, [(left, right) for left, right in merges.tolist()]


def theirs(
    texts: Sequence[str],
    vocab_size: int,
    min_frequency: int = 0,
    special_tokens: Sequence[str] = (),
    initial_alphabet: Sequence[str] = (),
    max_token_length: int | None = None,
) -> Model:
    reference = Reference(models.BPE())
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    limit = {} if max_token_length is None else {"max_token_length": max_token_length}
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(special_tokens),
        initial_alphabet=list(initial_alphabet),
        show_progress=False,
        **limit,
    )
    reference.train_from_iterator(texts, trainer=trainer)
    model = json.loads(reference.to_str())["model"]
    ids = model["vocab"]
    return sorted(ids, key=ids.__getitem__), [(ids[left], ids[right]) for left, right in model["merges"]]


# Identity ------------------------------------------------------------------------------------------------


@cache
def corpus(name: str) -> list[str]:
    if name == "python":
        return samples.training_texts()[::3]
    chance = random.Random(5)
    if name == "prose":  # words of several scripts, as often as Zipf says
        alphabets = ["abcdefghijklmnopqrstuvwxyzäöüß", "абвгдежзийклмнопрст", "αβγδεζηθικλμνξο", "שלוםעליכם"]
        alphabets += [
            "的一是不了人我在有他这中大来上",
            "あいうえおかきくけこ",
            "กขคงจฉชซ",
            "अआइईउऊकखगघ",
            "🎉🎊é́'",
        ]
        words = [
            "".join(chance.choices(chance.choice(alphabets), k=chance.randint(1, 9))) for _ in range(9000)
        ]
        weights = [1 / rank for rank in range(1, len(words) + 1)]
        marks = [" ", " ", " ", ", ", ". ", "\n", "'s ", " 12 "]
        return [
            "".join(word + chance.choice(marks) for word in chance.choices(words, weights, k=400))
            for _ in range(300)
        ]
    # Every count ties with many others.
    return [
        " ".join("".join(chance.choices("abcd", k=chance.randint(1, 12))) for _ in range(90))
        for _ in range(400)
    ]


@pytest.mark.parametrize("vocab_size", [2500, 5096, 32_768])
@pytest.mark.parametrize("name", ["python", "prose", "random"])
def test_equals_tokenizers(name: str, vocab_size: int) -> None:
    options = {"special_tokens": ["<|endoftext|>"], "initial_alphabet": BYTE_CHARACTERS}
    assert own(corpus(name), vocab_size, **options) == theirs(corpus(name), vocab_size, **options)  # type: ignore[arg-type]


few_letters = st.sampled_from(["a", "b", "aa", "ab", " ", " a", "c", "aab", "\n", "1", "'s"])
any_letters = st.one_of(few_letters, st.characters(exclude_categories=["Cs"]))


@given(
    texts=st.lists(
        st.one_of(
            st.lists(few_letters, max_size=60).map("".join), st.lists(any_letters, max_size=30).map("".join)
        ),
        max_size=12,
    ),
    vocab_size=st.integers(0, 300),
    min_frequency=st.sampled_from([0, 0, 1, 2, 3, 9]),
    special_tokens=st.lists(st.sampled_from(["<s>", "a", "ab", "aa", "abab", "Ġa", "Ġ", "Ãī"]), max_size=3),
    initial_alphabet=st.sampled_from([(), BYTE_CHARACTERS, ("z", "日", "a")]),
    max_token_length=st.sampled_from([None, None, 0, 1, 2, 3, 4, 6]),
    num_threads=st.integers(1, 3),
)
def test_equals_tokenizers_on_anything(num_threads: int, **arguments: object) -> None:
    """1,000 corpora full of ties, special tokens that merges form too, short limits."""
    assert own(num_threads=num_threads, **arguments) == theirs(**arguments)  # type: ignore[arg-type]


def test_the_file_is_that_of_the_other_road(
    gpt2_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Added tokens, post-processor and pipeline, with and without `like`."""
    texts = samples.training_texts()[::20]

    def train() -> list[str]:
        options = {"special_tokens": ["<|endoftext|>", "<pad>", "def"], "eos_token": "<|endoftext|>"}
        trained = [
            train_tokenizer(texts, 700, show_progress=False, **options),  # type: ignore[arg-type]
            train_tokenizer(texts, 700, min_frequency=9, max_token_length=5, show_progress=False),
            train_tokenizer(texts, 700, like=gpt2_tokenizer, special_tokens=["<pad>"], show_progress=False),
        ]
        return [json.dumps(tokenizer.parsed_json(), sort_keys=True) for tokenizer in trained]

    ours = train()
    assert str(training_engine(gpt2_tokenizer)) == "gristmill"
    monkeypatch.setattr(own_training, "why_not_covered", lambda *_: "a test")
    assert str(training_engine(gpt2_tokenizer)) == "tokenizers"
    assert ours == train()


def test_which_road_and_why(
    word_piece_tokenizer: Tokenizer,
    unigram_tokenizer: Tokenizer,
    split_bpe_tokenizer: Tokenizer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert training_engine().reason == "byte-level BPE with the GPT-2 pattern"
    for model, reason in [
        (word_piece_tokenizer, "a model of type 'WordPiece' (expected BPE)"),
        (unigram_tokenizer, "a model of type 'Unigram' (expected BPE)"),
    ]:
        assert (training_engine(model).name, training_engine(model).reason) == ("tokenizers", reason)
    assert "Split with a pattern that is not known" in training_engine(split_bpe_tokenizer).reason
    base = {"model": {"type": "BPE"}, "normalizer": None, "pre_tokenizer": {"type": "ByteLevel"}}
    for change, reason in [
        ({"normalizer": {"type": "NFC"}}, "a normalizer of type 'NFC'"),
        ({"pre_tokenizer": None}, "its pre_tokenizer is missing"),
        ({}, "add_prefix_space=true"),
        (
            {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}},
            "use_regex",
        ),
    ]:
        assert reason in str(own_training.why_not_covered(base | change, {}))
    assert "end_of_word_suffix is '</w>'" in str(
        own_training.why_not_covered(base, {"end_of_word_suffix": "</w>"})
    )
    with caplog.at_level(logging.INFO, "gristmill.tokenizer"):
        train_tokenizer(samples.TINY_CORPUS, 300, show_progress=False)
    assert "training by gristmill: byte-level BPE with the GPT-2 pattern" in caplog.text


def test_code_points_that_unicode_14_does_not_assign() -> None:
    """The engine asks for the classes of those that it meets, batch by batch; the answer is that of all."""
    fresh = [*range(0x1C80, 0x1C90), 0x378, *range(0x1E030, 0x1E06E), *range(0x31350, 0x31400), 0xA7CB]
    assert _unicode.classes_of([0x1C89, 0x1C8A, 0xA7CB, 0x31350, 0x378]) == [0, 1, 0, 2, 6]
    texts = [f"ab{chr(code_point)}cd {chr(code_point)}1 !{chr(code_point)}" * 3 for code_point in fresh]
    assert own(texts * 3, 600) == theirs(texts * 3, 600)


# Input, limits, interruption -----------------------------------------------------------------------------


def test_bad_rows_are_named_or_counted(caplog: pytest.LogCaptureFixture) -> None:
    documents = [*samples.TINY_CORPUS * 400, "a\ud800b", None, b"\xff", b"good"]
    with pytest.raises(BadDocumentError, match="row 2400: a lone surrogate U\\+D800 at character 1"):
        train_tokenizer(documents, 300, show_progress=False)
    trained = train_tokenizer(documents, 300, on_bad="skip", show_progress=False)
    assert "3 rows that are no text were skipped" in caplog.text
    assert trained == train_tokenizer([*samples.TINY_CORPUS * 400, "good"], 300, show_progress=False)
    with pytest.raises(EmptyCorpusError, match="found 1 rows, all of them skipped"):
        train_tokenizer([None], 300, on_bad="skip", show_progress=False)


def test_documents_are_not_held() -> None:
    """From a generator: never more than two batches alive, and the trainer holds what is distinct in them."""
    alive = most = 0

    class Text(str):
        def __init__(self, _: str) -> None:
            nonlocal alive, most
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    documents = (Text(f"word{number % 7} and others " * 400) for number in range(10_000))
    train_tokenizer(documents, 300, max_memory=2 << 20, show_progress=False)
    assert most <= 2100


def test_a_stream_is_read_once() -> None:
    def stream() -> Iterator[list[str]]:
        for start in range(0, 60, 6):
            yield samples.training_texts()[start : start + 6]

    trained = train_tokenizer(stream(), 1000, show_progress=False)
    assert trained == train_tokenizer(samples.training_texts()[:60], 1000, show_progress=False)


def test_the_memory_limit_is_a_named_error(word_piece_tokenizer: Tokenizer) -> None:
    texts = samples.training_texts()
    with pytest.raises(TrainingMemoryError, match="max_memory is 1000000 "):
        train_tokenizer(texts, 1000, max_memory=1_000_000, show_progress=False)
    enough = train_tokenizer(texts, 1000, max_memory=64 << 20, show_progress=False)
    assert enough == train_tokenizer(texts, 1000, show_progress=False)
    with pytest.raises(ConfigError, match="WordPiece"):
        train_tokenizer(texts, 1000, max_memory=1, like=word_piece_tokenizer, show_progress=False)
    with pytest.raises(ConfigError, match="max_token_length"):
        train_tokenizer(texts, 1000, max_token_length=4, like=word_piece_tokenizer, show_progress=False)


def test_ctrl_c_while_counting() -> None:
    text = samples.training_texts()[0] * 200
    batch = [text] * (10_000_000_000 // len(text))  # ten gigabytes, held once
    trainer = BpeTrainer()
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        trainer.push_texts(batch, 2, False)
    assert time.monotonic() - started < 0.5 + 1
    with pytest.raises(RuntimeError, match="trained already, or failed before"):
        trainer.push_texts(["a"], 1, False)


def test_ctrl_c_while_merging() -> None:
    letters = random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=8_000_000)
    words = (letters[start : start + 40] for start in range(0, len(letters), 40))
    trainer = BpeTrainer()
    trainer.push_texts([" ".join("".join(word) for word in words)], 1, False)
    sent: list[float] = []

    def send(num_merges: int) -> None:
        if num_merges and not sent:
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer.train(4_000_000, 0, [], [], None, send)
    assert time.monotonic() - sent[0] < 1


def test_what_progress_raises_ends_the_training() -> None:
    trainer = BpeTrainer()
    trainer.push_texts([" ".join(f"{n:x}" * 9 for n in range(300_000))], 1, False)

    def refuse(num_merges: int) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        trainer.train(3_000_000, 0, [], [], None, refuse)


def test_progress_is_shown_on_a_terminal_only(capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    progress = own_training.Progress(True, 4, terminal)
    progress.counted({"documents": 2, "bytes": 3_000_000})
    progress.counted({"documents": 4, "bytes": 6_000_000}, end=True)
    progress.merged(50, 100, end=True)
    shown = terminal.getvalue()
    assert "2 documents, 3.0 MB counted, 0 s left" in shown
    assert "4 documents, 6.0 MB counted in 0.0 s\n" in shown
    assert "50 of at most 100 merges in 0.0 s\n" in shown
    for quiet in (own_training.Progress(True, 4, io.StringIO()), own_training.Progress(False, 4, Terminal())):
        quiet.counted({"documents": 4, "bytes": 6}, end=True)
        assert quiet._stream.getvalue() == ""  # type: ignore[attr-defined]
    train_tokenizer(samples.TINY_CORPUS, 300)
    assert capsys.readouterr().err == ""
