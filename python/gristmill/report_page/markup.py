"""HTML as a tree: whatever text goes in is escaped, so that no corpus can write a page of its own.

`xml.etree` builds and serializes; this module only makes building short, and replaces what HTML cannot hold.
"""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

Child = Element | str


def element(tag: str, attributes: dict[str, str] | str | None = None, *children: Child) -> Element:
    """Return an element; a string instead of attributes is its class.

    Example:
        >>> to_html(element("p", "note", "a < b", element("b", None, "!")))
        '<p class="note">a &lt; b<b>!</b></p>'
    """
    if isinstance(attributes, str):
        attributes = {"class": attributes}
    made = Element(tag, {name: _clean(value) for name, value in (attributes or {}).items()})
    last: Element | None = None
    for child in children:
        if isinstance(child, Element):
            made.append(child)
            last = child
        elif last is None:
            made.text = (made.text or "") + _clean(child)
        else:
            last.tail = (last.tail or "") + _clean(child)
    return made


def raw(tag: str, code: str, attributes: dict[str, str] | None = None) -> Element:
    """Return a `style` or `script` element; only for code of this package, which is not escaped."""
    if "</" in code:
        raise ValueError(f"code of a {tag} element holds '</' (expected none: it would end the element)")
    made = Element(tag, attributes or {})
    made.text = code
    return made


def to_html(tree: Element) -> str:
    """Return the text of a tree."""
    return ElementTree.tostring(tree, encoding="unicode", method="html")


def _clean(text: str) -> str:
    """Replace what UTF-8 or HTML cannot hold: lone surrogates (of file names), control characters."""
    return "".join(
        character
        if character in "\n\t"
        or (character >= " " and not "\x7f" <= character <= "\x9f" and not "\ud800" <= character <= "\udfff")
        else "�"
        for character in text
    )
