"""``cdgm evaluate``."""

from __future__ import annotations

import argparse
from contextlib import nullcontext

from cdgm.cli.data_options import add_options
from cdgm.cli.inputs import local_path, model_folder, read_data, results_folder
from cdgm.utils.errors import UserError

SUMMARY = "score a model again: other rows, other labels"
DESCRIPTION = """\
Score a model that `cdgm fit` or model.save() wrote: held-out ELBO, leakage, agreement of members, genes that
the salient block moves. Labels and batches can be any columns, also such as the fit did not know.
"""
EPILOG = """\
examples
  cdgm evaluate fit cells.h5ad
  cdgm evaluate fit cells.h5ad --labels-key cell_type --check-batch-key donor --out scores
  cdgm evaluate fit cells.h5ad --split all
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "model", type=local_path, metavar="MODEL", help="folder of the results, or of a saved model"
    )
    add_options(parser, "data", help="the data that it was fitted to")
    add_options(parser, "--labels-key", help="column of obs to score, in place of the fit's own")
    parser.add_argument(
        "--split", choices=("held_out", "train", "all"), help="rows to score (default: as in the fit)"
    )
    add_options(parser, "--check-batch-key", help="column of batches or donors to judge, likewise")
    add_options(parser, "--out", help="folder for report.html, tables and figures; must be new")
    add_options(parser, "--map", "--overwrite")


def run(arguments: argparse.Namespace) -> None:
    """Load, score, print, write."""
    if arguments.out is None and arguments.overwrite:
        raise UserError("--overwrite: is about --out, which is missing")
    folder = model_folder(arguments.model)
    with results_folder(arguments) if arguments.out is not None else nullcontext() as place:
        data = read_data(arguments.data)
        from cdgm.estimator.fit_folder import write_scores
        from cdgm.estimator.model import ComparativeModel
        from cdgm.estimator.scores import Scores

        model = ComparativeModel.load(folder, data, arguments.labels_key, arguments.check_batch_key)
        scores = Scores.of(model, arguments.split)
        if place is not None:
            write_scores(model, place, "saved fit", arguments.map, scores)
    print(scores.elbo.drop(columns=["seed", "finite"]).round(3).to_string(index=False))
    for check in [scores.summary(), *scores.checks()]:
        print(f"{check.about}: {check.text}")
