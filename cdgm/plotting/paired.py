"""Evidence of fits against a plain one of the same seed, and scales for values of both signs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from cdgm.evaluation.table_slices import Tables, main_source, order_of, pick
from cdgm.plotting import style
from cdgm.plotting.lanes import Member, number, share_range
from cdgm.plotting.sweeps import private_blocks, scored_on

#: Differences of evidence are linear up to this many nats and logarithmic beyond.
EVIDENCE_LINEAR = 1.0


def elbo_differences(scores: pd.DataFrame, plain: str) -> pd.DataFrame:
    """Held-out ELBO of every fit less that of ``plain`` with the same seed, setting and source.

    Seeds share data and initial draws, so that most of what varies between them cancels.

    Parameters
    ----------
    scores
        Rows of a study.
    plain
        The variant to compare with, one without a sweep.

    Returns
    -------
    pandas.DataFrame
        Rows as in ``scores`` with the metric ``elbo_difference``, without those of ``plain``. A fit that
        diverged, or whose plain fit did or is missing, is not finite.
    """
    rows = pick(scores, metric="elbo")
    keys = ["setting", "seed", "source"]
    ground = rows[(rows["variant"] == plain) & rows["finite"]].drop_duplicates(keys)
    ground = ground.set_index(keys)["value"].rename("ground")
    rows = rows[rows["variant"] != plain].join(ground, on=keys)
    rows = rows.assign(value=rows["value"] - rows["ground"], metric="elbo_difference")
    return rows.assign(finite=rows["finite"] & np.isfinite(rows["value"])).drop(columns="ground")


def members_of(
    tables: Tables, study: str, scores: pd.DataFrame, metrics: Iterable[str]
) -> dict[str, list[Member]]:
    """What each panel of a study of penalties or constraints shows, by metric, without empty panels.

    Blocks are scored where most blocks are active; ``kl`` is of private blocks, ``elbo_difference`` of
    sources.
    """
    sources, blocks = order_of(tables, study)
    of_block = style.colours(blocks, style.BLOCK_COLOURS)
    of_source = style.colours(sources, style.SOURCE_COLOURS)
    found: dict[str, list[Member]] = {}
    for metric in metrics:
        rows = pick(scores, metric=metric)
        if metric == "elbo_difference":
            members = [(s, "", "", of_source[s]) for s in sources if (rows["source"] == s).any()]
        elif metric in ("kl", "active_dims"):
            own = private_blocks(tables, study) if metric == "kl" else blocks
            there = [b for b in own if (rows["block"] == b).any()]
            members = [(main_source(rows, b), b, "", of_block[b]) for b in there]
        else:
            members = [(s, b, t, of_block[b]) for s, b, t in scored_on(scores, metric, blocks)]
        if members:
            found[metric] = members
    return found


def signed_scale(
    panels: Sequence[Axes],
    which: str,
    *,
    linear: float,
    low: float | None = None,
    high: float | None = None,
    linear_share: float = 1.0,
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
    linear_share
        Length of the linear part on one side of zero, in decades of the logarithmic part.
    """
    ends = [getattr(axes.dataLim, f"interval{which}") for axes in panels]
    found = [v for pair in ends if np.isfinite(pair).all() for v in pair]
    found += [v for v in (low, high) if v is not None]
    if not found:
        return
    bottom, top = min(found), max(found)
    if max(abs(bottom), abs(top)) <= 2 * linear:
        share_range(panels, which, low, high)
        return
    stretched = _stretch(np.array([bottom, top]), linear, linear_share)
    margin = 0.06 * (stretched[1] - stretched[0]) or 0.5
    bottom, top = _shrink(stretched + np.array([-margin, margin]), linear, linear_share)
    for axes in panels:
        getattr(axes, f"set_{which}scale")("symlog", linthresh=linear, linscale=linear_share)
        getattr(axes, f"set_{which}lim")(bottom, top)
        axis = getattr(axes, f"{which}axis")
        axis.set_major_locator(FixedLocator(_ticks(bottom, top, linear, linear_share)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: _tick_text(value)))


def _tick_text(value: float) -> str:
    """As :func:`cdgm.plotting.lanes.number`, with a power of ten where zeros would be counted: 2·10⁻⁵."""
    if value == 0 or abs(value) >= 0.001:
        return number(float(f"{value:.6g}"))
    digits, _, power = f"{value:.5e}".partition("e")
    raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{number(float(digits))}·10{raised}"


def _stretch(values: np.ndarray, linear: float, share: float) -> np.ndarray:
    """Places on the axis, in decades of its logarithmic part."""
    far = np.log10(np.maximum(np.abs(values), linear) / linear) + share
    return np.sign(values) * np.where(np.abs(values) > linear, far, share * np.abs(values) / linear)


def _shrink(places: np.ndarray, linear: float, share: float) -> np.ndarray:
    """Inverse of :func:`_stretch`."""
    far = linear * 10 ** (np.maximum(np.abs(places), share) - share)
    return np.sign(places) * np.where(np.abs(places) > share, far, linear * np.abs(places) / share)


def _ticks(low: float, high: float, linear: float, share: float, gap: float = 0.17) -> list[float]:
    """Zero, ``linear`` and round numbers beyond, as many as lie ``gap`` of the axis apart."""
    tops = max(abs(low), abs(high), linear)
    decades = linear * 10.0 ** np.arange(int(np.floor(np.log10(tops / linear) + 1e-9)) + 1)
    fine = [decades * f for f in (1, 2, 5)], [decades * f for f in (1, 3)]
    choices = [np.sort(np.concatenate(f)) for f in fine]
    length = np.ptp(_stretch(np.array([low, high]), linear, share))
    for kept in [*choices, *(decades[::stride] for stride in range(1, len(decades) + 1))]:
        ticks = [t for t in sorted({0.0, *kept, *-kept}) if low <= t <= high]
        if len(ticks) < 2 or np.diff(_stretch(np.array(ticks), linear, share)).min() >= gap * length:
            break
    return ticks
