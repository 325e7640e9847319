"""Charts of HTML and inline SVG that keep their letters' size at any width.

The lines are an SVG stretched over the plot (its strokes do not stretch); labels and points are HTML, placed
in per cent. So a chart needs no script to be seen, follows the colours of the page, and has a fixed height.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from gristmill.report_page.markup import element
from gristmill.report_page.scales import Scale, short


@dataclass(frozen=True)
class Point:
    """A point with its tip (lines of text), and where known an interval of its y."""

    x: float
    y: float
    tip: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """Points of one colour; `number` is its place among the tokenizers, which decides colour and dashes."""

    name: str
    number: int
    points: Sequence[Point]
    has_line: bool = True


@dataclass(frozen=True)
class Axis:
    """What an axis shows; the label names the unit."""

    label: str
    is_log: bool = False
    from_zero: bool = False
    is_share: bool = False


def line_chart(
    name: str, x: Axis, y: Axis, series: Sequence[Series], marks: Sequence[tuple[float, str]] = ()
) -> Element:
    """Return a chart of lines and points.

    Args:
        name: what a screen reader calls it.
        x, y: the axes.
        series: what is drawn.
        marks: vertical lines, as x and label.
    """
    points = [point for one in series for point in one.points]
    x_scale = Scale.over([point.x for point in points], x.is_log, x.from_zero)
    y_values = [value for point in points for value in (point.y, point.low, point.high) if value is not None]
    y_scale = Scale.over(y_values, y.is_log, y.from_zero)
    drawing = element("svg", {"viewBox": "0 0 100 100", "preserveAspectRatio": "none", "aria-hidden": "true"})
    plot = element(
        "div",
        {
            "class": "plot",
            "role": "group",
            "data-rove": "",
            "aria-label": f"{name}; arrow keys move between the points",
        },
        drawing,
    )
    for tick in x_scale.ticks():
        place = x_scale.position(tick)
        drawing.append(_line(place, 0, place, 100, "grid"))
        plot.append(element("span", {"class": "tick x", "style": f"left:{place:.2f}%"}, _tick(tick, x)))
    for tick in y_scale.ticks():
        place = y_scale.position(tick)
        drawing.append(_line(0, 100 - place, 100, 100 - place, "grid"))
        plot.append(element("span", {"class": "tick y", "style": f"bottom:{place:.2f}%"}, _tick(tick, y)))
    for mark, label in marks:
        place = x_scale.position(mark)
        drawing.append(_line(place, 0, place, 100, "mark"))
        side = f"right:{100 - place:.2f}%" if place > 50 else f"left:{place:.2f}%"
        plot.append(element("span", {"class": "mark-label", "style": side}, label))
    for one in series:
        placed = [(x_scale.position(p.x), y_scale.position(p.y), p) for p in one.points]
        if one.has_line and len(placed) > 1:
            path = " ".join(f"{left:.2f},{100 - bottom:.2f}" for left, bottom, _ in placed)
            drawing.append(element("polyline", {"points": path, "class": f"line s{one.number % 6}"}))
        for left, bottom, point in placed:
            if point.low is not None and point.high is not None:
                low, high = y_scale.position(point.low), y_scale.position(point.high)
                drawing.append(_line(left, 100 - low, left, 100 - high, f"interval s{one.number % 6}"))
            plot.append(
                _dot(left, bottom, f"dot s{one.number % 6}{'' if one.has_line else ' big'}", point.tip)
            )
    return element(
        "div",
        "chart",
        _legend(series),
        element("div", "y-label", y.label),
        element("div", "frame", plot),
        element("div", "x-label", x.label),
    )


def _legend(series: Sequence[Series]) -> Element:
    legend = element("ul", "legend")
    for one in series:
        shape = "swatch" if one.has_line else "swatch point"
        legend.append(element("li", None, element("span", f"{shape} s{one.number % 6}"), one.name))
    return legend


def _dot(left: float, bottom: float, kind: str, tip: str) -> Element:
    attributes = {"class": kind, "style": f"left:{left:.2f}%;bottom:{bottom:.2f}%", "data-tip": tip}
    return element(
        "span", attributes | {"role": "img", "aria-label": tip.replace("\n", ", "), "tabindex": "-1"}
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Element:
    places = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return element("line", {name: f"{value:.2f}" for name, value in places.items()} | {"class": kind})


def _tick(value: float, axis: Axis) -> str:
    return f"{value * 100:.4g}%" if axis.is_share else short(value)
