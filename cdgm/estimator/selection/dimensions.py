"""Choose the dimensions of both blocks: a sweep over sizes, and one recommendation by a written rule."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cdgm.estimator.interpretation import AGREE
from cdgm.estimator.selection.sweep import JUDGED, MEASURED, distinct, judged, sweep, words

if TYPE_CHECKING:
    from anndata import AnnData

SIZES = ["n_background", "n_salient"]
COLUMNS = [*SIZES, *MEASURED, *JUDGED]


@dataclass(frozen=True)
class Dimensions:
    """Result of :func:`choose_dimensions`.

    Attributes
    ----------
    table
        A row a size: ``n_background``, ``n_salient``, the columns of
        :func:`cdgm.estimator.selection.sweep.measured`, and the decisions of the rule: ``within``,
        ``stable``, ``clean``, ``recommended``.
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
        from cdgm.plotting.saving import save

        save(dimensions_figure(self.table, AGREE), self.table, prefix)


def choose_dimensions(
    data: AnnData | Mapping[str, Any],
    n_background: Sequence[int] = (5, 10, 20),
    n_salient: Sequence[int] = (2, 5, 10),
    n_members: int = 3,
    max_steps: int | None = None,
    progress_bar: bool = True,
    early_stopping: bool | None = None,
    device: str = "cpu",
    variant: str | Mapping[str, Any] = "cvae",
    **options: Any,
) -> Dimensions:
    """Fit every combination of sizes and recommend one.

    The rule: (1) keep the sizes whose held-out ELBO lies below the best by no more than the members of one
    size differ among themselves (the median range over members); (2) of these keep those on whose blocks the
    members agree (``r2`` of at least 0.8) and in at most half of whose members something leaks, or, if no
    size meets both, those that meet one; (3) of these take the one with the fewest dimensions in all, and of
    equals the one with fewer salient ones.

    Parameters
    ----------
    data
        An AnnData object that was set up, or arrays of two sources.
    n_background, n_salient
        Sizes to try.
    n_members
        Members of each fit, two or more.
    max_steps, progress_bar, early_stopping, device
        As in ``ComparativeModel.train``.
    variant
        How to fit. The plain sum of ELBOs takes a third of the time of the default of ``ComparativeModel``,
        and the rule was mostly measured with it.
    options
        Further arguments of ``ComparativeModel``, or of ``ComparativeModel.from_arrays``.

    Raises
    ------
    UserError
        If an argument is wrong, or every fit diverged.
    """
    sizes = [
        distinct("choose_dimensions", name, values, "sizes")
        for name, values in (("n_background", n_background), ("n_salient", n_salient))
    ]
    pairs = [dict(zip(SIZES, pair, strict=True)) for pair in itertools.product(*sizes)]
    # The columns of a point are its arguments.
    points = [(pair, pair) for pair in pairs]
    options = options | {"variant": variant}
    training = {
        "max_steps": max_steps, "progress_bar": progress_bar,
        "early_stopping": early_stopping, "device": device,
    }  # fmt: skip
    return recommend(sweep("choose_dimensions", data, points, n_members, training, options))


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
    kept = kept.assign(total=kept[SIZES].sum(axis=1)).sort_values(["total", "n_salient"], kind="stable")
    row = table.loc[kept.index[0]]
    n_background, n_salient = (int(row[size]) for size in SIZES)
    reason = (
        f"{n_background} background and {n_salient} salient dimensions: "
        f"{words(row)}; the smallest of {len(kept)} such sizes whose held-out ELBO is within {tolerance:.3g} "
        f"nats of the best ({row['elbo']:.2f}, best {table['elbo'].max():.2f})"
    )
    table = table.assign(recommended=table.index == row.name)[COLUMNS]
    return Dimensions(table, n_background, n_salient, reason)
