"""Choose the dimensions of the background block by taking out what only the target uses."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cdgm.estimator.model import ComparativeModel
from cdgm.estimator.specification import whole_number
from cdgm.evaluation.metrics.asymmetric_axes import ALIVE_IN_ONE, axis_ratios
from cdgm.utils.errors import UserError

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)
COLUMNS = ["fit", "n_background", "n_salient", "member", "elbo", "axis_asymmetry", "moved_axes"]


@dataclass(frozen=True)
class Pruned:
    """Result of :func:`prune_dimensions`.

    Attributes
    ----------
    table
        A row a fit and finite member: ``fit``, 0 for the first; ``n_background``, ``n_salient``; ``member``;
        ``elbo``, held out, mean over sources; ``axis_asymmetry``, the largest of the background block;
        ``moved_axes``, how many are above 3.
    n_background, n_salient
        Dimensions of the last fit.
    model
        The last fit, a trained :class:`cdgm.ComparativeModel`.
    clean
        Whether none of its members has a moved axis.
    reason
        What happened, in a sentence.
    """

    table: pd.DataFrame
    n_background: int
    n_salient: int
    model: ComparativeModel
    clean: bool
    reason: str

    def plot(self, prefix: str | Path) -> None:
        """Write a figure to ``<prefix>.png`` and ``.pdf``, and its numbers to ``.csv``."""
        from cdgm.figures.choices import path_figure
        from cdgm.plotting.saving import save

        save(path_figure(self.table, ALIVE_IN_ONE), self.table, prefix)


def prune_dimensions(
    data: AnnData | Mapping[str, Any],
    n_background: int = 10,
    n_salient: int = 10,
    n_members: int = 3,
    max_refits: int = 10,
    max_steps: int | None = None,
    progress_bar: bool = True,
    early_stopping: bool | None = None,
    device: str = "cpu",
    variant: str | Mapping[str, Any] = "cvae",
    n_starts: int = 1,
    **options: Any,
) -> Pruned:
    """Begin with too many background dimensions, take out those that only the target uses, and fit again.

    An axis of the background block that is alive in the target and idle in the background holds what belongs
    into the salient block (``axis_asymmetry`` above 3), in a dimension that the background does not need. So
    the block loses as many dimensions as the member with the most such axes has, the salient block keeps its
    own, and all members are fitted again, until none has such an axis. Axes that no member has moved to stay,
    so the result may still have spare dimensions.

    Parameters
    ----------
    data
        An AnnData object that was set up, or arrays of two sources.
    n_background, n_salient
        Dimensions to begin with: as many background dimensions as there can be, or more.
    n_members
        Members of each fit. With more of them it takes fewer fits until moved axes show.
    max_refits
        Most fits after the first.
    max_steps, progress_bar, early_stopping, device, n_starts
        As in ``ComparativeModel.train``.
    variant
        How to fit; a penalty on the background block (MMD) would hide what has moved.
    options
        Further arguments of ``ComparativeModel``, or of ``ComparativeModel.from_arrays``.

    Raises
    ------
    UserError
        If an argument is wrong, or all members of a fit diverged.
    """
    limit = whole_number("prune_dimensions", "max_refits", max_refits, 1, 1_000)
    make: Any = ComparativeModel.from_arrays if isinstance(data, Mapping) else ComparativeModel
    training = {
        "max_steps": max_steps, "progress_bar": progress_bar, "early_stopping": early_stopping,
        "device": device, "n_starts": n_starts,
    }  # fmt: skip
    tables: list[pd.DataFrame] = []
    size = n_background
    while True:
        sizes = {"n_background": size, "n_salient": n_salient}
        model = make(data, variant=variant, n_members=n_members, **sizes, **options)
        model.train(**training)
        rows = _measured(model)
        tables.append(rows.assign(fit=len(tables), **sizes)[COLUMNS])
        most = int(rows["moved_axes"].max())
        logger.info("%d background dimensions: up to %d moved axes", size, most)
        if most == 0 or size == 1 or len(tables) > limit:
            break
        size = max(1, size - most)
    table = pd.concat(tables, ignore_index=True)
    path = " -> ".join(map(str, dict.fromkeys(table["n_background"])))
    left = "no member has" if most == 0 else f"up to {most} of each member's axes are"
    what = "an axis that is alive in the target only" if most == 0 else "still alive in the target only"
    reason = (
        f"{size} background and {n_salient} salient dimensions after {len(tables)} "
        f"fit{'s' * (len(tables) > 1)} (background {path}): {left} {what}"
    )
    return Pruned(table, size, n_salient, model, most == 0, reason)


def _measured(model: ComparativeModel) -> pd.DataFrame:
    """member, elbo, axis_asymmetry and moved_axes of each finite member.

    The rows are those of ``get_leakage``: held-out ones, or all where few are held out.
    """
    if not model.ensemble.finite.any():
        raise UserError("prune_dimensions: all members diverged: use fewer dimensions or another variant")
    means = model.ensemble.means(model.network_input(model.split.scored()))
    ((alive, idle),) = model.model_spec.design.comparisons("background")
    elbo = model.get_elbo().groupby("member")["elbo"].mean()
    found = []
    for member in model.ensemble.members():
        ratios = axis_ratios(means[alive, "background"][member], means[idle, "background"][member])
        moved = int((ratios > ALIVE_IN_ONE).sum())
        found.append(
            {"member": member, "elbo": elbo[member], "axis_asymmetry": ratios[0], "moved_axes": moved}
        )
    return pd.DataFrame(found)
