"""How often `cdgm choose` is right, measured on simulations with known dimensions and leakage.

    python -m benchmarks.choosing dims      # sizes picked against the true ones
    python -m benchmarks.choosing level     # leakage by the truth at the recommended level

Writes tables and a figure to results/benchmarks/choosing. Finished fits are not repeated, so an interrupted
run resumes; delete the folder after a change of the code. ``make bench-choosing`` does both.
"""

from __future__ import annotations

import argparse
import itertools
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.choosing_figure import figure
from benchmarks.choosing_fits import Setting, rows
from benchmarks.choosing_rules import picks, rates
from cdgm.estimator.selection.dimensions import SIZES
from cdgm.estimator.selection.level import LevelledVariant, recommend_level
from cdgm.plotting.saving import save
from cdgm.utils.command_line import run
from cdgm.utils.files import write_csv

#: The rule's form was looked at on data sets 0 to 2 of another root; these are read once.
FIRST_SEED = 100
COUNTS = {
    "mixing": {"kind": "linear"},
    "noise": {"kind": "negative_binomial", "rate": 5, "dispersion": 10},
    "n_features": 50,
    "n_train": {"background": 2_000, "target": 2_000},
}
PLAIN = {"variant": "cvae"}
#: Setting to its truth and the grid of sizes: the truth is in the middle, or at an edge.
DIMS = {
    Setting("leaky ReLU, 3 + 2", (3, 2), {}, PLAIN): ((3, 5, 10), (1, 2, 3)),
    Setting("leaky ReLU, 5 + 3", (5, 3), {}, PLAIN): ((3, 5, 10), (2, 3, 5)),
    Setting("leaky ReLU, 5 + 5", (5, 5), {}, PLAIN): ((2, 3, 5), (3, 5, 8)),
    Setting("leaky ReLU, 10 + 5", (10, 5), {}, PLAIN): ((5, 10, 15), (2, 3, 5)),
    Setting("linear, 5 + 3", (5, 3), {"mixing": {"kind": "linear"}}, PLAIN): ((3, 5, 10), (2, 3, 5)),
    Setting("counts, 3 + 2", (3, 2), COUNTS, PLAIN | {"likelihood": "negative_binomial"}): (
        (2, 3, 5),
        (1, 2, 3),
    ),
    Setting("leaky ReLU, 5 + 3, mo-co-cvae", (5, 3), {}, {"variant": "mo-co-cvae"}, 1_500): (
        (3, 5, 10),
        (2, 3, 5),
    ),
}
LEVEL_VARIANT, LEVELS = "hsic-mmd-cvae", (100.0, 1_000.0, 10_000.0)
#: Sizes that are not the true ones (5 + 3).
LEVEL_SIZES = ((10, 3), (5, 10))


def sized(arguments: argparse.Namespace) -> pd.DataFrame:
    """Rows of all sweeps over sizes."""
    tables = []
    for setting, grid in DIMS.items():
        points = {
            "x".join(map(str, pair)): {
                "columns": dict(zip(SIZES, pair, strict=True)),
                "model": dict(zip(SIZES, pair, strict=True)),
            }
            for pair in itertools.product(*grid)
        }
        true = dict(zip(("true_background", "true_salient"), setting.truth, strict=True))
        tables.append(_rows(setting, points, arguments).assign(**true))
    return pd.concat(tables, ignore_index=True)


def levelled(arguments: argparse.Namespace) -> pd.DataFrame:
    """A row a level and data set, with what the rule makes of it."""
    swept = LevelledVariant.find(LEVEL_VARIANT)
    points: dict[str, dict[str, Any]] = {
        f"level{level:g}": {"columns": {"level": level, "strength": i}, "model": {"variant": swept.at(level)}}
        for i, level in enumerate(swept.weakest_first(LEVELS))
    }
    tables = []
    for sizes in LEVEL_SIZES:
        name = f"leaky ReLU, 5 + 3, fitted {sizes[0]} + {sizes[1]}"
        setting = Setting(name, (5, 3), {}, dict(zip(SIZES, sizes, strict=True)), 1_500)
        for _, table in _rows(setting, points, arguments).groupby("data", sort=False):
            chosen = recommend_level(table, "weight")[0]["recommended"]
            tables.append(table.assign(recommended=chosen))
    return pd.concat(tables, ignore_index=True)


def _rows(setting: Setting, points: dict[str, dict[str, Any]], arguments: argparse.Namespace) -> pd.DataFrame:
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.data_sets)
    return rows(setting, points, list(seeds), arguments.members, arguments.out / "fits")


def main() -> None:
    """Fit what is missing, write tables, print them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=["dims", "level", "both"], default="both")
    parser.add_argument("--data-sets", type=int, default=5, help="data sets of each setting (default: 5)")
    parser.add_argument("--members", type=int, default=3, help="members of each fit (default: 3)")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/choosing"))
    arguments = parser.parse_args()
    if arguments.what != "level":
        picked = picks(sized(arguments))
        table = rates(picked)
        write_csv(arguments.out / "picks.csv", picked, digits=6)
        save(figure(table), table, arguments.out / "choosing")
        print(table.round(2).to_string(index=False))
    if arguments.what != "dims":
        table = levelled(arguments)
        write_csv(arguments.out / "levels.csv", table, digits=6)
        columns = [
            "setting",
            "data",
            "level",
            "elbo",
            "leak_background",
            "leak_salient",
            "recovery_background",
            "recovery_salient",
            "recommended",
        ]
        print(table[columns].round(2).to_string(index=False))


if __name__ == "__main__":
    run(main)
