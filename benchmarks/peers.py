"""Our contrastive model beside scvi-tools' ContrastiveVI: scores on the same cells, and seconds an epoch.

    python -m benchmarks.peers scores     # tables in results/peers, as the workflow writes its own
    python -m benchmarks.peers speed      # processor seconds an epoch, in turn, and their ratio

``make bench-peers`` does both in an environment of its own. docs/comparison.md holds what was measured.
"""

from __future__ import annotations

import argparse
import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peer_tables import (
    Fitted, Method, baseline_rows, cached_fit, fitted_rows, long_table, wide, write_tables,
)  # fmt: skip
from cdgm.command_line import log, run
from cdgm.config import parse_config
from cdgm.data.bundle import Bundle, read_bundle
from cdgm.data.cell_table import read_cell_table
from cdgm.errors import UserError, bad_input
from cdgm.overlays import load_layers
from cdgm.plan import dump, expand, identify
from cdgm.specs import FitSpec

ROOT = Path(__file__).resolve().parents[1]
DATASETS = ("papalexi2021", "immune_spikein")
COLUMNS = {
    "salient kNN": ("knn_accuracy", "target", "salient"),
    "salient NMI": ("nmi", "target", "salient"),
    "background kNN": ("knn_accuracy", "target", "background"),
    "background NMI": ("nmi", "target", "background"),
    "mixing": ("source_mixing", "target", "background"),
    "mixing, strongest class": ("source_mixing_strongest", "target", "background"),
    "salient KL": ("kl", "target", "salient"),
    "ELBO background": ("elbo", "background", ""),
    "ELBO target": ("elbo", "target", ""),
}


@dataclass(frozen=True)
class Ours:
    """Our model under a variant, at the widths of the study or with hidden layers like the peer's."""

    penalties: tuple[Mapping[str, Any], ...] = ()
    equal_widths: bool = False

    def settings(self) -> dict[str, Any]:
        """See :class:`Method`."""
        return {"penalties": [dict(p) for p in self.penalties], "equal_widths": self.equal_widths}

    def spec(self, ours: FitSpec, seed: int) -> FitSpec:
        """The fit of one seed."""
        values = dump(ours) | {"seeds": [seed]}
        values["variant"] = dump(ours.variant) | {"penalties": [dict(p) for p in self.penalties]}
        if self.equal_widths:
            values["model"] = values["model"] | {"decoder_hidden": list(ours.model.encoder_hidden)}
        return FitSpec.model_validate(values)

    def fit(self, ours: FitSpec, bundle: Bundle, seed: int, draws: int) -> Fitted:
        """See :class:`Method`."""
        import torch

        from cdgm.evaluation import embed
        from cdgm.inference import held_out_bounds
        from cdgm.streams import stream
        from cdgm.training import train

        torch.set_num_threads(1)
        spec = self.spec(ours, seed)
        trained = train(spec, bundle.x["train"], [0])
        generators = [stream("evaluate", "bounds", spec.dataset, seed, root=spec.root_seed)]
        elbo, kl = held_out_bounds(trained.model, bundle.x["test"], [0], generators, draws)
        return Fitted(
            {key: mean[0] for key, mean in embed(trained.model, bundle, [0]).items()},
            {source: float(value[0]) for source, value in elbo.items()},
            {key: float(value[0]) for key, value in kl.items()},
            bool(trained.finite[0]),
        )


def our_fit(dataset: str) -> FitSpec:
    """The fit of variant ``cvae`` on a data set of cells, as config.yaml has it."""
    files = [str(ROOT / "config.yaml")]
    plan = expand(parse_config(load_layers(files, {}), files), files)
    for rows in plan.studies.values():
        for found in rows:
            if (found.dataset, found.variant) == (dataset, "cvae"):
                return plan.fits[plan.evaluations[found.evaluation].fit].spec
    raise bad_input("config.yaml", "studies", dataset, "a data set that a study fits with variant 'cvae'")


