"""Differential expression of simulated cells with known genes: power, false discoveries, and the null.

    python -m benchmarks.differential_expression --sets 10        # of each setting; a table on the screen

``make bench-genes`` does so. Beside the model stands scanpy's Wilcoxon test on the same cells, and
scvi-tools' ContrastiveVI where it is installed (``make bench-peers`` makes its environment). docs/own_data.md
holds what was measured.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

import cdgm
from cdgm.evaluation.effect_posterior import expected_fdr
from cdgm.utils.command_line import log, run
from cdgm.utils.files import write_csv

OUT = Path("results/benchmarks/differential_expression.csv")
#: Data sets 0 and 1 chose the form of the rule; these are read once.
FIRST_SEED = 100
BACKGROUND, DISPERSION, LIBRARY = 3, 5.0, 3_000
#: A gene is called where the expected false discovery rate, or the adjusted p value, is at most this.
TARGET = 0.05
SURE = 0.95
SETTINGS = ("shift", "mixed", "none")
SOURCES = ("source", "treated", "control")


@dataclass(frozen=True)
class Truth:
    """Simulated cells, of which the second half is treated.

    Attributes
    ----------
    cells
        Counts, and ``source`` in ``obs``.
    moved
        Genes that the treatment moves (D,).
    dose
        What it multiplies their effects by in each cell (n,), if treated.
    """

    cells: AnnData
    moved: np.ndarray
    dose: np.ndarray


def simulate(setting: str, seed: int, cells: int = 600, genes: int = 200, moved: float = 0.2) -> Truth:
    """Draw negative binomial counts of known shares: log-linear in latents, as the model's decoder is.

    Parameters
    ----------
    setting
        ``shift``: the treatment moves each of its genes one way, by .58 to 1.7 in log2, more in some cells
        than in others. ``mixed``: up in some cells and down in others, by as much, with mean 0.
        ``none``: nothing is moved.
    seed
        Of the data.
    cells, genes
        Numbers.
    moved
        Share of the genes that are moved, as many up as down.
    """
    rng = np.random.default_rng(seed)
    n_moved = 0 if setting == "none" else 2 * int(genes * moved / 2)
    z = rng.standard_normal((cells, BACKGROUND))
    dose = rng.standard_normal(cells)
    dose = 1 + 0.25 * dose if setting == "shift" else dose
    treated = np.arange(cells) >= cells // 2
    slopes = np.zeros(genes)
    slopes[:n_moved] = rng.uniform(0.4, 1.2, n_moved) * np.tile([1, -1], n_moved // 2)
    f = rng.normal(0, 1, genes) + z @ rng.normal(0, 0.3, (BACKGROUND, genes))
    share = np.exp(f)
    share /= share.sum(axis=1, keepdims=True)
    if n_moved:
        effect = share[:, :n_moved] * np.exp(np.outer(dose * treated, slopes[:n_moved]))
        # Moved genes share among themselves what they had, so all others keep their shares exactly.
        share[:, :n_moved] = effect * (share[:, :n_moved].sum(axis=1) / effect.sum(axis=1))[:, None]
    rate = rng.lognormal(np.log(LIBRARY), 0.3, (cells, 1)) * share
    x = rng.poisson(rate * rng.gamma(DISPERSION, 1 / DISPERSION, rate.shape)).astype(np.float32)
    obs = pd.DataFrame({"source": np.where(treated, "treated", "control")}, [f"c{i}" for i in range(cells)])
    var = pd.DataFrame(index=[f"g{j}" for j in range(genes)])
    return Truth(AnnData(x, obs, var), slopes != 0, dose)


def wilcoxon(cells: AnnData, groupby: str, group: str, reference: str) -> pd.DataFrame:
    """scanpy's Wilcoxon test of log-normalised counts, genes in order: ``p_value`` and adjusted ``fdr``."""
    import scanpy as sc

    cells = cells.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc.pp.normalize_total(cells)
        sc.pp.log1p(cells)
        sc.tl.rank_genes_groups(cells, groupby, groups=[group], reference=reference, method="wilcoxon")
    table = sc.get.rank_genes_groups_df(cells, group).set_index("names").loc[cells.var_names]
    return pd.DataFrame({"p_value": table["pvals"].to_numpy(), "fdr": table["pvals_adj"].to_numpy()})


