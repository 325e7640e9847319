"""Train a byte-level BPE on the own engine: the vocabulary and merges of `tokenizers`, much faster.

    documents ──► counts of pieces ──► merges ──► model of the tokenizer.json
                  Rust threads,        Rust
                  batch by batch

No document is kept: memory grows with the distinct pieces, and `max_memory` ends in a named error. Signals
are looked at twenty times a second in both stages.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import tokenizers
from tokenizers import AddedToken, models

from gristmill import _native
from gristmill.training_progress import TrainingProgress

COVERED = "byte-level BPE with the GPT-2 pattern"

_AFFIXES = ("continuing_subword_prefix", "end_of_word_suffix")


def why_not_covered(content: dict[str, Any], options: dict[str, Any]) -> str | None:
    """Return why this pipeline is not trained on the own engine; None if it is.

    `content` is its parsed `tokenizer.json`, `options` what `BpeTrainer` of `tokenizers` would be told.

    Example:
        >>> why_not_covered({"model": {"type": "Unigram"}, "normalizer": None, "pre_tokenizer": None}, {})
        "a model of type 'Unigram' (expected BPE)"
    """
    model, pre_tokenizer = content["model"], content["pre_tokenizer"]
    if model["type"] != "BPE":
        return f"a model of type {model['type']!r} (expected BPE)"
    for affix in _AFFIXES:
        if options.get(affix) is not None:
            return f"{affix} is {options[affix]!r} (expected none)"
    if content["normalizer"] is not None:
        return f"a normalizer of type {content['normalizer']['type']!r} (expected none)"
    kind = None if pre_tokenizer is None else pre_tokenizer["type"]
    if kind != "ByteLevel":
        return f"a pre-tokenizer of type {kind!r} (expected ByteLevel)"
    if pre_tokenizer.get("add_prefix_space", True):
        return "add_prefix_space is true (expected false)"
    if not pre_tokenizer.get("use_regex", True):
        return "use_regex is false (expected true)"
    return None


def learn(
    trainer: _native.BpeTrainer,
    content: dict[str, Any],
    vocab_size: int,
    min_frequency: int,
    special_tokens: Sequence[str | AddedToken],
    initial_alphabet: Sequence[str],
    max_token_length: int | None,
    progress: TrainingProgress,
) -> dict[str, Any]:
    """Learn merges from the counts; return the pipeline with the model and the special tokens in it."""
    texts = [str(getattr(token, "content", token)) for token in special_tokens]
    # As `tokenizers` takes it: of each entry the first character.
    alphabet = [entry[0] for entry in initial_alphabet if entry]

    def on_progress(num_merges: int) -> None:
        progress.merged(num_merges, vocab_size)

    vocabulary, merges = trainer.train(
        vocab_size, min_frequency, texts, alphabet, max_token_length, on_progress
    )
    progress.merged(len(merges), vocab_size, end=True)
    ids = {token: token_id for token_id, token in enumerate(vocabulary)}
    model = dict(content["model"])
    model["vocab"] = ids
    model["merges"] = [[vocabulary[left], vocabulary[right]] for left, right in merges.tolist()]
    return content | {"model": model, "added_tokens": _added_tokens(special_tokens, ids)}


def _added_tokens(special_tokens: Sequence[str | AddedToken], ids: dict[str, int]) -> list[dict[str, Any]]:
    """Return the entries of a `tokenizer.json` for special tokens, every field filled in."""
    empty = tokenizers.Tokenizer(models.BPE())
    empty.add_special_tokens(list(special_tokens))
    entries: list[dict[str, Any]] = json.loads(empty.to_str())["added_tokens"]
    for entry in entries:
        entry["id"] = ids[entry["content"]]
    return sorted(entries, key=lambda entry: int(entry["id"]))
