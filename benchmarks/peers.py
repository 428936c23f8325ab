"""Our contrastive model beside scvi-tools' ContrastiveVI: scores and stability on the same cells, and speed.

    python -m benchmarks.peers scores     # tables in results/peers, as the workflow writes its own, and
                                          # agreement of the fits of each method over seeds
    python -m benchmarks.peers speed      # processor seconds an epoch, in turn, and their ratio

``make bench-peers`` does both in an environment of its own. docs/comparison.md holds what was measured.
Fits are kept: a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.peer_ours import our_fit, our_methods, steps_an_epoch
from benchmarks.peer_stability import agreement_summary, agreement_table
from benchmarks.peer_tables import (
    Kept,
    Method,
    baseline_rows,
    fitted_rows,
    kept_fits,
    long_table,
    wide,
    write_tables,
)  # fmt: skip
from cdgm.config.fit import FitSpec
from cdgm.data.bundle import Bundle, read_bundle
from cdgm.data.cell_table import read_cell_table
from cdgm.utils.command_line import log, run
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.files import write_csv

DATASETS = ("papalexi2021", "immune_spikein")
COLUMNS = {
    "salient kNN": ("knn_accuracy", "target", "salient"),
    "salient NMI": ("nmi", "target", "salient"),
    "salient ARI": ("ari", "target", "salient"),
    "background kNN": ("knn_accuracy", "target", "background"),
    "background NMI": ("nmi", "target", "background"),
    "background ARI": ("ari", "target", "background"),
    "mixing": ("source_mixing", "target", "background"),
    "mixing, strongest class": ("source_mixing_strongest", "target", "background"),
    "salient KL": ("kl", "target", "salient"),
    "ELBO background": ("elbo", "background", ""),
    "ELBO target": ("elbo", "target", ""),
    "seconds a fit": ("seconds", "", ""),
}


def peer_methods(ours: FitSpec, bundle: Bundle) -> dict[str, Method]:
    """The peer's rows, by name."""
    try:
        import scvi  # noqa: F401
    except ImportError as error:
        raise UserError(f"scvi-tools cannot be imported ({error}): use `make bench-peers`") from error
    from benchmarks.contrastivevi import scvi_methods

    return dict(scvi_methods(-(-ours.training.steps // steps_an_epoch(bundle, ours.training.batch_size))))


def fit_all(
    dataset: str,
    results: Path,
    ours: FitSpec,
    bundle: Bundle,
    methods: Mapping[str, Method],
    seeds: Mapping[str, Sequence[int]],
    bound_draws: int = 8,
) -> dict[str, list[Kept]]:
    """Fits of each method, one a seed in order; makes what is not there yet."""
    folder = results / "peers" / "fits"
    return {
        name: kept_fits(folder, f"{dataset}-{name}", method, ours, bundle, seeds[name], bound_draws)
        for name, method in methods.items()
    }


def score(
    dataset: str,
    results: Path,
    ours: FitSpec,
    bundle: Bundle,
    fits: Mapping[str, Sequence[Kept]],
    draws: int,
) -> str:
    """Score every fit and the baselines, write the tables; gives a summary in Markdown."""
    cells = read_cell_table(results / "data" / dataset / "cells.csv")
    root, rows = ours.root_seed, {}
    for name, several in fits.items():
        log(f"{dataset}, {name}: scoring {len(several)} fits")
        for kept in several:
            rows[name, kept.fit] = fitted_rows(kept.fitted, cells, dataset, kept.seed, draws, root)
    variants = list(fits)
    for found in baseline_rows(bundle, cells, ours, draws, root):
        rows.setdefault((found.pop("variant"), ""), []).append(found)
    variants += [variant for variant, fit in rows if not fit]
    summary = write_tables(long_table(dataset, rows), results / "peers" / dataset)
    return wide(summary, COLUMNS, variants)


def stability(
    dataset: str, results: Path, ours: FitSpec, fits: Mapping[str, Sequence[Kept]], draws: int
) -> str:
    """Agreement of each method's fits, as a table of pairs and a figure; gives a summary in Markdown."""
    from benchmarks.peer_figure import write_figure

    table, axes = agreement_table(fits, ours.model.design, dataset, draws, ours.root_seed)
    prefix = results / "peers" / f"{dataset}_stability"
    write_csv(f"{prefix}.csv", table)
    write_csv(f"{prefix}_axes.csv", axes)
    if len(table):
        write_figure(table, axes, Path(f"{prefix}.png"))
    return agreement_summary(table, axes, fits)


def chosen(methods: Mapping[str, Method], names: Sequence[str] | None) -> dict[str, Method]:
    """The named methods, all without names; refuses a name that is none."""
    for name in names or ():
        if name not in methods:
            raise bad_input("--methods", "name", name, f"one of {sorted(methods)}")
    return {name: method for name, method in methods.items() if names is None or name in names}


def seeds_of(methods: Iterable[str], count: int, first: int, fewer: Sequence[str]) -> dict[str, list[int]]:
    """Seeds of each method: ``count`` of them, or as ``fewer`` ("NAME=N") says of single methods."""
    counts = dict.fromkeys(methods, count)
    for text in fewer:
        name, _, number = text.partition("=")
        if name not in counts or not number.isdecimal() or int(number) < 1:
            expected = f"NAME=N with one of {sorted(counts)} and a number of at least 1"
            raise bad_input("--seeds-of", "value", text, expected)
        counts[name] = int(number)
    return {name: list(range(first, first + n)) for name, n in counts.items()}


def add_fit_options(parser: argparse.ArgumentParser, datasets: Sequence[str], seeds: int) -> None:
    """What to fit, with these defaults."""
    parser.add_argument("--datasets", nargs="+", default=list(datasets), metavar="NAME")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--seeds", type=int, default=seeds, help="fits of each method")
    parser.add_argument(
        "--seeds-of", nargs="+", default=[], metavar="NAME=N", help="other numbers for single methods"
    )
    parser.add_argument("--first-seed", type=int, default=200)
    parser.add_argument("--null-draws", type=int, default=50)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    scores = commands.add_parser("scores", help="scores and stability over seeds, on real cells")
    add_fit_options(scores, DATASETS, 8)
    speed = commands.add_parser("speed", help="processor seconds an epoch")
    speed.add_argument("--rounds", type=int, default=3, help="rounds, each measuring everything once")
    speed.add_argument("--epochs", type=int, default=3, help="measured epochs of each fit")
    speed.add_argument("--check", action="store_true", help="fail when the promised ratio is missed")
    for each in (scores, speed):
        each.add_argument("--results", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # Lightning advises on workers and loggers in every fit.
    if arguments.command == "speed":
        measure_speed(arguments)
    else:
        measure_scores(arguments)


def measure_scores(arguments: argparse.Namespace) -> None:
    """Tables of every data set, and their summaries in Markdown."""
    for dataset in arguments.datasets:
        ours, results, draws = our_fit(dataset), arguments.results, arguments.null_draws
        bundle = read_bundle(results / "data" / dataset / "cells.npz", support="counts")
        methods = chosen(our_methods(ours) | peer_methods(ours, bundle), arguments.methods)
        seeds = seeds_of(methods, arguments.seeds, arguments.first_seed, arguments.seeds_of)
        fits = fit_all(dataset, results, ours, bundle, methods, seeds)
        print(f"\n{dataset}: agreement of fits on held-out cells\n", flush=True)
        print(stability(dataset, results, ours, fits, draws), flush=True)
        print(f"\n{dataset}: median [min, max] over seeds\n", flush=True)
        print(score(dataset, results, ours, bundle, fits, draws), flush=True)


def measure_speed(arguments: argparse.Namespace) -> None:
    """Seconds an epoch on generated and on real cells; exit code 1 when a promise is missed and checked."""
    from benchmarks.peer_speed import PROMISED, compare, sparse_counts

    ours = our_fit(DATASETS[0])
    peer_methods(ours, sparse_counts(200, 10))  # says so at once where the peer is missing
    cells = arguments.results / "data" / DATASETS[0] / "cells.npz"
    cases = {"generated": sparse_counts(), DATASETS[0]: read_bundle(cells, support="counts")}
    missed = False
    for name, bundle in cases.items():
        x = bundle.x["train"]
        rows = " + ".join(str(x[source].shape[1]) for source in x)
        zeros = sum(int((v == 0).sum()) for v in x.values()) / sum(v.size for v in x.values())
        table, ratio = compare(ours, bundle, arguments.epochs, arguments.rounds)
        print(f"\n{name}: {rows} cells x {bundle.features} genes, {zeros:.0%} zeros,")
        print(f"{ours.training.batch_size} rows of each source a step, one thread\n\n{table}")
        print(f"\ncvae / scvi-tools = {ratio:.2f}   (promised {PROMISED})", flush=True)
        missed |= ratio > PROMISED
    if arguments.check and missed:
        sys.exit(1)


if __name__ == "__main__":
    run(main)
