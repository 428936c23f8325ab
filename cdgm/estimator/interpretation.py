"""Conclusions from the tables of a fit, in sentences, by rules that ``docs/own_data.md`` explains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cdgm.utils.joint_names import JOINT

#: Share of a block's variance that another member's must explain for members to agree.
AGREE = 0.8
#: KL of a block in nats a row, below which the model does not use the block.
EMPTY = 0.1
GOOD, BAD, OPEN = "yes", "no", "open"


@dataclass(frozen=True)
class Sentence:
    """One conclusion.

    Attributes
    ----------
    about
        Its subject.
    text
        What was found, with its number.
    verdict
        ``yes`` (as hoped), ``no`` (a reason for doubt) or ``open`` (depends on what the user knows).
    """

    about: str
    text: str
    verdict: str


def interpret(elbo: pd.DataFrame, leakage: pd.DataFrame, stability: pd.DataFrame | None) -> list[Sentence]:
    """Sentences for the tables of a fit; ``stability`` is None for a single member."""
    return [*_diverged(elbo), *_empty_blocks(elbo), *_stability(stability), *_leakage(leakage)]


def _diverged(elbo: pd.DataFrame) -> Iterator[Sentence]:
    finite = elbo.groupby("member")["finite"].all()
    if not finite.all():
        text = f"{int((~finite).sum())} of {len(finite)} members diverged and are left out"
        yield Sentence("training", f"{text}: try a smaller learning rate.", BAD)


def _empty_blocks(elbo: pd.DataFrame) -> Iterator[Sentence]:
    for column in (c for c in elbo if c.startswith("kl_")):
        block, values = column.removeprefix("kl_"), elbo.loc[elbo["finite"], column].dropna()
        if len(values) and values.median() < EMPTY:
            text = f"it holds {values.median():.2f} nats a cell: next to nothing. The model does not use it."
            yield Sentence(f"{block} block", text, BAD)


def _stability(table: pd.DataFrame | None) -> Iterator[Sentence]:
    if table is None:
        text = "not known from a single member: fit several (n_members=4, --members 4)."
        yield Sentence("stability", text, OPEN)
        return
    for block, rows in table.groupby("block", sort=False):
        about, value, chance = f"stability of the {block} block", rows["r2"].min(), rows["r2_null_high"].max()
        if rows["r2"].isna().all():
            yield Sentence(about, "the block is empty in all members: nothing to compare.", BAD)
            continue
        text = (
            f"the worst of {len(rows)} pair{'s' * (len(rows) > 1)} of members shares {value:.2f} of its "
            f"variance (shuffled rows: {max(0.0, chance):.2f} at most), mean canonical correlation "
            f"{rows.loc[rows['r2'].idxmin(), 'agreement']:.2f}"
        )
        if value >= AGREE:
            yield Sentence(about, f"{text}: other seeds find the same, up to a linear map.", GOOD)
        else:
            part = " in part" * bool(value > chance)
            yield Sentence(about, f"{text}: other seeds find something else{part}.", BAD)


def _leakage(table: pd.DataFrame) -> Iterator[Sentence]:
    asked = {metric: rows for metric, rows in table.groupby("metric", sort=False)}
    nothing = table.iloc[:0]
    for (pair, source), rows in asked.get("hsic", nothing).groupby(["block", "source"], sort=False):
        text = f"{' and '.join(pair.split(JOINT))} depend on each other over {source} cells in "
        text += f"{_traced(rows)} (HSIC above chance)."
        yield Sentence("independence of blocks", text, _verdict(rows))
    mixing = asked.get("source_separation", nothing)
    for block, rows in mixing.groupby("block", sort=False):
        chance = 1 / (1 + rows["source"].iloc[0].count(JOINT))
        text = f"neighbours separate the sources in {_traced(rows)} "
        text += f"(accuracy {rows['value'].median():.2f}; mixed sources give {chance:.2f})."
        yield Sentence(f"sources in the {block} block", text, _verdict(rows))
    shared = set(mixing["block"])
    for (block, source), rows in asked.get("knn_accuracy", nothing).groupby(["block", "source"], sort=False):
        text = f"neighbours predict the labels of {source} cells with accuracy {rows['value'].median():.2f} "
        text += f"(by chance {np.median(rows['null_high']):.2f} at most): "
        text += (
            "wanted if the labels are cell types, leakage if only the target can have them."
            if block in shared
            else "wanted if the labels are the perturbation, a confounder if they are a batch or a donor."
        )
        yield Sentence(f"labels in the {block} block", text, OPEN)


def _traced(rows: pd.DataFrame) -> str:
    return f"{int(rows['trace'].sum())} of {len(rows)} member{'s' * (len(rows) > 1)}"


def _verdict(rows: pd.DataFrame) -> str:
    return BAD if rows["trace"].any() else GOOD
