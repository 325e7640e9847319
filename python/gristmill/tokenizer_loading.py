"""Find a tokenizer by what a user calls it: a folder, a file, or the name of one on the hub.

    folder with tokenizer.json, or GPT-2's two files ────► Tokenizer.from_pretrained
    tokenizer.json ──────────────────────────────────────► Tokenizer.from_file
    gpt2, hub:owner/name ────────────────────────────────► the hub, through the installed `tokenizers`

Nothing goes over the network unless it is asked for in so many words: a mistyped folder is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import tokenizers

from gristmill.errors import ConfigError, TokenizerError
from gristmill.token_batch import check_tokenizer_type
from gristmill.tokenizer import Tokenizer

_HUB_PREFIX = "hub:"
# What a newcomer calls the tokenizer that everybody compares with.
_HUB_NAMES = {"gpt2": "openai-community/gpt2"}


def load_tokenizer(place: str | Path) -> Tokenizer:
    """Load a tokenizer from a folder, a `tokenizer.json`, or by its name on the hub.

    A folder may also hold GPT-2's own two files (`vocab.json` and `merges.txt`, or `encoder.json` and
    `vocab.bpe`): they are read as byte-level BPE with the GPT-2 pattern, which is what such files stand for.

    Args:
        place: a path; or `hub:` and a name there (its cache on this machine will do); or `gpt2`, where no
            such file or folder exists.

    Raises:
        ConfigError: there is nothing of this name, here or on the hub, or the hub cannot be reached.
        TokenizerError: it cannot be read.

    Example:
        >>> load_tokenizer("runs/small/tokenizer").vocab_size  # doctest: +SKIP
        2048
    """
    path = Path(place)
    if path.is_dir():
        return Tokenizer.from_pretrained(path)
    if path.exists():
        return Tokenizer.from_file(path)
    name = str(place)
    if name in _HUB_NAMES or name.startswith(_HUB_PREFIX):
        return _from_hub(_HUB_NAMES.get(name, name.removeprefix(_HUB_PREFIX)))
    raise ConfigError(
        f"tokenizer {name!r} does not exist (expected a folder, or a tokenizer.json; {_HUB_PREFIX}OWNER/NAME "
        "takes one from the hub)"
    )


def named_tokenizers(
    tokenizers: Tokenizer | Sequence[Tokenizer] | Mapping[str, Tokenizer],
) -> dict[str, Tokenizer]:
    """Return tokenizers by name, in their order; those without a name are numbered from 1.

    Raises:
        TypeError: one is no `gristmill.Tokenizer`.
        ConfigError: there is none.

    Example:
        >>> list(named_tokenizers([tokenizer, tokenizer])), list(named_tokenizers({"mine": tokenizer}))
        (['tokenizer 1', 'tokenizer 2'], ['mine'])
    """
    if isinstance(tokenizers, Tokenizer):
        named = {"tokenizer": tokenizers}
    elif isinstance(tokenizers, Mapping):
        named = {str(name): tokenizer for name, tokenizer in tokenizers.items()}
    elif isinstance(tokenizers, Sequence) and not isinstance(tokenizers, str | bytes):
        named = {f"tokenizer {number}": tokenizer for number, tokenizer in enumerate(tokenizers, start=1)}
    else:
        check_tokenizer_type(tokenizers)
        raise TypeError(f"tokenizers is a {type(tokenizers).__name__} (expected a list, or a dict by name)")
    for tokenizer in named.values():
        check_tokenizer_type(tokenizer)
    if not named:
        raise ConfigError("tokenizers is empty (expected at least one)")
    return named


def load_named_tokenizers(places: Sequence[str]) -> dict[str, Tokenizer]:
    """Load tokenizers given as `PLACE` or `NAME=PLACE`; without a name, the place is the name.

    Raises:
        ConfigError: two have the same name, or as `load_tokenizer`.
    """
    named: dict[str, Tokenizer] = {}
    for item in places:
        name, separator, place = item.partition("=")
        if not separator or Path(item).exists():
            name, place = item, item
        if not name or name in named:
            problem = f"the name {name!r} is given twice" if name else f"{item!r} has an empty name"
            raise ConfigError(f"tokenizers: {problem} (expected NAME=PLACE, each name once)")
        named[name] = load_tokenizer(place)
    return named


def _from_hub(name: str) -> Tokenizer:
    try:
        return Tokenizer.from_tokenizers(tokenizers.Tokenizer.from_pretrained(name))
    except TokenizerError:
        raise
    except Exception as error:  # what the hub's client raises differs from version to version
        cause = " ".join(str(error).split())[:160]
        raise ConfigError(
            f"tokenizer {name!r}: the hub did not give it: {type(error).__name__}: {cause} "
            "(expected a network and a name on the hub; a folder or a tokenizer.json needs neither)"
        ) from None
