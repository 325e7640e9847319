"""What `TokenizerMeter` counts, written as plainly as possible: the slow twin of rust/core/src/metrics.rs.

Words come from regular expressions and the classes of the installed `tokenizers`, edits from the table of the
textbook, samples from sorting all words; hashes and noise are written anew from their descriptions.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import cache

import tokenizers
from tests import samples
from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

from gristmill.byte_alphabet import bytes_of_token

# `\s` of `tokenizers`: 25 code points, not those of `str.isspace`.
SPACES = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
SPACES += "\u2028\u2029\u202f\u205f\u3000"
NOISES = ("misspelling", "case", "whitespace", "homoglyphs")
RULES = ("whitespace", "identifiers", "unicode")
MASK, HALF = (1 << 64) - 1, (1 << 32) - 1
GOLDEN = 0x9E3779B97F4A7C15
MULTIPLIERS = (GOLDEN, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB)
NUM_GROUPS = 1024
SAMPLE_SIZE = 4096

_CLASSES = {name: Split(Regex(rf"\p{{{name}}}"), "removed", invert=True) for name in "LMN"}


@cache
def is_class(character: str, name: str) -> bool:
    r"""Tell whether `tokenizers` takes a character for a letter (L), mark (M) or number (N)."""
    # Marks are those of Unicode 14, which Python 3.11 has.
    if name == "M" and unicodedata.category(character) == "Cn":
        return False
    return bool(_CLASSES[name].pre_tokenize_str(character))


@cache
def kind(character: str) -> str:
    """Return "s" for white space, "l", "m", "n" for letters, marks and numbers, "_" for itself, else "."."""
    if character in SPACES:
        return "s"
    if character == "_":
        return "_"
    return next((name.lower() for name in "LNM" if is_class(character, name)), ".")


PATTERNS = {
    "whitespace": re.compile("[^s]+"),
    "identifiers": re.compile("(?<![lmn_])[l_][lmn_]*"),
    "unicode": re.compile("[lmn]+"),
}


def words_of(text: str, rule: str) -> list[tuple[int, int]]:
    """Return where the words are, in characters."""
    kinds = "".join(map(kind, text))
    return [match.span() for match in PATTERNS[rule].finditer(kinds)]


# Hashes ----------------------------------------------------------------------------------------------------


def mix(word: int) -> int:
    """Return the finalizer of SplitMix64."""
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & MASK
    word = (word ^ word >> 27) * 0x94D049BB133111EB & MASK
    return word ^ word >> 31


def document_hash(data: bytes) -> int:
    """Return the hash of a document."""
    lanes = list(MULTIPLIERS)
    for begin in range(0, len(data), 32):
        chunk = data[begin : begin + 32].ljust(32, b"\0")
        for lane in range(4):
            word = int.from_bytes(chunk[8 * lane : 8 * lane + 8], "little")
            lanes[lane] = (lanes[lane] ^ word) * MULTIPLIERS[lane] & MASK
            lanes[lane] ^= lanes[lane] >> 32
    result = len(data)
    for lane_value in lanes:
        result = mix(result ^ lane_value)
    return result


def word_hash(word: bytes) -> int:
    """Return the hash of a word."""
    if len(word) > 32:
        return document_hash(word)
    result = len(word)
    for lane, key in enumerate(MULTIPLIERS):
        part = int.from_bytes(word[8 * lane : 8 * lane + 8], "little")
        low, high = (part + key) & HALF, ((part >> 32) + (key >> 32)) & HALF
        result += low * high
    return mix(result & MASK)


def random_words(seed: int, purpose: int, document: int) -> Iterator[int]:
    """Yield the random words of a noise in a document."""
    state = mix(mix((seed + GOLDEN * (purpose + 1)) & MASK) ^ document)
    while True:
        state = (state + GOLDEN) & MASK
        yield mix(state)


# Noise -----------------------------------------------------------------------------------------------------

SMALL_LETTERS = [("a", "z", 32), ("à", "ö", 32), ("ø", "þ", 32), ("α", "ρ", 32), ("σ", "ω", 32)]
SMALL_LETTERS += [("а", "я", 32), ("ѐ", "џ", 80)]
CAPITAL = {
    chr(c): chr(c - step) for first, last, step in SMALL_LETTERS for c in range(ord(first), ord(last) + 1)
}
SMALL = {capital: small for small, capital in CAPITAL.items()}
HOMOGLYPHS = dict(zip("aceopxyijsABCEHKMOPTXIJS", "асеорхуіјѕАВСЕНКМОРТХІЈЅ", strict=True))


def noised(text: str, noise: str, rate: int, seed: int) -> tuple[str, list[tuple[int, int]]]:
    """Return the text with noise, and where stretches end in both texts, in bytes."""
    random = random_words(seed, NOISES.index(noise), document_hash(text.encode()))
    out, ends = "", []
    place = start = 0
    while place < len(text):
        first, begin = text[place], place
        while place < len(text) and place - begin < 32 and in_unit(text[place], noise):
            place += 1
        unit = text[begin:place]
        if not unit:
            place += 1
            out += first
        elif next(random) >> 32 < rate:
            out += CHANGES[noise](unit, random)
        else:
            out += unit
        if first == "\n" or len(text[start:place].encode()) >= 128:
            ends.append((len(text[:place].encode()), len(out.encode())))
            start = place
    if start < len(text):
        ends.append((len(text.encode()), len(out.encode())))
    return out, ends


def in_unit(character: str, noise: str) -> bool:
    """Tell whether a character is one of those that the noise may change."""
    return character in " \t" if noise == "whitespace" else kind(character) == "l"


def misspell(unit: str, random: Iterator[int]) -> str:
    """Swap, leave out, double or replace one letter."""
    how = next(random) % 4
    if len(unit) < 2:
        return unit
    i = next(random) % (len(unit) - 1 if how == 0 else len(unit))
    if how == 0:
        return unit[:i] + unit[i + 1] + unit[i] + unit[i + 2 :]
    middle = ["", "", unit[i] * 2][how] if how < 3 else unit[next(random) % len(unit)]
    return unit[:i] + middle + unit[i + 1 :]


def change_case(unit: str, random: Iterator[int]) -> str:
    """Make capitals, small letters, or change one."""
    how = next(random) % 3
    if how == 0:
        return "".join(CAPITAL.get(letter, letter) for letter in unit)
    if how == 1:
        return "".join(SMALL.get(letter, letter) for letter in unit)
    i = next(random) % len(unit)
    return unit[:i] + (CAPITAL | SMALL).get(unit[i], unit[i]) + unit[i + 1 :]


def change_blank(unit: str, random: Iterator[int]) -> str:
    """Leave out, double or replace one blank."""
    how, i = next(random) % 4, next(random) % len(unit)
    other = "\t" if unit[i] == " " else " "
    return unit[:i] + ["", unit[i] * 2, other, "\xa0"][how] + unit[i + 1 :]


def homoglyph(unit: str, random: Iterator[int]) -> str:
    """Replace one letter by one that looks alike."""
    first = next(random) % len(unit)
    for i in [*range(first, len(unit)), *range(first)]:
        if unit[i] in HOMOGLYPHS:
            return unit[:i] + HOMOGLYPHS[unit[i]] + unit[i + 1 :]
    return unit


CHANGES = {"misspelling": misspell, "case": change_case, "whitespace": change_blank, "homoglyphs": homoglyph}


def levenshtein(left: list[int], right: list[int]) -> int:
    """Return the edit distance by the table of the textbook."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


