"""The compiled module at its boundary: odd models, long pieces, memory, signals, arrays, what is refused.

Ids of real files, random text and all code points are compared in test_tokenizer_exact.py.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from tests import samples

from gristmill import _native
from gristmill.errors import BadDocumentError, ResumeError, TokenizerError, UnsupportedTokenizerError


@pytest.fixture(scope="module")
def gpt2() -> _native.Encoder:
    return _native.Encoder.from_json(samples.gpt2_json())


def bpe_json(tokens: list[str], merges: list[Any], **changes: Any) -> str:
    """A byte-level BPE of the byte alphabet and `tokens`, with the merges as given."""
    vocabulary: dict[str, int] = {}
    for token in (*samples.byte_alphabet(), *tokens):
        vocabulary.setdefault(token, len(vocabulary))
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
    }
    return json.dumps(content | changes)


@st.composite
def odd_models(draw: st.DrawFn) -> str:
    """Models that no trainer makes: ranks in any order, tokens made by several pairs, pairs listed twice."""
    tokens = ["a", "b", "c"]
    merges: list[list[str]] = []
    for _ in range(draw(st.integers(0, 25))):
        pair = [draw(st.sampled_from(tokens)), draw(st.sampled_from(tokens))]
        if len("".join(pair)) <= 10:
            merges.append(pair)
            tokens.append("".join(pair))
    merges = draw(st.permutations(merges))
    return bpe_json(tokens, draw(st.sampled_from([merges, [" ".join(pair) for pair in merges]])))


@given(model=odd_models(), texts=st.lists(st.text("aabbc ", max_size=200), max_size=4))
def test_odd_models_equal_the_reference(model: str, texts: list[str]) -> None:
    encoder = _native.Encoder.from_json(model)
    expected = samples.reference_ids(samples.reference(model), texts)
    ids, offsets, bad = encoder.encode_batch(texts, 1, False)
    assert bad == []
    assert [ids[start:end].tolist() for start, end in itertools.pairwise(offsets)] == expected


LONG_PIECES = {
    "one letter": "a" * 50_001,
    "blanks": " " * 50_001,
    "two letters": "ab" * 20_000,
    "random letters": "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=50_000)),
    "random digits": "".join(random.Random(2).choices("0123456789", k=50_000)),
    "random punctuation": "".join(random.Random(3).choices("!#$%&()*+,-./:;<=>?@[]^_`{|}~", k=50_000)),
    "Chinese": "".join(random.Random(4).choices([chr(c) for c in range(0x4E00, 0x9FA5)], k=20_000)),
}


@pytest.mark.parametrize("kind", LONG_PIECES)
def test_long_pieces_equal_the_reference(kind: str, gpt2: _native.Encoder) -> None:
    text = LONG_PIECES[kind]
    assert gpt2.encode(text).tolist() == samples.reference(samples.gpt2_json()).encode(text).ids


def test_memory_and_time_of_one_huge_document() -> None:
    """Row 11 of the faults: a document costs at most 8 times its bytes plus 64 MiB, in linear time."""
    script = """
import json, pathlib, sys, time
from tests import samples
from gristmill import _native

def peak() -> int:
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10

encoder = _native.Encoder.from_json(samples.gpt2_json())
text = eval(sys.argv[1])
pathlib.Path("/proc/self/clear_refs").write_text("5")
before, start = peak(), time.process_time()
num_ids = len(encoder.encode(text))
print(json.dumps([num_ids, peak() - before, time.process_time() - start, len(text.encode())]))
"""
    documents = [
        '"a" * 10**7',
        '" " * 10**6',
        '"\\u00e9" * (5 * 10**6)',
        '"".join(__import__("random").Random(1).choices("abcdefgh", k=10**6)) * 10',
        '("".join(samples.standard_library()[0]) * 2)[: 5 * 10**7]',
    ]
    for document in documents:
        command = [sys.executable, "-c", script, document]
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
        num_ids, memory, seconds, num_bytes = json.loads(result.stdout)
        assert num_ids > 0, document
        assert memory <= 8 * num_bytes + (64 << 20), (document, memory)
        # Slowest seen: 8 MB/s of CPU time on a loaded machine.
        assert seconds < 5 + num_bytes / 1e6, (document, seconds)


def test_ctrl_c_within_one_long_piece() -> None:
    script = """
