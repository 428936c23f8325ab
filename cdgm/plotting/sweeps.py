"""What a study swept, read back from its labels, and which scores its panels show."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import pandas as pd

from cdgm.errors import bad_input
from cdgm.plotting.tables import main_source, pick


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


def scored_on(scores: pd.DataFrame, metric: str, blocks: Iterable[str]) -> list[tuple[str, str, str]]:
    """(source, block, truth) of a metric: each block on the source where most blocks are active."""
    rows = pick(scores, metric=metric, twist=0.0)
    lanes = []
    for block in blocks:
        source = main_source(rows, block)
        mine = pick(rows, block=block, source=source)
        lanes += [(source, block, truth) for truth in dict.fromkeys(mine["truth"])]
    return lanes
