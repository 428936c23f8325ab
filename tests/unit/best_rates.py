"""Choose the learning rate of each variant of ``multi_objective_fair``, on seeds that no claim is about.

    snakemake --cores 2 results/tables/multi_objective_rates.csv
    python -m tests.unit.best_rates results/tables/multi_objective_rates.csv

Rule, fixed before the results: the reference has the rate of the largest ELBO of a source on its
own (mean over sources and settings of medians over seeds). Every other variant has the rate of the
smallest regret of its worst source, against the reference at its best rate (mean over settings of
medians over seeds). A rate at an end of the grid asks for a longer grid.
"""

import sys

import pandas as pd

from cdgm.plotting.sweeps import swept

REFERENCE = "single-source"


def best_rates(scores: pd.DataFrame) -> dict[str, tuple[float, bool]]:
    """Variant to its best rate and whether this is inside the grid."""
    elbo = scores[(scores["metric"] == "elbo") & scores["finite"]].fillna({"point": ""})
    labels = elbo["setting"].map(swept)
    elbo = elbo.assign(base=[name for name, _ in labels], rate=[v["learning_rate"] for _, v in labels])
    sources = list(dict.fromkeys(elbo["source"]))
    place = elbo["source"].map({source: f"place={i}" for i, source in enumerate(sources, 1)})
    alone = elbo[(elbo["variant"] == REFERENCE) & (elbo["point"] == place)]
    medians = alone.groupby(["rate", "base", "source"])["value"].median()
    found = {REFERENCE: medians.groupby("rate").mean().idxmax()}
    best = alone[alone["rate"] == found[REFERENCE]].set_index(["base", "seed", "source"])["value"]
    shared = elbo[elbo["variant"] != REFERENCE].join(best.rename("best"), on=["base", "seed", "source"])
    regret = shared.assign(value=shared["best"] - shared["value"])
    worst = regret.groupby(["variant", "rate", "base", "seed"], sort=False)["value"].max()
    loss = worst.groupby(["variant", "rate", "base"], sort=False).median().groupby(["variant", "rate"]).mean()
    found |= {
        variant: of_rate.droplevel(0).idxmin() for variant, of_rate in loss.groupby("variant", sort=False)
    }
    rates = sorted(elbo["rate"].unique())
    return {variant: (rate, rates[0] < rate < rates[-1]) for variant, rate in found.items()}


if __name__ == "__main__":
    for variant, (rate, inside) in best_rates(pd.read_csv(sys.argv[1])).items():
        print(f"{variant}: {rate:g}" + ("" if inside else "  # at an end of the grid: it has to grow"))
