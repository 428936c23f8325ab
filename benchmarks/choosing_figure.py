"""Figure of `benchmarks.choosing`: how often each rule picks the true sizes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cdgm.plotting.frames import name_groups
from cdgm.plotting.theme import MARKERS, REFERENCE_COLOUR, VARIANT_COLOURS, new_figure, theme


@theme()
def figure(rates: pd.DataFrame) -> Figure:
    """A row a setting and in it a point a rule, with its exact interval; grey lines are chance."""
    settings, rules = (list(dict.fromkeys(rates[column])) for column in ("setting", "rule"))
    drawn = new_figure(8.0, 1.2 + 0.62 * len(settings))
    axes = drawn.subplots()
    offsets = np.linspace(-0.3, 0.3, len(rules))
    for colour, marker, offset, rule in zip(VARIANT_COLOURS, MARKERS, offsets, rules, strict=False):
        rows = rates[rates["rule"] == rule].set_index("setting").loc[settings]
        y = np.arange(len(settings)) + offset
        ends = np.abs(rows[["low", "high"]].to_numpy().T - rows["share"].to_numpy())
        axes.errorbar(
            rows["share"],
            y,
            xerr=ends,
            color=colour,
            marker=marker,
            markersize=5,
            linestyle="none",
            label=rule,
        )
    for i, setting in enumerate(settings):
        chance = rates.loc[rates["setting"] == setting, "chance"].iloc[0]
        axes.plot(
            [chance, chance],
            [i - 0.4, i + 0.4],
            color=REFERENCE_COLOUR,
            linestyle=":",
            label="" if i else "chance",
        )
    counts = rates.drop_duplicates("setting")["data_sets"]
    name_groups(axes, [f"{s} ({n})" for s, n in zip(settings, counts, strict=True)])
    axes.set_xlim(-0.03, 1.03)
    axes.set_xlabel("share of data sets with the true sizes picked (95 % interval)")
    drawn.legend(loc="outside upper center", ncols=3)
    return drawn
