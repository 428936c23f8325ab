"""How many dimensions? A sweep over sizes of both blocks, and one recommendation by a written rule."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cdgm.estimator.interpretation import AGREE
from cdgm.estimator.sweep import JUDGED, MEASURED, check_values, judged, sweep, words

if TYPE_CHECKING:
    from anndata import AnnData

SIZES = ["n_background", "n_salient"]
COLUMNS = [*SIZES, *MEASURED, *JUDGED]


@dataclass(frozen=True)
class Dimensions:
    """What a sweep found.

    Attributes
    ----------
    table
        A row a size: ``n_background``, ``n_salient``, what ``cdgm.estimator.sweep.measured`` says of it, and
        what the rule makes of that: ``within``, ``stable``, ``clean``, ``recommended``.
    n_background, n_salient
        The recommendation.
    reason
        Why, in a sentence.
    """

    table: pd.DataFrame
    n_background: int
    n_salient: int
    reason: str

    def plot(self, prefix: str | Path) -> None:
        """Write a figure to ``<prefix>.png`` and ``.pdf``, and its numbers to ``.csv``."""
        from cdgm.figures.choices import dimensions_figure
        from cdgm.plotting import style

        style.save(dimensions_figure(self.table, AGREE), self.table, prefix)


def choose_dimensions(
    data: AnnData | Mapping[str, Any],
    n_background: Sequence[int] = (5, 10, 20),
    n_salient: Sequence[int] = (2, 5, 10),
    n_members: int = 3,
    max_steps: int | None = None,
    progress_bar: bool = True,
    variant: str | Mapping[str, Any] = "cvae",
    **options: Any,
) -> Dimensions:
    """Fit every combination of sizes and recommend one.

    The rule: (1) of all sizes keep those whose held-out ELBO lies below the best by no more than members of
    one size differ among themselves (the median range over members); (2) of these keep those on whose blocks
    the members agree (``r2`` of at least 0.8) and in at most half of whose members something leaks, if there
    are such, or else those that fulfil one of both; (3) of these take the one with the fewest dimensions in
    all, and of equals the one with fewer salient ones.

    Parameters
    ----------
    data
        An AnnData object that was set up, or arrays of two sources.
    n_background, n_salient
        Sizes to try.
    n_members
        Members of each fit, two or more.
    max_steps, progress_bar
        As in ``ComparativeVAE.train``.
    variant
        How to fit. The plain sum of ELBOs takes a third of the time of the default of ``ComparativeVAE``, and
        is what the rule was measured with most.
    options
        Further arguments of ``ComparativeVAE``, or of ``ComparativeVAE.from_arrays``.

    Raises
    ------
    UserError
        If an argument is wrong, or every fit diverged.
    """
    sizes = [
        check_values("choose_dimensions", name, values, "sizes")
        for name, values in (("n_background", n_background), ("n_salient", n_salient))
    ]
    pairs = [dict(zip(SIZES, pair, strict=True)) for pair in itertools.product(*sizes)]
    # What a point is called is what it is made with.
    points = [(pair, pair) for pair in pairs]
    options = options | {"variant": variant}
    return recommend(sweep("choose_dimensions", data, points, n_members, max_steps, progress_bar, options))


def recommend(table: pd.DataFrame) -> Dimensions:
    """Apply the rule of :func:`choose_dimensions` to measured sizes.

    Parameters
    ----------
    table
        The columns of :class:`Dimensions` before ``within``.
    """
    table, tolerance = judged(table)
    marks = table["stable"].astype(int) + table["clean"]
    kept = table[table["within"] & (marks == marks[table["within"]].max())]
    kept = kept.assign(total=kept["n_background"] + kept["n_salient"])
    chosen = kept.sort_values(["total", "n_salient"], kind="stable").index[0]
    row = table.loc[chosen]
    reason = (
        f"{int(row['n_background'])} background and {int(row['n_salient'])} salient dimensions: "
        f"{words(row)}; the smallest of {len(kept)} such sizes whose held-out ELBO is within {tolerance:.3g} "
        f"nats of the best ({row['elbo']:.2f}, best {table['elbo'].max():.2f})"
    )
    table = table.assign(recommended=table.index == chosen)[COLUMNS]
    return Dimensions(table, int(row["n_background"]), int(row["n_salient"]), reason)
