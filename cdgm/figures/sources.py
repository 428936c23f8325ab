"""Figure ``sources``: designs of more and more sources, each with blocks of its own."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cdgm.evaluation.table_slices import Tables, fits_of, order_of, pick
from cdgm.plotting.elbo_differences import elbo_differences, plain_variant
from cdgm.plotting.figure_data import FigureData
from cdgm.plotting.frames import bands, name_groups, panel_title, zero_line
from cdgm.plotting.labels import UNITS, missing_fits, setting_label, variant_label
from cdgm.plotting.legends import legend, strip_handle, strip_handles
from cdgm.plotting.scales import scale_by_metric
from cdgm.plotting.series import Series
from cdgm.plotting.strips import strips
from cdgm.plotting.theme import Look, looks, new_figure, theme
from cdgm.utils.joint_names import JOINT

COLOURS = ("#000000", "#AA4499", "#117733", "#332288", "#999933", "#882255")
#: Title and metric of each panel.
PANELS = {
    "shared": ("shared block recovered", "recovery_cc"),
    "private": ("private blocks recovered", "recovery_cc"),
    "leakage": ("largest leakage", "leakage_r2"),
    "elbo": ("{name} ELBO\nless {plain}'s", "elbo_difference"),
}
WORST = "worst source"


@theme()
def draw(tables: Tables, study: str) -> tuple[Figure, pd.DataFrame]:
    """A band of panels a setting: recovery on each source, largest leakage, evidence of the worst source.

    Raises
    ------
    UserError
        If recovery or linear leakage was not scored.
    """
    scores = pick(fits_of(tables, study, "recovery_cc", "leakage_r2"), twist=0.0)
    plain = plain_variant(tables, study)
    variants = looks(dict.fromkeys(scores["variant"]), COLOURS)
    settings = list(dict.fromkeys(scores["setting"]))
    strip_rows = {s: _strip_rows(pick(scores, setting=s), order_of(tables, study), plain) for s in settings}
    shown = [p for p in PANELS if any(p in set(rows["panel"]) for rows in strip_rows.values())]
    others = [variant_label(v) for v in variants if v != plain]
    words = {"name": f"{others[0]}'s" if len(others) == 1 else "a variant's", "plain": variant_label(plain)}

    most = [rows.groupby("panel")["strip"].nunique().max() for rows in strip_rows.values()]
    heights = [1.35 + 0.19 * len(variants) * n for n in most]
    figure = new_figure(10.5, 0.5 + sum(heights))
    data = FigureData()
    titles = [_title(pick(scores, setting=s), variants) for s in settings]
    grids = []
    for band, rows in zip(bands(figure, titles, heights), strip_rows.values(), strict=True):
        panels = dict(zip(shown, band.subplots(1, len(shown), squeeze=False)[0], strict=True))
        for letter, (panel, axes) in zip("abcdefgh", panels.items(), strict=False):
            _panel(axes, pick(rows, panel=panel), variants, data, letter)
            title, metric = PANELS[panel]
            panel_title(axes, letter, title.format(**words))
            axes.set_xlabel(UNITS[metric])
            if panel == "elbo":
                zero_line(axes, "x")
        grids.append(panels)
    for panel in shown:
        scale_by_metric({PANELS[panel][1]: [grid[panel] for grid in grids]}, "x")
    handles = [strip_handle(look.colour, variant_label(v), look.marker) for v, look in variants.items()]
    legend(figure, [*handles, *strip_handles()])
    return figure, data.table()


def _strip_rows(scores: pd.DataFrame, order: tuple[list[str], list[str]], plain: str) -> pd.DataFrame:
    """Rows of all strips of one setting, with the columns ``panel`` and ``strip`` (its name).

    A block is shared if it is scored on more sources than one.
    """
    recovery = pick(scores, metric="recovery_cc")
    active = {b: [s for s in order[0] if not pick(recovery, block=b, source=s).empty] for b in order[1]}
    shared = [b for b in order[1] if len(active[b]) > 1]
    private = [b for b in order[1] if len(active[b]) == 1]
    found = []

    def add(panel: str, strip: str, rows: pd.DataFrame) -> None:
        found.append(rows.assign(panel=panel, strip=strip))

    for block in shared:
        for source in active[block]:
            name = f"{block} on {source}" if len(shared) > 1 else f"on {source}"
            add("shared", name, pick(recovery, block=block, source=source, truth=block))
    for block in private:
        add("private", block, pick(recovery, block=block, source=active[block][0], truth=block))
    leakage = pick(scores, metric="leakage_r2")
    for into, blocks in (("shared", shared), ("private", private)):
        for of, truths in (("private", private), ("shared", shared)):
            mine = leakage[leakage["block"].isin(blocks) & leakage["truth"].isin(truths)]
            if not mine.empty:
                add("leakage", f"{of} in\na {into} block", _extreme(mine, largest=True))
    differences = elbo_differences(scores, plain) if plain else scores.iloc[:0]
    present = [s for s in order[0] if (differences["source"] == s).any()]
    for source in present:
        add("elbo", f"on {source}", pick(differences, source=source))
    if len(present) > 1:
        add("elbo", WORST, _extreme(differences, largest=False))
    return pd.concat(found, ignore_index=True)


def _extreme(rows: pd.DataFrame, *, largest: bool) -> pd.DataFrame:
    """One row a fit, its largest or smallest value; not finite where one of its scores is not.

    The null is the largest of those of the scores.
    """
    groups = rows.groupby(["setting", "variant", "point", "seed"], sort=False)
    values = groups["value"].max() if largest else groups["value"].min()
    table = pd.DataFrame(
        {"value": values, "finite": groups["finite"].all(), "null_high": groups["null_high"].max()}
    )
    names = {"metric": f"{rows['metric'].iloc[0]}_{'largest' if largest else 'smallest'}"}
    for column in ("source", "block", "truth"):
        names[column] = JOINT.join(dict.fromkeys(rows[column]))
    return table.reset_index().assign(**names)


def _panel(axes: Axes, rows: pd.DataFrame, variants: dict[str, Look], data: FigureData, letter: str) -> None:
    names = list(dict.fromkeys(rows["strip"]))
    series = [Series({"variant": v}, look) for v, look in variants.items() if (rows["variant"] == v).any()]
    strips(axes, rows, [{"strip": name} for name in names], series, data, letter)
    name_groups(axes, names)
    if WORST in names[1:]:
        axes.axhline(names.index(WORST) - 0.5, color="#888888", linewidth=0.7, zorder=0.6)


def _title(scores: pd.DataFrame, variants: Iterable[str]) -> str:
    """Name of a setting, how many sources it has, and which fits are missing."""
    sources = pick(scores, metric="recovery_cc")["source"].nunique()
    text = f"{setting_label(scores['setting'].iloc[0])} ({sources} sources)"
    for variant in variants:
        note = missing_fits(pick(scores, variant=variant))
        text += f"; {variant_label(variant)}: {note}" if note else ""
    return text
