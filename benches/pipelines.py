"""What published pipelines cost beside GPT-2's: `python benches/pipelines.py`, under two minutes.

One text to train on and one to measure (a third of the standard library, and the rest), one vocabulary size;
the same files with what Llama 3, Qwen 2 and others have around them. Without a pattern it matters how the
merges came about, so there are three kinds: GPT-2's own, trained here with its pattern, and trained here
without one. Ids are compared with `tokenizers` first. Then interleaved rounds on one thread, each with a new
tokenizer whose tables are empty: medians of CPU time, and the ratio to GPT-2's pattern with nothing around
it, of GPT-2's own merges where the row has those, else of merges trained here.
"""

from __future__ import annotations

import json
import statistics
import sysconfig
import time
from pathlib import Path
from typing import Any

import tokenizers

from gristmill import Tokenizer, train_tokenizer
from vocabularies import vocabulary_file

VOCAB_SIZE = 16_384
ROUNDS = 5
BASE, OWN_BASE = "gpt2", "GPT-2's own merges"
FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def standard_library() -> list[str]:
    """Return the files that are UTF-8, in the order of their paths."""
    texts = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" not in path.parts:
            try:
                texts.append(path.read_bytes().decode())
            except UnicodeDecodeError:
                continue
    return texts


def added(*contents: str) -> list[dict[str, Any]]:
    """Return added tokens that are not special, as Qwen's files have them."""
    return [{"id": 0, "content": text, "special": False} | dict.fromkeys(FLAGS, False) for text in contents]


def trained_without_a_pattern(texts: list[str], pre_tokenizer: dict[str, Any]) -> dict[str, Any]:
    """Train on lines with their ends, each one piece: tokens reach over the ends of words."""
    content = train_tokenizer(texts[:1], 257, show_progress=False).parsed_json()
    like = Tokenizer.from_str(json.dumps(content | {"pre_tokenizer": pre_tokenizer}))
    lines = [line for text in texts for line in text.splitlines(keepends=True)]
    return train_tokenizer(lines, VOCAB_SIZE, like=like, show_progress=False).parsed_json()


def pipelines(texts: list[str]) -> dict[str, str]:
    """Return tokenizer.json files by name."""
    trained = {
        name: train_tokenizer(texts, VOCAB_SIZE, splitting=name, show_progress=False).parsed_json()
        for name in ("gpt2", "cl100k", "qwen2")
    }
    gpt2 = trained["gpt2"]

    def changed(content: dict[str, Any], model: dict[str, Any] | None = None, **parts: Any) -> str:
        return json.dumps(content | parts | {"model": content["model"] | (model or {})})

    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tool_tokens = added("<tool_call>", "</tool_call>", "<think>", "</think>", "<|fim_prefix|>")
    uncut = byte_level | {"use_regex": False}
    own = json.loads(vocabulary_file("gpt2", "python").read_text(encoding="utf-8"))
    nfc = {"type": "NFC"}
    return {
        BASE: changed(gpt2),
        "gpt2, NFC": changed(gpt2, normalizer=nfc),
        "gpt2, added tokens": changed(gpt2, added_tokens=gpt2["added_tokens"] + tool_tokens),
        "gpt2, ignore_merges": changed(gpt2, {"ignore_merges": True}),
        "gpt2, add_prefix_space": changed(gpt2, pre_tokenizer=byte_level | {"add_prefix_space": True}),
        "no pattern, merges trained with gpt2's": changed(gpt2, pre_tokenizer=uncut),
        "no pattern, merges trained without": json.dumps(trained_without_a_pattern(texts, uncut)),
        "cl100k, ignore_merges (Llama 3)": changed(trained["cl100k"], {"ignore_merges": True}),
        "qwen2, NFC, added tokens (Qwen 2)": changed(
            trained["qwen2"],
            normalizer=nfc,
            added_tokens=trained["qwen2"]["added_tokens"] + tool_tokens,
        ),
        OWN_BASE: json.dumps(own),
        f"{OWN_BASE}, no pattern": changed(own, pre_tokenizer=uncut),
    }


def check(tokenizer_json: str, texts: list[str], name: str) -> None:
    """Compare with `tokenizers`; end the run at a difference."""
    tokenizer = Tokenizer.from_str(tokenizer_json)
    if str(tokenizer.engine) != "gristmill":
        raise SystemExit(f"{name}: on the other road: {tokenizer.engine.reason}")
    reference = tokenizers.Tokenizer.from_str(tokenizer_json)
    reference.encode_special_tokens = True
    expected = reference.encode_batch_fast(texts, add_special_tokens=False)
    for text, ids, encoding in zip(texts, tokenizer.encode_batch(texts), expected, strict=True):
        if ids.tolist() != encoding.ids:
            raise SystemExit(f"{name}: other ids than tokenizers for {text[:80]!r}")


def main() -> None:
    """Compare, measure, print."""
    texts = standard_library()
    training, measured = texts[::3], [text for number, text in enumerate(texts) if number % 3]
    files = pipelines(training)
    for name, tokenizer_json in files.items():
        check(tokenizer_json, [text for text in measured[::40] if len(text) < 20_000], name)
    seconds: dict[str, list[float]] = {name: [] for name in files}
    for _ in range(ROUNDS):
        for name, tokenizer_json in files.items():
            tokenizer = Tokenizer.from_str(tokenizer_json)
            tokenizer.encode("warm")
            started = time.process_time()
            tokenizer.encode_batch(measured, num_threads=1)
            seconds[name].append(time.process_time() - started)
    num_bytes = sum(len(text.encode()) for text in measured)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{num_bytes / 1e6:.1f} MB, 1 thread, medians of {ROUNDS} interleaved rounds, CPU time")
    for name, median in medians.items():
        base = medians[OWN_BASE if name.startswith(OWN_BASE) else BASE]
        print(f"{name:40} {num_bytes / median / 1e6:7.0f} MB/s   {median / base:5.2f} of GPT-2's time")


if __name__ == "__main__":
    main()
