"""How many dimensions? A sweep over sizes of both blocks, and one recommendation by a written rule."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cdgm.api.model import ComparativeVAE
from cdgm.api.reading import AGREE
from cdgm.errors import UserError, bad_input

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)
COLUMNS = [
    "n_background", "n_salient", "elbo", "elbo_range", "agreement_background", "agreement_salient",
    "traces", "active_background", "active_salient", "within", "stable", "clean", "recommended",
]  # fmt: skip
#: Share of members with a trace above which a size counts as leaking.
MOST_TRACES = 0.5


@dataclass(frozen=True)
class Dimensions:
    """What a sweep found.

    Attributes
    ----------
    table
        A row a size. ``elbo``: held-out ELBO, mean over sources, median over members; ``elbo_range``: its
        range over members; ``agreement_<block>``: ``r2`` of the worst pair; ``traces``: share of members in
        which blocks depend on each other or the background block tells the sources; ``active_<block>``:
        median number of axes in use; and what the rule makes of it: ``within``, ``stable``, ``clean``,
        ``recommended``.
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
        from cdgm.plotting import style
        from cdgm.plotting.dimensions_sweep import sweep_figure

        style.save(sweep_figure(self.table, AGREE, MOST_TRACES), self.table, prefix)


def choose_dimensions(
    data: AnnData | Mapping[str, Any],
    n_background: Sequence[int] = (5, 10, 20),
    n_salient: Sequence[int] = (2, 5, 10),
    n_members: int = 3,
    max_steps: int | None = None,
    progress_bar: bool = True,
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
    options
        Further arguments of ``ComparativeVAE``, or of ``ComparativeVAE.from_arrays``.

    Raises
    ------
    UserError
        If an argument is wrong, or every fit diverged.
    """
    for name, sizes in (("n_background", n_background), ("n_salient", n_salient)):
        if isinstance(sizes, int) or not len(sizes) or len(set(sizes)) != len(sizes):
            raise bad_input("choose_dimensions", name, sizes, "a list of different sizes")
    if n_members < 2:
        raise bad_input("choose_dimensions", "n_members", n_members, "two or more, to compare them")
    make = ComparativeVAE.from_arrays if isinstance(data, Mapping) else ComparativeVAE
    rows = []
    for background, salient in itertools.product(n_background, n_salient):
        model = make(data, n_background=background, n_salient=salient, n_members=n_members, **options)
        model.train(max_steps, progress_bar=progress_bar)
        if model.fitted.finite.sum() < 2:
            logger.warning("%d and %d dimensions: fewer than two members are finite", background, salient)
            continue
        rows.append({"n_background": background, "n_salient": salient} | dict(_measured(model)))
        logger.info("%d and %d dimensions: ELBO %.2f", background, salient, rows[-1]["elbo"])
    if not rows:
        raise UserError("choose_dimensions: all fits diverged: use fewer dimensions or another variant")
    return recommend(pd.DataFrame(rows))


def _measured(model: ComparativeVAE) -> Iterator[tuple[str, float]]:
    elbo = model.get_elbo()
    of_member = elbo[elbo["finite"]].groupby("member")["elbo"].mean()
    yield "elbo", of_member.median()
    yield "elbo_range", of_member.max() - of_member.min()
    for block, pairs in model.stability().groupby("block", sort=False):
        # Blocks that are empty in all members agree on nothing.
        yield f"agreement_{block}", pairs["r2"].fillna(0.0).min()
        yield f"active_{block}", pd.concat([pairs["active_a"], pairs["active_b"]]).median()
    leakage = model.get_leakage()
    asked = leakage[leakage["metric"].isin(["hsic", "source_separation"])]
    yield "traces", asked.groupby("member")["trace"].any().mean()


def recommend(table: pd.DataFrame) -> Dimensions:
    """Apply the rule of :func:`choose_dimensions` to measured sizes.

    Parameters
    ----------
    table
        The columns of :class:`Dimensions` up to ``active_salient``.
    """
    tolerance = table["elbo_range"].median()
    table = table.assign(
        within=table["elbo"] >= table["elbo"].max() - tolerance,
        stable=table[["agreement_background", "agreement_salient"]].min(axis=1) >= AGREE,
        clean=table["traces"] <= MOST_TRACES,
    )
    marks = table["stable"].astype(int) + table["clean"]
    best = marks[table["within"]].max()
    kept = table[table["within"] & (marks == best)].assign(total=lambda t: t["n_background"] + t["n_salient"])
    chosen = kept.sort_values(["total", "n_salient"], kind="stable").index[0]
    row = table.loc[chosen]
    quality = {2: "members agree and nothing leaks", 0: "members disagree and something leaks"}
    words = quality.get(best, "members agree, but something leaks" if row["stable"] else
                        "nothing leaks, but members disagree")  # fmt: skip
    reason = (
        f"{int(row['n_background'])} background and {int(row['n_salient'])} salient dimensions: {words}; "
        f"the smallest of {len(kept)} such sizes whose held-out ELBO is within {tolerance:.3g} nats of the "
        f"best ({row['elbo']:.2f}, best {table['elbo'].max():.2f})"
    )
    table = table.assign(recommended=table.index == chosen)[COLUMNS]
    return Dimensions(table, int(row["n_background"]), int(row["n_salient"]), reason)
