"""Check and slice the tables that figures are drawn from.

An *arm* is a (setting, variant) pair of a study; most studies have one variant, and then it is a setting.
Names of sources and blocks, and their order, come from the tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from cdgm.evaluation.catalogue import BASELINES
from cdgm.evaluation.table_files import NUMBERS, TEXT
from cdgm.utils.errors import bad_input
from cdgm.utils.joint_names import JOINT

COLUMNS = {
    "scores": (
        *("study", "setting", "variant", "seed", "finite", "source", "block", "truth", "twist"),
        *("metric", "value", "null_high"),
    ),
    "history": ("study", "setting", "variant", "seed", "step", "quantity", "source", "block", "value"),
    "maps": ("study", "setting", "variant", "seed", "block", "cell", "source", "label", "x", "y"),
}

Tables = Mapping[str, pd.DataFrame]
Arm = tuple[str, str]


def rows_of(tables: Tables, name: str, study: str) -> pd.DataFrame:
    """A study's rows of the table ``name``, with clean types.

    Raises
    ------
    UserError
        If the table, one of its columns, or the study is missing.
    """
    if name not in tables:
        raise bad_input(f"study {study!r}", "tables", sorted(tables), f"also the table {name!r}")
    table = tables[name]
    for column in COLUMNS[name]:
        if column not in table.columns:
            raise bad_input(f"{name} of study {study!r}", "columns", list(table.columns), f"also {column!r}")
    rows = table[table["study"] == study].reset_index(drop=True)
    if rows.empty:
        raise bad_input(name, "study", list(table["study"].unique()), f"rows of study {study!r}")
    for column in rows.columns:
        if column in TEXT:
            rows[column] = rows[column].astype(object).where(rows[column].notna(), "").astype(str)
        elif column in NUMBERS:
            rows[column] = pd.to_numeric(rows[column], errors="coerce")
    if "point" not in rows and "variant" in rows:
        rows["point"] = ""
    if "twist" in rows:
        rows["twist"] = rows["twist"].fillna(0.0)
    if "finite" in rows:
        # A column of True, False or of their names, by how it was read.
        rows["finite"] = rows["finite"].astype(str).isin(["True", "true", "1", "1.0"])
        rows["finite"] &= np.isfinite(rows["value"])
    return rows


def pick(rows: pd.DataFrame, **equal: object) -> pd.DataFrame:
    """Rows whose columns equal the given values."""
    keep = np.ones(len(rows), dtype=bool)
    for column, value in equal.items():
        keep &= (rows[column] == value).to_numpy()
    return rows[keep]


def need(rows: pd.DataFrame, study: str, **equal: object) -> pd.DataFrame:
    """Like :func:`pick`, but there must be some.

    Raises
    ------
    UserError
        Naming the first column whose value isn't there.
    """
    kept = rows
    for column, value in equal.items():
        before, kept = kept, pick(kept, **{column: value})
        if kept.empty:
            found = list(before[column].unique())
            raise bad_input(f"scores of study {study!r}", column, found, f"rows of {value!r}")
    return kept


def fits_of(tables: Tables, study: str, *metrics: str) -> pd.DataFrame:
    """Scores of a study's own fits, without baselines and ceilings.

    Raises
    ------
    UserError
        If one of ``metrics`` was not scored.
    """
    scores = rows_of(tables, "scores", study)
    scores = scores[~scores["variant"].isin(BASELINES)]
    for metric in metrics:
        need(scores, study, metric=metric)
    return scores


def arms_of(rows: pd.DataFrame) -> list[Arm]:
    """(setting, variant) pairs in the order of first appearance, without the baselines."""
    own = rows[~rows["variant"].isin(BASELINES)]
    pairs = own[["setting", "variant"]].drop_duplicates()
    return list(pairs.itertuples(index=False, name=None))


def of_arm(rows: pd.DataFrame, arm: Arm) -> pd.DataFrame:
    """Rows of one arm."""
    return pick(rows, setting=arm[0], variant=arm[1])


def seeds_of(rows: pd.DataFrame) -> tuple[set[int], set[int]]:
    """Seeds whose fit finished, and all seeds, of an arm's scores.

    A fit that turned non-finite is flagged on all its rows; one bad *score* doesn't make a bad fit.
    """
    finite = rows.groupby("seed")["finite"].any()
    return set(finite.index[finite]), set(finite.index)


def order_of(tables: Tables, study: str) -> tuple[list[str], list[str]]:
    """Sources and blocks of a study, in an order that gives them the same colours in all figures.

    Blocks active in more sources come first, then sources with fewer active blocks; ties keep the order
    of appearance. So a shared block comes before a private one, and a control before what is compared to it.
    """
    kl = pd.DataFrame()
    if "history" in tables:
        kl = pick(rows_of(tables, "history", study), quantity="kl")
    if kl.empty:
        scores = rows_of(tables, "scores", study)
        kl = scores[~scores["variant"].isin(BASELINES) & (scores["block"] != "") & (scores["source"] != "")]
        # Joint scores of blocks or sources have their names joined by a plus.
        kl = kl[~(kl["block"] + kl["source"]).str.contains(JOINT, regex=False)]
    pairs = list(kl[["source", "block"]].drop_duplicates().itertuples(index=False, name=None))
    sources, blocks = _unique(source for source, _ in pairs), _unique(block for _, block in pairs)
    sources.sort(key=lambda source: sum(pair[0] == source for pair in pairs))
    blocks.sort(key=lambda block: -sum(pair[1] == block for pair in pairs))
    return sources, blocks


def main_source(rows: pd.DataFrame, block: str) -> str:
    """The source on whose points a block is judged: where most blocks are active, so that they can mix."""
    scored = rows[~rows["block"].str.contains(JOINT, regex=False) & (rows["block"] != "")]
    counts = scored.groupby("source", sort=False)["block"].nunique()
    own = [source for source in counts.index if (pick(scored, source=source)["block"] == block).any()]
    return max(own, key=lambda source: counts[source]) if own else ""


def median_of(values: pd.Series) -> float:
    """Median of the finite values, NaN without any (where pandas would warn)."""
    finite = values[np.isfinite(values)]
    return float(finite.median()) if len(finite) else float("nan")


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
