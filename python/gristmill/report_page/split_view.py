"""Split text in colours: one token one colour, its id, spelling and bytes in a tip."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from gristmill.byte_alphabet import readable
from gristmill.inspection import TextInspection, TokenizerSplit
from gristmill.report_page.markup import element

_NUM_COLOURS = 6
_MOST_HEX_BYTES = 16
# What the eye cannot see gets a mark; the white space itself follows, so that lines break where they do.
_MARKS = {" ": "·", "\t": "→\t", "\n": "⏎\n", "\r": "␍", "\u00a0": "⍽"}


def split_view(title: str, note: str, inspection: TextInspection) -> Element:
    """Return one text as each tokenizer splits it."""
    panels = element("div", "splits")
    for split in inspection.splits:
        panels.append(_panel(inspection.text, split))
    size = f"{inspection.num_characters:,} characters, {inspection.num_bytes:,} UTF-8 bytes"
    return element("div", None, element("h3", None, title), element("p", "rule", f"{note}{size}"), panels)


def _panel(text: str, split: TokenizerSplit) -> Element:
    label = f"{split.name}: split text; arrow keys move between the tokens"
    data = text.encode()
    shown = element("pre", {"data-rove": "", "role": "group", "aria-label": label})
    place = 0
    for number, token in enumerate(split.tokens):
        start, end = token.characters
        if place < start:  # dropped by the tokenizer: blanks, mostly
            shown.append(element("span", None, text[place:start]))
        first = max(start, place)
        # A character that several tokens share stands in the first of them; the others show their bytes.
        shown_text = _visible(text[first:end]) if first < end else [element("span", "byte", token.text)]
        place = max(place, end)
        lines = [
            f"token {number}: '{token.text}'",
            f"id {token.id}",
            f"spelled {readable(token.token.encode())}",
            f"characters {_span(token.characters)}, bytes {_span(token.bytes)}",
            _hex(data[slice(*token.bytes)]),
        ]
        shown.append(
            element(
                "span",
                {"class": f"t t{number % _NUM_COLOURS}", "data-tip": "\n".join(lines), "tabindex": "-1"},
                *shown_text,
            )
        )
    if place < len(text):
        shown.append(element("span", None, text[place:]))
    return element(
        "div",
        None,
        element("p", "muted", element("strong", None, split.name), f" {len(split.tokens):,} tokens"),
        element("div", "split", shown),
    )


def _visible(text: str) -> Sequence[Element | str]:
    parts: list[Element | str] = []
    for character in text:
        mark = _MARKS.get(character)
        if mark is None:
            is_shown = character.isprintable()
            parts.append(character if is_shown else element("span", "byte", readable(character.encode())))
        else:
            parts.append(element("span", "w", mark[0]))
            if mark[1:]:
                parts.append(mark[1:])
    return parts


def _hex(data: bytes) -> str:
    shown = data[:_MOST_HEX_BYTES].hex(" ")
    return f"UTF-8 {shown}{' …' if len(data) > _MOST_HEX_BYTES else ''}"


def _span(span: tuple[int, int]) -> str:
    return f"{span[0]}–{span[1]}"