# Counting --------------------------------------------------------------------------------------------------


class Plain:
    """The counters of some texts.

    Attributes:
        totals: by the names of `TokenizerMeter.totals`.
        counts: how often each id occurred.
        groups: the totals of each group of documents.
        types: the distinct words, by rule.
    """

    def __init__(
        self, tokenizer_json: str, byte_level: bool, noises: tuple[str, ...], rate: int, seed: int
    ) -> None:
        self.reference = cached_reference(tokenizer_json)
        self.byte_level = byte_level
        model = json.loads(tokenizer_json)["model"]
        unknown = model.get("unk_token")
        self.unknown_id: int | None = model.get("unk_id", unknown and self.reference.token_to_id(unknown))
        self.noises, self.rate, self.seed = noises, rate, seed
        self.counts: Counter[int] = Counter()
        self.groups: dict[int, Counter[str]] = {}
        self.types: dict[str, set[str]] = {rule: set() for rule in RULES}

    @property
    def totals(self) -> Counter[str]:
        """The sums of all groups."""
        return sum(self.groups.values(), Counter[str]())

    def add(self, text: str) -> None:
        """Count one document."""
        ids, covered_by, starts = self.encoded(text)
        self.counts.update(ids)
        row = Counter(
            {"documents": 1, "bytes": len(text.encode()), "characters": len(text), "tokens": len(ids)}
        )
        lines = re.findall("[^\n]*\n|[^\n]+$", text)
        row["lines"] = len(lines)
        row["unknown_tokens"] = ids.count(self.unknown_id) if self.unknown_id is not None else 0
        row["code_lines"] = sum(any(character not in SPACES for character in line) for line in lines)
        for rule in RULES:
            words = self.words(text, rule)
            row[f"words_{rule}"] = len(words)
            row[f"tokens_in_words_{rule}"] = sum(any(token & word for word in words) for token in covered_by)
            row[f"continued_words_{rule}"] = sum(
                sum(bool(token & word) for token in covered_by) >= 2 for word in words
            )
            self.types[rule] |= {text[slice(*span)] for span in words_of(text, rule)}
        for noise in self.noises:
            other, ends = noised(text, noise, self.rate, self.seed)
            other_ids, other_covered_by, other_starts = self.encoded(other)
            words = self.words(other, "whitespace")
            row[f"words_{noise}_noise"] = len(words)
            row[f"tokens_in_words_{noise}_noise"] = sum(
                any(t & word for word in words) for t in other_covered_by
            )
            row[f"tokens_{noise}_noise"] = len(other_ids)
            before = (0, 0)
            for number, end in enumerate(ends):
                is_last = number == len(ends) - 1
                left = in_stretch(ids, starts, before[0], end[0], is_last)
                right = in_stretch(other_ids, other_starts, before[1], end[1], is_last)
                row[f"edits_{noise}_noise"] += levenshtein(left, right)
                row[f"longer_{noise}_noise"] += max(len(left), len(right))
                before = end
        group = document_hash(text.encode()) >> 54
        self.groups[group] = self.groups.get(group, Counter()) + row

    def encoded(self, text: str) -> tuple[list[int], list[set[int]], list[int]]:
        """Return ids, what each token covers (characters where not byte-level), and where each starts."""
        encoding = self.reference.encode(text, add_special_tokens=False)
        if self.byte_level:
            covered_by, starts = byte_spans(encoding)
            return encoding.ids, covered_by, starts
        places = [len(text[:index].encode()) for index in range(len(text) + 1)]
        starts, last = [], 0
        for start, _ in encoding.offsets:
            last = max(last, places[start])
            starts.append(last)
        return encoding.ids, [set(range(start, end)) for start, end in encoding.offsets], starts

    def words(self, text: str, rule: str) -> list[set[int]]:
        """Return the words as sets of bytes, or of characters."""
        spans = words_of(text, rule)
        if self.byte_level:
            starts = [len(text[:index].encode()) for index in range(len(text) + 1)]
            spans = [(starts[start], starts[end]) for start, end in spans]
        return [set(range(*span)) for span in spans]

    def sample(self, rule: str) -> list[tuple[int, str | None]]:
        """Return the words of the smallest hashes."""
        hashed = sorted((word_hash(word.encode()), word) for word in self.types[rule])
        return [(h, word if len(word.encode()) <= 256 else None) for h, word in hashed[:SAMPLE_SIZE]]


