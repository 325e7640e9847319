"""Strings that tokenizers disagree about, from a seed: the same ones each time, as many as are asked for.

Each string is of one kind (random Unicode, white space, marks, …) or a mixture of fragments of several.
Fragments come from the places where a piece may begin or end otherwise than one thinks, and from the
vocabulary, so that merges run deep.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

WHITE_SPACE = (
    *(
        " ",
        " ",
        " ",
        "  ",
        "   ",
        "        ",
        "\n",
        "\n\n",
        "\r\n",
        "\r",
        "\t",
        "\t\t",
        "\n    ",
        " \n",
        "\n \n\t",
    ),
    *("\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\x85", "\xa0", "\u1680", "\u2003", "\u2028", "\u2029"),
    *("\u202f", "\u205f", "\u3000", "\u3000\u3000", "\u200b", "\ufeff", "\u180e"),
)
APOSTROPHES = ("'", "'", "'", "''", "\u2019", "\u02bc")
CONTRACTED = (
    "s",
    "t",
    "re",
    "ve",
    "m",
    "ll",
    "d",
    "S",
    "T",
    "RE",
    "Ve",
    "M",
    "lL",
    "D",
    "ſ",
    "r",
    "l",
    "v",
    "x",
)
WORDS = (
    "don",
    "we",
    "I",
    "they",
    "Größe",
    "HTML",
    "fooBar",
    "é",
    "中文",
    "x",
    "ǅ",
    "İ",
    "naïve",
    "привет",
    "שלום",
)
DIGITS = ("0", "1", "7", "42", "123", "1234", "2024", "٣", "१२३", "½", "²", "Ⅷ", "𝟘", "①", "0x1f", "3.14")
SIGNS = (
    *'!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~',
    "--",
    "==",
    "...",
    "/*",
    "//",
    ";\n",
    ");\n\n",
    '"""',
    "…",
    "—",
    "¿",
)
MARKS = ("\u0301", "\u0308", "\u0327", "\u093f", "\u0e34", "\u05b0", "\u0651", "\u20dd", "\ufe0f", "\u0345")
BASES = ("e", "a", "A", "n", " ", "1", "-", "क", "ก", "ש", "ل", "中", "한", "\u1100\u1161\u11a8")
EMOJI = ("😀", "👩", "👨", "👧", "🧑", "🏳️", "❤️", "☺", "🚀", "🌾", "⚕️", "🎨", "1️⃣", "🇩", "🇪", "🇯", "🇵", "👍")
SKIN_TONES = ("", "", "🏻", "🏽", "🏿")
JOINER = "\u200d"
LITERALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "</s>",
    "[EOS]",
    "Ġthe",
    "Ċ",
    "▁",
    "##s",
    "\x00",
    "\x7f",
    "\ufffd",
)
CODE = (
    "def ",
    "self.",
    "return",
    "():\n",
    "    ",
    "\t",
    "lambda x: ",
    "x1 = ",
    "# ",
    "items[i]",
    "f'{x!r}'",
    "->",
)
# Begin, end and share of random code points: all planes, the ones that are used more often.
RANGES = (
    *((0x0, 0x80, 4), (0x80, 0x250, 4), (0x250, 0x590, 3), (0x590, 0xE00, 3), (0xE00, 0x2000, 2)),
    *(
        (0x2000, 0x2C00, 3),
        (0x2C00, 0x3400, 2),
        (0x3400, 0xA000, 3),
        (0xA000, 0xD800, 2),
        (0xE000, 0x10000, 2),
    ),
    *((0x10000, 0x20000, 3), (0x20000, 0x40000, 1), (0x40000, 0x110000, 1)),
)
# Blocks of the scanner have 64 bytes, its segments 2,048: now and then an edge should lie inside.
PADDINGS = (58, 60, 61, 62, 63, 64, 126, 2040, 2044, 2046, 2047, 2048)


def generated_texts(count: int, seed: str, tokens: Sequence[str]) -> list[str]:
    """Give so many strings; `tokens` are texts of a vocabulary."""
    rng = random.Random(seed)
    kinds = _kinds(rng, tokens)
    names = list(kinds)

    def text() -> str:
        number = rng.randrange(20)
        if number < 11:
            fragment = kinds[rng.choice(names)]
            made = "".join([fragment() for _ in range(rng.randrange(1, 13))])
        else:
            made = "".join([kinds[rng.choice(names)]() for _ in range(rng.randrange(1, 16))])
        if number == 19:
            filler = rng.choice(("x", " ", "é", "中", "-", "1", "x "))
            made = filler * (rng.choice(PADDINGS) // len(filler.encode("utf-8"))) + made
        return made

    return [text() for _ in range(count)]


def _kinds(rng: random.Random, tokens: Sequence[str]) -> dict[str, Callable[[], str]]:
    """Functions that give one fragment each."""
    choice = rng.choice
    ranges = [(first, end) for first, end, share in RANGES for _ in range(share)]

    def code_point() -> str:
        first, end = choice(ranges)
        return chr(rng.randrange(first, end))

    def contraction() -> str:
        return choice(("", " ", "")) + choice(WORDS) + choice(APOSTROPHES) + choice(CONTRACTED)

    def marked() -> str:
        return choice(BASES) + "".join([choice(MARKS) for _ in range(rng.randrange(1, 4))])

    def emoji() -> str:
        people = [choice(EMOJI) + choice(SKIN_TONES) for _ in range(rng.randrange(1, 5))]
        return choice((JOINER, JOINER, "")).join(people)

    def run() -> str:
        unit = choice(
            (choice(SIGNS), choice(DIGITS), choice(WHITE_SPACE), code_point(), "a", "ab", choice(tokens))
        )
        # Short ones mostly; up to some segments' worth of the joined chunks of long pieces.
        return unit * choice((2, 3, 5, 8, 15, 16, 17, 31, 33, 64, 79, rng.randrange(1, 150)))

    def letters() -> str:
        return "".join(rng.choices("abcdefghijklmnopqrstuvwxyzABCXYZ", k=rng.randrange(1, 48)))

    return {
        "random Unicode": lambda: "".join([code_point() for _ in range(rng.randrange(1, 9))]),
        "white space": lambda: choice(WHITE_SPACE),
        "contractions": contraction,
        "marks": marked,
        "emoji": emoji,
        "runs": run,
        "letters": letters,
        "digits": lambda: choice(DIGITS) * rng.randrange(1, 4),
        "signs": lambda: choice(SIGNS),
        "code": lambda: choice(CODE),
        "literals": lambda: choice(LITERALS),
        "tokens": lambda: choice(tokens),
    }
