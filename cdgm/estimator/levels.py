"""Which level? A sweep over how strongly a variant presses for clean blocks, and one recommendation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cdgm.estimator.interpretation import AGREE
from cdgm.estimator.sweep import JUDGED, MEASURED, check_values, judged, sweep, words
from cdgm.estimator.variant_levels import Levels

if TYPE_CHECKING:
    from anndata import AnnData

COLUMNS = ["level", "strength", *MEASURED, *JUDGED]


@dataclass(frozen=True)
class Level:
    """What a sweep found.

    Attributes
    ----------
    table
        A row a level, the weakest first: ``level``; ``strength``, its place, 0 for the fit without; what
        ``cdgm.estimator.sweep.measured`` says of it; and what the rule makes of that: ``within``, ``stable``,
        ``clean``, ``recommended``.
    level
        The recommendation.
    variant
        The variant at this level, for ``ComparativeVAE(variant=...)``.
    reason
        Why, in a sentence.
    number
        What the level is: ``weight``, ``alpha`` or ``level``.
    of
        The penalties or constraints that have it.
    """

    table: pd.DataFrame
    level: float
    variant: dict[str, Any]
    reason: str
    number: str
    of: tuple[str, ...]

    def plot(self, prefix: str | Path) -> None:
        """Write a figure to ``<prefix>.png`` and ``.pdf``, and its numbers to ``.csv``."""
        from cdgm.figures.choices import level_figure
        from cdgm.plotting import style

        title = f"{self.number} of {' and '.join(self.of)}"
        style.save(level_figure(self.table, title, AGREE), self.table, prefix)


def choose_level(
    data: AnnData | Mapping[str, Any],
    variant: str | Mapping[str, Any] = "hsic-mmd-cvae",
    levels: Sequence[float] | None = None,
    of: str | None = None,
    n_members: int = 3,
    max_steps: int | None = None,
    progress_bar: bool = True,
    **options: Any,
) -> Level:
    """Fit a variant without its penalties (or constraints) and at several levels of them; recommend one.

    The rule: (1) of all levels, the fit without among them, keep those whose held-out ELBO lies below the
    best by no more than members of one level differ among themselves, and of these those on which members
    agree, if there are such; (2) take the weakest at which nothing leaks; (3) where something leaks at all of
    them, take the strongest: pressing as hard as costs nothing.

    Parameters
    ----------
    data
        An AnnData object that was set up, or arrays of two sources.
    variant
        A variant with penalties or constraints.
    levels
        Levels to try: weights of penalties; of constraints ``alpha``, or ``level`` where the variant has
        that. The fit without is always there. By default
        those of :data:`cdgm.estimator.variant_levels.NUMBERS`.
    of
        Name of a penalty or constraint to sweep alone; by default all penalties, or else all constraints.
    n_members
        Members of each fit, two or more.
    max_steps, progress_bar
        As in ``ComparativeVAE.train``.
    options
        Further arguments of ``ComparativeVAE``, or of ``ComparativeVAE.from_arrays``: sizes above all.

    Raises
    ------
    UserError
        If an argument is wrong, or every fit diverged.
    """
    swept = Levels.find(variant, of)
    given = check_values("choose_level", "levels", swept.kind.usual if levels is None else levels, "levels")
    ordered = swept.kind.ordered([float(level) for level in given if level != swept.kind.off])
    points = [
        ({"level": level, "strength": i}, {"variant": swept.at(level)})
        for i, level in enumerate([swept.kind.off, *ordered])
    ]
    table = sweep("choose_level", data, points, n_members, max_steps, progress_bar, options)
    table, level, reason = recommend_level(table, f"{swept.number} of {' and '.join(swept.of)}")
    return Level(table, level, swept.at(level), reason, swept.number, swept.of)


def recommend_level(table: pd.DataFrame, what: str) -> tuple[pd.DataFrame, float, str]:
    """Apply the rule of :func:`choose_level` to measured levels.

    Parameters
    ----------
    table
        The columns of :class:`Level` before ``within``.
    what
        What the level is, for the reason.

    Returns
    -------
    table, level, reason
        As in :class:`Level`.
    """
    table, tolerance = judged(table)
    kept = table[table["within"]].sort_values("strength")
    stable = kept[kept["stable"]] if kept["stable"].any() else kept
    clean = stable[stable["clean"]]
    row = clean.iloc[0] if len(clean) else stable.iloc[-1]
    rank = "weakest at which nothing leaks" if len(clean) else "strongest"
    name = f"no {what}" if row["strength"] == 0 else f"{what} {row['level']:g}"
    reason = (
        f"{name}: the {rank} of {len(stable)} levels whose held-out ELBO is within {tolerance:.3g} nats of "
        f"the best ({row['elbo']:.2f}, best {table['elbo'].max():.2f}); {words(row)}"
    )
    table = table.assign(recommended=table.index == row.name)[COLUMNS]
    return table, float(row["level"]), reason
