"""Texts that a tokenizer meets rarely and must survive: one document of one kind of character each."""

from __future__ import annotations

import itertools
import random
import unicodedata
from collections.abc import Callable

import numpy as np

SEED = 20_240
WHITE_SPACE = " \t\n\r\x0b\x0c\x85\xa0\u2003\u2028\u3000"
SIGNS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
PEOPLE = ("👩", "👨", "👧", "👦", "🧑", "👩🏽", "👨🏿")
THINGS = ("💻", "🚀", "🌾", "🎨", "⚕️", "❤️")
JOINER = "\u200d"


def drawn(characters: str) -> Callable[[int], str]:
    """Characters drawn at random from a few; gives a function of the number of UTF-8 bytes wanted."""

    def make(num_bytes: int) -> str:
        choice = np.random.default_rng(SEED).integers(0, len(characters), num_bytes)
        table = np.array([ord(character) for character in characters], dtype="<u4")
        return cut(table[choice].tobytes().decode("utf-32-le"), num_bytes)

    return make


def repeated(unit: str) -> Callable[[int], str]:
    """One unit again and again."""
    return lambda num_bytes: cut(unit * (num_bytes // len(unit.encode("utf-8")) + 1), num_bytes)


def cut(text: str, num_bytes: int) -> str:
    """Give the longest beginning that has at most so many UTF-8 bytes."""
    return text.encode("utf-8")[:num_bytes].decode("utf-8", "ignore")


def random_unicode(num_bytes: int) -> str:
    """All assigned code points that are not private, evenly."""
    assigned = (
        chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Co", "Cs")
    )
    return drawn("".join(assigned))(num_bytes)


def any_unicode(num_bytes: int) -> str:
    """All code points but surrogates, evenly: three of four mean nothing in any version of Unicode."""
    return drawn("".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000))(num_bytes)


def emoji(num_bytes: int) -> str:
    """Families and professions: emoji joined by U+200D, skin tones and variation selectors among them."""
    rng = random.Random(SEED)

    def sequences(count: int) -> str:
        people = iter(rng.choices(PEOPLE, k=4 * count))
        sizes = rng.choices((1, 2, 3, 4), k=count)
        # Half of them with a thing.
        things = rng.choices([""] * len(THINGS) + [JOINER + thing for thing in THINGS], k=count)
        families = (JOINER.join(itertools.islice(people, size)) for size in sizes)
        return "".join(family + thing for family, thing in zip(families, things, strict=True))

    return _gather(sequences, num_bytes)


def minified_javascript(num_bytes: int) -> str:
    """One line of minified JavaScript: short names, numbers, strings, no space where none is needed."""
    rng = random.Random(SEED)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ("length", "prototype", "document", "addEventListener", "push", "apply", "slice", "innerHTML")
    # A name has one character, or as often a letter or a digit besides.
    endings = ["", ""] * 130 + [*letters] * 5 + [*"0123456789"] * 13
    all_names = [letter + ending for letter in letters for ending in endings]
    templates = (
        "var {}={},{}={};",
        "function {}({},{}){{return {}+{}}}",
        "if({}==={}){}.{}({});",
        "for(var {}=0;{}<{};{}++){}[{}]={};",
        "!function({}){{{}={}?{}:{}}}({}),",
    )
    # n: a name, v: a value, w: a word.
    slots = ("nvnv", "nnnvv", "nvnwv", "nnvnnnv", "nnvvvv")

    def statements(count: int) -> str:
        names = iter(rng.choices(all_names, k=24 * count))
        some_words = iter(rng.choices(words, k=8 * count))
        makers: tuple[Callable[[], str], ...] = (
            names.__next__,
            lambda: str(rng.randrange(1000)),
            lambda: f'"{rng.getrandbits(24):x}"',
            lambda: f"{next(names)}.{next(some_words)}",
            lambda: "!0",
        )
        values = iter(rng.choices(makers, k=4 * count))
        fill = {"n": names.__next__, "v": lambda: next(values)(), "w": some_words.__next__}
        chosen = rng.choices(range(len(templates)), k=count)
        return "".join(
            templates[number].format(*[fill[slot]() for slot in slots[number]]) for number in chosen
        )

    return _gather(statements, num_bytes)


def new_words(num_bytes: int, seed: int = SEED) -> str:
    """Words of 8 random letters, none likely to come twice, a space between them."""
    letters = np.random.default_rng(seed).integers(
        ord("a"), ord("z") + 1, (num_bytes // 9 + 1, 9), dtype=np.uint8
    )
    letters[:, 8] = ord(" ")
    return letters.tobytes()[:num_bytes].decode("ascii")


def _gather(make: Callable[[int], str], num_bytes: int) -> str:
    """Ask for 10,000 parts at a time until there is enough text."""
    gathered, size = [], 0
    while size < num_bytes:
        gathered.append(make(10_000))
        size += len(gathered[-1].encode("utf-8"))
    return cut("".join(gathered), num_bytes)


CASES: dict[str, Callable[[int], str]] = {
    "one letter": repeated("a"),
    "spaces": repeated(" "),
    "mixed white space": drawn(WHITE_SPACE),
    "random letters": drawn("abcdefghijklmnopqrstuvwxyz"),
    "random digits": drawn("0123456789"),
    "punctuation": drawn(SIGNS),
    "random Unicode": random_unicode,
    "random code points": any_unicode,
    "CJK": drawn("".join(map(chr, range(0x4E00, 0xA000)))),
    "emoji with joiners": emoji,
    "minified JavaScript": minified_javascript,
    "ever-new words": new_words,
    "abab…": repeated("ab"),
    "rules of signs": repeated("=" * 79 + "-"),
}