import sys
from tests import samples
from gristmill import _native
encoder = _native.Encoder.from_json(samples.gpt2_json())
text = "ab" * (5 * 10**7)
print("ready", flush=True)
try:
    encoder.encode(text)
except KeyboardInterrupt:
    print("interrupted", encoder.encode("hello").tolist(), flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted [31373]\n"
        assert time.monotonic() - start < 1


def test_the_gil_is_released(gpt2: _native.Encoder) -> None:
    beats = 0
    worker = threading.Thread(target=gpt2.encode, args=("ab" * 5_000_000,))
    worker.start()
    while worker.is_alive():
        time.sleep(0.001)
        beats += 1
    assert beats > 20


def test_many_threads_share_one_encoder(gpt2: _native.Encoder) -> None:
    texts = samples.training_texts()[:60]
    expected = [gpt2.encode(text).tolist() for text in texts]
    with ThreadPoolExecutor(8) as pool:
        for batch in pool.map(lambda _: gpt2.encode_batch(texts, 2, False), range(24)):
            assert np.array_equal(batch[0], [number for ids in expected for number in ids])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_while_other_threads_encode(gpt2: _native.Encoder) -> None:
    """20 forks; the child encodes with the same encoder and must not wait for a thread that it lacks."""
    texts = samples.training_texts()[:40]
    stop = threading.Event()

    def encode_on() -> None:
        while not stop.is_set():
            gpt2.encode_batch(texts, 2, False)

    worker = threading.Thread(target=encode_on)
    worker.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                signal.alarm(60)
                os._exit(0 if gpt2.encode_batch(texts, 2, False)[1][-1] > 0 else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        worker.join()


class TextLike(str):
    __slots__ = ()


BAD = [
    (None, "null"),
    (7, "a value of type int: 7"),
    (["a"], "a value of type list: ['a']"),
    (bytearray(b"a"), "a value of type bytearray: bytearray(b'a')"),
    (list(range(99)), f"a value of type list: {str(list(range(99)))[:60]}…"),
    (float("nan"), "a value of type float: nan"),
    ("ab\ud800", "a lone surrogate U+D800 at character 2"),
    ("é\U0001f600\udfff!", "a lone surrogate U+DFFF at character 2"),
    (b"abc\xff", "invalid UTF-8 at byte 3"),
    (b"\xed\xa0\x80", "invalid UTF-8 at byte 0"),
    (b"a\xc3", "invalid UTF-8 at byte 1"),
]


@pytest.mark.parametrize(("value", "reason"), BAD)
def test_bad_documents(value: object, reason: str, gpt2: _native.Encoder) -> None:
    texts = ["hello", value, b"hello", TextLike("hello"), value, ""]
    assert _native.check_texts(texts) == [(1, reason), (4, reason)]
    ids, offsets, bad = gpt2.encode_batch(texts, 2, True)
    assert (ids.tolist(), offsets.tolist()) == ([31373] * 3, [0, 1, 2, 3, 3])
    assert bad == [(1, reason), (4, reason)]
    packer = _native.Packer(3, 50256, False)
    counters = _native.MetricCounters(50257)
    for call in (
        lambda: gpt2.encode_batch(texts, 1, False),
        lambda: packer.push_texts(gpt2, texts, 1, False),
        lambda: counters.add_texts(gpt2, texts, 1, False),
    ):
        with pytest.raises(BadDocumentError) as caught:
            call()
        assert (caught.value.row, caught.value.reason) == (1, reason)
    with pytest.raises(BadDocumentError, match="row 0"):
        gpt2.encode(value)  # type: ignore[arg-type]
    assert packer.counters["documents"] == counters.totals["documents"] == 0
    assert packer.push_texts(gpt2, texts, 1, True) == bad
    assert counters.add_texts(gpt2, tuple(texts), 1, True) == bad
    assert packer.counters["documents"] == counters.totals["documents"] == 4
    assert packer.counters["bytes"] == counters.totals["bytes"] == 15


@given(
    parts=st.lists(
        st.tuples(st.text(min_size=1, max_size=5), st.sampled_from([1, 2, 17, 40_000])),
        min_size=1,
        max_size=6,
    ),
    surrogate_at=st.none() | st.integers(0, 200_000),
    instructions=st.sampled_from(["", "avx2", "portable"]),
)
def test_texts_that_are_not_ascii_are_transcoded_exactly(
    parts: list[tuple[str, int]], surrogate_at: int | None, instructions: str, gpt2: _native.Encoder
) -> None:
    """Long ones in parts, beside short ones, ASCII, and what has no UTF-8."""
    texts: list[str] = [(part * count)[:70_000] for part, count in parts]
    texts += ["plain", "".join(texts)]
    expected = gpt2.encode_batch([text.encode() for text in texts], 1, False)
    if surrogate_at is not None:
        whole = texts[-1]
        place = surrogate_at % (len(whole) + 1)
        texts.insert(1, f"{whole[:place]}\ud9ab{whole[place:]}")
    with pytest.MonkeyPatch.context() as patch:
        if instructions:
            patch.setenv("GRISTMILL_INSTRUCTIONS", instructions)
        try:
            ids, offsets, bad = gpt2.encode_batch(texts, 1, True)
        except ValueError as error:
            if "one that this machine has" in str(error):
                return
            raise
    assert (ids.tolist(), offsets.tolist()) == (expected[0].tolist(), expected[1].tolist())
    assert [index for index, _ in bad] == ([] if surrogate_at is None else [1])


@pytest.mark.parametrize("texts", ["abc", b"abc", 3, None])
def test_a_batch_is_a_sequence(texts: Any, gpt2: _native.Encoder) -> None:
    for call in (_native.check_texts, lambda texts: gpt2.encode_batch(texts, 1, False)):
        with pytest.raises(TypeError):
            call(texts)


def test_a_tokenizer_that_cannot_be_read_or_is_not_covered() -> None:
    with pytest.raises(TokenizerError, match="cannot be read"):
        _native.Encoder.from_json('{"model": ')
    with pytest.raises(TokenizerError, match=r"dropout 0\.5"):
        _native.Encoder.from_json(
            bpe_json([], []).replace('"type": "BPE",', '"type": "BPE", "dropout": 0.5,')
        )
    with pytest.raises(UnsupportedTokenizerError, match="its model is WordPiece"):
        _native.Encoder.from_json(samples.word_piece_json(samples.TINY_CORPUS, 100))
    with pytest.raises(UnsupportedTokenizerError, match="normalizer"):
        _native.Encoder.from_json(bpe_json([], [], normalizer={"type": "NFKC"}))


def test_hostile_files_end_soon() -> None:
    """Row 15 of the faults, at this boundary: a named error in under two seconds."""
    huge = bpe_json([f"x{number}" for number in range(200_000)], [["a", "missing"]] * 200_000)
    for hostile in ("[" * 10**6, '{"model":' * 10**5, huge, '{"model": ' + "9" * 10**6 + "}"):
        start = time.process_time()
        with pytest.raises(TokenizerError):
            _native.Encoder.from_json(hostile)
        assert time.process_time() - start < 2


def test_decoding(gpt2: _native.Encoder) -> None:
    text = "Größe, 北京 🎉\n  <|endoftext|>"
    ids = gpt2.encode(text)
    for dtype in (np.uint16, np.uint32, np.int32, np.int64, np.uint64):
        assert gpt2.decode_bytes(ids.astype(dtype)) == text.encode()
    assert gpt2.decode_bytes(np.repeat(ids, 2)[::2]) == text.encode()
    assert gpt2.decode_bytes(np.array([], np.uint16)) == b""
    assert gpt2.token_bytes(50256) == b"<|endoftext|>"
    assert gpt2.token_bytes(50257) is gpt2.token_bytes(-1) is gpt2.token_bytes(2**40) is None
    for wrong, error in (
        ([50257], TokenizerError),
        ([-1], TokenizerError),
        ([1.5], TypeError),
        ([[1]], ValueError),
    ):
        with pytest.raises(error, match="expected"):
            gpt2.decode_bytes(np.array(wrong))


@pytest.mark.parametrize(("num_tokens", "dtype"), [(65_535, "u2"), (65_536, "u2"), (65_537, "u4")])
def test_vocabularies_around_65536(num_tokens: int, dtype: str) -> None:
    """Row 14 of the faults, at this boundary; the EOS of these is the last id."""
    encoder = _native.Encoder.from_json(samples.byte_pairs_json(num_tokens))
    assert encoder.id_dtype == np.dtype(dtype)
    ids = encoder.encode("hello ÿÿ")
    assert ids.dtype == np.dtype(dtype)
    assert encoder.decode_bytes(ids) == "hello ÿÿ".encode()
    assert encoder.token_bytes(num_tokens - 1) == samples.EOS.encode()
    wide = _native.Packer(2, num_tokens - 1, True)
    wide.push_texts(encoder, ["hello"], 1, False)
    assert wide.take_blocks(9).dtype == np.uint32
    if num_tokens > 65_536:
        with pytest.raises(TokenizerError, match="65536 does not fit"):
            _native.Packer(2, num_tokens - 1, False)
        with pytest.raises(TokenizerError, match="65536"):
            _native.Packer(2, 1, False).push_texts(encoder, ["hello"], 1, False)


def test_packing_texts_equals_packing_ids(gpt2: _native.Encoder) -> None:
    texts = samples.training_texts()[:50]
    ids, offsets, _ = gpt2.encode_batch(texts, 2, False)
    num_bytes = np.array([len(text.encode()) for text in texts])
    packers = [_native.Packer(128, 50256, False, 3) for _ in range(3)]
    packers[0].push_texts(gpt2, texts, 2, False)
    for text in texts:
        packers[1].push_texts(gpt2, [text], 1, False)
    packers[2].push_documents(ids.astype(np.int64), offsets, num_bytes)
    expected = packers[0].take_blocks(20)
    positions = packers[0].lane_positions()
    assert expected.shape == (20, 128)
    assert expected.dtype == np.uint16
    rest, num_valid, *_ = packers[0].finish(None)
    assert num_valid.tolist() == [128] * len(rest)
    for packer in packers[1:]:
        assert np.array_equal(packer.take_blocks(20), expected)
        assert packer.lane_positions() == positions
        assert np.array_equal(packer.finish(None)[0], rest)
        assert packer.counters == packers[0].counters


def test_a_packer_goes_on_where_another_stood() -> None:
    documents = [list(range(n % 7)) for n in range(40)]
    offsets = np.cumsum([0, *map(len, documents)])
    ids = np.array([number for document in documents for number in document], np.uint16)
    num_bytes = np.diff(offsets)

    def push(packer: _native.Packer, first: int) -> None:
        packer.push_documents(ids, offsets[first:], num_bytes[first:])

    unbroken = _native.Packer(4, 9, False, num_lanes=3)
    push(unbroken, 0)
    unbroken.take_blocks(11)
    positions, next_block = unbroken.lane_positions(), unbroken.next_block
    resumed = _native.Packer(4, 9, False, num_lanes=3)
    first = min(position[0] for position in positions)
    resumed.resume(next_block, first, positions)
    push(resumed, first)
    assert resumed.counters == unbroken.counters
    for found, expected in zip(resumed.finish(7), unbroken.finish(7), strict=True):
        assert np.array_equal(found, expected)
    assert resumed.next_document == unbroken.next_document == 40
    with pytest.raises(ResumeError, match="expected a fresh one"):
        resumed.resume(next_block, first, positions)
    with pytest.raises(ResumeError, match="lanes"):
        _native.Packer(4, 9, False).resume(next_block, first, positions)
    with pytest.raises(RuntimeError, match="finished"):
        push(resumed, 0)


@pytest.mark.parametrize(
    ("ids", "offsets", "num_bytes", "error"),
    [
        ([1, 2], [0, 3], [2], ValueError),
        ([1, 2], [2, 0], [2], ValueError),
        ([1, 2], [0, 2], [1, 1], ValueError),
        ([1, 2], [], [], ValueError),
        ([1, 70_000], [0, 2], [2], TokenizerError),
        ([1, -1], [0, 2], [2], TokenizerError),
        ([1.0, 2.0], [0, 2], [2], TypeError),
        ([[1, 2]], [0, 2], [2], ValueError),
        ([1, 2], [0.0, 2.0], [2], TypeError),
    ],
)
def test_documents_that_make_no_sense(
    ids: list[Any], offsets: list[Any], num_bytes: list[int], error: type[Exception]
) -> None:
    packer = _native.Packer(4, 9, False)
    with pytest.raises(error, match="expected"):
        packer.push_documents(np.array(ids), np.array(offsets), np.array(num_bytes))
    assert packer.counters["documents"] == 0


def test_options_of_the_packer() -> None:
    for options in ((0, 1, False), (2**40, 1, False), (4, 1, False, 0), (4, 1, False, 10**6)):
        with pytest.raises(ValueError, match="expected"):
            _native.Packer(*options)
    with pytest.raises(OverflowError):
        _native.Packer(-1, 1, False)


def test_metrics_of_encoded_texts() -> None:
    counters = _native.MetricCounters(5)
    spans = np.array([[0, 3], [3, 5], [5, 11], [11, 14]])
    encoded = (["hello world  \n"], np.array([1, 2, 2, 4]), np.array([0, 4]), spans)
    counters.add_encoded(encoded, [0], [])
    other = _native.MetricCounters(5)
    other.merge(counters)
    other.merge(other)
    assert other.token_counts.tolist() == [0, 2, 4, 0, 2]
    rules = ("whitespace", "identifiers", "unicode")
    assert {name: count for name, count in counters.totals.items() if count} == {
        "documents": 1,
        "bytes": 14,
        "characters": 14,
        "lines": 1,
        "code_lines": 1,
        "tokens": 4,
        **{f"words_{rule}": 2 for rule in rules},
        **{f"tokens_in_words_{rule}": 3 for rule in rules},
        **{f"continued_words_{rule}": 1 for rule in rules},
    }
    before = counters.totals
    for ids, offsets, wrong_spans, error in (
        ([1, 5], [0, 2], [[0, 1], [1, 2]], TokenizerError),
        ([1, 2], [0, 2], [[0, 1]], ValueError),
        ([1, 2], [0, 3], [[0, 1], [1, 2]], ValueError),
        ([1, 2], [0], [[0, 1], [1, 2]], ValueError),
        ([1, 2], [0, 2], [[0, 1], [-1, 2]], ValueError),
    ):
        with pytest.raises(error, match="expected"):
            counters.add_encoded((["ab"], np.array(ids), np.array(offsets), np.array(wrong_spans)), [0], [])
    with pytest.raises(ValueError, match="vocab_size"):
        counters.merge(_native.MetricCounters(6))
    assert counters.totals == before


def mix(word: int) -> int:
    word = ((word ^ word >> 30) * 0xBF58476D1CE4E5B9) % 2**64
    word = ((word ^ word >> 27) * 0x94D049BB133111EB) % 2**64
    return word ^ word >> 31


def plain_seed(seed: int, purpose: str, epoch: int, index: int) -> int:
    """The twin of `derive_seed`: saved states depend on it, so it may never change."""
    golden, state, text = 0x9E3779B97F4A7C15, 0, purpose.encode()
    words = [int.from_bytes(text[place : place + 8], "little") for place in range(0, len(text), 8)]
    for word in (seed, len(text), *words, epoch, index):
        state = (mix(state ^ mix((word + golden) % 2**64)) + golden) % 2**64
    return mix(state) >> 1


NUMBERS = st.integers(0, 2**64 - 1)


@given(seed=NUMBERS, purpose=st.text(max_size=20), epoch=NUMBERS, index=NUMBERS, length=st.integers(0, 500))
def test_orders_are_pure_functions(seed: int, purpose: str, epoch: int, index: int, length: int) -> None:
    assert _native.derive_seed(seed, purpose, epoch, index) == plain_seed(seed, purpose, epoch, index)
    places = _native.permutation(seed, purpose, epoch, index, length)
    assert places.dtype == np.int64
    assert np.array_equal(places, _native.permutation(seed, purpose, epoch, index, length))
    assert np.array_equal(np.sort(places), np.arange(length))


def test_permutation_goldens() -> None:
    assert _native.permutation(1, "x", 0, 0, 10).tolist() == [2, 1, 9, 4, 6, 0, 8, 5, 7, 3]
    assert _native.derive_seed(1, "window", 2, 3) == 125588776112148896
    with pytest.raises(MemoryError):
        _native.permutation(0, "", 0, 0, 2**62)
    with pytest.raises(OverflowError):
        _native.derive_seed(-1, "", 0, 0)
