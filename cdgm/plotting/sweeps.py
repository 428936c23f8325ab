"""Swept numbers of a study, parsed from the labels of its settings and points."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import pandas as pd

from cdgm.evaluation.table_slices import BASELINES, pick
from cdgm.utils.errors import bad_input

#: A variant and the point of its sweep, "" without one.
SweptVariant = tuple[str, str]


@lru_cache(maxsize=4096)
def swept(label: str) -> tuple[str, dict[str, float]]:
    """Parse a label of swept values: that of a setting, or the ``point`` of a member.

    Parameters
    ----------
    label
        ``name@key=value,key=value`` for a swept setting, ``name`` for another one, and
        ``key=value,key=value`` for a point; the empty string is a point without a sweep.

    Returns
    -------
    name : str
        What stands before the ``@``; empty for a point.
    values : dict
        The number of each key, in the order of the label.

    Raises
    ------
    UserError
        If a part is not ``key=number``.
    """
    name, at, rest = label.partition("@")
    if not at:
        if "=" not in label:
            return label, {}
        name, rest = "", label
    values = {}
    for part in rest.split(","):
        key, _, text = part.partition("=")
        try:
            values[key] = float(text)
        except ValueError:
            raise bad_input(f"label {label!r}", key, text, "a swept number, as in 'weight=100'") from None
    return name, values


def swept_columns(
    rows: pd.DataFrame, study: str, columns: Sequence[str], example: str
) -> tuple[list[str], pd.DataFrame]:
    """Rows of swept settings with the swept numbers as columns.

    Parameters
    ----------
    rows
        Scores of a study; rows of settings without a sweep are dropped.
    columns
        New columns, as many as numbers are swept.
    example
        A setting as it should be, for the error.

    Returns
    -------
    keys : list of str
        What is swept, in the order of ``columns``.
    rows : pandas.DataFrame
        With ``columns``, and with ``base``: the name of the setting before its sweep.

    Raises
    ------
    UserError
        If no setting is swept, or one sweeps other or more numbers than expected.
    """
    labels = {setting: swept(setting) for setting in rows["setting"].unique() if "@" in setting}
    keys = list(dict.fromkeys(key for _, values in labels.values() for key in values))
    if len(keys) != len(columns) or any(len(values) != len(columns) for _, values in labels.values()):
        counted = {1: "one swept number", 2: "two swept numbers"}[len(columns)]
        found = list(rows["setting"].unique())[:3]
        raise bad_input(
            f"scores of study {study!r}", "setting", found, f"settings with {counted}, as in {example!r}"
        )
    rows = rows[rows["setting"].isin(labels)]
    numbers = {
        column: [labels[s][1][key] for s in rows["setting"]]
        for column, key in zip(columns, keys, strict=True)
    }
    return keys, rows.assign(base=[labels[s][0] for s in rows["setting"]], **numbers)


def swept_variants(rows: pd.DataFrame) -> list[SweptVariant]:
    """(variant, point) pairs: variants in the order of first appearance, points by their numbers."""
    own = rows[~rows["variant"].isin(BASELINES)]
    variants = list(dict.fromkeys(own["variant"]))
    pairs = own[["variant", "point"]].drop_duplicates().itertuples(index=False, name=None)
    return sorted(pairs, key=lambda pair: (variants.index(pair[0]), list(swept(pair[1])[1].values())))


def of_swept(rows: pd.DataFrame, variant: SweptVariant) -> pd.DataFrame:
    """Rows of one variant at one point of its sweep."""
    return pick(rows, variant=variant[0], point=variant[1])
