"""The page of a fit to a user's own data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cdgm.estimator.interpretation import BAD, GOOD, OPEN, Sentence
from cdgm.reports.html import Html, element, page, table
from cdgm.utils.files import canonical_json

if TYPE_CHECKING:
    from cdgm.estimator.scores import Scores
    from cdgm.estimator.model import ComparativeModel

# Class of a badge and its word: colour is never alone.
BADGES = {GOOD: ("yes", "as hoped"), BAD: ("no", "reason for doubt"), OPEN: ("open", "to judge")}
#: Genes in the page's table.
GENES = 25
FILES = (
    ("latents.csv", "latents of each cell, first member"),
    ("cells.h5ad", "your object with the latents in obsm"),
    ("elbo.csv", "held-out ELBO and what each block costs of it"),
    ("leakage.csv", "traces of blocks, sources and labels"),
    ("stability.csv", "agreement of members"),
    ("genes.csv", "genes that the private block moves"),
    ("model/model.json", "all settings of the fit"),
)


TITLE = "A comparative model of your data"
WAYS = {"umap": "UMAP", "pca": "principal components"}
DOUBT = (
    "Members that disagree at ELBOs that are equally good show that data and model do not determine a "
    "block; members that agree do not prove that they do. Traces are tests at the 5 % level: one in twenty "
    "shows up by chance."
)
INACTIVE = (
    "A block that a source does not have is shown for its cells too, as its encoder sees them. "
    "To look at, never to measure on."
)
OVERFIT = (
    "Nats a row. A training ELBO far above the held-out one says that the model is too large or was trained "
    "for too long."
)
STOPPED = (
    "The training of a member ended when the ELBO of its validation rows, which are neither trained on nor "
    "held out for scores, had not risen for a while; it holds the parameters at which that ELBO was highest."
)
COURSE = "The course of training: each member thin, their median bold."
KEPT = " A member's curves end where its training did; the dot is at the parameters that it holds."


def own_data_page(
    model: ComparativeModel,
    variant: str,
    way: str,
    member: int,
    scores: Scores,
) -> str:
    """The page; images and files are beside it.

    Parameters
    ----------
    model
        The trained model.
    variant
        Name of how it was fitted.
    way
        How maps are laid out.
    member
        Whose latents are shown.
    scores
        Its scores.
    """
    files = [f for f in FILES if _there(f[0], model, scores)]
    body = [
        element("h1", TITLE),
        element("p", f"{model!r}, variant {variant}."),
        element("h2", "What to believe"),
        sentences(scores.sentences()),
        element("p", DOUBT, class_="small"),
        element("h2", "Maps"),
        _figure("figures/maps", f"Cells in each block ({WAYS[way]}), member {member}. {INACTIVE}"),
        element("h2", "Fit"),
        frame(scores.elbo),
        element("p", OVERFIT, class_="small"),
        *_stopping(model),
        _figure("figures/training", COURSE + KEPT * (model.ensemble.stopping is not None)),
    ]
    if scores.genes is not None:
        body += [
            element("h2", "What the private block moves"),
            element(
                "p",
                "Rows of its source, decoded with the block and without it; strongest first.",
                class_="small",
            ),
            frame(scores.genes.head(GENES)),
        ]
    if scores.stability is not None:
        body += [element("h2", "Agreement of members"), frame(scores.stability)]
    body += [
        element("h2", "Leakage"),
        frame(scores.leakage),
        element("h2", "Files"),
        element("ul", *(element("li", element("a", name, href=name), f": {text}") for name, text in files)),
        element("h2", "Settings"),
        element(
            "p",
            canonical_json(model.ensemble.spec.model_dump(mode="json", exclude_defaults=True)),
            class_="small",
        ),
    ]
    return page(TITLE, *body)


def _stopping(model: ComparativeModel) -> list[Html]:
    """What early stopping did, where there was any."""
    stopping = model.ensemble.stopping
    if stopping is None:
        return []
    said = [element("li", sentence) for sentence in stopping.sentences(model.seeds)]
    return [element("p", STOPPED), element("ul", *said)]


def sentences(found: Sequence[Sentence]) -> Html:
    """A list of sentences with their verdicts."""
    items = []
    for sentence in found:
        kind, word = BADGES[sentence.verdict]
        badge = element("span", word, class_=f"verdict {kind}")
        items.append(element("li", badge, " ", element("b", sentence.about), f": {sentence.text}"))
    return element("ul", *items, class_="conditions")


def frame(values: pd.DataFrame) -> Html:
    """A table of a data frame, numbers to three digits."""
    return table(
        list(map(str, values.columns)), [[_cell(v) for v in row] for row in values.itertuples(index=False)]
    )


def _cell(value: object) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else f"{value:.4g}"
    return str(value)


def _figure(name: str, caption: str) -> Html:
    picture = element("a", element("img", src=f"{name}.png", alt=caption), href=f"{name}.pdf")
    return element("figure", picture, element("figcaption", caption, class_="caption"))


def _there(name: str, model: ComparativeModel, scores: Scores) -> bool:
    wanted = {
        "cells.h5ad": model.observations.adata,
        "stability.csv": scores.stability,
        "genes.csv": scores.genes,
    }
    return wanted.get(name, True) is not None
