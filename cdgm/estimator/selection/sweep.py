"""Fits that differ in one choice, what is measured of each, and the criteria that both rules share."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from cdgm.estimator.interpretation import AGREE
from cdgm.estimator.model import ComparativeModel
from cdgm.estimator.scores import leakage_table, stability_table
from cdgm.utils.errors import UserError, bad_input

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)
#: Permutations of each null, of which only the 95 % quantile is used.
NULL_DRAWS = 50
#: Share of members with a trace above which a fit counts as leaking.
MOST_TRACES = 0.5
BLOCKS = ("background", "salient")
MEASURED = [
    "elbo", "elbo_range", "agreement_background", "agreement_salient", "active_background",
    "active_salient", "dependence", "separation", "traces",
]  # fmt: skip
JUDGED = ["within", "stable", "clean", "recommended"]


def distinct(where: str, name: str, values: Any, what: str) -> list:
    """Refuse values to try that are not a list of different ones."""
    good = isinstance(values, Sequence) and not isinstance(values, str) and len(values) > 0
    if not good or len(set(values)) != len(values):
        raise bad_input(where, name, values, f"a list of different {what}")
    return list(values)


def sweep(
    where: str,
    data: AnnData | Mapping[str, Any],
    points: Iterable[tuple[Mapping[str, float], Mapping[str, Any]]],
    n_members: int,
    training: Mapping[str, Any],
    options: Mapping[str, Any],
) -> pd.DataFrame:
    """Fit every point and measure it.

    Parameters
    ----------
    where
        Name of the caller, for errors.
    data
        An AnnData object that was set up, or arrays of two sources.
    points
        For each point: its columns in the table, and its own arguments of ``ComparativeModel``.
    n_members
        Members of each fit, two or more.
    training
        Arguments of ``ComparativeModel.train``.
    options
        Arguments of ``ComparativeModel`` (or ``from_arrays``) that all points share.

    Returns
    -------
    DataFrame
        A row a point with two finite members or more: its columns, and :data:`MEASURED`.

    Raises
    ------
    UserError
        If an argument is wrong, or every fit diverged.
    """
    if n_members < 2:
        raise bad_input(where, "n_members", n_members, "two or more, to compare them")
    make: Any = ComparativeModel.from_arrays if isinstance(data, Mapping) else ComparativeModel
    # All models are made before the first is trained, so that a mistake in the last one shows at once.
    models = [(columns, make(data, n_members=n_members, **options, **own)) for columns, own in points]
    rows = []
    for columns, model in models:
        name = ", ".join(f"{key} {value:g}" for key, value in columns.items())
        model.train(**training)
        if model.ensemble.finite.sum() < 2:
            logger.warning("%s: fewer than two members are finite", name)
            continue
        rows.append({**columns, **measured(model)})
        logger.info("%s: ELBO %.2f", name, rows[-1]["elbo"])
        # The next stack needs the memory.
        model.ensemble = None
    if not rows:
        raise UserError(f"{where}: all fits diverged: use fewer dimensions or another variant")
    return pd.DataFrame(rows)


def measured(model: ComparativeModel) -> dict[str, float]:
    """:data:`MEASURED` of a trained model with the blocks ``background`` and ``salient``.

    ``elbo``: held-out ELBO, mean over sources, median over members; ``elbo_range``: its range over members;
    ``agreement_<block>``: ``r2`` of the worst pair; ``active_<block>``: median number of active axes;
    ``dependence``: HSIC of the blocks over the 95 % quantile of its null, ``separation``: accuracy of
    predicting the source from neighbours in the background block, both medians over members; ``traces``:
    share of members in which one of both lies above its null.
    """
    table = model.get_elbo()
    of_member = table[table["finite"]].groupby("member")["elbo"].mean()
    found = {"elbo": of_member.median(), "elbo_range": of_member.max() - of_member.min()}
    split = model.split.scored()
    for block, rows in stability_table(model, split, 1).groupby("block", sort=False):
        # Blocks that are empty in all members agree on nothing.
        found[f"agreement_{block}"] = rows["r2"].fillna(0.0).min()
        found[f"active_{block}"] = pd.concat([rows["active_a"], rows["active_b"]]).median()
    leakage = leakage_table(model, "all", split, NULL_DRAWS)
    hsic = leakage[leakage["metric"] == "hsic"]
    apart = leakage[leakage["metric"] == "source_separation"]
    found["dependence"] = (hsic["value"] / hsic["null_high"]).median()
    found["separation"] = apart["value"].median()
    found["traces"] = pd.concat([hsic, apart]).groupby("member")["trace"].any().mean()
    return {name: float(found[name]) for name in MEASURED}


def judged(table: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Add the columns ``within``, ``stable`` and ``clean``; return the tolerance in nats as well.

    ``within``: the ELBO lies below the best by no more than the members of one point differ among themselves
    (the median of ``elbo_range``). ``stable``: members agree on both blocks. ``clean``: at most half of the
    members show a trace.
    """
    tolerance = table["elbo_range"].median()
    table = table.assign(
        within=table["elbo"] >= table["elbo"].max() - tolerance,
        stable=table[[f"agreement_{block}" for block in BLOCKS]].min(axis=1) >= AGREE,
        clean=table["traces"] <= MOST_TRACES,
    )
    return table, float(tolerance)


def words(row: pd.Series) -> str:
    """Agreement and traces of a row in words."""
    agree = "members agree" if row["stable"] else "members disagree"
    return f"{agree}, {'nothing leaks' if row['clean'] else 'something leaks'}"
