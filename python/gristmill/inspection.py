"""How tokenizers split one text, stage by stage: what the user of a tokenizer never sees.

    text ──► added tokens ──► normalizer ──► pre-tokenizer ──► model
             cut out          other text     pieces            tokens with ids

The first stages are run as the installed `tokenizers` runs them; ids come from the road that `Tokenizer`
takes. Everything is held at once: this is for texts that a person reads, not for a corpus.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray

from gristmill import tokenizer_file as files
from gristmill.byte_alphabet import BYTE_CHARACTERS, bytes_of_token, readable
from gristmill.token_batch import as_str
from gristmill.tokenizer import Tokenizer
from gristmill.tokenizer_loading import named_tokenizers

Span = tuple[int, int]

EXACT_SPANS = "bytes are the token's own; characters are those that it has a byte of"
REPORTED_SPANS = "characters as the installed tokenizers reports them; bytes are those of these characters"


@dataclass(frozen=True)
class ByteEntry:
    """One line of the byte-to-unicode table: how a byte-level vocabulary spells a byte."""

    byte: int
    character: str
    count: int
    """How often the byte occurs in the text, as UTF-8."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What the pre-tokenizer cut off, or an added token that matched before it.

    Attributes:
        spelled: what the model sees, normalized and in the byte alphabet where there is one.
        text: the stretch of the original text.
        characters, bytes: where that is, from and to, in characters and in UTF-8 bytes.
        is_added_token: whether it is an added token, which no later stage touches.
    """

    spelled: str
    text: str
    characters: Span
    bytes: Span
    is_added_token: bool


@dataclass(frozen=True, kw_only=True)
class SplitToken:
    """A token of the split text.

    Attributes:
        id: its id.
        token: how the vocabulary spells it.
        text: what it stands for, as text for people: white space escaped, stray bytes as `\\xNN`.
        characters, bytes: the stretch of the original text that it covers.
    """

    id: int
    token: str
    text: str
    characters: Span
    bytes: Span


@dataclass(frozen=True, kw_only=True)
class TokenizerSplit:
    """One tokenizer's way with the text.

    Attributes:
        name: the name it was given.
        tokenizer: its fingerprint.
        engine, engine_reason: which road gave the ids, and why.
        normalizer: the kind of the normalizer, None where there is none.
        normalized: the text after it.
        pre_tokenizer: the kind of the pre-tokenizer, None where there is none (all is one piece).
        model: the kind of the model.
        pieces, tokens: what came out, in the order of the text.
        span_rule: what the spans of the tokens mean.
    """

    name: str
    tokenizer: str
    engine: str
    engine_reason: str
    normalizer: str | None
    normalized: str
    pre_tokenizer: str | None
    model: str
    pieces: tuple[Piece, ...]
    tokens: tuple[SplitToken, ...]
    span_rule: str

    @property
    def ids(self) -> list[int]:
        """The ids alone."""
        return [token.id for token in self.tokens]


@dataclass(frozen=True, kw_only=True)
class TextInspection:
    """What `inspect_text` found; `str()` is a table, tokenizers side by side.

    Attributes:
        text: the text.
        num_characters, num_bytes: its size; bytes as UTF-8.
        byte_table: how the bytes are spelled, by byte; empty where no tokenizer is byte-level.
        splits: one for each tokenizer.
    """

    text: str
    num_characters: int
    num_bytes: int
    byte_table: tuple[ByteEntry, ...]
    splits: tuple[TokenizerSplit, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as one JSON-able dict, spans as lists."""
        value: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return value

    def __str__(self) -> str:
        from gristmill.inspection_table import format_inspection

        return format_inspection(self)


def inspect_text(
    tokenizers: Tokenizer | Sequence[Tokenizer] | Mapping[str, Tokenizer],
    text: str | bytes,
    *,
    whole_byte_table: bool = False,
) -> TextInspection:
    """Split one text with one or several tokenizers and keep what every stage makes of it.

    Pieces and tokens carry their place in the original text, in characters and in UTF-8 bytes. Added tokens
    that are not special are cut out first; text between two of them is normalized for itself.

    Args:
        tokenizers: one, several, or a dict that names them.
        text: `str`, or UTF-8 `bytes`.
        whole_byte_table: list all 256 bytes, also those that the text lacks.

    Raises:
        BadDocumentError: no text: another type, a lone surrogate, bytes that are not UTF-8.

    Example:
        >>> split = inspect_text(tokenizer, "def é").splits[0]
        >>> [(piece.spelled, piece.bytes) for piece in split.pieces]
        [('def', (0, 3)), ('ĠÃ©', (3, 6))]
        >>> [(token.id, token.text, token.characters) for token in split.tokens][:2]
        [(266, 'def', (0, 3)), (221, ' ', (3, 4))]
    """
    named = named_tokenizers(tokenizers)
    for tokenizer in named.values():
        tokenizer.encode(text)  # whatever is no text is refused here, in the words of the engine
    whole = as_str(text)
    positions = _Positions(whole)
    splits = tuple(_split(name, tokenizer, whole, positions) for name, tokenizer in named.items())
    data = whole.encode()
    is_spelled = any(_has_byte_level(tokenizer.parsed_json()) for tokenizer in named.values())
    table = tuple(
        ByteEntry(byte, character, data.count(byte))
        for byte, character in enumerate(BYTE_CHARACTERS)
        if whole_byte_table or (is_spelled and byte in data)
    )
    return TextInspection(
        text=whole, num_characters=len(whole), num_bytes=len(data), byte_table=table, splits=splits
    )


