"""Arrays of a methods researcher: one a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cdgm.config.support import Support
from cdgm.estimator.observed import Observed, check_values, narrowest
from cdgm.utils.errors import UserError, bad_input


def observe_arrays(
    arrays: Mapping[str, Any],
    support: Support,
    labels: Mapping[str, Sequence[Any]] | None = None,
    features: Sequence[str] | None = None,
    least: int = 2,
) -> Observed:
    """Check arrays (n_k, D) of several sources; in the user's order one source comes after the other.

    Raises
    ------
    UserError
        If there are fewer than ``least``, shapes differ, or a value is none of ``support``.
    """
    if not isinstance(arrays, Mapping) or len(arrays) < least:
        found = list(arrays) if isinstance(arrays, Mapping) else type(arrays).__name__
        raise bad_input(
            "arrays", "", found, f"a mapping of {least} or more sources to arrays (rows, features)"
        )
    x, rows, start = {}, {}, 0
    for source, values in arrays.items():
        where = f"arrays[{source!r}]"
        if hasattr(values, "toarray"):
            values = values.toarray()
        try:
            values = np.asarray(values)
        except ValueError as error:
            raise UserError(f"{where}: expected an array of numbers: {error}") from error
        if values.ndim != 2 or 0 in values.shape:
            raise bad_input(where, "shape", values.shape, "(rows, features), with at least one of each")
        check_values(values, support, where)
        x[str(source)] = values
        rows[str(source)] = np.arange(start, start + len(values))
        start += len(values)
    widths = {source: values.shape[1] for source, values in x.items()}
    if len(set(widths.values())) > 1:
        raise bad_input("arrays", "features", widths, "the same number in every source")
    (width,) = set(widths.values())
    names = np.array([f"{source}-{i}" for source, values in x.items() for i in range(len(values))])
    return Observed(
        {source: narrowest(values, support) for source, values in x.items()},
        rows,
        _feature_names(features, width),
        names,
        _labels(labels, rows, len(names)),
    )


def _feature_names(features: Sequence[str] | None, width: int) -> np.ndarray:
    if features is None:
        return np.array([f"feature{i}" for i in range(width)])
    names = np.array([str(name) for name in features])
    if len(names) != width or len(set(names)) != width:
        raise bad_input(
            "features", "", f"{len(names)} names, {len(set(names))} different", f"{width} different names"
        )
    return names


def _labels(
    labels: Mapping[str, Sequence[Any]] | None, rows: Mapping[str, np.ndarray], n: int
) -> np.ndarray | None:
    if labels is None:
        return None
    found = np.full(n, "", dtype=object)
    for source, values in labels.items():
        if source not in rows:
            raise bad_input("labels", "source", source, f"one of {list(rows)}")
        if len(values) != len(rows[source]):
            raise bad_input(
                "labels", str(source), f"{len(values)} values", f"one for each of {len(rows[source])} rows"
            )
        found[rows[source]] = ["" if value is None or value != value else str(value) for value in values]
    return found.astype(str)
