"""``cdgm plot``."""

from __future__ import annotations

import argparse

from cdgm.cli.data_options import add_options
from cdgm.cli.inputs import local_path, model_folder, read_data, results_folder
from cdgm.utils.errors import UserError, bad_input

SUMMARY = "draw the results of a fit again, coloured by any column"
DESCRIPTION = """\
Draw the maps of each block and the course of training from the results of `cdgm fit`. With DATA, cells are
coloured by any column of its obs.
"""
EPILOG = """\
examples
  cdgm plot fit --map pca --out figures
  cdgm plot fit --data cells.h5ad --colour cell_type --out figures
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("results", type=local_path, metavar="RESULTS", help="folder that `cdgm fit` wrote")
    add_options(parser, "--out", required=True, help="folder for the figures; must be new")
    parser.add_argument("--data", type=local_path, metavar="DATA", help="the AnnData file, for --colour")
    parser.add_argument("--colour", metavar="COLUMN", help="column of obs to colour cells by")
    add_options(parser, "--map", "--overwrite")


def run(arguments: argparse.Namespace) -> None:
    """Read tables, draw."""
    if (arguments.data is None) != (arguments.colour is None):
        raise UserError("--data and --colour: are given together or not at all")
    saved = model_folder(arguments.results)
    import numpy as np
    import pandas as pd

    from cdgm.estimator.fit_folder import LATENTS
    from cdgm.estimator.model_folder import read_about, read_history, require_unchanged
    from cdgm.evaluation.study_tables import long_history
    from cdgm.figures.fit_report import map_table, maps_figure, training_figure
    from cdgm.plotting.saving import save
    from cdgm.utils.folders import require_as_listed

    file = arguments.results / LATENTS
    text = {"cell": str, "source": str, "label": str}
    try:
        latents = pd.read_csv(file, dtype=text, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{file}: no such file: expected the folder that `cdgm fit` wrote") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: not a readable table: {' '.join(str(error).split())}") from error
    about, spec = read_about(saved)
    label_name = arguments.colour or (about.registration and about.registration.labels_key) or "label"
    records = read_history(saved, len(spec.members))
    needed = [*text, *(f"{b}_{i}" for b, d in spec.model.dims.items() for i in range(d))]
    if missing := [name for name in needed if name not in latents]:
        raise bad_input(file, "columns", list(latents), f"also {missing[0]!r}, as its model has")
    if latents.empty:
        raise UserError(f"{file}: has no rows")
    for name in needed[len(text) :]:
        column = latents[name]
        if column.dtype.kind not in "if" or not np.isfinite(column).all():
            values = column.tolist()
            good = [isinstance(v, float | int) and not isinstance(v, bool) and np.isfinite(v) for v in values]
            bad = values[good.index(False)]
            raise bad_input(file, name, bad, "finite numbers")
    sources = spec.model.design.sources
    if unknown := sorted(set(latents["source"]) - set(sources)):
        raise bad_input(file, "source", unknown[0], f"one of {list(sources)}, as its model has")
    # What is wrong within a file is told first.
    require_as_listed(arguments.results, LATENTS)
    require_unchanged(saved, about)
    if arguments.colour is not None:
        data = read_data(arguments.data)
        if isinstance(data, dict) or arguments.colour not in data.obs:
            known = [] if isinstance(data, dict) else sorted(map(str, data.obs.columns))
            raise bad_input(arguments.data, "--colour", arguments.colour, f"a column of obs: one of {known}")
        if list(map(str, data.obs_names)) != list(latents["cell"]):
            raise bad_input(
                arguments.data, "cells", data.n_obs, f"the {len(latents)} cells of {file}, in their order"
            )
        column = data.obs[arguments.colour]
        latents["label"] = np.where(column.isna(), "", column.astype(object).astype(str))
    with results_folder(arguments) as folder:
        maps = map_table(latents, list(spec.model.design.blocks), arguments.map)
        save(maps_figure(maps, spec.model.design.sources, label_name), maps, folder / "maps")
        history = long_history(records, spec.members)
        save(*training_figure(history, "fit"), folder / "training")
    print(f"figures: {arguments.out}/maps.png, {arguments.out}/training.png (and .pdf, .csv)")
