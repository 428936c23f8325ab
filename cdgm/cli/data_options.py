"""Options that say what the data are, shared by all commands that fit."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cdgm.cli.inputs import genes, natural, present, read_data
from cdgm.utils.errors import UserError

#: Options that arrays have no use for.
OF_CELLS = ("source_key", "layer", "labels_key", "n_genes")


def add_data_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """DATA, --out, and the group that says what is what."""
    parser.add_argument("data", type=Path, metavar="DATA", help="cells.h5ad or arrays.npz")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder of the results; must be new"
    )
    what = parser.add_argument_group("what is what")
    what.add_argument("--source-key", metavar="COLUMN", help="column of obs that tells the groups apart")
    what.add_argument(
        "--background", required=True, nargs="+", metavar="VALUE", help="its value(s) for the background"
    )
    what.add_argument("--layer", metavar="NAME", help="layer with the observations (default: X)")
    return what


def add_likelihood_arguments(model: argparse._ArgumentGroup) -> None:
    """--likelihood and --n-genes."""
    model.add_argument(
        "--likelihood", metavar="NAME", help="negative_binomial (counts), poisson, gaussian, bernoulli"
    )
    model.add_argument("--n-genes", type=genes, metavar="N", help="use the N most variable genes, or 'all'")


def add_split_arguments(train: argparse._ArgumentGroup) -> None:
    """--held-out and --seed."""
    train.add_argument(
        "--held-out", type=float, default=0.1, metavar="X", help="share not trained on (default: 0.1)"
    )
    train.add_argument(
        "--seed", type=natural, default=0, metavar="N", help="seed of the first member (default: 0)"
    )


def opened(arguments: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The data, ready for a model, and the model's arguments that these options say.

    Raises
    ------
    UserError
        If the file is missing or damaged, or an option does not suit it.
    """
    data = read_data(arguments.data)
    options = {"held_out": arguments.held_out, "seed": arguments.seed}
    options |= present(likelihood=arguments.likelihood)
    if isinstance(data, dict):
        for name in OF_CELLS:
            if getattr(arguments, name, None) is not None:
                raise UserError(
                    f"--{name.replace('_', '-')}: is about AnnData files, and {arguments.data} is none"
                )
        (background, *more) = arguments.background
        if more or background not in data:
            raise UserError(
                f"--background: got {arguments.background}, expected one of the arrays {sorted(data)}"
            )
        return {background: data[background]} | data, options
    if arguments.source_key is None:
        columns = sorted(map(str, data.obs.columns))
        raise UserError(f"--source-key: missing, expected a column of obs: one of {columns}")
    from cdgm.estimator.model import ComparativeModel

    ComparativeModel.setup_anndata(
        data,
        arguments.source_key,
        arguments.background,
        arguments.layer,
        getattr(arguments, "labels_key", None),
    )
    return data, options | {"n_genes": arguments.n_genes}
