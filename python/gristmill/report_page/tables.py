"""Tables that are read at any width: where the columns have no room, each row becomes a list of its cells.

The width at which that happens is that of the frame, not of the screen (a container query), and depends on
the columns. What is displayed so loses the roles of a table: they are said again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from gristmill.report_page.markup import Child, element

# Widths of a frame in CSS pixels below which a table may be stacked. The last one is wider than any frame.
STACK_WIDTHS = (480, 620, 730, 900, 1040, 9999)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: its title, its unit or rule in smaller letters, the room it needs in CSS pixels."""

    title: str
    unit: str = ""
    width: int = 150
    is_text: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row: the title with its rule in smaller letters, then a cell for each further column.

    A row without cells is a heading of those that follow.
    """

    title: str
    rule: str = ""
    cells: Sequence[Sequence[Child]] = ()
    is_chosen: bool = False


def table(name: str, columns: Sequence[Column], rows: Sequence[Row]) -> Element:
    """Return a table in its frame; the first column holds the titles of the rows."""
    head = element("tr", {"role": "row"})
    for column in columns:
        unit = [element("span", "rule", column.unit)] if column.unit else []
        attributes = {"role": "columnheader", "scope": "col", "style": f"min-width:{column.width}px"}
        attributes |= {"class": "text"} if column.is_text else {}
        head.append(element("th", attributes, column.title, *unit))
    body = element("tbody", {"role": "rowgroup"})
    for row in rows:
        body.append(_row(columns, row))
    needed = sum(column.width for column in columns)
    stack_below = next(width for width in STACK_WIDTHS if width >= min(needed, STACK_WIDTHS[-1]))
    made = element(
        "table",
        {"class": f"stack-{stack_below}", "role": "table"},
        element("thead", {"role": "rowgroup"}, head),
        body,
    )
    return element("div", {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": name}, made)


def stacking_rules(stacked: str) -> str:
    """Return the style of stacked tables, written once for `.stacked`, for each width at which one stacks."""
    return "\n".join(
        f"@container (max-width: {width - 1}px) {{\n{stacked.replace('.stacked', f'.stack-{width}')}}}"
        for width in STACK_WIDTHS
    )


def _row(columns: Sequence[Column], row: Row) -> Element:
    if not row.cells:
        title = element(
            "th", {"role": "columnheader", "scope": "col", "colspan": str(len(columns))}, row.title
        )
        return element("tr", {"class": "section", "role": "row"}, title)
    rule = [element("span", "rule", row.rule)] if row.rule else []
    made = element("tr", {"class": "chosen", "role": "row"} if row.is_chosen else {"role": "row"})
    made.append(element("th", {"role": "rowheader", "scope": "row"}, row.title, *rule))
    for column, cell in zip(columns[1:], row.cells, strict=True):
        # The label is seen where the table is stacked; a screen reader knows the column already.
        label = ", ".join(part for part in (column.title, column.unit) if part)
        attributes = {"role": "cell", "data-label": label} | ({"class": "text"} if column.is_text else {})
        made.append(element("td", attributes, element("div", None, *cell)))
    return made
