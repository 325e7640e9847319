"""What `TokenizerMeter` counts, written as plainly as possible: the slow twin of rust/core/src/metrics.rs."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import tokenizers
from tests import samples

from gristmill.byte_alphabet import bytes_of_token

# `\s` of `tokenizers`: 25 code points, not those of `str.isspace`.
SPACES = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
SPACES += "\u2028\u2029\u202f\u205f\u3000"
WORD = re.compile(f"[^{re.escape(SPACES)}]+")


NAMES = (
    *("documents", "bytes", "characters", "lines", "words", "tokens"),
    *("tokens_in_words", "whitespace_tokens", "continued_words"),
)


def count(tokenizer_json: str, texts: list[str], byte_level: bool) -> tuple[dict[str, int], Counter[int]]:
    """Return totals and how often each id occurs; spans from token bytes, or as `tokenizers` gives them."""
    reference = cached_reference(tokenizer_json)
    totals = dict.fromkeys(NAMES, 0)
    counts: Counter[int] = Counter()
    for text in texts:
        encoding = reference.encode(text, add_special_tokens=False)
        counts.update(encoding.ids)
        words = [set(range(*match.span())) for match in WORD.finditer(text)]
        if byte_level:
            covered_by = byte_spans(encoding)
            starts = [len(text[:index].encode()) for index in range(len(text) + 1)]
            words = [set(range(starts[min(word)], starts[max(word) + 1])) for word in words]
        else:
            covered_by = [set(range(start, end)) for start, end in encoding.offsets]
        in_words = sum(any(token & word for word in words) for token in covered_by)
        totals["documents"] += 1
        totals["bytes"] += len(text.encode())
        totals["characters"] += len(text)
        totals["lines"] += text.count("\n") + (text != "" and text[-1] != "\n")
        totals["words"] += len(words)
        totals["tokens"] += len(encoding.ids)
        totals["tokens_in_words"] += in_words
        totals["whitespace_tokens"] += len(encoding.ids) - in_words
        num_covering = [sum(bool(token & word) for token in covered_by) for word in words]
        totals["continued_words"] += sum(number >= 2 for number in num_covering)
    return totals, counts


@cache
def cached_reference(tokenizer_json: str) -> tokenizers.Tokenizer:
    """Return the reference, loaded once."""
    return samples.reference(tokenizer_json)


def byte_spans(encoding: tokenizers.Encoding) -> list[set[int]]:
    """Return the bytes of the text that each token of a byte-level model covers: they tile it."""
    spans, end = [], 0
    for token in encoding.tokens:
        start, end = end, end + len(bytes_of_token(token))
        spans.append(set(range(start, end)))
    return spans