def contrastive_vi(cells: AnnData, steps: int, seed: int) -> pd.DataFrame:
    """scvi-tools' ContrastiveVI of the same dimensions: its own test of treated against control cells."""
    import scvi

    scvi.settings.seed = seed
    treated = (cells.obs["source"] == "treated").to_numpy()
    cells = cells.copy()
    scvi.external.ContrastiveVI.setup_anndata(cells)
    model = scvi.external.ContrastiveVI(cells, n_background_latent=5, n_salient_latent=2)
    model.train(
        background_indices=np.flatnonzero(~treated).tolist(),
        target_indices=np.flatnonzero(treated).tolist(),
        max_epochs=-(-steps * 128 // int(treated.sum())),
        train_size=1.0,
        batch_size=128,
        accelerator="cpu",
        enable_progress_bar=False,
    )
    table = model.differential_expression(
        groupby="source",
        group1=["treated"],
        group2="control",
        target_idx=np.flatnonzero(treated),
        fdr_target=TARGET,
        silent=True,
    ).loc[cells.var_names]
    return pd.DataFrame({"proba_de": table["proba_de"], "fdr": expected_fdr(table["proba_de"].to_numpy())})


def scored(method: str, table: pd.DataFrame, moved: np.ndarray, rate: str = "fdr") -> dict[str, object]:
    """Power, false discoveries, and what null genes get, by one method that calls genes by ``rate``."""
    called = (table[rate] <= TARGET).to_numpy()
    return {
        "method": method,
        "power": called[moved].mean() if moved.any() else np.nan,
        "false": called[~moved].sum() / max(called.sum(), 1),
        "null_called": called[~moved].mean(),
        "null_sure": (table["proba_de"] > SURE).to_numpy()[~moved].mean() if "proba_de" in table else np.nan,
        "null_p": (table["p_value"] < 0.05).to_numpy()[~moved].mean() if "p_value" in table else np.nan,
    }


def one_data_set(setting: str, seed: int, members: int, steps: int, shuffles: int) -> list[dict[str, object]]:
    """All methods on one data set: a row a question and method."""
    truth = simulate(setting, seed)
    cells, moved, none = truth.cells, truth.moved, np.zeros_like(truth.moved)
    cdgm.ComparativeModel.setup_anndata(cells, "source", "control")
    model = cdgm.ComparativeModel(cells, n_background=5, n_salient=2, n_members=members, seed=seed)
    model.train(max_steps=steps, progress_bar=False)

    def ours(*groups: str) -> pd.DataFrame:
        return model.differential_expression(*groups).set_index("gene").loc[cells.var_names]

    table = ours()
    rows = [
        scored("cdgm", table, moved, "q_value"),
        scored("cdgm, posterior", table.drop(columns="p_value"), moved),
        scored("Wilcoxon", wilcoxon(cells, *SOURCES), moved),
    ]
    if find_spec("scvi"):
        rows.append(scored("ContrastiveVI", contrastive_vi(cells, steps, seed), moved))
    rows = [{"question": "treatment"} | row for row in rows]
    rng = np.random.default_rng(seed)
    treated = (cells.obs["source"] == "treated").to_numpy()
    for question, truth_of in [("dose", moved)] * (setting != "none") + [("chance", none)] * shuffles:
        high = truth.dose > np.median(truth.dose[treated])
        high = rng.permutation(high[treated]) if question == "chance" else high[treated]
        labels = np.full(cells.n_obs, None, dtype=object)
        labels[treated] = np.where(high, "high", "low")
        cells.obs[question] = labels
        part = cells[treated]
        found = [
            scored("cdgm", ours(question, "high", "low"), truth_of, "q_value"),
            scored("Wilcoxon", wilcoxon(part, question, "high", "low"), truth_of),
        ]
        rows += [{"question": question} | row for row in found]
    return [{"setting": setting, "seed": seed} | row for row in rows]


def main() -> None:
    """Run all data sets and print the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=10, help="data sets of each setting")
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--shuffles", type=int, default=5, help="shuffled labels of each data set")
    given = parser.parse_args()
    OUT.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for seed in range(FIRST_SEED, FIRST_SEED + given.sets):
        for setting in SETTINGS:
            rows += one_data_set(setting, seed, given.members, given.steps, given.shuffles)
            write_csv(OUT, pd.DataFrame(rows), digits=6)
            log(f"{setting}, data set {seed}")
    table = pd.DataFrame(rows)
    means = table.drop(columns="seed").groupby(["setting", "question", "method"], sort=False).mean()
    print(means.round(3).to_string())


if __name__ == "__main__":
    run(main)
