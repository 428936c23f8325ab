"""``cdgm fit``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cdgm.cli.data_options import COVARIATES, add_data_options, add_options, opened
from cdgm.cli.inputs import present, results_folder, variant
from cdgm.utils.command_line import log, positive
from cdgm.utils.errors import UserError

SUMMARY = "fit a model to your data, score it, draw it, explain it"
DESCRIPTION = """\
Fit a comparative model. What both groups of cells share goes to the background block, what only the target
has to the salient block. Several members (seeds) are fitted together: how far they agree is the one check of
identifiability that needs no truth.
"""
EPILOG = """\
what DATA can be
  cells.h5ad    an AnnData file: --source-key names the column of obs that tells the two groups apart,
                --background its value(s) for the background; all other cells are the target.
                Raw counts, unless --likelihood gaussian.
  arrays.npz    one array (rows, features) a group; --background names the array of the background. Real
                values, unless --likelihood says otherwise.

what is written to --out
  report.html   open this first: what to believe, maps, tables
  latents.csv   latents of each cell           elbo.csv, leakage.csv, stability.csv, genes.csv   scores
  differential_expression.csv   effect of the salient block on each gene, and how sure it is
  cells.h5ad    your object with the latents   figures/  maps and training as PNG, PDF, CSV
  model/        the model, to load again: cdgm.ComparativeModel.load("out/model", adata)

examples
  cdgm fit cells.h5ad --source-key condition --background ctrl --n-genes 2000 --out fit
  cdgm fit cells.h5ad --source-key guide --background NT safe --layer counts --labels-key guide --out fit
  cdgm fit cells.h5ad --source-key condition --background ctrl --batch-key donor --out fit
  cdgm fit arrays.npz --background healthy --variant cvae --n-background 5 --n-salient 3 --out fit
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    what = add_data_options(parser)
    add_options(what, "--labels-key", "--check-batch-key")
    model = parser.add_argument_group("the model")
    add_options(model, "--variant", default="mo-co-cvae")
    add_options(model, "--n-background", "--n-salient")
    add_options(model, "--members", default=4)
    add_options(model, "--likelihood", "--n-genes")
    model.add_argument(
        "--encode-covariates", action="store_true", help="tell the encoders of batches and covariates too"
    )
    model.add_argument(
        "--within-batches",
        action="store_true",
        help="compare cells for HSIC and MMD, and shuffle them for levels, only within their batch",
    )
    model.add_argument(
        "--decoder-hidden", type=positive, nargs="*", metavar="N",
        help="widths of the decoder's hidden layers; no number for none (default: by the number of cells)",
    )  # fmt: skip
    model.add_argument(
        "--hidden-norm", choices=("layer",), help="layer norm in hidden layers (default: none)"
    )
    model.add_argument(
        "--dropout", type=float, metavar="P", help="share of the units of hidden layers that training drops"
    )
    train = parser.add_argument_group("training")
    add_options(train, "--max-steps")
    train.add_argument(
        "--max-epochs", type=float, metavar="X", help="the same, in passes over the larger group"
    )
    train.add_argument("--batch-size", type=positive, metavar="N", help="rows of each group in a step")
    train.add_argument("--learning-rate", type=float, metavar="X", help="peak of the learning rate")
    train.add_argument(
        "--weight-decay", type=float, metavar="X", help="decay of weights, as of AdamW (default: 0)"
    )
    add_options(train, "--early-stopping")
    train.add_argument(
        "--patience", type=positive, metavar="N",
        help="of early stopping: checks without a rise, one each 25 steps or so (default: a fifth)",
    )  # fmt: skip
    train.add_argument(
        "--starts", type=positive, default=1, metavar="N",
        help="fit each member N times and keep the fit with the highest validation ELBO (default: 1)",
    )  # fmt: skip
    add_options(train, "--device", "--held-out", "--seed")
    add_options(parser.add_argument_group("results"), "--map", "--overwrite")


def run(arguments: argparse.Namespace) -> None:
    """Fit, score, write: all results or none."""
    from cdgm.utils.provenance import Provenance

    if arguments.max_steps is not None and arguments.max_epochs is not None:
        raise UserError("--max-steps and --max-epochs: expected one of them")
    if arguments.patience is not None and arguments.early_stopping is False:
        raise UserError("--patience: is about early stopping, which --no-early-stopping turns off")
    provenance = Provenance()
    # First of all: a folder that cannot be written should not be noticed after the fit.
    with results_folder(arguments) as folder:
        from cdgm.estimator.fit_folder import write_results
        from cdgm.estimator.scores import Scores

        model = make_model(arguments)
        log(repr(model))
        model.train(
            arguments.max_steps,
            arguments.max_epochs,
            early_stopping=arguments.early_stopping,
            device=arguments.device,
            n_starts=arguments.starts,
            **present(
                batch_size=arguments.batch_size,
                learning_rate=arguments.learning_rate,
                weight_decay=arguments.weight_decay,
                early_stopping_patience=arguments.patience,
            ),
        )
        log("scoring")
        scores = Scores.of(model)
        log("drawing")
        write_results(model, folder, arguments.variant, arguments.map, scores)
        given = {name: value for name, value in vars(arguments).items() if name not in ("run", "command")}
        provenance.write(folder / "provenance.json", {k: _plain(v) for k, v in given.items()})
    for check in [scores.summary(), *scores.checks()]:
        print(f"{check.about}: {check.text}")
    print(f"results: {arguments.out}/report.html")


def make_model(arguments: argparse.Namespace):
    """Make the model that the options describe."""
    from cdgm.estimator.model import ComparativeModel

    data, options = opened(arguments)
    if arguments.encode_covariates:
        if not any(getattr(arguments, name) for name in COVARIATES):
            raise UserError("--encode-covariates: is about covariates, and none is named: see --batch-key")
    if arguments.within_batches:
        options["within_batches"] = True
    changes = present(
        encode_covariates=arguments.encode_covariates or None,
        decoder_hidden=arguments.decoder_hidden,
        hidden_norm=arguments.hidden_norm,
        dropout=arguments.dropout,
    )
    make: Any = ComparativeModel.from_arrays if isinstance(data, dict) else ComparativeModel
    return make(
        data,
        variant=variant(arguments.variant),
        n_background=arguments.n_background,
        n_salient=arguments.n_salient,
        n_members=arguments.members,
        model=changes,
        **options,
    )


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
