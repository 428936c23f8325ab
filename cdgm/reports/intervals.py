"""A small drawing of an interval and the threshold that it has to pass, as SVG."""

from __future__ import annotations

import math

from cdgm.reports.rendering import bound, number, render

WIDTH, HEIGHT, MARGIN = 480, 52, 44


def interval_plot(estimate: float, low: float, high: float, relation: str, value: float, verdict: str) -> str:
    """Draw an estimate with its interval over an axis; the side of the threshold that counts is shaded.

    Parameters
    ----------
    estimate, low, high
        Estimate and ends of its interval, in the units of the threshold.
    relation, value
        ``at_least`` or ``at_most``, and the threshold.
    verdict
        Verdict on this condition; it chooses the colour.

    Returns
    -------
    str
        An ``<svg>`` with a text alternative; empty if a number is not finite.
    """
    if not all(map(math.isfinite, (estimate, low, high))):
        return ""
    start, end = min(low, value), max(high, value)
    room = 0.18 * (end - start) or max(abs(value) * 0.1, 0.1)
    start, end = start - room, end + room

    def x(position: float) -> float:
        return round(MARGIN + (position - start) / (end - start) * (WIDTH - 2 * MARGIN), 1)

    threshold = x(value)
    left, right = (threshold, WIDTH - MARGIN) if relation == "at_least" else (MARGIN, threshold)
    text = f"{number(estimate)}, interval {number(low)} to {number(high)}, wanted {bound(relation, value)}"
    return render(
        "interval.svg.j2",
        width=WIDTH,
        height=HEIGHT,
        ends=(MARGIN, WIDTH - MARGIN),
        shade=(left, round(right - left, 1)),
        threshold=threshold,
        label=number(value),
        # The label of a threshold near an edge stays inside.
        anchor="start" if threshold <= 2 * MARGIN else "end" if threshold >= WIDTH - 2 * MARGIN else "middle",
        interval=(x(low), x(high)),
        estimate=x(estimate),
        kind={"supported": "yes", "contradicted": "no"}.get(verdict, "open"),
        text=text,
    )
