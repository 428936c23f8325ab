"""Figure ``recovery_limit``: what keeps fits from the true model's recovery, by where training starts."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from cdgm.evaluation.table_slices import (
    Arm,
    Tables,
    fits_of,
    main_source,
    median_of,
    need,
    order_of,
    pick,
    rows_of,
)
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import name_groups, panel_title
from cdgm.plotting.labels import arm_label, missing_fits, number
from cdgm.plotting.legends import legend, line_handle, strip_handle, strip_handles
from cdgm.plotting.series import Series
from cdgm.plotting.strips import strips
from cdgm.plotting.sweeps import swept
from cdgm.plotting.theme import REFERENCE_COLOUR, Look, new_figure, theme

#: Endings of settings' names, before what is swept, by where training starts.
STARTS = {
    "": ("random weights", Look("#4C78A8", "o")),
    "+truth": ("true decoder, then free", Look("#E45756", "s")),
    "+held": ("true decoder, held", Look("#72A98F", "D")),
}


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """A group of strips a setting, one strip a start: recovery and leakage of the shared block, and the ELBO.

    Raises
    ------
    UserError
        If recovery, nonlinear leakage or the ELBO was not scored.
    """
    scores = _by_start(fits_of(tables, study, "recovery_cc", "leakage_r2_nonlinear", "elbo"))
    elbos = _summed(pick(scores, metric="elbo"))
    block = order_of(tables, study)[1][0]
    source = main_source(need(scores, study, metric="recovery_cc"), block)
    pairs = scores[["group", "variant"]].drop_duplicates()
    arms: list[Arm] = list(pairs.itertuples(index=False, name=None))
    groups = [{"group": group, "variant": variant} for group, variant in arms]
    names = [
        "\n".join([_label(arm, arms), *_missing(pick(scores, **group))])
        for arm, group in zip(arms, groups, strict=True)
    ]
    series = [Series({"start": start}, look) for start, (_, look) in STARTS.items()]

    figure = new_figure(10.0, 1.8 + 0.56 * len(arms))
    panels = figure.subplots(1, 3, sharey=True)
    data = FigureData()
    for axes, letter, metric, title, unit in zip(
        panels,
        "abc",
        ("recovery_cc", "leakage_r2_nonlinear", "elbo"),
        (f"recovery, {block} block", "another block's truth in it", "held-out ELBO"),
        ("mean canonical correlation", "R² by kernel regression", "nats, sum over sources"),
        strict=True,
    ):
        own = {"metric": metric, "source": source, "block": block, "twist": 0.0}
        rows = elbos if metric == "elbo" else pick(scores, **own)
        strips(axes, rows, groups, series, data, letter, size=12, null=letter == "b")
        panel_title(axes, letter, title)
        axes.set_xlabel(unit)
        name_groups(axes, names)
        if metric == "elbo":
            continue
        reference = median_of(pick(rows_of(tables, "scores", study), **own, variant="ceiling")["value"])
        if reference == reference:
            axes.axvline(reference, color=REFERENCE_COLOUR, linestyle="--", linewidth=0.9)
    starts = [
        strip_handle(look.colour, label, look.marker)
        for start, (label, look) in STARTS.items()
        if (scores["start"] == start).any()
    ]
    ceiling = line_handle("median of the true model's posterior means", REFERENCE_COLOUR, linestyle="--")
    legend(figure, [*starts, *strip_handles(), ceiling], columns=3)
    return figure, data.table()


def _summed(elbos: pd.DataFrame) -> pd.DataFrame:
    """One row a fit, the objective: the sum of its sources' ELBOs."""
    keys = ["setting", "group", "start", "variant", "point", "seed"]
    fits = elbos.groupby(keys, sort=False)
    first = fits.first().assign(value=fits["value"].sum(), finite=fits["finite"].all(), source="")
    return first.reset_index()


def _label(arm: Arm, arms: Sequence[Arm]) -> str:
    """Name of a group, with swept numbers."""
    base, values = swept(arm[0])
    numbers = [f"{key.split('.')[-1]} = {number(value)}" for key, value in values.items()]
    return "\n".join([arm_label((base, arm[1]), arms, width=26), *numbers])


def _by_start(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows with a column ``start``, and ``group``, a name for settings that differ in it alone."""
    starts = "|".join(start.replace("+", r"\+") for start in STARTS if start)
    found = scores["setting"].str.extract(rf"^[^@]*?({starts})(?:@|$)")[0].fillna("")
    plain = scores["setting"].str.replace(rf"(?:{starts})(?=@|$)", "", regex=True)
    return scores.assign(start=found, group=plain)


def _missing(rows: pd.DataFrame) -> list[str]:
    """Which fits of a group diverged, by where they started."""
    notes = {label: missing_fits(pick(rows, start=start)) for start, (label, _) in STARTS.items()}
    there = {STARTS[start][0] for start in rows["start"].unique()}
    return [f"({label}: {note})" for label, note in notes.items() if note and label in there]
