"""Smaller vocabularies out of a larger one: a byte-level BPE of V tokens is the first merges of a larger one.

Merges are learned greedily, so what a training to V tokens learns is what a longer one has learned at V. One
training therefore gives the whole curve of compression over vocabulary sizes.
"""

from __future__ import annotations

import json
from typing import Any

from gristmill import tokenizer_file as files
from gristmill.errors import ConfigError, TokenizerError
from gristmill.options import check_count
from gristmill.tokenizer import Tokenizer


def why_not_cuttable(tokenizer: Tokenizer) -> str | None:
    """Return why a tokenizer has no smaller ones in it; None if it has.

    Example:
        >>> why_not_cuttable(tokenizer) is None
        True
    """
    model = tokenizer.parsed_json()["model"]
    if "merges" not in model:
        return f"a model of type {model.get('type')!r} has no order of merges (expected BPE)"
    if model.get("continuing_subword_prefix"):
        return "its merges leave a prefix out, so that they do not tell what they make"
    return None


def smallest_vocab_size(tokenizer: Tokenizer) -> int:
    """Return the size without any merge: the alphabet and the added tokens.

    Example:
        >>> smallest_vocab_size(tokenizer)
        257
    """
    _refuse_uncuttable(tokenizer)
    return len(tokenizer) - len(_merged_tokens(tokenizer, tokenizer.parsed_json()["model"]))


def cut_vocabulary(tokenizer: Tokenizer, vocab_size: int) -> Tokenizer:
    """Return the tokenizer of the first merges of this one, with `vocab_size` tokens.

    The alphabet and the added tokens stay; ids are numbered anew in the old order, without gaps. Of a
    tokenizer that `train_tokenizer` made, this is what a training to the smaller size gives. Special tokens
    that a post-processor would put around texts are left out.

    Args:
        tokenizer: a BPE.
        vocab_size: tokens wanted, the alphabet and added tokens included; at most those it has.

    Raises:
        TokenizerError: it is no BPE.
        ConfigError: `vocab_size` is below the alphabet and the added tokens.

    Example:
        >>> small = cut_vocabulary(tokenizer, 260)
        >>> len(small), small.tokens("def f")
        (260, ['de', 'f', 'Ġ', 'f'])
    """
    _refuse_uncuttable(tokenizer)
    check_count("vocab_size", vocab_size, 1)
    content = tokenizer.parsed_json()
    model = content["model"]
    merged = _merged_tokens(tokenizer, model)
    smallest = len(tokenizer) - len(merged)
    if vocab_size < smallest:
        raise ConfigError(
            f"vocab_size is {vocab_size} (expected at least {smallest}: the alphabet and the added tokens)"
        )
    dropped = set(merged[vocab_size - smallest :])
    merges = [
        [left, right]
        for left, right in files.merge_pairs(model)
        if dropped.isdisjoint((left, right, left + right))
    ]
    kept = sorted(
        (token_id, token) for token, token_id in tokenizer.get_vocab().items() if token not in dropped
    )
    ids = {token: number for number, (_, token) in enumerate(kept)}
    model_tokens = model["vocab"]
    content["model"] = model | {
        "vocab": {token: number for token, number in ids.items() if token in model_tokens},
        "merges": merges,
    }
    content["added_tokens"] = [entry | {"id": ids[entry["content"]]} for entry in files.added_tokens(content)]
    if "ByteLevel" not in str((content.get("post_processor") or {}).get("type")):
        content["post_processor"] = None  # it may name ids, which are other ones now
    return Tokenizer(json.dumps(content, ensure_ascii=False), tokenizer.roles, f"{vocab_size} tokens")


def _refuse_uncuttable(tokenizer: Tokenizer) -> None:
    reason = why_not_cuttable(tokenizer)
    if reason is not None:
        raise TokenizerError(f"the vocabulary cannot be cut: {reason}")


def _merged_tokens(tokenizer: Tokenizer, model: dict[str, Any]) -> list[str]:
    """Return what merges make, in the order of learning, each once; added tokens are not among them."""
    added = {entry["content"] for entry in files.added_tokens(tokenizer.parsed_json())}
    made = dict.fromkeys(left + right for left, right in files.merge_pairs(model))
    return [token for token in made if token not in added]
