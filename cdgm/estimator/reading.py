"""What the numbers of a fit say, in sentences, by rules that ``docs/own_data.md`` writes down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cdgm.utils.joint_names import JOINT

#: From here on members are said to agree: share of a block's variance that another member's explains.
AGREE = 0.8
GOOD, BAD, OPEN = "yes", "no", "open"


@dataclass(frozen=True)
class Sentence:
    """One thing to know.

    Attributes
    ----------
    about
        What it is about.
    text
        What was found, with its number.
    verdict
        ``yes`` (as hoped), ``no`` (a reason for doubt) or ``open``.
    """

    about: str
    text: str
    verdict: str


def read_tables(elbo: pd.DataFrame, leakage: pd.DataFrame, stability: pd.DataFrame | None) -> list[Sentence]:
    """Sentences for the tables of a fit; ``stability`` is None for a single member."""
    return [*_members(elbo), *_blocks(elbo), *_stability(stability), *_leakage(leakage)]


def _members(elbo: pd.DataFrame) -> list[Sentence]:
    finite = elbo.groupby("member")["finite"].all()
    if finite.all():
        return []
    text = f"{int((~finite).sum())} of {len(finite)} members diverged and are left out"
    return [Sentence("training", f"{text}: try a smaller learning rate.", BAD)]


def _blocks(elbo: pd.DataFrame) -> list[Sentence]:
    """A block whose KL is near zero says nothing of a cell."""
    found = []
    for column in (c for c in elbo if c.startswith("kl_")):
        block, values = column.removeprefix("kl_"), elbo.loc[elbo["finite"], column].dropna()
        if len(values) and values.median() < 0.1:
            text = f"it holds {values.median():.2f} nats a cell: next to nothing. The model does not use it."
            found.append(Sentence(f"{block} block", text, BAD))
    return found


def _stability(table: pd.DataFrame | None) -> list[Sentence]:
    if table is None:
        text = "not known from a single member: fit several (n_members=4, --members 4)."
        return [Sentence("stability", text, OPEN)]
    found = []
    for block, rows in table.groupby("block", sort=False):
        about, value = f"stability of the {block} block", rows["r2"].min()
        pairs = f"{len(rows)} pair{'s' * (len(rows) > 1)} of members"
        if rows["r2"].isna().all():
            found.append(Sentence(about, "the block is empty in all members: nothing to compare.", BAD))
            continue
        number = f"the worst of {pairs} shares {value:.2f} of its variance (shuffled rows: "
        number += f"{max(0.0, rows['r2_null_high'].max()):.2f} at most), mean canonical correlation "
        number += f"{rows.loc[rows['r2'].idxmin(), 'agreement']:.2f}"
        if value >= AGREE:
            found.append(Sentence(about, f"{number}: other seeds find the same, up to a linear map.", GOOD))
        elif value > rows["r2_null_high"].max():
            found.append(Sentence(about, f"{number}: other seeds find something else in part.", BAD))
        else:
            found.append(Sentence(about, f"{number}: other seeds find something else.", BAD))
    return found


def _leakage(table: pd.DataFrame) -> list[Sentence]:
    found = []
    hsic = table[table["metric"] == "hsic"]
    for (pair, source), rows in hsic.groupby(["block", "source"], sort=False):
        traced = int(rows["trace"].sum())
        text = f"{' and '.join(pair.split(JOINT))} depend on each other over {source} cells in "
        text += f"{_share(traced, len(rows))} (HSIC above chance)."
        found.append(Sentence("independence of blocks", text, _verdict(traced)))
    mixing = table[table["metric"] == "source_separation"]
    for block, rows in mixing.groupby("block", sort=False):
        traced = int(rows["trace"].sum())
        chance = 1 / (1 + rows["source"].iloc[0].count(JOINT))
        text = f"neighbours tell the sources in {_share(traced, len(rows))} "
        text += f"(accuracy {rows['value'].median():.2f}; mixed sources give {chance:.2f})."
        found.append(Sentence(f"sources in the {block} block", text, _verdict(traced)))
    labels = table[table["metric"] == "knn_accuracy"]
    for (block, source), rows in labels.groupby(["block", "source"], sort=False):
        text = f"neighbours tell the labels of {source} cells with accuracy {rows['value'].median():.2f} "
        text += f"(chance gives {np.median(rows['null_high']):.2f} at most): good or bad by what labels are."
        found.append(Sentence(f"labels in the {block} block", text, OPEN))
    return found


def _share(traced: int, members: int) -> str:
    return f"{traced} of {members} member{'s' * (members > 1)}"


def _verdict(traced: int) -> str:
    return BAD if traced else GOOD
