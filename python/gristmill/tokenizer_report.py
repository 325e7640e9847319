"""`TokenizerReport`: the figures of a tokenizer on a corpus, with the rule of each."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

_NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class TokenEntry:
    """A token: its `id`, how the vocabulary spells it (`token`), and as readable `text`."""

    id: int
    token: str
    text: str


@dataclass(frozen=True, kw_only=True)
class TokenizerReport:
    """What `measure_tokenizer` found. Counts are fields, ratios are properties; `str()` is a table.

    A ratio is None where it is not applicable: nothing to divide by, or a model without an unknown token.

    Attributes:
        tokenizer: fingerprint of the tokenizer.
        engine: which road encoded, "gristmill" or "tokenizers".
        documents: texts that were measured.
        num_skipped: rows that are no text and were skipped.
        bytes, characters, lines: size of the texts; bytes as UTF-8; a last line without a line feed counts.
        words: maximal runs of characters that are no white space.
        tokens: ids, no EOS among them.
        tokens_in_words: tokens that cover at least one byte of a word.
        whitespace_tokens: tokens of white space alone.
        continued_words: words that two or more tokens cover.
        vocabulary_tokens: tokens of the vocabulary that are not special.
        vocabulary_used: how many of them occurred.
        rare_below, vocabulary_rare: how many occurred, but fewer than `rare_below` times.
        unknown_tokens: how many tokens were the unknown token, None where the model has none.
        num_keywords: keywords of the running Python.
        keywords_single, keywords_single_after_blank: those that are one token, alone and after a blank.
        longest: the tokens of the most bytes.
        first_learned, last_learned: by the order of the merges; None where the model has none.
    """

    tokenizer: str
    engine: str
    documents: int
    num_skipped: int
    bytes: int
    characters: int
    lines: int
    words: int
    tokens: int
    tokens_in_words: int
    whitespace_tokens: int
    continued_words: int
    vocabulary_tokens: int
    vocabulary_used: int
    rare_below: int
    vocabulary_rare: int
    unknown_tokens: int | None
    num_keywords: int
    keywords_single: tuple[str, ...]
    keywords_single_after_blank: tuple[str, ...]
    longest: tuple[TokenEntry, ...]
    first_learned: tuple[TokenEntry, ...] | None
    last_learned: tuple[TokenEntry, ...] | None

    @property
    def fertility(self) -> float | None:
        """Tokens that cover at least one byte of a word, over words."""
        return _ratio(self.tokens_in_words, self.words)

    @property
    def continued_share(self) -> float | None:
        """Words that two or more tokens cover, over words."""
        return _ratio(self.continued_words, self.words)

    @property
    def whitespace_share(self) -> float | None:
        """Tokens of white space alone, over tokens."""
        return _ratio(self.whitespace_tokens, self.tokens)

    @property
    def unknown_share(self) -> float | None:
        """Unknown tokens over tokens; None for a model that has none."""
        return None if self.unknown_tokens is None else _ratio(self.unknown_tokens, self.tokens)

    @property
    def used_share(self) -> float | None:
        """Tokens of the vocabulary that occurred, over those that are not special."""
        return _ratio(self.vocabulary_used, self.vocabulary_tokens)

    @property
    def rare_share(self) -> float | None:
        """Tokens of the vocabulary that occurred fewer than `rare_below` times, over those not special."""
        return _ratio(self.vocabulary_rare, self.vocabulary_tokens)

    @property
    def chars_per_token(self) -> float | None:
        """Characters over tokens."""
        return _ratio(self.characters, self.tokens)

    @property
    def bytes_per_token(self) -> float | None:
        """UTF-8 bytes over tokens."""
        return _ratio(self.bytes, self.tokens)

    @property
    def lines_per_token(self) -> float | None:
        """Lines over tokens."""
        return _ratio(self.lines, self.tokens)

    @property
    def rules(self) -> dict[str, str]:
        """How each ratio is defined, and what a word is."""
        return {
            "word": "a maximal run of non-whitespace, in the running text",
            "fertility": "tokens that cover at least one byte of a word / words",
            "continued_share": "words that two or more tokens cover / words",
            "whitespace_share": "tokens of white space alone / tokens",
            "unknown_share": "unknown tokens / tokens",
            "used_share": "tokens of the vocabulary that occurred / those that are not special",
            "rare_share": f"tokens that occurred, but fewer than {self.rare_below} times / those not special",
            "chars_per_token": "characters / tokens",
            "bytes_per_token": "UTF-8 bytes / tokens",
            "lines_per_token": "lines / tokens; a last line without a line feed counts",
        }

    def to_dict(self) -> dict[str, Any]:
        """Return counts, ratios and rules as one JSON-able dict."""
        ratios = {name: getattr(self, name) for name in self.rules if name != "word"}
        return dataclasses.asdict(self) | ratios | {"rules": self.rules}

    def __str__(self) -> str:
        """Return a table of figures with their rules."""
        skipped = f", {self.num_skipped:,} rows skipped" if self.num_skipped else ""
        corpus = (
            f"corpus: {self.documents:,} documents{skipped}, {self.bytes:,} bytes, "
            f"{self.characters:,} characters, {self.lines:,} lines, {self.words:,} words"
        )
        tokens = (
            f"tokens: {self.tokens:,} (EOS apart), encoded by {self.engine}; "
            f"vocabulary: {self.vocabulary_tokens:,} tokens that are not special"
        )
        figures = [
            f"{name.replace('_', ' '):<17}{self._shown(name):>15}  {rule}"
            for name, rule in self.rules.items()
        ]
        alone, after_blank = self.keywords_single, self.keywords_single_after_blank
        notable = [
            f"Python keywords that are one token, of {self.num_keywords}",
            f"  alone ({len(alone)}): {' '.join(alone) or 'none'}",
            f"  after a blank ({len(after_blank)}): {' '.join(after_blank) or 'none'}",
            f"longest tokens: {_listed(self.longest)}",
            f"learned first:  {_listed(self.first_learned)}",
            f"learned last:   {_listed(self.last_learned)}",
        ]
        return "\n".join([corpus, tokens, "", *figures, "", *notable])

    def _shown(self, name: str) -> str:
        if name == "word":
            return ""
        value = getattr(self, name)
        if value is None:
            return _NOT_APPLICABLE
        return f"{value:.2%}" if name.endswith("_share") else f"{value:.4f}"


def _ratio(count: int, of: int) -> float | None:
    return count / of if of else None


def _listed(entries: tuple[TokenEntry, ...] | None) -> str:
    if entries is None:
        return _NOT_APPLICABLE
    return " ".join(f"'{_shortened(entry.text)}'" for entry in entries) or "none"


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:32]}…({len(text)} characters)"
