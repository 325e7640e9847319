"""Training on the own engine: equal to `BpeTrainer` of `tokenizers`, bounded, and easy to stop."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

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

REPOSITORY = Path(__file__).resolve().parent.parent

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


@pytest.mark.parametrize("name", ["python", "prose", "random"])
@pytest.mark.parametrize(
    "options",
    [
        {"min_frequency": 7},
        {"max_token_length": 6, "initial_alphabet": BYTE_CHARACTERS},
        # Merges form "in", "the" and "Ġa" too: they keep their ids, and the vocabulary does not grow.
        {"special_tokens": ["in", "<s>", "the", "Ġa", "ab"], "initial_alphabet": ["z", "日", "Ġ"]},
    ],
    ids=["min_frequency", "max_token_length", "special_tokens"],
)
def test_equals_tokenizers_with_options(name: str, options: dict[str, Any]) -> None:
    assert own(corpus(name), 5096, **options) == theirs(corpus(name), 5096, **options)


@pytest.mark.parametrize("name", ["prose", "random"])
def test_like_equals_tokenizers(name: str, gpt2_tokenizer: Tokenizer) -> None:
    """`like=` gives what `train_new_from_iterator` does: on Python files in test_tokenizer_training.py."""
    trained = train_tokenizer(corpus(name), 5096, like=gpt2_tokenizer, show_progress=False)
    expected = gpt2_tokenizer.to_transformers().train_new_from_iterator(
        [corpus(name)], 5096, show_progress=False
    )
    assert trained == Tokenizer.from_transformers(expected)


def test_equals_tokenizers_past_65535() -> None:
    """Real merges with ids of 17 bits, nearly all of them ties."""
    chance = random.Random(9)
    words = ["".join(chance.choices("abcdefghijklmnop", k=12)) for _ in range(22_000)]
    texts = [" ".join(words[start : start + 100]) for start in range(0, len(words), 100)]
    vocabulary, merges = own(texts, 120_000)
    assert len(vocabulary) > 70_000
    assert max(max(pair) for pair in merges) > 65_535
    assert (vocabulary, merges) == theirs(texts, 120_000)


@pytest.mark.parametrize("vocab_size", [0, 1, 5, 100])
@pytest.mark.parametrize("texts", [[], [""], ["a"], ["ab ab"], ["\x00\x01", "\U0010ffff"]])
def test_equals_tokenizers_on_next_to_nothing(texts: list[str], vocab_size: int) -> None:
    """Empty corpora; vocabularies smaller than the alphabet, which is taken whole, as there."""
    for alphabet in ([], BYTE_CHARACTERS):
        options = {"initial_alphabet": alphabet, "special_tokens": ["<s>"]}
        assert own(texts, vocab_size, **options) == theirs(texts, vocab_size, **options)  # type: ignore[arg-type]


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
    assert list(_unicode.classes_of("\u1c89\u1c8a\ua7cb\U00031350\u0378")) == [0, 1, 0, 2, 6]
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


PEAK_SCRIPT = """
import sys
from pathlib import Path
from gristmill import train_tokenizer
from tests import samples

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

texts = samples.training_texts()[:300]
def documents(times):
    for _ in range(times):
        for text in texts:
            yield text + "!"  # a new object each time

train_tokenizer(documents(1), 2000, num_threads=2, show_progress=False)  # what is loaded once
for times in (7, 50):  # both are several batches long
    Path("/proc/self/clear_refs").write_text("5")
    held = status("VmRSS")
    train_tokenizer(documents(times), 2000, num_threads=2, show_progress=False)
    print(status("VmHWM") - held)
"""


def test_memory_does_not_grow_with_the_corpus() -> None:
    """Ten times as many documents, no word more: the same peak (160 MB of text go through)."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK_SCRIPT], cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True
    )
    short, long = (int(line) for line in done.stdout.split())
    assert long < 1.25 * short + 2000, "kilobytes above the start"


def test_the_caller_keeps_no_copies() -> None:
    """Python would attach its UTF-8 to each text that is not ASCII: a corpus held as a list would double."""
    texts = [f"naïve {number} 中文" * 50 for number in range(100)]
    sizes = [sys.getsizeof(text) for text in texts]
    train_tokenizer(texts, 400, show_progress=False)
    assert [sys.getsizeof(text) for text in texts] == sizes


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


@pytest.fixture
def interrupt_soon() -> Iterator[Callable[[float], None]]:
    """Gives a call that sends SIGINT to this process after some seconds; puts the handlers back."""
    before = signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds) and None
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


# The promise. It is looked for twenty times a second, so a machine that is ten times slower keeps it.
STOPPED_WITHIN = 1.0


def test_ctrl_c_while_counting(interrupt_soon: Callable[[float], None]) -> None:
    text = samples.training_texts()[0] * 200
    batch = [text] * (10_000_000_000 // len(text))  # ten gigabytes, held once
    trainer = BpeTrainer()
    interrupt_soon(0.5)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        trainer.push_texts(batch, 2, False)
    assert time.monotonic() - started < 0.5 + STOPPED_WITHIN


def test_ctrl_c_while_counting_one_huge_document(interrupt_soon: Callable[[float], None]) -> None:
    trainer = BpeTrainer()
    text = samples.training_texts()[0] * (1_500_000_000 // len(samples.training_texts()[0]))
    interrupt_soon(0.2)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        all(trainer.push_texts([text], 1, False) == [] for _ in range(100))
    assert time.monotonic() - started < 0.2 + STOPPED_WITHIN


def test_ctrl_c_while_the_stream_is_slow(interrupt_soon: Callable[[float], None]) -> None:
    def documents() -> Iterator[str]:
        yield "a document"
        time.sleep(60)

    interrupt_soon(0.2)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        train_tokenizer(documents(), 300, show_progress=False)
    assert time.monotonic() - started < 0.2 + STOPPED_WITHIN


@pytest.mark.parametrize("stage", ["between", "merging"])
def test_ctrl_c_after_counting(stage: str) -> None:
    """Between: tables are joined, pieces laid out, first pairs counted; then come the merges."""
    letters = random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=12_000_000)
    words = ["".join(letters[start : start + 40]) for start in range(0, len(letters), 40)]
    trainer = BpeTrainer()
    for part in range(4):  # batches of two threads, so that there are tables to join
        trainer.push_texts([" ".join(words[part::4][half::2]) for half in range(2)], 2, False)
    sent: list[float] = []
    seen: list[int] = []

    def send(num_merges: int) -> None:
        seen.append(num_merges)
        if not sent and (stage == "between" or num_merges):
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer.train(4_000_000, 0, [], [], None, send)
    assert time.monotonic() - sent[0] < STOPPED_WITHIN
    assert seen[0] == 0, "the first look comes before the first merge"
    with pytest.raises(RuntimeError, match="trained already, or failed before"):
        trainer.push_texts(["a"], 1, False)


def test_what_progress_raises_ends_the_training() -> None:
    trainer = BpeTrainer()
    trainer.push_texts([" ".join(f"{n:x}" * 9 for n in range(300_000))], 1, False)

    def refuse(num_merges: int) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        trainer.train(3_000_000, 0, [], [], None, refuse)
