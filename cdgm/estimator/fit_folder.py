"""Everything about a fit as files: latents, tables, figures, the model, and a page that explains them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from cdgm.estimator.interpretation import summarise
from cdgm.estimator.storage import write_model
from cdgm.utils.files import atomic, write_csv

if TYPE_CHECKING:
    from cdgm.estimator.fit_scores import Scores
    from cdgm.estimator.model import ComparativeVAE
    from cdgm.reports.fit_report import FitPage

LATENTS, MODEL, FIGURES, CELLS, PAGE = "latents.csv", "model", "figures", "cells.h5ad", "report.html"
MAPS, TRAINING = f"{FIGURES}/maps", f"{FIGURES}/training"


def latent_table(model: ComparativeVAE, member: int = 0) -> pd.DataFrame:
    """cell, source, label, held_out and each block's posterior means, in the order of the data."""
    observed = model.observed
    held_out = observed.marked(model.split.held_out)
    label = "" if observed.label is None else observed.label
    columns = {"cell": observed.names, "source": observed.source, "label": label, "held_out": held_out}
    for block in model.model_spec.design.blocks:
        means = model.get_latent_representation(block, member=member)
        columns |= {f"{block}_{i}": means[:, i] for i in range(means.shape[1])}
    return pd.DataFrame(columns)


def write_results(model: ComparativeVAE, folder: Path, variant: str, way: str, scores: Scores) -> None:
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
    from cdgm.figures.own_data import map_table, maps_figure, training_figure
    from cdgm.plotting import style
    from cdgm.reports.fit_report import fit_report

    member = model.fitted.members()[0]
    write_model(model, folder / MODEL)
    latents = latent_table(model, member)
    write_csv(folder / LATENTS, latents, digits=6)
    scores.write(folder)
    if model.adata is not None:
        with atomic(folder / CELLS) as temporary:
            model.to_anndata(member).write_h5ad(temporary)
    design = model.model_spec.design
    maps = map_table(latents, list(design.blocks), way)
    style.save(maps_figure(maps, design.sources), maps, folder / MAPS)
    style.save(*training_figure(model.history, variant), folder / TRAINING)
    page = fit_report(fit_page(model, variant, way, member, scores))
    with atomic(folder / PAGE) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")


def fit_page(model: ComparativeVAE, variant: str, way: str, member: int, scores: Scores) -> FitPage:
    """Collect what the page shows."""
    from cdgm.reports.fit_report import FitPage

    fitted, checks = model.fitted, scores.checks()
    stopping, private = fitted.stopping, scores.private
    return FitPage(
        summary=summarise(checks, private),
        checks=checks,
        about=f"{model!r}, variant {variant}.",
        private=private,
        members=len(fitted.members()),
        shown=member,
        stopping=() if stopping is None else stopping.sentences(model.seeds),
        layout=way,
        elbo=scores.elbo,
        leakage=scores.leakage,
        stability=scores.stability,
        genes=scores.genes,
        has_cells=model.adata is not None,
        settings=fitted.spec.model_dump(mode="json", exclude_defaults=True),
    )
