"""Options that say what the data are, shared by all commands that fit."""

from __future__ import annotations

import argparse
from typing import Any

from cdgm.cli.inputs import genes, local_path, present, read_data
from cdgm.utils.command_line import natural, positive
from cdgm.utils.errors import UserError

#: Options that name covariates, and the arguments of ``setup_anndata`` that they are.
COVARIATES = {
    "batch_key": "batch_key",
    "categorical_covariate_key": "categorical_covariate_keys",
    "continuous_covariate_key": "continuous_covariate_keys",
}
#: Options that arrays have no use for.
OF_CELLS = ("source_key", "layer", "labels_key", "check_batch_key", "n_genes", *COVARIATES)


#: Options that several commands have: what :meth:`argparse.ArgumentParser.add_argument` takes.
OPTIONS: dict[str, dict[str, Any]] = {
    "data": {"type": local_path, "metavar": "DATA", "help": "cells.h5ad or arrays.npz"},
    "--out": {"type": local_path, "metavar": "DIR", "help": "folder of the results; must be new"},
    "--overwrite": {"action": "store_true", "help": "replace a folder that is not empty"},
    "--map": {"choices": ("umap", "pca"), "default": "umap", "help": "how maps are laid out (default: umap)"},
    "--source-key": {"metavar": "COLUMN", "help": "column of obs that tells the groups apart"},
    "--background": {"nargs": "+", "metavar": "VALUE", "help": "its value(s) for the background"},
    "--layer": {"metavar": "NAME", "help": "layer with the observations (default: X)"},
    "--labels-key": {"metavar": "COLUMN", "help": "labels that scores and maps show; never trained on"},
    "--batch-key": {"metavar": "COLUMN", "help": "batches or donors, which the decoder is told"},
    "--check-batch-key": {
        "metavar": "COLUMN", "help": "batches or donors that the model is not told, to be scored",
    },
    "--categorical-covariate-key": {
        "nargs": "+", "metavar": "COLUMN", "help": "further columns that the decoder is told: categories",
    },
    "--continuous-covariate-key": {
        "nargs": "+", "metavar": "COLUMN", "help": "further columns that the decoder is told: numbers",
    },
    "--variant": {"metavar": "NAME", "help": "how to fit (default: %(default)s)"},
    "--n-background": {"type": positive, "default": 10, "metavar": "N", "help": "dimensions (default: 10)"},
    "--n-salient": {"type": positive, "default": 10, "metavar": "N", "help": "dimensions (default: 10)"},
    "--members": {"type": positive, "metavar": "N", "help": "seeds fitted together (default: %(default)s)"},
    "--likelihood": {
        "metavar": "NAME", "help": "negative_binomial (counts), poisson, gaussian, bernoulli",
    },
    "--n-genes": {"type": genes, "metavar": "N", "help": "use the N most variable genes, or 'all'"},
    "--early-stopping": {
        "action": argparse.BooleanOptionalAction,
        "help": "set some training rows aside and end each member's training when their ELBO stops rising "
        "(default: wherever each group has 200 training rows)",
    },
    "--device": {
        "choices": ("cpu", "cuda", "auto"), "default": "cpu", "help": "where to train (default: cpu)",
    },
    "--max-steps": {"type": positive, "metavar": "N", "help": "optimiser steps (default: 3000)"},
    "--held-out": {
        "type": float, "default": 0.1, "metavar": "X", "help": "share not trained on (default: 0.1)",
    },
    "--seed": {
        "type": natural, "default": 0, "metavar": "N", "help": "seed of the first member (default: 0)",
    },
}  # fmt: skip


def add_options(to: argparse._ActionsContainer, *names: str, **changes: Any) -> None:
    """Add options of :data:`OPTIONS`, with other values for some of their arguments."""
    for name in names:
        to.add_argument(name, **OPTIONS[name] | changes)


def add_data_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add DATA, --out, and the group that says what is what."""
    add_options(parser, "data")
    add_options(parser, "--out", required=True)
    what = parser.add_argument_group("what is what")
    add_options(what, "--source-key")
    add_options(what, "--background", required=True)
    add_options(what, "--layer")
    add_options(what, *(f"--{name.replace('_', '-')}" for name in COVARIATES))
    return what


def opened(arguments: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Read the data and the arguments of the model from the options.

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
        **{argument: getattr(arguments, option) for option, argument in COVARIATES.items()},
        check_batch_key=getattr(arguments, "check_batch_key", None),
    )
    return data, options | {"n_genes": arguments.n_genes}
