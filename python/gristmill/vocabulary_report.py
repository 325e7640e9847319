"""What is told of a vocabulary without a corpus: bytes of tokens, which are reached, what is one token."""

from __future__ import annotations

import builtins
import codecs
import itertools
import keyword
import platform
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np

from gristmill import tokenizer_file as files
from gristmill.byte_alphabet import bytes_of_token
from gristmill.report import CodeSummary, Indentation
from gristmill.tokenizer import Tokenizer

# Texts that are tried for a token whose bytes are no UTF-8 alone.
MAX_COMPLETIONS = 4096
_FIRST_COMPLETIONS = 32
_LEVELS = range(1, 9)
_INDENTATIONS = {"4 spaces": "    ", "2 spaces": "  ", "tab": "\t"}

UNREACHABLE_RULE = (
    "it did not occur, and no text that was tried is encoded to it: its own bytes, alone or completed to "
    f"valid UTF-8 in up to {MAX_COMPLETIONS:,} ways; for a model that marks the beginning or the inside of "
    "words, also behind a blank and behind each of the letters a to z. A longer text may still reach it"
)


def token_bytes(tokenizer: Tokenizer) -> dict[str, bytes]:
    """Return the bytes that each token stands for; special tokens are left out.

    For a byte-level vocabulary these are the bytes that are spelt, for `<0xNN>` of a model with byte fallback
    that byte, for every other token its text as UTF-8.
    """
    return _token_bytes(tokenizer, tokenizer.parsed_json())


def _token_bytes(tokenizer: Tokenizer, content: dict[str, Any]) -> dict[str, bytes]:
    added = {entry["content"] for entry in files.added_tokens(content)}
    spelt_in_bytes = _is_spelt_in_bytes(content)
    fallback = byte_fallback_tokens(tokenizer)
    special = frozenset(tokenizer.special_tokens)

    def spelt(token: str) -> bytes:
        if token in fallback:
            return bytes([fallback[token]])
        return bytes_of_token(token) if spelt_in_bytes and token not in added else token.encode()

    return {token: spelt(token) for token in tokenizer.get_vocab() if token not in special}


def _is_spelt_in_bytes(content: dict[str, Any]) -> bool:
    return bool((content.get("decoder") or {}).get("type") == "ByteLevel")


def byte_fallback_tokens(tokenizer: Tokenizer) -> dict[str, int]:
    """Return the tokens that stand for a byte of what the model does not know, each with its byte."""
    if tokenizer.native is not None:
        return {}  # it refuses such models; and no object need be made of each token to look for one
    names = {f"<0x{byte:02X}>": byte for byte in range(256)}
    known = {name: byte for name, byte in names.items() if tokenizer.token_to_id(name) is not None}
    # Looked at last: it takes longer to parse a large file than to measure megabytes of text.
    if not known or not tokenizer.parsed_json()["model"].get("byte_fallback"):
        return {}
    return known


# Tenths of a second for large vocabularies, and asked for again for each corpus.
@lru_cache(maxsize=16)
def unreachable_tokens(tokenizer: Tokenizer) -> tuple[str, ...]:
    """Return the tokens that no tried text is encoded to, by id; `UNREACHABLE_RULE` says what is tried.

    Example:
        >>> unreachable_tokens(tokenizer)[:2]
        ('À', 'Á')
    """
    vocabulary = tokenizer.get_vocab()
    content = tokenizer.parsed_json()
    spelt = _token_bytes(tokenizer, content)
    own_text = _own_texts(tokenizer, content)
    left = sorted(spelt, key=vocabulary.__getitem__)
    # Few texts first: most tokens are reached by the first one.
    for first, last in ((0, 1), (1, _FIRST_COMPLETIONS), (_FIRST_COMPLETIONS, MAX_COMPLETIONS)):
        still = []
        size = 4096 // (last - first) + 1
        for chunk in (left[begin : begin + size] for begin in range(0, len(left), size)):
            tried = [
                (number, text)
                for number, token in enumerate(chunk)
                for text in itertools.islice(own_text(token, spelt[token]), first, last)
            ]
            batch = tokenizer.encode_batch([text for _, text in tried])
            wanted = np.array([vocabulary[token] for token in chunk], dtype=np.int64)
            numbers = np.array([number for number, _ in tried], dtype=np.int64)
            per_id = np.repeat(numbers, np.diff(batch.offsets))
            reached = set(per_id[batch.ids == wanted[per_id]].tolist())
            still += [token for number, token in enumerate(chunk) if number not in reached]
        left = still
    return tuple(left)


