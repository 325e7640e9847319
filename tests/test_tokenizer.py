"""`Tokenizer`: encoding and decoding, its vocabulary, EOS, and what it refuses."""

from __future__ import annotations

import doctest
import importlib
import logging
import threading

import numpy as np
import pytest
import tokenizers
import torch
from tests import samples
from tokenizers import models, pre_tokenizers

from gristmill.errors import BadDocumentError, TokenizerError
from gristmill.packing import pack
from gristmill.token_batch import TokenBatch, without_eos_inside
from gristmill.tokenizer import Tokenizer, default_num_threads
from gristmill.tokenizer_training import train_tokenizer

ROADS = ("tiny_tokenizer", "word_piece_tokenizer", "unigram_tokenizer", "split_bpe_tokenizer")

BAD_TEXTS = [
    (None, "null"),
    (17, "a value of type int: 17"),
    (["a"], "a value of type list: ['a']"),
    ("a\ud800b", "a lone surrogate U+D800 at character 1"),
    (b"ab\xff", "invalid UTF-8 at byte 2"),
]


@pytest.fixture(params=ROADS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    found: Tokenizer = request.getfixturevalue(request.param)
    return found


# Goldens -------------------------------------------------------------------------------------------------


def test_gpt2_ids(gpt2_tokenizer: Tokenizer) -> None:
    # As published with the model; transformers and tiktoken give the same.
    assert gpt2_tokenizer.encode("Hello, World!").tolist() == [15496, 11, 2159, 0]
    assert gpt2_tokenizer.encode("    return x\n").tolist() == [220, 220, 220, 1441, 2124, 198]
    assert gpt2_tokenizer.tokens("def f(x):") == ["def", "Ġf", "(", "x", "):"]
    assert gpt2_tokenizer.eos_token_id == 50256
    assert gpt2_tokenizer.require_eos() == 50256
    assert gpt2_tokenizer.id_dtype == np.uint16
    assert (len(gpt2_tokenizer), gpt2_tokenizer.vocab_size, gpt2_tokenizer.max_token_id) == (
        50257,
        50257,
        50256,
    )


def test_engine_says_which_road_and_why(
    gpt2_tokenizer: Tokenizer,
    word_piece_tokenizer: Tokenizer,
    unigram_tokenizer: Tokenizer,
    split_bpe_tokenizer: Tokenizer,
) -> None:
    assert str(gpt2_tokenizer.engine) == "gristmill"
    assert gpt2_tokenizer.native is not None
    for slow, reason in (
        (word_piece_tokenizer, "WordPiece"),
        (unigram_tokenizer, "Unigram"),
        (split_bpe_tokenizer, "pre_tokenizer is Split with a pattern that is not known"),
    ):
        assert slow.engine.name == "tokenizers"
        assert reason in slow.engine.reason
        assert slow.native is None


# Encoding ------------------------------------------------------------------------------------------------


def test_batch(tokenizer: Tokenizer) -> None:
    texts = ["def f(x):", "", "return None", "  \n"]
    batch = tokenizer.encode_batch(texts, num_threads=2)
    assert isinstance(batch, TokenBatch)
    assert batch.ids.dtype == tokenizer.id_dtype == np.uint16
    assert batch.ids.ndim == 1
    assert batch.offsets.dtype == np.int64
    assert len(batch) == len(batch.offsets) - 1 == 4
    assert [ids.tolist() for ids in batch] == [tokenizer.encode(text).tolist() for text in texts]
    assert batch[-2].tolist() == batch[2].tolist()
    for same in (tuple(texts), np.array(texts, dtype=object), (text.encode() for text in texts)):
        assert tokenizer.encode_batch(same).ids.tolist() == batch.ids.tolist()  # type: ignore[arg-type]
    with pytest.raises(IndexError, match="document 4 of a batch of 4"):
        batch[4]
    assert tokenizer.encode("def").dtype == tokenizer.id_dtype
    assert tokenizer.tokens("def f") == [tokenizer.id_to_token(i) for i in tokenizer.encode("def f").tolist()]


def test_empty_batch(tokenizer: Tokenizer) -> None:
    batch = tokenizer.encode_batch([])
    assert (len(batch), batch.ids.size, batch.offsets.tolist()) == (0, 0, [0])
    assert batch.ids.dtype == tokenizer.id_dtype
    assert tokenizer.encode("").size == 0
    assert tokenizer.decode([]) == ""


@pytest.mark.parametrize(("value", "reason"), BAD_TEXTS, ids=[reason for _, reason in BAD_TEXTS])
def test_bad_texts(tokenizer: Tokenizer, value: object, reason: str) -> None:
    with pytest.raises(BadDocumentError) as raised:
        tokenizer.encode_batch(["good", "good", value, None])
    assert (raised.value.row, raised.value.reason) == (2, reason)
    with pytest.raises(BadDocumentError) as raised:
        tokenizer.encode(value)  # type: ignore[arg-type]
    assert (raised.value.source, raised.value.reason) == ("text", reason)
    batch = tokenizer.encode_batch([value, "good", b"good", value, ""], on_bad="skip")
    assert batch.bad == ((0, reason), (3, reason))
    good = tokenizer.encode("good").tolist()
    assert [ids.tolist() for ids in batch] == [good, good, []]


def test_nul_and_unassigned_characters_are_text(tokenizer: Tokenizer, tiny_tokenizer: Tokenizer) -> None:
    text = "a\x00b\ufdd0\U000e0fff\n"
    reference = samples.reference(tokenizer.to_str())
    assert tokenizer.encode(text).tolist() == reference.encode(text, add_special_tokens=False).ids
    assert tiny_tokenizer.decode(tiny_tokenizer.encode(text)) == text


@pytest.mark.parametrize("texts", ["a lone text", b"bytes"])
def test_a_lone_text_is_no_batch(tokenizer: Tokenizer, texts: str | bytes) -> None:
    with pytest.raises(TypeError, match="expected a sequence of texts"):
        tokenizer.encode_batch(texts)


def test_options_are_checked(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match=r"on_bad is 'ignore' \(expected 'error' or 'skip'\)"):
        tokenizer.encode_batch(["a"], on_bad="ignore")
    for num_threads in (0, -1, 2**70):
        with pytest.raises(ValueError, match="expected an integer from 1 to 1024"):
            tokenizer.encode_batch(["a"], num_threads=num_threads)
    for wrong in (True, "2", 1.5):
        with pytest.raises(TypeError, match="num_threads is"):
            tokenizer.encode_batch(["a"], num_threads=wrong)  # type: ignore[arg-type]
    assert default_num_threads() >= 1


def test_no_warning_about_lengths(
    tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert tokenizer.encode_batch(["word " * 20_000])[0].size >= 20_000
    assert not caplog.records
    assert not recwarn.list


# Special tokens in texts (fault row 12) --------------------------------------------------------------------


def test_the_literal_eos_is_text(tiny_tokenizer: Tokenizer) -> None:
    text = f"a{samples.EOS}b {samples.EOS}"
    eos = tiny_tokenizer.require_eos()
    ids = tiny_tokenizer.encode(text)
    assert eos not in ids
    assert tiny_tokenizer.decode(ids) == text
    special = tiny_tokenizer.encode(text, allow_special=True)
    assert special.tolist().count(eos) == 2
    assert tiny_tokenizer.decode(special) == text
    assert tiny_tokenizer.decode(special, skip_special_tokens=True) == "ab "
    batch = tiny_tokenizer.encode_batch([text, b"", text], allow_special=True)
    assert batch.ids.tolist().count(eos) == 4
    assert batch.ids.dtype == tiny_tokenizer.id_dtype


def test_an_added_token_that_is_not_special_matches(split_bpe_tokenizer: Tokenizer) -> None:
    added = split_bpe_tokenizer.token_to_id("self.items")
    assert added is not None
    assert added in split_bpe_tokenizer.encode("x=self.items")
    assert (len(split_bpe_tokenizer), split_bpe_tokenizer.vocab_size) == (401, 400)


def test_eos_that_a_text_can_have_is_refused(tiny_tokenizer: Tokenizer) -> None:
    json_text = tiny_tokenizer.to_str()
    single, merged = "a", tiny_tokenizer.id_to_token(tiny_tokenizer.max_token_id)
    for token in (single, merged):
        with pytest.raises(TokenizerError, match="texts can be encoded to the EOS token"):
            Tokenizer.from_str(json_text, eos_token=token).require_eos()


def test_eos_that_is_an_added_but_not_special_token_is_refused(split_bpe_tokenizer: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match="expected a token that no text has"):
        Tokenizer.from_str(split_bpe_tokenizer.to_str(), eos_token="self.items").require_eos()


def test_a_tokenizer_without_eos(tiny_tokenizer: Tokenizer) -> None:
    content = tiny_tokenizer.to_tokenizers()
    stripped = tokenizers.Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    tokenizer = Tokenizer.from_tokenizers(stripped)
    assert (tokenizer.eos_token, tokenizer.eos_token_id, tokenizer.pad_token_id) == (None, None, None)
    with pytest.raises(TokenizerError, match=r"no EOS token .* its special tokens: none"):
        tokenizer.require_eos()
    with pytest.raises(TokenizerError, match=r"eos_token '</s>' is not in the vocabulary"):
        Tokenizer.from_tokenizers(content, eos_token="</s>")
    with pytest.raises(TokenizerError, match=r"pad_token '\[PAD\]' is not in the vocabulary"):
        Tokenizer.from_tokenizers(content, pad_token="[PAD]")


@pytest.mark.parametrize(
    ("special", "eos"),
    [
        (["<|endoftext|>"], "<|endoftext|>"),
        (["<s>", "</s>"], "</s>"),
        (["[PAD]"], None),
        (["<|endoftext|>", "</s>"], None),  # which one is meant cannot be told
    ],
)
def test_eos_by_its_well_known_name(special: list[str], eos: str | None) -> None:
    made = tokenizers.Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    made.add_special_tokens(special)
    tokenizer = Tokenizer.from_tokenizers(made)
    assert tokenizer.eos_token == eos
    assert Tokenizer.from_tokenizers(made, eos_token=special[0]).eos_token == special[0]


# Decoding ------------------------------------------------------------------------------------------------


def test_decode_takes_any_integers(tiny_tokenizer: Tokenizer) -> None:
    text = "def say_hello(name):"
    ids = tiny_tokenizer.encode(text)
    for same in (ids, ids.tolist(), tuple(ids.tolist()), ids.astype(np.int64), torch.tensor(ids.tolist())):
        assert tiny_tokenizer.decode(same) == text  # type: ignore[arg-type]
        assert tiny_tokenizer.decode_bytes(same) == text.encode()  # type: ignore[arg-type]


def test_decode_of_a_cut_character(tiny_tokenizer: Tokenizer) -> None:
    snake = "\U0001f40d"
    ids = tiny_tokenizer.encode(snake)[:-1]
    cut = tiny_tokenizer.decode_bytes(ids)
    assert 0 < len(cut) < 4
    assert snake.encode().startswith(cut)
    assert tiny_tokenizer.decode(ids) == "\ufffd"


@pytest.mark.parametrize("road", ["word_piece_tokenizer", "unigram_tokenizer", "split_bpe_tokenizer"])
def test_decode_as_the_decoder_of_the_file(road: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(road)
    ids = tokenizer.encode("def say_hello(name): self.items é")
    assert tokenizer.decode(ids) == samples.reference(tokenizer.to_str()).decode(
        ids.tolist(), skip_special_tokens=False
    )
    assert tokenizer.decode_bytes(ids) == tokenizer.decode(ids).encode()


def test_decode_without_a_decoder() -> None:
    """`tokenizers` then puts blanks between tokens; `decode_bytes` still gives the text's own bytes."""
    made = tokenizers.Tokenizer.from_str(samples.byte_pairs_json(300))
    made.decoder = None
    tokenizer = Tokenizer.from_tokenizers(made)
    assert str(tokenizer.engine) == "gristmill"
    assert tokenizer.decode(tokenizer.encode("abc")) == "a b c"
    assert tokenizer.decode_bytes(tokenizer.encode("abc")) == b"abc"


def test_ids_outside_the_vocabulary(tokenizer: Tokenizer) -> None:
    size, largest = len(tokenizer), tokenizer.max_token_id
    for wrong in (largest + 1, -1, -100, 2**40, 2**70):
        with pytest.raises(TokenizerError) as raised:
            tokenizer.decode([0, wrong])
        assert f"id {wrong} at position 1 is not in the vocabulary" in str(raised.value)
        assert f"one of its {size} ids, the largest is {largest}" in str(raised.value)
    for wrong_kind in ([1.5], [True], ["a"], [None], [[1, 2]], [[1], [2, 3]], 3, "ab", {"a": 1}):
        with pytest.raises(TokenizerError, match="expected one sequence of integers"):
            tokenizer.decode(wrong_kind)  # type: ignore[arg-type]


def test_an_id_in_a_hole_of_the_vocabulary() -> None:
    made = tokenizers.Tokenizer(models.WordLevel({"?": 0, "a": 5}, unk_token="?"))
    tokenizer = Tokenizer.from_tokenizers(made)
    assert (len(tokenizer), tokenizer.max_token_id) == (2, 5)
    assert tokenizer.decode([5, 0]) == "a ?"
    with pytest.raises(TokenizerError, match="id 3 at position 1 is not in the vocabulary"):
        tokenizer.decode([5, 3])


# The vocabulary ------------------------------------------------------------------------------------------


def test_vocabulary_is_that_of_tokenizers(tokenizer: Tokenizer) -> None:
    reference = tokenizer.to_tokenizers()
    assert tokenizer.get_vocab() == reference.get_vocab()
    assert len(tokenizer) == reference.get_vocab_size()
    assert tokenizer.vocab_size == reference.get_vocab_size(with_added_tokens=False)
    for token, token_id in tokenizer.get_vocab().items():
        assert tokenizer.token_to_id(token) == token_id
        assert tokenizer.id_to_token(token_id) == token
    assert tokenizer.token_to_id("no such token") is None
    assert tokenizer.id_to_token(10**6) is None
    changed = tokenizer.get_vocab()
    changed.clear()
    assert len(tokenizer.get_vocab()) == len(tokenizer)


def test_added_tokens_get_the_ids_that_tokenizers_gives_them() -> None:
    """Whatever the file claims: in the vocabulary, after it, twice, empty, in another order."""
    vocabulary = {character: number for number, character in enumerate(samples.byte_alphabet())}
    added = [
        {"id": 900, "content": "<b>", "special": True},
        {"id": 3, "content": "<a>", "special": True},
        {"id": 0, "content": "a", "special": True},
        {"id": 7, "content": "", "special": True},
        {"id": 8, "content": "<b>", "special": True},
    ]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    content = {
        "added_tokens": [entry | flags for entry in added],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }
    tokenizer = Tokenizer.from_str(samples.to_json(content))
    assert str(tokenizer.engine) == "gristmill"
    assert tokenizer.get_vocab() == tokenizer.to_tokenizers().get_vocab()
    assert tokenizer.native is not None
    for token_id in range(len(tokenizer)):
        token_bytes = tokenizer.native.token_bytes(token_id)
        assert token_bytes is not None
        assert tokenizer.decode_bytes([token_id]) == token_bytes


def test_byte_lengths(tiny_tokenizer: Tokenizer, split_bpe_tokenizer: Tokenizer) -> None:
    text = "def façade(): return self.items + '北京🎉'  \n"
    for tokenizer in (tiny_tokenizer, split_bpe_tokenizer):
        lengths = tokenizer.token_byte_lengths()
        assert lengths is not None
        assert lengths.shape == (tokenizer.max_token_id + 1,)
        assert lengths.dtype == np.int32
        assert lengths[tokenizer.encode(text)].sum() == len(text.encode())
        assert lengths[tokenizer.require_eos()] == 0
        with pytest.raises(ValueError, match="read-only"):
            lengths[0] = 5
    assert tiny_tokenizer.native is not None
    for token_id in range(1, len(tiny_tokenizer)):
        assert lengths is not None
        token_bytes = tiny_tokenizer.native.token_bytes(token_id)
        assert token_bytes is not None
        assert tiny_tokenizer.token_byte_lengths()[token_id] == len(token_bytes)  # type: ignore[index]


def test_byte_lengths_where_they_are_not_defined(
    word_piece_tokenizer: Tokenizer, unigram_tokenizer: Tokenizer, split_bpe_tokenizer: Tokenizer
) -> None:
    assert word_piece_tokenizer.token_byte_lengths() is None
    assert unigram_tokenizer.token_byte_lengths() is None
    with_prefix = split_bpe_tokenizer.to_tokenizers()
    with_prefix.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert Tokenizer.from_tokenizers(with_prefix).token_byte_lengths() is None
    with_prefix.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    with_prefix.normalizer = tokenizers.normalizers.NFC()
    assert Tokenizer.from_tokenizers(with_prefix).token_byte_lengths() is None


@pytest.mark.parametrize(
    ("num_tokens", "dtype"), [(65_535, np.uint16), (65_536, np.uint16), (65_537, np.uint32)]
)
def test_vocabularies_around_65536(num_tokens: int, dtype: type[np.unsignedinteger]) -> None:
    """Fault row 14: the right id type and an exact round trip, on both roads."""
    json_text = samples.byte_pairs_json(num_tokens)
    text = "".join(map(chr, range(0x20, 0x3000, 7)))
    largest = bytes(Tokenizer.from_str(json_text).decode_bytes([num_tokens - 2])).decode("latin-1")
    slow = tokenizers.Tokenizer.from_str(json_text)
    slow.add_tokens([tokenizers.AddedToken("never seen", single_word=True)])  # not on the fast road
    for added, made in enumerate((json_text, slow.to_str())):
        tokenizer = Tokenizer.from_str(made)
        assert str(tokenizer.engine) == ("gristmill", "tokenizers")[added]
        assert tokenizer.max_token_id == num_tokens - 1 + added
        expected_dtype = np.uint16 if tokenizer.max_token_id <= 65_535 else np.uint32
        assert tokenizer.id_dtype == expected_dtype
        assert added or tokenizer.id_dtype == dtype
        batch = tokenizer.encode_batch([text, largest])
        assert batch.ids.dtype == expected_dtype
        assert tokenizer.decode(batch[0]) == text
        expected = samples.reference_ids(samples.reference(made), [text, largest])
        assert [ids.tolist() for ids in batch] == expected
        assert tokenizer.decode([num_tokens - 1]) == samples.EOS
        assert tokenizer.require_eos() == num_tokens - 1


def test_shared_ids_are_refused(tiny_tokenizer: Tokenizer) -> None:
    content = tiny_tokenizer.parsed_json()
    content["model"]["vocab"]["twin"] = content["model"]["vocab"]["Ġ"]
    with pytest.raises(TokenizerError, match=r"the tokens .* share the id \d+ \(expected one token for each"):
        Tokenizer.from_str(samples.to_json(content))
    # An added token gets the number of tokens as its id, which a vocabulary with a hole has given away.
    content = tiny_tokenizer.parsed_json()
    vocabulary = content["model"]["vocab"]
    vocabulary["beyond"] = len(vocabulary) + 1
    content["added_tokens"].append(content["added_tokens"][0] | {"content": "<new>"})
    with pytest.raises(TokenizerError, match="'beyond' and '<new>' share the id 401"):
        Tokenizer.from_str(samples.to_json(content))


# Threads (fault row 20) ------------------------------------------------------------------------------------


@pytest.mark.parametrize("road", ["tokenizer_2500", "split_bpe_tokenizer"])
def test_many_threads_on_one_tokenizer(road: str, request: pytest.FixtureRequest) -> None:
    shared: Tokenizer = request.getfixturevalue(road)
    tokenizer = Tokenizer.from_str(shared.to_str())  # nothing built or cached yet
    texts = samples.training_texts()[:120:6]
    beginnings = [text[:500] for text in texts]
    expected = samples.reference_ids(samples.reference(shared.to_str()), texts + beginnings)
    results: dict[int, list[list[int]]] = {}
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        barrier.wait()
        order = texts[number:] + texts[:number]
        ids = [ids.tolist() for ids in tokenizer.encode_batch(order, num_threads=1 + number % 3)]
        alone = [tokenizer.encode(text[:500]).tolist() for text in order]
        back = len(texts) - number
        results[number] = ids[back:] + ids[:back] + alone[back:] + alone[:back]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(ids == expected for ids in results.values())


# What `tokenizers` fails on --------------------------------------------------------------------------------


def test_a_panic_becomes_an_error_that_names_the_document() -> None:
    made = tokenizers.Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    made.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex("(a+)+$"), "isolated")
    tokenizer = Tokenizer.from_tokenizers(made)
    hostile = "a" * 40 + "b"
    with pytest.raises(TokenizerError, match=r"document 2 of the batch cannot be encoded .* retry-limit"):
        tokenizer.encode_batch(["ab", "b", hostile, hostile])
    with pytest.raises(TokenizerError, match="document 0 of the batch"):
        tokenizer.encode(hostile)
    assert tokenizer.encode("ab").tolist() == [0, 1]


def test_an_unknown_token_that_is_missing() -> None:
    tokenizer = Tokenizer.from_tokenizers(tokenizers.Tokenizer(models.WordLevel({"a": 0}, unk_token="?")))
    with pytest.raises(TokenizerError, match=r"document 1 of the batch .* WordLevel"):
        tokenizer.encode_batch(["a", "b"])


# EOS out of a text, on the slow road -----------------------------------------------------------------------


def test_a_document_that_is_encoded_to_eos(unigram_tokenizer: Tokenizer) -> None:
    """The vocabulary holds `</s>` itself. Ids stay those of the reference; such a document is not packed."""
    eos = unigram_tokenizer.require_eos()
    texts = ["def f", None, "", "x</s>y", "return", "</s></s>"]
    batch = unigram_tokenizer.encode_batch(texts, on_bad="skip")
    reference = samples.reference(unigram_tokenizer.to_str())
    assert batch[2].tolist() == reference.encode("x</s>y", add_special_tokens=False).ids
    assert eos in batch[2]
    with pytest.raises(BadDocumentError, match=r"row 3: its text is encoded to the EOS token \(id 1\)"):
        without_eos_inside(batch, eos, skip_bad=False)
    good = without_eos_inside(batch, eos, skip_bad=True)
    assert [ids.tolist() for ids in good] == [unigram_tokenizer.encode(texts[i]).tolist() for i in (0, 2, 4)]
    assert [index for index, _ in good.bad] == [1, 3, 5]
    assert without_eos_inside(good, eos, skip_bad=False) is good
    packed = pack(texts, unigram_tokenizer, seq_length=4, final="pad", on_bad="skip")
    assert packed.ledger.eos_tokens == packed.ledger.documents_packed == 3
    assert sum(packed.ledger.documents_skipped.values()) == 3
    with pytest.raises(BadDocumentError, match="row 1: its text is encoded to the EOS token"):
        pack(["a", "b</s>"], unigram_tokenizer, seq_length=4)


# Docstrings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "module",
    [
        *("byte_alphabet", "metrics", "reference", "token_batch", "tokenizer", "tokenizer_training"),
        *("comparison", "inspection", "inspection_table", "text_table", "token_totals", "tokenizer_loading"),
        *("vocabulary", "vocabulary_advice", "vocabulary_curve", "vocabulary_cut"),
        *("report_page.markup", "report_page.plots", "report_page.scales"),
    ],
)
def test_examples_in_docstrings_run(module: str) -> None:
    """Where an example speaks of `tokenizer`, that is the one which the docstring of `Tokenizer` makes."""
    tokenizer = train_tokenizer(["def f(x): return x"] * 9, vocab_size=268, show_progress=False)
    found = importlib.import_module(f"gristmill.{module}")
    results = doctest.testmod(found, extraglobs={"tokenizer": tokenizer}, optionflags=doctest.ELLIPSIS)
    assert results.failed == 0
    assert results.attempted > 0
