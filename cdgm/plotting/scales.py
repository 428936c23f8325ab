"""One scale for the panels that are compared: linear, or linear near zero and logarithmic beyond.

Axes of one scale hold all data of all panels, and at least the given ends, so that noise is not magnified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from cdgm.plotting.labels import number

#: Leakage is linear up to this and logarithmic beyond: .003 and .07 are as far apart as .07 and .9.
LEAKAGE_LINEAR = 0.02
#: Differences of evidence are linear up to this many nats and logarithmic beyond.
EVIDENCE_LINEAR = 1.0


def share_range(
    panels: Sequence[Axes], which: str, low: float | None = None, high: float | None = None
) -> None:
    """One linear range of the axis ``which`` ("x" or "y") for several panels."""
    values = _ends(panels, which, low, high)
    if not values:
        return
    bottom, top = min(values), max(values)
    margin = 0.05 * (top - bottom) or 0.5
    for axes in panels:
        getattr(axes, f"set_{which}lim")(bottom - margin, top + margin)


def leakage_scale(panels: Sequence[Axes], which: str) -> None:
    """One scale for all panels of leakage, which reaches at least from 0 to 0.2."""
    values = _ends(panels, which, 0.0, 0.2)
    low, high = min(values), max(values)
    ticks = [t for t in (-0.5, -0.1, -0.02, 0.0, 0.02, 0.1, 0.5, 1.0) if low - 0.005 <= t <= high * 1.1]
    for axes in panels:
        getattr(axes, f"set_{which}scale")("symlog", linthresh=LEAKAGE_LINEAR, linscale=0.6)
        getattr(axes, f"set_{which}lim")(low - 0.004, high * 1.12)
        _fix_ticks(axes, which, ticks)


def scale_by_metric(panels: Mapping[str, Sequence[Axes]], which: str) -> None:
    """The usual scale of each metric, the same in all of its panels, so that settings compare."""
    for metric, axes in panels.items():
        if metric.startswith("leakage"):
            leakage_scale(axes, which)
        elif metric == "elbo_difference":
            evidence_scale(axes, which)
        elif metric == "kl":
            share_range(axes, which, 0.0)
        elif metric.startswith("recovery"):
            share_range(axes, which, 0.0, 1.0)


def evidence_scale(panels: Sequence[Axes], which: str) -> None:
    """One scale for differences of evidence, which reaches at least one nat to both sides."""
    signed_scale(panels, which, linear=EVIDENCE_LINEAR, low=-1.0, high=1.0)


def signed_scale(
    panels: Sequence[Axes],
    which: str,
    *,
    linear: float,
    low: float | None = None,
    high: float | None = None,
) -> None:
    """One scale for all panels: linear up to ``linear`` on both sides of zero and logarithmic beyond.

    Linear throughout where all data lie within twice that.

    Parameters
    ----------
    panels
        Axes whose data set the range.
    which
        ``x`` or ``y``.
    linear
        Where the logarithmic part begins.
    low, high
        Values that the range holds at least.
    """
    found = _ends(panels, which, low, high)
    if not found:
        return
    bottom, top = min(found), max(found)
    if max(abs(bottom), abs(top)) <= 2 * linear:
        share_range(panels, which, low, high)
        return
    stretched = _stretch(np.array([bottom, top]), linear)
    margin = 0.06 * (stretched[1] - stretched[0]) or 0.5
    bottom, top = _shrink(stretched + np.array([-margin, margin]), linear)
    for axes in panels:
        getattr(axes, f"set_{which}scale")("symlog", linthresh=linear, linscale=1.0)
        getattr(axes, f"set_{which}lim")(bottom, top)
        _fix_ticks(axes, which, _ticks(bottom, top, linear))


def _ends(panels: Sequence[Axes], which: str, *least: float | None) -> list[float]:
    """Ends of the data of all panels, and the given values."""
    ends = [getattr(axes.dataLim, f"interval{which}") for axes in panels]
    found = [float(v) for pair in ends if np.isfinite(pair).all() for v in pair]
    return found + [v for v in least if v is not None]


def _fix_ticks(axes: Axes, which: str, ticks: Sequence[float]) -> None:
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _tick_text(value)))


def _tick_text(value: float) -> str:
    """As :func:`cdgm.plotting.labels.number`, with a power of ten where zeros would be counted: 2·10⁻⁵."""
    if value == 0 or abs(value) >= 0.001:
        return number(float(f"{value:.6g}"))
    digits, _, power = f"{value:.5e}".partition("e")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{number(float(digits))}·10{raised}"


def _stretch(values: np.ndarray, linear: float) -> np.ndarray:
    """Places on the axis, in decades of its logarithmic part; the linear part is as long as a decade."""
    far = np.log10(np.maximum(np.abs(values), linear) / linear) + 1.0
    return np.sign(values) * np.where(np.abs(values) > linear, far, np.abs(values) / linear)


def _shrink(places: np.ndarray, linear: float) -> np.ndarray:
    """Inverse of :func:`_stretch`."""
    far = linear * 10 ** (np.maximum(np.abs(places), 1.0) - 1.0)
    return np.sign(places) * np.where(np.abs(places) > 1.0, far, linear * np.abs(places))


def _ticks(low: float, high: float, linear: float) -> list[float]:
    """Zero, ``linear`` and round numbers beyond, as many as lie a sixth of the axis apart."""
    tops = max(abs(low), abs(high), linear)
    decades = linear * 10.0 ** np.arange(int(np.floor(np.log10(tops / linear) + 1e-9)) + 1)
    fine = [decades * f for f in (1, 2, 5)], [decades * f for f in (1, 3)]
    choices = [np.sort(np.concatenate(f)) for f in fine]
    length = np.ptp(_stretch(np.array([low, high]), linear))
    for kept in [*choices, *(decades[::stride] for stride in range(1, len(decades) + 1))]:
        ticks = [t for t in sorted({0.0, *kept, *-kept}) if low <= t <= high]
        if len(ticks) < 2 or np.diff(_stretch(np.array(ticks), linear)).min() >= 0.17 * length:
            break
    return ticks
