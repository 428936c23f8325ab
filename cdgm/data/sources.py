"""Which cells belong to which source: the values of a column, the control by its usual names, the rest."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cdgm.utils.errors import UserError, bad_input

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

REST, CONTROL = "rest", "control"
# What screens call cells without a perturbation, in lower case and without "-", "_" and blanks.
CONTROL_NAMES = frozenset(
    {"control", "ctrl", "negativecontrol", "negctrl", "nontargeting", "nt", "unperturbed", "untreated"}
    | {"unstimulated", "vehicle", "dmso", "mock"}
)
SHOWN = 12


def assign_sources(
    values: pd.Series, sources: Mapping[Any, Sequence[str] | str], where: str, complete: bool = True
) -> pd.Series:
    """Name the source of each cell.

    Parameters
    ----------
    values
        Column of text (cells,); "" where a cell has no value.
    sources
        Which values make each source: a list of values; ``"control"`` for the one value that is a usual
        name of controls; ``"rest"`` for every value that no other source takes.
    where
        File and column, for messages.
    complete
        Whether each source needs cells and each named value must occur.

    Returns
    -------
    Series
        Name of the source of each cell, "" for none.

    Raises
    ------
    UserError
        If a value is missing or belongs to two sources, or a source has no cells. Lists what the column
        holds: likely controls first, then the most frequent values.
    """
    source = values.map(dict.fromkeys(values, ""))
    for name, wanted in sources.items():
        if wanted == CONTROL:
            wanted = (_control(values, name, where),)
        for value in wanted if wanted != REST else ():
            members = values == value
            if complete and not members.any():
                raise bad_input(where, "", value, f"{shown(values)}, for source {name!r}")
            if (source[members] != "").any():
                raise bad_input(where, "", value, "each value once, and of one source only")
            source[members] = name
    for name, wanted in sources.items():
        if wanted == REST:
            missing = int((values == "").sum())
            if missing:
                raise UserError(
                    f"{where}: {missing} of {len(values)} cells have no value, expected one in each, as "
                    f"{name!r} takes the rest: fill them or leave these cells out"
                )
            source[source == ""] = name
        if complete and not (source == name).any():
            named = {each: w if isinstance(w, str) else list(w) for each, w in sources.items()}
            raise bad_input(where, "sources", named, f"cells of each source, none is left for the {name}")
    return source


def shown(values: pd.Series) -> str:
    """List what a column holds, for messages: likely controls first, then the most frequent values."""
    frequent = values[values != ""].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    controls = [value for value in frequent.index if value in _controls(values)]
    listed = list(dict.fromkeys([*controls, *frequent.index]))[:SHOWN]
    text = ", ".join(f"{value!r} ({frequent[value]} cells)" for value in listed)
    return f"one of its {len(frequent)} values, such as {text}" if text else "a value, it has none"


def _control(values: pd.Series, name: str, where: str) -> str:
    """Find the one value that is a usual name of controls."""
    found = _controls(values)
    if len(found) != 1:
        what = f"{len(found)} usual names of controls{f' {found}' if found else ''}"
        raise bad_input(where, "", what, f"one, or write sources.{name} as a list of values: {shown(values)}")
    logger.info("%s: source %r: cells of %r", where, name, found[0])
    return found[0]


def _controls(values: pd.Series) -> list[str]:
    """Values that are usual names of controls, sorted."""
    plain = {value: value.lower().translate(str.maketrans("", "", "-_ ")) for value in set(values)}
    return sorted(value for value, name in plain.items() if name in CONTROL_NAMES)