def _own_texts(tokenizer: Tokenizer, content: dict[str, Any]) -> Callable[[str, bytes], Iterator[str]]:
    model = content["model"]
    added = {entry["content"] for entry in files.added_tokens(content)}
    spelt_in_bytes = _is_spelt_in_bytes(content)
    fallback = byte_fallback_tokens(tokenizer)
    prefix = model.get("continuing_subword_prefix") or ""

    def texts(token: str, data: bytes) -> Iterator[str]:
        if token in added:
            yield token
        elif spelt_in_bytes or token in fallback:
            yield from completions(data)
        else:
            text = token.removeprefix(prefix).replace("▁", " ")
            yield text
            yield f" {text}"
            for letter in "abcdefghijklmnopqrstuvwxyz":
                yield letter + text

    return texts


def completions(data: bytes) -> Iterator[str]:
    """Yield texts that hold `data`: itself where it is UTF-8, else with bytes around it that make it so.

    Shorter characters come first. Nothing is yielded for bytes that no UTF-8 holds.

    Example:
        >>> list(completions(b"ab")), next(completions(b"\\xa9"))
        (['ab'], '©')
    """
    # Of nearly all tokens there is no more to say.
    try:
        text = data.decode()
    except UnicodeDecodeError:
        pass
    else:
        yield text
        return
    start = 0
    while start < len(data) and data[start] & 0xC0 == 0x80:
        start += 1
    for before in _lead_bytes(start, may_go_on=start == len(data)) if start else (b"",):
        if _begins_text(before + data):
            for after in _following_bytes(before + data):
                try:
                    yield (before + data + after).decode("utf-8")
                except UnicodeDecodeError:  # of the bytes that may follow, some may not follow this one
                    continue


def _begins_text(data: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return False
    return True


@cache
def _lead_bytes(num_inner: int, *, may_go_on: bool) -> tuple[bytes, ...]:
    """Return what may stand before `num_inner` bytes that end a character (or go on, if they may)."""
    inner = [bytes([byte]) for byte in range(0x80, 0xC0)]
    found = []
    for follow, leads in ((1, range(0xC2, 0xE0)), (2, range(0xE0, 0xF0)), (3, range(0xF0, 0xF5))):
        for num_before in range(follow - num_inner + 1) if may_go_on else [follow - num_inner]:
            if num_before < 0:
                continue
            # Of the bytes between, every eighth: all of them would be too many.
            between = itertools.product(inner if num_before < 2 else inner[::8], repeat=num_before)
            befores = [b"".join(parts) for parts in between]
            found += [bytes([lead]) + before for lead in leads for before in befores]
    return tuple(sorted(found, key=len))


def _following_bytes(data: bytes) -> Iterator[bytes]:
    """Yield what completes the last character of `data`."""
    place = len(data) - 1
    while place >= 0 and data[place] & 0xC0 == 0x80:
        place -= 1
    lead = data[place] if place >= 0 else 0
    needed = 3 if lead >= 0xF0 else 2 if lead >= 0xE0 else 1 if lead >= 0xC0 else 0
    missing = needed - (len(data) - 1 - place)
    if missing <= 0:
        yield b""
        return
    for more in itertools.product(range(0x80, 0xC0), repeat=missing):
        yield bytes(more)


@lru_cache(maxsize=16)
def code_summary(tokenizer: Tokenizer) -> CodeSummary:
    """Return which keywords, builtins and indentations are one token."""
    keywords = tuple(keyword.kwlist)
    names = tuple(sorted(name for name in dir(builtins) if not name.startswith("_")))
    return CodeSummary(
        python=".".join(platform.python_version_tuple()[:2]),
        keywords=keywords,
        keywords_single=_single(tokenizer, keywords, ""),
        keywords_single_after_blank=_single(tokenizer, keywords, " "),
        builtins=names,
        builtins_single=_single(tokenizer, names, ""),
        builtins_single_after_blank=_single(tokenizer, names, " "),
        indentations=tuple(_indentations(tokenizer)),
    )


def _single(tokenizer: Tokenizer, words: Sequence[str], before: str) -> tuple[str, ...]:
    return tuple(
        word for word, count in zip(words, num_tokens(tokenizer, words, before), strict=True) if count == 1
    )


def num_tokens(tokenizer: Tokenizer, words: Sequence[str], before: str) -> list[int]:
    """Return into how many tokens each word is encoded, with `before` before it."""
    batch = tokenizer.encode_batch([before + word for word in words])
    return [int(count) for count in np.diff(batch.offsets)]


def _indentations(tokenizer: Tokenizer) -> Iterator[Indentation]:
    for kind, unit in _INDENTATIONS.items():
        texts = [unit * level for level in _LEVELS]
        alone = num_tokens(tokenizer, texts, "")
        for level, text, tokens_alone in zip(_LEVELS, texts, alone, strict=True):
            yield Indentation(
                kind=kind,
                level=level,
                tokens_alone=tokens_alone,
                tokens_in_code=_white_tokens(tokenizer, f"x\n{text}x"),
            )


def _white_tokens(tokenizer: Tokenizer, text: str) -> int:
    from gristmill.token_meter import TokenizerMeter

    meter = TokenizerMeter(tokenizer)
    meter.add([text])
    return meter.totals["tokens"] - meter.totals["tokens_in_words_whitespace"]