class _Positions:
    """Turns spans of characters into spans of UTF-8 bytes, and back."""

    def __init__(self, text: str) -> None:
        code_points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        widths = 1 + (code_points > 0x7F).astype(np.int64) + (code_points > 0x7FF) + (code_points > 0xFFFF)
        self._starts: NDArray[np.int64] = np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)

    def bytes_of(self, characters: Span) -> Span:
        return int(self._starts[characters[0]]), int(self._starts[characters[1]])

    def characters_of(self, span: Span) -> Span:
        """Return the characters that have a byte in the span."""
        first = int(np.searchsorted(self._starts, span[0], side="right")) - 1
        end = int(np.searchsorted(self._starts, span[1], side="left"))
        return first, max(first, end)


def _split(name: str, tokenizer: Tokenizer, text: str, positions: _Positions) -> TokenizerSplit:
    content = tokenizer.parsed_json()
    # Special tokens are not looked for in texts, and an unknown one comes from the model.
    unknown = tokenizer.id_to_token(tokenizer.unk_token_id) if tokenizer.unk_token_id is not None else None
    added = {entry["content"] for entry in files.added_tokens(content) if not entry.get("special")} - {
        unknown
    }
    tokens, rule = _tokens(tokenizer, text, positions, added)
    pieces, normalized = _pieces(tokenizer.to_tokenizers(), text, positions, tokens, added)
    return TokenizerSplit(
        name=name,
        tokenizer=tokenizer.fingerprint,
        engine=tokenizer.engine.name,
        engine_reason=tokenizer.engine.reason,
        normalizer=_kind(content.get("normalizer"), "normalizers"),
        normalized=normalized,
        pre_tokenizer=_kind(content.get("pre_tokenizer"), "pretokenizers"),
        model=str(content["model"].get("type", "BPE")),
        pieces=tuple(pieces),
        tokens=tuple(tokens),
        span_rule=rule,
    )


def _tokens(
    tokenizer: Tokenizer, text: str, positions: _Positions, added: set[str]
) -> tuple[list[SplitToken], str]:
    """Return the tokens with their spans, and the rule of the spans."""
    ids = tokenizer.encode(text)
    lengths = tokenizer.token_byte_lengths()
    is_exact = lengths is not None and int(lengths[ids].sum()) == positions.bytes_of((0, len(text)))[1]
    byte_spans: list[Span]
    if lengths is not None and is_exact:
        ends = np.cumsum(lengths[ids]).tolist()
        byte_spans = list(zip([0, *ends[:-1]], ends, strict=True)) if ends else []
        character_spans = [positions.characters_of(span) for span in byte_spans]
    else:
        ((_, ids, _, spans),) = tokenizer.encode_with_spans([text])
        character_spans = [(start, end) for start, end in spans.tolist()]
        byte_spans = [positions.bytes_of(span) for span in character_spans]
    is_spelled = _has_byte_level(tokenizer.parsed_json())
    tokens = []
    for token_id, characters, in_bytes in zip(ids.tolist(), character_spans, byte_spans, strict=True):
        token = tokenizer.id_to_token(token_id) or ""
        data = bytes_of_token(token) if is_spelled and token not in added else token.encode()
        tokens.append(
            SplitToken(id=token_id, token=token, text=readable(data), characters=characters, bytes=in_bytes)
        )
    return tokens, EXACT_SPANS if is_exact else REPORTED_SPANS


def _pieces(
    reference: tokenizers.Tokenizer,
    text: str,
    positions: _Positions,
    tokens: Sequence[SplitToken],
    added: set[str],
) -> tuple[list[Piece], str]:
    """Return the pieces, and the text after the normalizer; added tokens cut the text before both."""
    pieces: list[Piece] = []
    normalized: list[str] = []

    def add(spelled: str, start: int, end: int, is_added_token: bool) -> None:
        span = (start, end)
        pieces.append(
            Piece(
                spelled=spelled,
                text=text[start:end],
                characters=span,
                bytes=positions.bytes_of(span),
                is_added_token=is_added_token,
            )
        )

    matches = [token for token in tokens if token.token in added]
    place = 0
    for start, end, spelled in [
        *((*token.characters, token.token) for token in matches),
        (len(text), len(text), ""),
    ]:
        if place < start:
            cut = tokenizers.PreTokenizedString(text[place:start])
            if reference.normalizer is not None:
                cut.normalize(reference.normalizer.normalize)
            normalized += [part for part, *_ in cut.get_splits()]
            if reference.pre_tokenizer is not None:
                reference.pre_tokenizer.pre_tokenize(cut)
            for part, (first, last), _ in cut.get_splits("original", "char"):
                add(part, place + first, place + last, False)
        if spelled:
            add(spelled, start, end, True)
            normalized.append(spelled)
        place = end
    return pieces, "".join(normalized)


def _kind(part: Mapping[str, Any] | None, parts_key: str) -> str | None:
    """Name a part of a pipeline by its type, a sequence by those of its members."""
    if part is None:
        return None
    if parts_key in part:
        return f"Sequence({', '.join(str(_kind(member, parts_key)) for member in part[parts_key])})"
    return str(part["type"])


def _has_byte_level(content: Mapping[str, Any]) -> bool:
    """Tell whether the vocabulary spells bytes: some part of the pipeline turns them into the alphabet."""
    parts = [content.get("pre_tokenizer") or {}, content.get("normalizer") or {}]
    members = [
        member for part in parts for member in part.get("pretokenizers", part.get("normalizers", [part]))
    ]
    return any(member.get("type") == "ByteLevel" for member in members)