def our_methods(ours: FitSpec) -> dict[str, Method]:
    """Our rows, by name."""
    penalty = {"kind": "wasserstein_inactive", "weight": 1.0}
    methods: dict[str, Method] = {"cvae": Ours(), "contrastive-vi": Ours((penalty,))}
    if ours.model.decoder_hidden != ours.model.encoder_hidden:
        methods["cvae-equal-widths"] = Ours(equal_widths=True)
    return methods


def steps_an_epoch(bundle: Bundle, batch_size: int) -> int:
    """Steps that see the larger source once; the smaller one is cycled through, as the peer does."""
    return -(-max(x.shape[1] for x in bundle.x["train"].values()) // batch_size)


def peer_methods(ours: FitSpec, bundle: Bundle) -> dict[str, Method]:
    """The peer's rows, by name."""
    try:
        import scvi  # noqa: F401
    except ImportError as error:
        raise UserError(f"scvi-tools cannot be imported ({error}): use `make bench-peers`") from error
    from benchmarks.contrastivevi import scvi_methods

    return dict(scvi_methods(-(-ours.training.steps // steps_an_epoch(bundle, ours.training.batch_size))))


def score(
    dataset: str,
    results: Path,
    ours: FitSpec,
    bundle: Bundle,
    methods: Mapping[str, Method],
    seeds: int,
    first: int,
    draws: int,
    bound_draws: int = 8,
) -> str:
    """Fit what is not there yet, score everything, write the tables; gives a summary in Markdown."""
    cells = read_cell_table(results / "data" / dataset / "cells.csv")
    root, rows = ours.root_seed, {}
    for name, method in methods.items():
        for seed in range(first, first + seeds):
            fit = identify(f"{dataset}-{name}-s{seed}", method.settings(), dump(ours), seed, bound_draws)
            path = results / "peers" / "fits" / f"{fit}.npz"
            log(f"{fit}: {'found' if path.exists() else 'fitting'}")
            fitted = cached_fit(
                path, lambda method=method, seed=seed: method.fit(ours, bundle, seed, bound_draws)
            )
            rows[name, fit] = fitted_rows(fitted, cells, dataset, seed, draws, root)
    variants = list(methods)
    for found in baseline_rows(bundle, cells, ours, draws, root):
        rows.setdefault((found.pop("variant"), ""), []).append(found)
    variants += [variant for variant, fit in rows if not fit]
    summary = write_tables(long_table(dataset, rows), results / "peers" / dataset, root)
    return wide(summary, COLUMNS, variants)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    scores = commands.add_parser("scores", help="scores on real cells")
    scores.add_argument("--datasets", nargs="+", default=list(DATASETS))
    scores.add_argument("--methods", nargs="+", help="only these")
    scores.add_argument("--seeds", type=int, default=3)
    scores.add_argument("--first-seed", type=int, default=200)
    scores.add_argument("--null-draws", type=int, default=50)
    for each in (scores, commands.add_parser("speed", help="processor seconds an epoch")):
        each.add_argument("--results", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    for dataset in arguments.datasets:
        ours = our_fit(dataset)
        bundle = read_bundle(arguments.results / "data" / dataset / "cells.npz", support="counts")
        methods = our_methods(ours) | peer_methods(ours, bundle)
        for name in arguments.methods or []:
            if name not in methods:
                raise bad_input("--methods", "name", name, f"one of {sorted(methods)}")
        chosen = {n: m for n, m in methods.items() if arguments.methods is None or n in arguments.methods}
        print(f"\n{dataset}: median [min, max] of {arguments.seeds} seeds\n")
        print(
            score(
                dataset, arguments.results, ours, bundle, chosen, arguments.seeds, arguments.first_seed,
                arguments.null_draws,
            )
        )  # fmt: skip


if __name__ == "__main__":
    run(main)
