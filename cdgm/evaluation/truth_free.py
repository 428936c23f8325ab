"""Scores of fits that need no truth, one row a member: what could tell that a fit went wrong.

They come from the tables of studies (:func:`scores_without_truth`) and from posterior means of one fit or of
all fits of the same data (:func:`scores_of_latents`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cdgm.evaluation.metrics.inherited_axes import inherited_axis
from cdgm.evaluation.metrics.source_mixing import Neighbourhood
from cdgm.evaluation.metrics.stability import explained_both_ways
from cdgm.utils.joint_names import JOINT

if TYPE_CHECKING:
    from pandas.core.groupby import SeriesGroupBy

#: Held-out rows of each source from which scores of means are formed, evenly spaced.
ROWS = 500
#: What identifies a member in the tables of studies.
MEMBER = ["study", "setting", "variant", "dataset", "fit", "point", "seed", "member"]
#: Score to its name and whether a large value (1) or a small one (-1) is the sign of a fault.
SCORES = {
    "axis_asymmetry": ("asymmetric axis", 1),
    "inherited_axis": ("inherited axis", 1),
    "hsic": ("HSIC of blocks", 1),
    "hsic_p": ("p value of HSIC", -1),
    "source_separation": ("source separation", 1),
    "mmd_shared": ("MMD between sources", 1),
    "kl_private": ("KL of private block", -1),
    "active_dims": ("active axes, shared", 1),
    "elbo_gap": ("ELBO gap", 1),
    "agreement": ("agreement of fits", -1),
}


def scores_without_truth(scores: pd.DataFrame) -> pd.DataFrame:
    """One row for each member of a study's table, with :data:`MEMBER` and a column for each score.

    The worst value over blocks and pairs of sources; ``kl_private`` is the smallest of a private block, and
    ``elbo_gap`` how many nats the held-out ELBO, summed over sources, lies below that of the best fit of the
    same setting and seed, whatever its variant. ``pairs`` holds each shared block with the source above and
    the source below, whose axes are compared.
    """
    axes = scores[scores["metric"] == "axis_asymmetry"]
    shared = scores["block"].isin(axes["block"])

    def of(metric: str, rows: pd.Series | bool = True) -> SeriesGroupBy:
        return scores[(scores["metric"] == metric) & rows].groupby(MEMBER)["value"]

    places = axes.assign(pair=axes["block"] + JOINT + axes["source"])
    table = pd.DataFrame(
        {
            "axis_asymmetry": of("axis_asymmetry").max(),
            "hsic": of("hsic").max(),
            "hsic_p": of("hsic_p").min(),
            "kl_private": of("kl", ~shared).min(),
            "active_dims": of("active_dims", shared).max(),
            "elbo": of("elbo").sum(),
            "pairs": places.groupby(MEMBER)["pair"].agg(lambda pairs: tuple(p.split(JOINT) for p in pairs)),
        }
    )
    best = table.groupby(["setting", "seed"])["elbo"].transform("max")
    return table.assign(elbo_gap=best - table["elbo"]).drop(columns="elbo").reset_index()


def scores_of_latents(
    members: pd.DataFrame, latents: Iterable[tuple[str, Mapping[str, np.ndarray]]]
) -> pd.DataFrame:
    """Scores of posterior means on held-out rows.

    Parameters
    ----------
    members
        Rows of :func:`scores_without_truth`, one a fit and member.
    latents
        Fit to the arrays ``mean/<split>/<source>/<block>`` (E, n, d) of its evaluation.

    Returns
    -------
    DataFrame
        ``fit``, ``member`` and the scores of :func:`scores_of_means`; ``agreement``
        (:func:`agreement`) of the private blocks among fits of the same data and dimensions, the smallest
        over blocks.
    """
    found = []
    same_data: dict[tuple, list[tuple[int, np.ndarray]]] = defaultdict(list)
    for fit, arrays in latents:
        means = {
            (source, block): values[:, _rows(values.shape[1])]
            for (_, split, source, block), values in (
                (k.split("/"), v) for k, v in arrays.items() if "/" in k
            )
            if split == "test"
        }
        for row in members[members["fit"] == fit].to_dict("records"):
            own = {place: values[row["member"]] for place, values in means.items()}
            shared = {block for block, _, _ in row["pairs"]}
            for above in sorted({above for _, above, _ in row["pairs"]}):
                for source, block in own:
                    if source == above and block not in shared:
                        key = (row["dataset"], row["seed"], source, block, own[source, block].shape)
                        same_data[key].append((len(found), own[source, block]))
            found.append({"fit": fit, "member": row["member"], **scores_of_means(own, row["pairs"])})
    least = np.full(len(found), np.nan)
    for fits in same_data.values():
        places = [place for place, _ in fits]
        least[places] = np.fmin(least[places], agreement([block for _, block in fits]))
    return pd.DataFrame(found).assign(agreement=least)


def scores_of_means(
    means: Mapping[tuple[str, str], np.ndarray], pairs: Sequence[tuple[str, str, str]]
) -> dict[str, float]:
    """Scores of one member from posterior means of held-out rows.

    Parameters
    ----------
    means
        Source and block to posterior means (n, d), those of blocks that are inactive in a source too.
    pairs
        Shared block, source above and source below: those whose axes are compared
        (:meth:`cdgm.config.design.Design.comparisons`).

    Returns
    -------
    dict
        ``source_separation``: accuracy, over all sources of a shared block, of a vote of 50 neighbours.
        ``mmd_shared``: unbiased squared MMD of its means between two sources, at the prior's bandwidth.
        ``inherited_axis``: :func:`cdgm.evaluation.metrics.inherited_axes.inherited_axis` of the other blocks
        of the source above. The largest over blocks and pairs each.
    """
    import torch

    from cdgm.objectives.kernels import mmd2

    shared = {block for block, _, _ in pairs}
    separation, mmd, inherited = [], [], []
    for block in sorted(shared):
        sources = sorted({s for b, *both in pairs if b == block for s in both})
        names = np.repeat(sources, [len(means[s, block]) for s in sources])
        joined = np.concatenate([means[s, block] for s in sources])
        separation.append(Neighbourhood.of(joined, names).separation())
    for block, above, below in pairs:
        a, b = (torch.from_numpy(means[source, block].astype(np.float32))[None] for source in (above, below))
        mmd.append(mmd2(a, b).item())
        private = {name for source, name in means if source == above} - shared
        inherited += [inherited_axis(means[below, name], means[above, name]) for name in sorted(private)]
    return {
        "source_separation": max(separation),
        "mmd_shared": max(mmd),
        "inherited_axis": max(inherited, default=float("nan")),
    }


def agreement(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """How well each of several fits of the same data agrees with the others on one block.

    Parameters
    ----------
    blocks
        Posterior means (n, d) of the same rows, one for each fit.

    Returns
    -------
    ndarray
        For each fit, the median over the others of the share of the variance that one explains of the other
        by least squares, in the worse direction; NaN for a single fit.
    """
    n = len(blocks)
    pairs = np.empty((n, n))
    for i, j in combinations(range(n), 2):
        pairs[i, j] = pairs[j, i] = explained_both_ways(blocks[i], blocks[j])
    return np.array([np.median(np.delete(row, i)) if n > 1 else np.nan for i, row in enumerate(pairs)])


def _rows(n: int) -> np.ndarray:
    return np.linspace(0, n - 1, min(ROWS, n)).astype(int)
