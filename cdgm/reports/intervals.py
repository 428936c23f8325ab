"""A small drawing of an interval against the value that it is held to."""

from __future__ import annotations

import math

from cdgm.reports.html import Html, element

WIDTH, HEIGHT, MARGIN, AXIS = 480, 52, 44, 20
COLOURS = {"reproduced": "#0064a3", "not reproduced": "#a63c00"}


def interval_plot(
    estimate: float, low: float, high: float, relation: str, value: float, verdict: str
) -> Html:
    """Interval and estimate over an axis whose right side (in both meanings) is shaded.

    Empty where there is no estimate to draw.
    """
    if not all(map(math.isfinite, (estimate, low, high))):
        return Html("")
    start, end = min(low, value), max(high, value)
    room = 0.18 * (end - start) or max(abs(value) * 0.1, 0.1)
    start, end = start - room, end + room

    def x(number: float) -> float:
        return round(MARGIN + (number - start) / (end - start) * (WIDTH - 2 * MARGIN), 1)

    left, right = (x(value), WIDTH - MARGIN) if relation == "at_least" else (MARGIN, x(value))
    colour = COLOURS.get(verdict, "#555555")
    words = f"{number(estimate)}, interval {number(low)} to {number(high)}, wanted {wanted(relation, value)}"
    text = {"font_size": 13, "fill": "#333", "font_family": "sans-serif"}
    # A value near an edge keeps its label inside.
    anchor = "middle" if MARGIN < x(value) < WIDTH - MARGIN else "start" if x(value) <= MARGIN else "end"
    return element(
        "svg",
        element("title", words),
        element("rect", x=left, y=4, width=round(right - left, 1), height=2 * AXIS - 8, fill="#dcebf5"),
        element("line", x1=MARGIN, x2=WIDTH - MARGIN, y1=2 * AXIS - 4, y2=2 * AXIS - 4, stroke="#999"),
        element(
            "line", x1=x(value), x2=x(value), y1=2, y2=2 * AXIS - 4, stroke="#333", stroke_width=2,
            stroke_dasharray="5 3",
        ),
        element("line", x1=x(low), x2=x(high), y1=AXIS, y2=AXIS, stroke=colour, stroke_width=4),
        *(
            element("line", x1=x(end_), x2=x(end_), y1=AXIS - 6, y2=AXIS + 6, stroke=colour, stroke_width=3)
            for end_ in (low, high)
        ),
        element("circle", cx=x(estimate), cy=AXIS, r=6, fill=colour, stroke="#fff", stroke_width=1.5),
        element("text", number(value), x=x(value), y=HEIGHT - 1, text_anchor=anchor, **text),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
    )  # fmt: skip


def number(value: float) -> str:
    """A number to three significant digits, with a true minus sign; a dash for none."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return text.replace("-", "−")


def wanted(relation: str, value: float) -> str:
    """The side that counts, as a sign and a number."""
    return f"{'≥' if relation == 'at_least' else '≤'} {number(value)}"
