"""The page of a fit to a user's own data: what to believe, maps, tables, and a glossary."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from cdgm.reports.rendering import render
from cdgm.utils.files import canonical_json

Verdict = Literal["doubt", "ask", "minor", "open", "note", "good"]
#: Verdict of a check to the class and the word of its badge, strongest objection first.
BADGES: dict[Verdict, tuple[str, str]] = {
    "doubt": ("no", "reason for doubt"),
    "ask": ("ask", "check this"),
    "minor": ("some", "minor doubt"),
    "open": ("open", "open"),
    "note": ("none", "for scale"),
    "good": ("yes", "as hoped"),
}
#: Genes in the page's table.
GENES = 25
MAPS = {"umap": "UMAP", "pca": "principal components"}
FILES = {
    "latents.csv": "latents of each cell, from the member shown",
    "cells.h5ad": "your object with the latents in obsm",
    "elbo.csv": "ELBO on held-out and training rows, and KL of each block",
    "leakage.csv": "traces of blocks, sources and labels",
    "stability.csv": "agreement of members",
    "genes.csv": "genes that the salient block changes",
    "differential_expression.csv": "effect of the salient block on each gene, and its probability",
    "model/model.json": "all settings of the fit",
}
#: Column or metric of a table to the entry of the glossary that explains it.
TERMS = {
    "member": "member",
    "elbo": "elbo",
    "elbo_train": "elbo",
    "r2": "stability",
    "agreement": "stability",
    "active_a": "active",
    "active_b": "active",
    "r2_null_high": "null",
    "null_mean": "null",
    "null_high": "null",
    "p": "null",
    "trace": "trace",
    "hsic": "hsic",
    "source_separation": "separation",
    "source_separation_linear": "separation_linear",
    "axis_asymmetry": "asymmetry",
    "source_mixing": "mixing",
    "knn_accuracy": "labels",
    "batch_accuracy": "batches",
    "floor": "floor",
    "change": "change",
    "spread": "spread",
    "size": "size",
    "members_agree": "members_agree",
    "member_sd": "member_sd",
    "split": "held_out",
}


@dataclass(frozen=True)
class Check:
    """One conclusion about a fit.

    Attributes
    ----------
    about
        Its subject.
    text
        What was found, with its number.
    verdict
        ``good`` (as hoped), ``minor`` (a minor doubt), ``doubt`` (a strong one), ``ask`` (something to find
        out first), ``open`` (depends on what the user knows, or is unknown) or ``note`` (a size and no
        objection).
    term
        Entry of the glossary that explains the check.
    blocks
        Blocks that it is about; empty if it is about the fit as a whole.
    reason
        The finding in a few words, for the summary.
    size
        The number that the verdict rests on, beside what it is held to: "84%, chance 19%", for the badge.
    """

    about: str
    text: str
    verdict: Verdict
    term: str
    blocks: tuple[str, ...] = ()
    reason: str = ""
    size: str = ""


@dataclass(frozen=True)
class FitPage:
    """Contents of the page.

    Attributes
    ----------
    summary, checks
        One sentence on the whole fit, and what it rests on, strongest objections first.
    about
        Data, dimensions and training of the model, in a line.
    private
        Blocks that belong to some of the sources only.
    shown
        The member whose latents are shown.
    layout
        Layout of the maps: ``umap`` or ``pca``.
    leakage, stability, elbo, genes
        Tables of scores. ``stability`` is None for a single member, ``genes`` without a private block,
        ``elbo`` for latents of another method.
    stopping
        What early stopping did to each member; empty without it.
    starts
        Which of several starts each member is; empty for one start.
    label
        Name of the labels that maps show; "" without.
    settings
        Settings of the fit that differ from defaults; None for latents of another method.
    """

    summary: Check
    checks: Sequence[Check]
    about: str
    private: Sequence[str]
    shown: int
    layout: str
    leakage: pd.DataFrame
    stability: pd.DataFrame | None
    elbo: pd.DataFrame | None = None
    genes: pd.DataFrame | None = None
    stopping: Sequence[str] = ()
    starts: Sequence[str] = ()
    label: str = ""
    settings: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Table:
    """A data frame as text."""

    label: str
    columns: Sequence[str]
    numeric: Sequence[bool]
    rows: Sequence[Sequence[str]]


def fit_report(fit: FitPage, written: Collection[str]) -> str:
    """Lay out the page; pictures lie beside it.

    Parameters
    ----------
    fit
        Contents.
    written
        Files that lie beside it; it links those that :data:`FILES` explains.

    Returns
    -------
    str
        HTML.
    """
    return render(
        "fit.html.j2",
        fit=fit,
        badges=BADGES,
        terms=TERMS,
        layout=MAPS[fit.layout],
        elbo=None
        if fit.elbo is None
        else table("Held-out and training ELBO", fit.elbo, ["source", "member"]),
        leakage=table("Leakage", fit.leakage, ["metric", "block", "source"]),
        stability=None if fit.stability is None else table("Agreement of members", fit.stability),
        genes=None if fit.genes is None else table("Genes", fit.genes.head(GENES)),
        files={name: held for name, held in FILES.items() if name in written},
        settings=None if fit.settings is None else canonical_json(fit.settings),
    )


def table(label: str, values: pd.DataFrame, first: Sequence[str] = ()) -> Table:
    """Format a data frame with the columns ``first`` in front, numbers to four digits."""
    values = values[[*first, *(column for column in values if column not in first)]]
    numeric = [kind.kind in "iuf" for kind in values.dtypes]
    rows = [[_cell(value) for value in row] for row in values.itertuples(index=False)]
    return Table(label, list(map(str, values.columns)), numeric, rows)


def _cell(value: object) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else f"{value:.4g}"
    return str(value)
