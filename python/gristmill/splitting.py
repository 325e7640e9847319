r"""How texts are cut into pieces before BPE merges within them: the names that `train_tokenizer` takes.

| name | words | numbers | white space |
|---|---|---|---|
| `gpt2` | with the blank before them; `'s` apart | all in a row | all but the last before a word |
| `cl100k`, `llama3` | with any one sign or blank before them | by threes | up to the last newline first |
| `qwen2` | as `cl100k` | each alone | as `cl100k` |
| `o200k` | as `cl100k`, cut before capitals, `'s` kept | by threes | as `cl100k` |
| `code` | as `cl100k`, without `'s` | each alone | whole, indentation with its newline |

`cl100k` and `llama3` are one pattern: Llama 3 took over that of GPT-4 as `tokenizer.json` files have it. What
tiktoken writes for cl100k today is another regex: to `tokenizers` it means all numbers in a row, and white
space at the end of a text in one piece. The own engine knows it, but a new tokenizer should not have it.

`code` is our own. White space goes with what is before it: the signs at the end of a line take the newline
and the indentation of the next line, and where a line ends with a word, newline and indentation are a piece
of their own. A word never takes a blank from an indentation, so it is the same token at every depth. Its
regex is plain enough that `tokenizers` and `transformers` execute it as it stands.
"""

from __future__ import annotations

from typing import Literal, get_args

from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, PreTokenizer, Sequence, Split

from gristmill import _native

Splitting = Literal["gpt2", "cl100k", "llama3", "qwen2", "o200k", "code"]

SPLITTINGS: tuple[Splitting, ...] = get_args(Splitting)

_PATTERN_OF: dict[Splitting, str] = {
    "gpt2": "GPT-2",
    "cl100k": "cl100k",
    "llama3": "cl100k",
    "qwen2": "Qwen 2",
    "o200k": "o200k",
    "code": "code",
}


def pre_tokenizer_of(splitting: Splitting) -> PreTokenizer:
    """Return the pre-tokenizer that published files with this splitting have.

    Raises:
        ValueError: there is no such name.

    Example:
        >>> [piece for piece, _ in pre_tokenizer_of("cl100k").pre_tokenize_str("x = 12345")]
        ['x', 'Ġ=', 'Ġ', '123', '45']
    """
    if splitting not in SPLITTINGS:
        raise ValueError(f"splitting is {splitting!r} (expected one of {list(SPLITTINGS)})")
    if splitting == "gpt2":
        return ByteLevel(add_prefix_space=False)
    regex = _native.pattern_regex(_PATTERN_OF[splitting])
    assert regex is not None  # every name above is one that the engine knows
    return Sequence([Split(Regex(regex), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)])
