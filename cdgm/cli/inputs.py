"""Files that a user names on the command line."""

from __future__ import annotations

import argparse
import os
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cdgm.utils.command_line import whole
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.files import read_json, read_npz

if TYPE_CHECKING:
    from anndata import AnnData

#: Arguments of the estimator, as its messages name them, to options of the command line.
IN_PYTHON = {
    ": source_key:": ": --source-key:",
    ": labels_key:": ": --labels-key:",
    ": batch_key:": ": --batch-key:",
    ": check_batch_key:": ": --check-batch-key:",
    "categorical_covariate_keys": "--categorical-covariate-key",
    "continuous_covariate_keys": "--continuous-covariate-key",
    "(layer=)": "(--layer)",
    "likelihood='gaussian'": "--likelihood gaussian",
    "call adata.var_names_make_unique()": "make them unique",
    "adata.layers: layer:": "adata.--layer:",
    "or None for adata.X": "or X without this option",
}
#: Errors of the estimator that are about the data.
OF_DATA = r"adata|arrays|feature '|source '"
#: Beginnings of its other errors, and what the command calls the same.
OF_OPTIONS = {
    "train: max_steps": "--max-steps",
    "train: max_epochs": "--max-epochs",
    "train: batch_size": "--batch-size",
    "train: early_stopping_patience": "--patience",
    "train: early_stopping_share": "--early-stopping",
    "train: n_starts": "--starts",
    "fit: training.learning_rate": "--learning-rate",
    "n_background": "--n-background",
    "n_salient": "--n-salient",
    "n_members": "--members",
    "n_genes": "--n-genes",
    "held_out": "--held-out",
    "salient_space": "--salient-space",
    "seed": "--seed",
    "likelihood": "--likelihood",
    "batch_key": "--batch-key",
    "check_batch_key": "--check-batch-key",
    "levels": "--levels",
    "max_refits": "--max-refits",
    "of": "--of",
    "variant": "--variant",
    "within_batches": "--within-batches",
}


def local_path(text: str) -> Path:
    """A path of this machine, for argparse; of "" a Path would make the working directory."""
    if not text or "://" in text:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a path of this machine")
    return Path(text)


def read_data(path: Path) -> AnnData | dict[str, np.ndarray]:
    """An AnnData object (``.h5ad``), or arrays by the names of their sources (``.npz``).

    Raises
    ------
    UserError
        If the file is missing or damaged.
    """
    if not os.path.isfile(path):
        raise UserError(f"{path}: {'not a file' if os.path.lexists(path) else 'no such file'}")
    if path.suffix == ".npz":
        return read_npz(path)
    if path.suffix != ".h5ad":
        raise bad_input(path, "", path.suffix, "a file .h5ad (AnnData) or .npz (an array a source)")
    from cdgm.data.h5ad_file import read_h5ad

    return read_h5ad(path)


def in_terms_of_the_command(error: UserError, arguments: argparse.Namespace) -> UserError:
    """Put options and the file into an error of the estimator, in place of Python arguments."""
    text, data = str(error), getattr(arguments, "data", None)
    if data is None:
        return error
    if re.match(OF_DATA, text):
        for argument, option in IN_PYTHON.items():
            text = text.replace(argument, option)
        text = re.sub(r"^arrays(?:\['(.*?)'\])?", lambda m: m[1] or "arrays", text)
        return UserError(f"{data}: {text.removeprefix('adata').removeprefix('.')}")
    text = re.sub("^(choose_dimensions|choose_level|prune_dimensions): ", "", text)
    name = str(getattr(arguments, "variant", None))
    if text.startswith("variant") and name.endswith(".json"):
        return UserError(name + text.removeprefix("variant"))
    for argument, option in OF_OPTIONS.items():
        if re.match(rf"{argument}\b", text):
            return UserError(option + text.removeprefix(argument))
    return error


def model_folder(path: Path) -> Path:
    """The folder of a saved model: the one named, or ``model`` in the results of ``cdgm fit``."""
    for folder in (path, path / "model"):
        if os.path.isfile(folder / "model.json"):
            return folder
    raise UserError(f"{path}: holds no model: expected a folder that `cdgm fit` or model.save() wrote")


def variant(text: str) -> str | dict[str, Any]:
    """A variant by its name, or read from a file .json as `cdgm choose level` writes it."""
    if not text.endswith(".json"):
        return text
    value = read_json(Path(text))
    if not isinstance(value, dict):
        raise bad_input(text, "", value, "a variant, as `cdgm choose level` writes it")
    return value


def results_folder(arguments: argparse.Namespace) -> AbstractContextManager[Path]:
    """The folder of ``--out`` to write to, which must hold none of the files that the other options name.

    Raises
    ------
    UserError
        As :func:`cdgm.utils.folders.atomic_folder`, before anything is read or fitted.
    """
    from cdgm.utils.folders import atomic_folder

    given = {name: value for name, value in vars(arguments).items() if name != "out"}
    inputs = [value for value in given.values() if isinstance(value, Path)]
    if str(given.get("variant")).endswith(".json"):
        inputs.append(Path(given["variant"]))
    return atomic_folder(arguments.out, arguments.overwrite, inputs)


def genes(text: str) -> int | str:
    """A number of genes or ``all``, for argparse."""
    return text if text == "all" else whole(text, 2)


def present(**options: Any) -> dict[str, Any]:
    """Options that were given."""
    return {name: value for name, value in options.items() if value is not None}
