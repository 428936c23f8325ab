"""Choose the weight at which each regulariser is judged, from a study on seeds that no claim is about.

    snakemake --cores 2 results/tables/tuning.csv
    python -m tests.unit.best_weights results/tables/tuning.csv

The rule stands in claims.yaml, at ``regularisers_halve_leakage``.
"""

import sys

import pandas as pd

#: Family to the start of its variants' names.
FAMILIES = {
    "HSIC": "hsic-weights",
    "MMD": "mmd-weights",
    "TC": "tc-weights",
    "Wasserstein": "wasserstein-",
    "MM-cVAE": "mm-cvae",
}
LOST = 0.05
"""Background recovery that a weight may cost."""
KEPT = 0.5
"""Share of the plain fit's salient KL that a weight has to keep."""


def best_weights(scores: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Family to variant and point of the smallest median leakage among those that keep both blocks.

    Where none keeps both, the smallest leakage among all counts.
    """
    rows = scores[(scores["source"] == "target") & (scores["twist"] == 0)].fillna({"point": ""})
    leakage = _medians(rows, "leakage_r2_nonlinear", "background", "salient")
    recovery = _medians(rows, "recovery_cc", "background", "background")
    kl = _medians(rows, "kl", "salient")
    plain = ("cvae", "")
    keeps = (recovery >= recovery[plain] - LOST) & (kl >= KEPT * kl[plain])
    found = {}
    for family, start in FAMILIES.items():
        mine = leakage[leakage.index.get_level_values("variant").str.startswith(start)]
        kept = mine[keeps.reindex(mine.index)]
        found[family] = (kept if len(kept) else mine).idxmin()
    return found


def _medians(rows: pd.DataFrame, metric: str, block: str, truth: str | None = None) -> pd.Series:
    kept = rows[(rows["metric"] == metric) & (rows["block"] == block)]
    kept = kept if truth is None else kept[kept["truth"] == truth]
    return kept.groupby(["variant", "point"])["value"].median()


if __name__ == "__main__":
    for family, (variant, point) in best_weights(pd.read_csv(sys.argv[1])).items():
        print(f"{family}: {variant} {point}")
