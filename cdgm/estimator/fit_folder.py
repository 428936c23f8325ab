"""Everything about a fit as files: latents, tables, figures, the model, and a page that explains them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from cdgm.config.ramp import ramps_of_blocks, stated
from cdgm.estimator.model_folder import write_model
from cdgm.utils.files import atomic, write_csv, write_text

if TYPE_CHECKING:
    from cdgm.estimator.model import ComparativeModel
    from cdgm.estimator.scores import Scores

LATENTS, MODEL, FIGURES, CELLS, PAGE = "latents.csv", "model", "figures", "cells.h5ad", "report.html"
MAPS, TRAINING = f"{FIGURES}/maps", f"{FIGURES}/training"


def latent_table(model: ComparativeModel, member: int = 0) -> pd.DataFrame:
    """cell, source, label, held_out and each block's posterior means, in the order of the data."""
    observed = model.observations
    held_out = observed.marked(model.split.rows("held_out"))
    label = "" if observed.label is None else observed.label
    columns = {"cell": observed.names, "source": observed.source, "label": label, "held_out": held_out}
    for block in model.model_spec.design.blocks:
        means = model.get_latent_representation(block, member=member)
        columns |= {f"{block}_{i}": means[:, i] for i in range(means.shape[1])}
    return pd.DataFrame(columns)


def write_results(model: ComparativeModel, folder: Path, variant: str, way: str, scores: Scores) -> None:
    """Write all results of a trained model into a folder that is there and empty.

    Parameters
    ----------
    model
        The model; latents, maps and ``cells.h5ad`` are those of its first member that is finite.
    folder
        Where to.
    variant
        Name of how it was fitted, for titles.
    way
        How maps are laid out: ``umap`` or ``pca``.
    scores
        Its scores.
    """
    member = model.ensemble.members()[0]
    write_model(model, folder / MODEL)
    write_csv(folder / LATENTS, latent_table(model, member), digits=6)
    if model.observations.adata is not None:
        with atomic(folder / CELLS) as temporary:
            model.to_anndata(member).write_h5ad(temporary)
    write_scores(model, folder, f"variant {variant}", way, scores)


def write_scores(model: ComparativeModel, folder: Path, title: str, way: str, scores: Scores) -> None:
    """Write the tables of scores, figures, and the page, which links what else lies in the folder.

    Parameters
    ----------
    model, folder, way, scores
        As in :func:`write_results`.
    title
        How the model was fitted, in a few words.
    """
    from cdgm.figures.fit_report import map_table, maps_figure, training_figure
    from cdgm.plotting.saving import save
    from cdgm.reports.fit_report import FILES, FitPage, fit_report

    member, design, ensemble = model.ensemble.members()[0], model.model_spec.design, model.ensemble
    scores.write(folder)
    maps = map_table(latent_table(model, member), list(design.blocks), way)
    registration = model.observations.registration
    label = "" if model.observations.label is None else (registration and registration.labels_key) or "label"
    save(maps_figure(maps, design.sources, label), maps, folder / MAPS)
    save(*training_figure(model.history, title), folder / TRAINING)
    ramps = ramps_of_blocks(ensemble.spec.variant.kl_schedule, design)
    page = FitPage(
        summary=scores.summary(),
        checks=scores.checks(),
        about=" ".join([f"{model!r}, {title}.", *([stated(ramps)] if ramps else [])]),
        private=scores.private,
        shown=member,
        stopping=ensemble.stopping.sentences(model.seeds) if ensemble.stopping else (),
        starts=ensemble.starts.sentences(model.seeds) if ensemble.starts else (),
        layout=way,
        elbo=scores.elbo,
        leakage=scores.leakage,
        stability=scores.stability,
        genes=scores.genes,
        label=label,
        settings=ensemble.spec.model_dump(mode="json", exclude_defaults=True),
    )
    written = [name for name in FILES if (folder / name).exists()]
    write_text(folder / PAGE, fit_report(page, written))
