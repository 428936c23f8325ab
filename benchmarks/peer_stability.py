"""How far the fits of one method agree over seeds, by the measure that ``ComparativeModel.stability`` uses.

Fits that differ in their ELBO disagree because some of them were not optimised; fits of equal ELBOs that
disagree show that data and model leave the block open. So each pair carries its gap in ELBO.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from benchmarks.peer_tables import Fitted, Kept
from cdgm.config.design import Design
from cdgm.evaluation.metrics.stability import pair_rows
from cdgm.utils.random_streams import stream

#: Gap in held-out ELBO, nats a cell, below which two fits count as equally good; so in config.yaml's claims.
EQUAL_ELBO = 0.5
#: Held-out canonical correlation over which an axis counts as found again by the other fit.
FOUND_AGAIN = 0.9
COLUMNS = [
    "variant", "block", "seed_a", "seed_b", "active_a", "active_b", "agreement", "null_high",
    "r2", "r2_null_high", "elbo_gap", "rows",
]  # fmt: skip
AXIS_COLUMNS = ["variant", "block", "seed_a", "seed_b", "axis", "correlation"]


def agreement_table(
    fits: Mapping[str, Sequence[Kept]], design: Design, dataset: str, draws: int, root: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Agreement of each pair of fits of each method on each block, on held-out cells.

    Parameters
    ----------
    fits
        Fits of each method; those that diverged are left out.
    design
        Blocks and the sources that they drive: a block is looked at on the cells of these sources.
    dataset
        For the name of the random stream, which does not know the method.
    draws
        Permutations of each null.
    root
        Root seed.

    Returns
    -------
    pairs : DataFrame
        A row a method, block and pair, the columns of :func:`cdgm.estimator.scores.stability_table` and
        ``elbo_gap``, the larger of the gaps in held-out ELBO of the two sources, nats a cell. The block
        ``a+b`` is all blocks of the source of interest side by side: what a method finds, however it
        splits it.
    axes : DataFrame
        For each of these the held-out canonical correlations, strongest first, whose mean is the agreement:
        they tell axes that are found again from those that are not.
    """
    spaces = {
        block: ([s for s in design.sources if s in driven], (block,))
        for block, driven in design.blocks.items()
    }
    foreground = design.contrast()[1]
    spaces["&".join(design.active(foreground))] = ([foreground], design.active(foreground))
    rows, axes = [], []
    for variant, several in fits.items():
        finite = [kept for kept in several if kept.fitted.finite]
        if len(finite) < 2:
            continue
        for name, (sources, blocks) in spaces.items():
            means = np.stack([_space(kept.fitted, sources, blocks) for kept in finite])
            rng = stream("peers", "stability", dataset, name, root=root)
            for pair in pair_rows(means, rng, draws):
                a, b = finite[pair.pop("member_a")], finite[pair.pop("member_b")]
                gap = max(abs(value - b.fitted.elbo[s]) for s, value in a.fitted.elbo.items())
                place = {"variant": variant, "block": name, "seed_a": a.seed, "seed_b": b.seed}
                axes += [place | {"axis": i, "correlation": c} for i, c in enumerate(pair.pop("axes"), 1)]
                rows.append(place | pair | {"elbo_gap": gap})
    return pd.DataFrame(rows, columns=COLUMNS), pd.DataFrame(axes, columns=AXIS_COLUMNS)


def _space(fitted: Fitted, sources: Sequence[str], blocks: Sequence[str]) -> np.ndarray:
    """Held-out posterior means (n, d) of cells of these sources, of these blocks side by side."""
    parts = [[fitted.means["test", source, block] for block in blocks] for source in sources]
    return np.concatenate([np.concatenate(part, axis=1) for part in parts])


def agreement_summary(table: pd.DataFrame, axes: pd.DataFrame, fits: Mapping[str, Sequence[Kept]]) -> str:
    """A Markdown table, a row a method and block: median and worst pair, and pairs of equally good fits."""
    sources = sorted({source for several in fits.values() for kept in several for source in kept.fitted.elbo})
    titles = [
        "method", "block", "fits", "r2, median", "r2, worst", "r2, equal ELBO (pairs)", "r2 null",
        "agreement, median", "agreement, worst", "agreement null", "active axes",
        f"axes found again (over {FOUND_AGAIN})", *(f"ELBO {source}, spread" for source in sources),
    ]  # fmt: skip
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for variant, several in fits.items():
        finite = [kept.fitted for kept in several if kept.fitted.finite]
        spread = [np.ptp([fitted.elbo[s] for fitted in finite]) for s in sources if finite]
        for block, pairs in table[table["variant"] == variant].groupby("block", sort=False):
            equal = pairs.loc[pairs["elbo_gap"] < EQUAL_ELBO, "r2"]
            active = pairs[["active_a", "active_b"]].to_numpy()
            of = axes[(axes["variant"] == variant) & (axes["block"] == block)]
            again = of["correlation"].gt(FOUND_AGAIN).groupby([of["seed_a"], of["seed_b"]]).sum()
            texts = [
                variant, block, str(len(finite)), *_two(pairs["r2"]),
                f"{_number(equal.median())} ({len(equal)})", _number(pairs["r2_null_high"].max()),
                *_two(pairs["agreement"]), _number(pairs["null_high"].max()),
                _range(active), _range(again.to_numpy()), *(_number(value) for value in spread),
            ]  # fmt: skip
            lines.append("| " + " | ".join(texts) + " |")
    return "\n".join(lines)


def _two(values: pd.Series) -> tuple[str, str]:
    return _number(values.median()), _number(values.min())


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"


def _range(values: np.ndarray) -> str:
    if not values.size:
        return "0"
    low, high = values.min(), values.max()
    return str(low) if low == high else f"{low} to {high}"
