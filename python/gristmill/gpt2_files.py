"""GPT-2's own two files, a vocabulary and its merges, read as what they stand for: byte-level BPE.

vocab.json, merges.txt (as transformers names them) ──┐
                                                      ├──► the text of a tokenizer.json
encoder.json, vocab.bpe (as OpenAI names them) ───────┘    with the GPT-2 pattern
"""

from __future__ import annotations

from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from gristmill import tokenizer_file as files
from gristmill.errors import TokenizerError

_NAMES = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
_EOS = "<|endoftext|>"
# Other classes have files of these names, too, but other patterns, prefixes or normalizers.
_CLASSES = ("GPT2Tokenizer", "GPT2TokenizerFast")


def gpt2_files_in(folder: Path) -> tuple[Path, Path] | None:
    """Return the vocabulary and the merges that lie in a folder; None where there is no such pair."""
    for vocabulary_name, merges_name in _NAMES:
        if (folder / vocabulary_name).exists() and (folder / merges_name).exists():
            return folder / vocabulary_name, folder / merges_name
    return None


def tokenizer_json_of(vocabulary_path: Path, merges_path: Path) -> str:
    """Return the text of the `tokenizer.json` that the two files stand for.

    Raises:
        TokenizerError: one cannot be read, they are not of one tokenizer, or what lies beside them says that
            they are not GPT-2's: another class of tokenizer, added tokens.
    """
    has_prefix_space = _check_beside(vocabulary_path.parent)
    text = files.read_text(vocabulary_path, "a vocabulary")
    vocabulary = files.parse_object(text, str(vocabulary_path))
    merges = []
    lines = files.read_text(merges_path, "a list of merges").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        parts = line.rstrip("\r").split(" ")
        if len(parts) != 2:
            raise TokenizerError(f"{merges_path}, line {number}: {line!r} (expected two tokens and a blank)")
        merges.append((parts[0], parts[1]))
    try:
        built = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    except Exception as error:
        raise TokenizerError(
            f"{vocabulary_path} and {merges_path.name}: {error} (expected GPT-2's files, of one tokenizer)"
        ) from None
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=has_prefix_space)
    built.decoder = decoders.ByteLevel()
    if _EOS in vocabulary:
        built.add_special_tokens([_EOS])
    return built.to_str()


def _check_beside(folder: Path) -> bool:
    """Refuse what the two files alone would not tell; return whether a blank goes before each text."""
    added = folder / "added_tokens.json"
    if added.exists() and files.parse_object(files.read_text(added, "a JSON object"), str(added)):
        raise TokenizerError(f"{added}: added tokens beside GPT-2's two files (expected a tokenizer.json)")
    config = folder / files.CONFIG_FILE
    if not config.exists():
        return False
    content = files.parse_object(files.read_text(config, "a JSON object"), str(config))
    kind = content.get("tokenizer_class")
    if kind is not None and kind not in _CLASSES:
        raise TokenizerError(
            f"{config}: tokenizer_class is {kind!r} (expected {' or '.join(_CLASSES)}, or a tokenizer.json)"
        )
    return content.get("add_prefix_space") is True
