"""Score one fitted stack on held-out data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cdgm.config.evaluation import EvaluationSpec
from cdgm.config.fit import FitSpec
from cdgm.config.validation import validated
from cdgm.data.bundle import read_bundle
from cdgm.data.cell_table import read_cell_table
from cdgm.evaluation.doses import dose_rows
from cdgm.evaluation.fits import (
    axis_rows,
    bound_rows,
    constraint_rows,
    embed,
    member_rows,
    score_cells,
    score_simulation,
)
from cdgm.models.checkpoint import load_stack
from cdgm.utils.command_line import Parser, run_job
from cdgm.utils.files import read_json, write_npz, write_rows
from cdgm.utils.provenance import Provenance


def main() -> None:
    """Parse, score, write."""
    parser = Parser(description=__doc__)
    parser.add_argument("--spec", required=True, help="file that says how to score (.json)")
    parser.add_argument("--fit-spec", required=True, help="spec.json of the fit")
    parser.add_argument("--model", required=True, help="model.npz of the fit")
    parser.add_argument("--data", required=True, help="data file of the fit (.npz)")
    parser.add_argument("--cells", help="table of cells, where the data are cells (.csv)")
    parser.add_argument("--out-dir", required=True, help="folder for metrics.csv and latents.npz")
    arguments = parser.parse_args()
    provenance = Provenance()
    torch.set_num_threads(1)
    values = read_json(arguments.spec)
    evaluation = validated(EvaluationSpec, values, arguments.spec)
    spec = validated(FitSpec, read_json(arguments.fit_spec), arguments.fit_spec)
    model, finite = load_stack(arguments.model, spec)
    bundle = read_bundle(arguments.data, support=spec.model.likelihood.support)
    bundle.require(arguments.data, spec.model.design.sources, model.n_features, spec.model.covariates)
    members = bundle.replicates_of([m.seed for m in spec.members], arguments.data)
    means = embed(model, bundle, members)
    if arguments.cells is None:
        scores = score_simulation(spec, evaluation, bundle, members, means)
        doses = ([] for _ in members)
    else:
        doses = dose_rows(spec, evaluation, bundle, members, means)
        scores = score_cells(spec, evaluation, read_cell_table(arguments.cells), means, bundle.batches)
    bounds = bound_rows(spec, evaluation, model, bundle, members)
    # As each kind of data is scored: cells of both splits, since nothing here was trained on a score.
    axes = axis_rows(spec, evaluation, means, ["test"] if arguments.cells is None else list(bundle.x))
    held = constraint_rows(spec, model, bundle, members)
    rows = [
        row
        for e, parts in enumerate(zip(bounds, axes, held, scores, doses, strict=True))
        for row in member_rows(e, spec, finite, [r for part in parts for r in part])
    ]
    out = Path(arguments.out_dir)
    arrays = {f"mean/{split}/{source}/{block}": mean for (split, source, block), mean in means.items()}
    write_npz(out / "latents.npz", arrays | {"seeds": np.asarray([m.seed for m in spec.members])})
    write_rows(out / "metrics.csv", rows)
    provenance.write(out / "provenance.json", values)


if __name__ == "__main__":
    run_job(main)
