"""What naming the batches changes, in our model and in scvi-tools' ContrastiveVI, on the same cells.

    python -m benchmarks.batches          # tables in results/peers, <data set>_batches.csv and _summary.csv

Both packages are fitted with and without the batches, at equal latent dimensions, hidden widths, batch size
and steps. `make bench-peers` runs it; docs/comparison.md holds what was measured. Fits are kept, as in
`benchmarks.peers`.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from benchmarks.peer_ours import Ours, our_fit
from benchmarks.peer_tables import Kept, Method, fitted_rows, long_table, wide, write_tables
from benchmarks.peers import add_fit_options, chosen, fit_all, peer_methods, seeds_of
from cdgm.config.fit import FitSpec
from cdgm.data.bundle import Bundle, read_bundle
from cdgm.data.cell_table import CellTable, read_cell_table
from cdgm.evaluation.metrics.baselines import library_size_space
from cdgm.evaluation.metrics.latent_space_scores import batch_rows, score_space
from cdgm.utils.command_line import log, run
from cdgm.utils.joint_names import JOINT
from cdgm.utils.random_streams import stream

DATASETS = ("glioblastoma", "papalexi2021")
SOURCES = ("background", "target")
SEPARATION = JOINT.join(SOURCES)
FLOOR = "sizes of cells alone"
COLUMNS = {
    "batch, background block, controls": ("batch_accuracy", "background", "background"),
    "batch, background block, treated": ("batch_accuracy", "target", "background"),
    "batch, salient block, treated": ("batch_accuracy", "target", "salient"),
    "label, background block": ("knn_accuracy", "target", "background"),
    "label, salient block": ("knn_accuracy", "target", "salient"),
    "treatment, background block": ("source_separation", SEPARATION, "background"),
    "treatment, salient block": ("source_separation", SEPARATION, "salient"),
    "ELBO, controls": ("elbo", "background", ""),
    "ELBO, treated": ("elbo", "target", ""),
    "seconds a fit": ("seconds", "", ""),
}


def batch_methods(ours: FitSpec, bundle: Bundle) -> dict[str, Method]:
    """Each method without and with batches, by name."""
    peers = peer_methods(ours, bundle)
    found: dict[str, Method] = {
        "cvae": Ours(),
        "cvae-batches": Ours(batches=True),
        "cvae-batches-encoders": Ours(batches=True, encode_batches=True),
    }
    for name in ("scvi-matched", "scvi-default"):
        found |= {name: peers[name], f"{name}-batches": replace(peers[name], batches=True)}
    return found


def first_division(bundle: Bundle) -> Bundle:
    """The bundle's first division into training and held-out rows."""
    x = {split: {s: values[:1] for s, values in of.items()} for split, of in bundle.x.items()}
    known = {
        split: {s: {name: v[:1] for name, v in found.items()} for s, found in of.items()}
        for split, of in bundle.covariates.items()
    }
    return Bundle(x, covariates=known)


def floor_rows(
    bundle: Bundle, cells: CellTable, dataset: str, draws: int, root: int
) -> list[dict[str, object]]:
    """What the sum of a cell's counts says of batch, label and treatment, under the name of each block."""
    counts = cells.join({(split, s): x[0] for split, of in bundle.x.items() for s, x in of.items()})
    space, rows = library_size_space(counts), []
    for block in ("background", "salient"):
        rng = stream("evaluate", "floor", dataset, block, root=root)
        rows += score_space(space, cells.source, cells.label, block, rng=rng, draws=draws)
        for name in bundle.batches:
            batch = cells.table[name].to_numpy(dtype=str)
            rows += batch_rows(space, cells.source, batch, block, name, rng, draws)
    return [{"point": "", "seed": -1, "member": 0, "finite": True, **r} for r in rows]


def columns_of(cells: CellTable, batches: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Columns of the Markdown table; without those of labels where the labels are the batches."""
    same = (cells.label == cells.table[batches[0]].to_numpy(dtype=str)).all()
    return {name: column for name, column in COLUMNS.items() if not (same and column[0] == "knn_accuracy")}


def chance_row(summary: pd.DataFrame, columns: Mapping[str, tuple[str, str, str]]) -> str:
    """A row of the Markdown table: 95 % quantiles of scores with shuffled batches, labels or sources."""
    texts = []
    for metric, source, block in columns.values():
        of = summary[
            (summary["metric"] == metric) & (summary["source"] == source) & (summary["block"] == block)
        ]["null_high"].dropna()
        texts.append(f"{of.median():.2f}" if len(of) else "")
    return f"| shuffled, 95 % | {' | '.join(texts)} |"


def measure(dataset: str, arguments: argparse.Namespace) -> str:
    """Fit, score and write the tables of one data set; gives a summary in Markdown."""
    ours, results = our_fit(dataset), arguments.results
    if arguments.steps is not None:
        ours = ours.model_copy(
            update={"training": ours.training.model_copy(update={"steps": arguments.steps})}
        )
    folder = results / "data" / dataset
    bundle = first_division(read_bundle(folder / "cells.npz", support="counts"))
    cells = read_cell_table(folder / "cells.csv").of(0)
    methods = chosen(batch_methods(ours, bundle), arguments.methods)
    seeds = seeds_of(methods, arguments.seeds, arguments.first_seed, arguments.seeds_of)
    fits: Mapping[str, Sequence[Kept]] = fit_all(dataset, results, ours, bundle, methods, seeds)
    root, draws, rows = ours.root_seed, arguments.null_draws, {}
    for name, several in fits.items():
        log(f"{dataset}, {name}: scoring {len(several)} fits")
        for kept in several:
            rows[name, kept.fit] = fitted_rows(
                kept.fitted, cells, dataset, kept.seed, draws, root, bundle.batches
            )
    rows[FLOOR, ""] = floor_rows(bundle, cells, dataset, draws, root)
    summary = write_tables(long_table(dataset, rows), results / "peers" / f"{dataset}_batches")
    columns = columns_of(cells, bundle.batches)
    return f"{wide(summary, columns, [*fits, FLOOR])}\n{chance_row(summary, columns)}"


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_fit_options(parser, DATASETS, 3)
    parser.add_argument("--steps", type=int, help="steps of each fit but those of the peer's defaults")
    parser.add_argument("--results", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # Lightning advises on workers and loggers in every fit.
    for dataset in arguments.datasets:
        print(f"\n{dataset}: median [min, max] over seeds\n", flush=True)
        print(measure(dataset, arguments), flush=True)


if __name__ == "__main__":
    run(main)
