"""What layer norm, dropout and weight decay do to the ELBO of held-out cells, on small and on whole sets.

    python -m benchmarks.regularisers immune.h5ad kang2018.h5ad ... --cells 450
    python -m benchmarks.regularisers papalexi2021.h5ad ... --decoders default --settings none "dropout 0.2"

Files are those of ``cdgm datasets get``. Each split draws the cells to train on, the held-out cells and the
seeds of two members. The variant is the plain sum of ELBOs, which costs least; all else is the estimator's
default. docs/own_data.md holds what was measured.

The rule by which the default may change was written before any of it was run: a regulariser becomes the
default if, with early stopping and beside the decoder that is the default at that size, it raises the
held-out ELBO (mean over sources and members) in every split of at least three real sets both at 450 + 450
training cells and on whole sets, and if its steps take less than 1.2 times as long.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd

import cdgm
from cdgm.utils.command_line import log, run
from cdgm.utils.random_streams import stream

OUT = Path("results/benchmarks/regularisers.csv")
MEMBERS, HELD_OUT, MOST_HELD_OUT = 2, 0.1, 500
NORM = {"hidden_norm": "layer"}
#: Changes of the model, and arguments of the training.
SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "none": ({}, {}),
    "weight decay 0.0001": ({}, {"weight_decay": 1e-4}),
    "weight decay 0.01": ({}, {"weight_decay": 1e-2}),
    "weight decay 0.1": ({}, {"weight_decay": 0.1}),
    "weight decay 1": ({}, {"weight_decay": 1.0}),
    "layer norm": (NORM, {}),
    "dropout 0.1": ({"dropout": 0.1}, {}),
    "dropout 0.2": ({"dropout": 0.2}, {}),
    "layer norm, dropout 0.1": (NORM | {"dropout": 0.1}, {}),
    "learning rate 0.002": ({}, {"learning_rate": 2e-3}),
}
SHORT = [
    "none",
    "weight decay 0.1",
    "layer norm",
    "dropout 0.1",
    "dropout 0.2",
    "layer norm, dropout 0.1",
]


def subset(cells: anndata.AnnData, train: int | None, split: int) -> tuple[anndata.AnnData, float]:
    """Cells of a split, and the share of them to hold out; all cells if there is no number to train on."""
    if train is None:
        return cells, HELD_OUT
    source = np.asarray(cells.obs["source"]).astype(str)
    groups = [np.flatnonzero(source == value) for value in np.unique(source)]
    size = min(train + MOST_HELD_OUT, *map(len, groups))
    rng = stream("benchmark", "regularisers", split, root=0)
    rows = np.concatenate([rng.permutation(group)[:size] for group in groups])
    return cells[np.sort(rows)].copy(), 1 - train / size


def measure(
    cells: anndata.AnnData, held_out: float, split: int, decoder: str, setting: str, early: bool, variant: str
) -> dict[str, float]:
    """Held-out and training ELBO (nats, means over sources and members), and processor seconds of a step."""
    changes, options = SETTINGS[setting]
    if decoder != "default":
        changes = changes | {"decoder_hidden": [] if decoder == "log-linear" else [int(decoder)]}
    cdgm.ComparativeModel.setup_anndata(cells, source_key="source", background="background")
    model = cdgm.ComparativeModel(
        cells, variant, n_members=MEMBERS, held_out=held_out, seed=1_000 * split, model=changes
    )
    before = time.process_time()
    model.train(progress_bar=False, early_stopping=early, **options)
    seconds = time.process_time() - before
    steps = int(model.history["step"].max())
    of_rows = {part: model.get_elbo(part).groupby("member")["elbo"].mean() for part in ("held_out", "train")}
    return {
        "elbo": of_rows["held_out"].mean(),
        "worst_member": of_rows["held_out"].min(),
        "elbo_train": of_rows["train"].mean(),
        "finite": int(of_rows["held_out"].notna().sum()),
        "steps": steps,
        "step_seconds": seconds / steps,
    }


def main() -> None:
    """Measure and write a row after each fit, so that a run which is interrupted keeps what it has."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, help=".h5ad with the column `source` in obs")
    parser.add_argument("--cells", type=int, help="cells of each source to train on (all but a tenth)")
    parser.add_argument("--splits", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--decoders", nargs="+", default=["log-linear", "128"])
    parser.add_argument("--settings", nargs="+", default=SHORT, choices=list(SETTINGS))
    parser.add_argument("--early", nargs="+", type=int, default=[1, 0], help="1: with early stopping")
    parser.add_argument("--variant", default="cvae")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    sets = {file.stem: anndata.read_h5ad(file) for file in given.files}
    for split in given.splits:
        for name, cells in sets.items():
            chosen, held_out = subset(cells, given.cells, split)
            for decoder in given.decoders:
                for early in given.early:
                    for setting in given.settings:
                        where = {"set": name, "cells": given.cells or 0, "split": split, "decoder": decoder}
                        where |= {"variant": given.variant, "early_stopping": early, "setting": setting}
                        found = measure(chosen, held_out, split, decoder, setting, bool(early), given.variant)
                        row = pd.DataFrame([where | found])
                        row.to_csv(given.out, mode="a", header=not given.out.exists(), index=False)
                        log(f"{' '.join(map(str, where.values()))}: {found['elbo']:.2f}")
    print(summary(pd.read_csv(given.out)))


def summary(rows: pd.DataFrame) -> str:
    """Means over splits, and in how many splits a setting beats none."""
    keys = ["set", "cells", "decoder", "variant", "early_stopping"]
    plain = rows[rows["setting"] == "none"].set_index([*keys, "split"])
    beside = plain.reindex(pd.MultiIndex.from_frame(rows[[*keys, "split"]]))
    rows = rows.assign(
        gain=rows["elbo"].to_numpy() - beside["elbo"].to_numpy(),
        cost=rows["step_seconds"].to_numpy() / beside["step_seconds"].to_numpy(),
    )
    rows["won"] = rows["gain"] > 0
    measured = ["elbo", "elbo_train", "gain", "won", "cost", "steps"]
    found = rows.groupby([*keys, "setting"], sort=False)[measured].mean()
    return found.round(2).to_string()


if __name__ == "__main__":
    run(main)
