"""Check arrays and data frames of a user: one a source, features matched by their names if they have some."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cdgm.config.design import LONGEST_NAME, SOURCE_NAME
from cdgm.config.value_support import Support, violations
from cdgm.data.read_cells import LARGEST_COUNT, masked
from cdgm.utils.errors import UserError, bad_input


def matrices(
    arrays: Any, support: Support, features: Sequence[str] | None, least: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the checked values of each source (n_k, D), and the names of the features (D,).

    Parameters
    ----------
    arrays, support, features, least
        As in :meth:`cdgm.estimator.observations.Observations.from_arrays`.

    Raises
    ------
    UserError
        If there are too few sources, shapes or names differ, values are masked or of a wrong type, or a value
        lies outside of ``support``.
    """
    if not isinstance(arrays, Mapping) or len(arrays) < least:
        found = list(arrays) if isinstance(arrays, Mapping) else type(arrays).__name__
        expected = f"a mapping of {least} or more sources to arrays (rows, features)"
        raise bad_input("data", "", found, expected)
    for source in arrays:
        named = isinstance(source, str | int) and len(str(source)) <= LONGEST_NAME
        if not named or not re.match(SOURCE_NAME, str(source)):
            expected = f"A to Z, digits and _ . + -, at most {LONGEST_NAME}, the first of them no sign"
            raise bad_input("arrays", "name of a source", source, expected)
    if len({str(source) for source in arrays}) < len(arrays):
        raise bad_input("arrays", "sources", list(arrays), "names that differ as text")
    columns = {str(source): _columns(values) for source, values in arrays.items()}
    checked = {}
    for source, values in arrays.items():
        where = f"arrays[{source!r}]"
        found = _as_array(values, where)
        _check_values(found, support, where)
        checked[str(source)] = found
    widths = {source: values.shape[1] for source, values in checked.items()}
    if len(set(widths.values())) > 1 and not all(columns.values()):
        raise bad_input("arrays", "features", widths, "the same number in every source")
    wanted = None if features is None else _names(features)
    if features is not None and any(name is None or name != name for name in features):
        raise bad_input("features", "", features, "a name for each feature")
    if any(columns.values()):
        wanted, order = _matched(columns, wanted)
        checked = {source: values[:, order[source]] for source, values in checked.items()}
    width = next(iter(checked.values())).shape[1]
    if wanted is None:
        return checked, np.array([f"feature{i}" for i in range(width)])
    if len(wanted) != width or len(set(wanted)) != width:
        found = f"{len(wanted)} names, {len(set(wanted))} different"
        raise bad_input("features", "", found, f"{width} different names")
    return checked, np.array(wanted)


def _columns(values: Any) -> list[str] | None:
    """Names of the columns of a data frame; None for an array, and for a frame that was given none."""
    names = getattr(values, "columns", None)
    if names is None or list(names) == list(range(len(names))):
        return None
    return [str(name) for name in names]


def _names(features: Any) -> list[str]:
    # A set has no order, and an array may have no axis.
    ordered = hasattr(features, "__getitem__") and getattr(features, "ndim", 1) == 1
    if isinstance(features, str | bytes | Mapping) or not ordered:
        raise bad_input("features", "", features, "a list of names")
    return [str(name) for name in features]


def _matched(
    columns: Mapping[str, list[str] | None], wanted: list[str] | None
) -> tuple[list[str], dict[str, list[int]]]:
    """Names of the features, and the positions of their columns in each source."""
    if wanted is None:
        wanted = next(names for names in columns.values() if names is not None)
    order = {}
    for source, names in columns.items():
        where = f"arrays[{source!r}]"
        if names is None:
            raise bad_input(where, "", "no names of columns", "a data frame with names, as the other sources")
        twice = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
        missing, extra = sorted(set(wanted) - set(names)), sorted(set(names) - set(wanted))
        if twice:
            raise bad_input(where, "columns", twice[0], "each name once")
        if missing or extra:
            found = f"{'no' if missing else 'also'} {(missing or extra)[0]!r}"
            raise bad_input(where, "columns", found, f"the {len(wanted)} names {_few(wanted)}, in any order")
        place = {name: i for i, name in enumerate(names)}
        order[source] = [place[name] for name in wanted]
    return wanted, order


def _few(names: list[str]) -> str:
    return f"[{', '.join(map(repr, names[:6]))}{', ...' if len(names) > 6 else ''}]"


def _as_array(values: Any, where: str) -> np.ndarray:
    if count := masked(values):
        raise bad_input(
            where, "", f"{count} masked values", "a value everywhere: fill them or leave rows out"
        )
    try:
        frame = values if hasattr(values, "dtypes") else None
        values = np.asarray(values.toarray() if hasattr(values, "toarray") else values)
        if frame is not None and values.dtype.kind == "O":
            # Types with a place for missing values (Int64), of which numpy makes objects.
            if all(getattr(dtype, "kind", "") in "iuf" for dtype in frame.dtypes):
                values = frame.to_numpy(dtype=float, na_value=np.nan)
    except Exception as error:  # libraries of arrays raise any type for what cannot be an array
        raise UserError(f"{where}: expected an array of numbers: {' '.join(str(error).split())}") from error
    if values.ndim != 2 or 0 in values.shape:
        raise bad_input(where, "shape", values.shape, "(rows, features), with at least one of each")
    return values


def _check_values(x: np.ndarray, support: Support, where: str) -> None:
    """Refuse the first value that is no finite number, or that the likelihood does not allow."""
    if x.dtype.kind not in "biuf":
        raise bad_input(where, "type", str(x.dtype), "numbers")
    checks = [(~np.isfinite(x), "a finite number")] if x.dtype.kind == "f" else []
    checks += violations(x, support) if x.dtype.kind != "b" else []
    # Smaller types hold no larger count; float16 cannot be compared with one.
    if support == "counts" and x.dtype.itemsize > 2:
        checks.append((x > LARGEST_COUNT, f"a count of at most {LARGEST_COUNT}"))
    for bad, expected in checks:
        if bad.any():
            row, column = np.unravel_index(int(np.argmax(bad)), bad.shape)
            raise bad_input(f"{where}, row {row}, feature {column}", "", x[row, column].item(), expected)


def row_labels(labels: Any, rows: Mapping[str, np.ndarray], n: int) -> np.ndarray | None:
    """Label of each row in the user's order (n,), "" where a value is missing; None without labels."""
    if labels is None:
        return None
    import pandas as pd

    if not isinstance(labels, Mapping):
        raise bad_input("labels", "", labels, "a mapping of sources to a label of each row")
    found = np.full(n, "", dtype=object)
    for source, values in labels.items():
        if str(source) not in rows:
            raise bad_input("labels", "source", source, f"one of {list(rows)}")
        own = rows[str(source)]
        expected = f"one for each of {len(own)} rows"
        if isinstance(values, str | Mapping) or not hasattr(values, "__len__"):
            raise bad_input("labels", str(source), values, expected)
        if len(values) != len(own):
            raise bad_input("labels", str(source), f"{len(values)} values", expected)
        column = list(values)
        if not all(pd.api.types.is_scalar(value) for value in column):
            raise bad_input("labels", str(source), f"{type(column[0]).__name__} values", expected)
        found[own] = ["" if pd.isna(value) else str(value) for value in column]
    return found.astype(str)