def in_stretch(ids: list[int], starts: list[int], begin: int, end: int, is_last: bool) -> list[int]:
    """Return the ids of the tokens that start in a stretch; the last one has what starts at the end, too."""
    return [i for i, start in zip(ids, starts, strict=True) if begin <= start and (start < end or is_last)]


@cache
def cached_reference(tokenizer_json: str) -> tokenizers.Tokenizer:
    """Return the reference, loaded once."""
    return samples.reference(tokenizer_json)


def byte_spans(encoding: tokenizers.Encoding) -> tuple[list[set[int]], list[int]]:
    """Return the bytes of the text that each token of a byte-level model covers, and its first."""
    spans, starts, end = [], [], 0
    for token in encoding.tokens:
        start, end = end, end + len(bytes_of_token(token))
        spans.append(set(range(start, end)))
        starts.append(start)
    return spans, starts


# Figures ---------------------------------------------------------------------------------------------------


def efficiency(counts: list[int], alpha: float) -> float:
    """Return the Rényi (Shannon for 1) efficiency of counts, zeros included."""
    total = sum(counts)
    shares = [count / total for count in counts if count]
    if alpha == 1:
        return sum(p * math.log(1 / p) for p in shares) / math.log(len(counts))
    return math.log(sum(p**alpha for p in shares)) / (1 - alpha) / math.log(len(counts))


def interval(
    groups: list[tuple[int, int]], num_replicates: int, confidence: float, seed: int
) -> tuple[float, float]:
    """Return the percentile interval of the ratio of two sums, by drawing groups one at a time."""
    state = mix((seed * GOLDEN + GOLDEN) & MASK)
    ratios = []
    for _ in range(num_replicates):
        above = below = 0
        for _ in groups:
            state = (state + GOLDEN) & MASK
            drawn = groups[mix(state) % len(groups)]
            above, below = above + drawn[0], below + drawn[1]
        if below:
            ratios.append(above / below)
    ratios.sort()
    ends = []
    for share in ((1 - confidence) / 2, 1 - (1 - confidence) / 2):
        place = share * (len(ratios) - 1)
        low, high = ratios[math.floor(place)], ratios[math.ceil(place)]
        ends.append(low + (high - low) * (place - math.floor(place)))
    return ends[0], ends[1]
