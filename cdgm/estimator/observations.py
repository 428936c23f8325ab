"""Observations of several sources: checked rows of arrays or of an AnnData object, and their scaling."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cdgm.config.value_support import Support, violations
from cdgm.utils.errors import UserError, bad_input

if TYPE_CHECKING:
    from anndata import AnnData

    from cdgm.estimator.anndata_input import Registration


@dataclass(frozen=True, eq=False)
class Observations:
    """Rows of several sources, and the place of each row in the user's data.

    Attributes
    ----------
    x
        Source to its unscaled values (n_k, D).
    rows
        Source to the positions of its rows in the user's order (n_k,).
    features
        Names of the features (D,).
    names
        Names of all rows in the user's order (n,).
    label
        Label of all rows in the user's order (n,), "" for a row without one; None without labels.
    adata, registration
        The AnnData object and how it was registered; None for arrays.
    """

    x: dict[str, np.ndarray]
    rows: dict[str, np.ndarray]
    features: np.ndarray
    names: np.ndarray
    label: np.ndarray | None = None
    adata: AnnData | None = None
    registration: Registration | None = None

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, Any],
        support: Support,
        labels: Mapping[str, Sequence[Any]] | None = None,
        features: Sequence[str] | None = None,
        least: int = 2,
    ) -> Observations:
        """Check arrays (n_k, D), one a source; the user's order is source after source.

        Parameters
        ----------
        arrays
            Source to array, sparse matrix or data frame.
        support
            Values that the likelihood allows.
        labels
            Source to a label of each row.
        features
            Names of the features.
        least
            Fewest sources.

        Raises
        ------
        UserError
            If there are too few sources, shapes differ, or a value lies outside of ``support``.
        """
        if not isinstance(arrays, Mapping) or len(arrays) < least:
            found = list(arrays) if isinstance(arrays, Mapping) else type(arrays).__name__
            expected = f"a mapping of {least} or more sources to arrays (rows, features)"
            raise bad_input("arrays", "", found, expected)
        x, rows, start = {}, {}, 0
        for source, values in arrays.items():
            where = f"arrays[{source!r}]"
            values = values.toarray() if hasattr(values, "toarray") else values
            try:
                values = np.asarray(values)
            except ValueError as error:
                raise UserError(f"{where}: expected an array of numbers: {error}") from error
            if values.ndim != 2 or 0 in values.shape:
                raise bad_input(where, "shape", values.shape, "(rows, features), with at least one of each")
            _check_values(values, support, where)
            x[str(source)] = smallest_type(values, support)
            rows[str(source)] = np.arange(start, start + len(values))
            start += len(values)
        widths = {source: values.shape[1] for source, values in x.items()}
        if len(set(widths.values())) > 1:
            raise bad_input("arrays", "features", widths, "the same number in every source")
        names = np.array([f"{source}-{i}" for source, values in x.items() for i in range(len(values))])
        width = next(iter(widths.values()))
        return cls(x, rows, _feature_names(features, width), names, _labels(labels, rows, start))

    @property
    def source(self) -> np.ndarray:
        """Source of each row in the user's order (n,)."""
        return self.ordered({name: np.full(len(rows), name) for name, rows in self.rows.items()})

    def ordered(self, parts: Mapping[str, np.ndarray], axis: int = 0) -> np.ndarray:
        """Concatenate one array a source, in the user's order."""
        whole = np.concatenate([parts[name] for name in self.rows], axis=axis)
        return np.take(whole, np.argsort(np.concatenate(list(self.rows.values())), kind="stable"), axis=axis)

    def marked(self, positions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Mask of all rows in the user's order (n,): True at these positions within their sources."""
        marked = np.zeros(len(self.names), dtype=bool)
        for source, rows in positions.items():
            marked[self.rows[source][rows]] = True
        return marked

    def select(self, positions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Unscaled values of some rows of each source."""
        return {source: self.x[source][rows] for source, rows in positions.items()}

    def labels_of(self, source: str) -> np.ndarray:
        """Label of each row of a source (n_k,); "" for all of them without labels."""
        rows = self.rows[source]
        return np.full(len(rows), "") if self.label is None else self.label[rows]

    def digest(self) -> str:
        """Digest of the names of rows, sources and features, not of values: it tells data sets apart."""
        text = "\n".join([*self.names, "", *self.source, "", *self.features])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Scaling:
    """Scaling of real values to the size that the model's learned noise starts from.

    Attributes
    ----------
    centre, scale
        What each feature is lessened and then divided by (D,); None leaves values unchanged.
    """

    centre: np.ndarray | None = None
    scale: np.ndarray | None = None

    @classmethod
    def of(cls, x: Mapping[str, np.ndarray], standardise: bool) -> Scaling:
        """Mean and standard deviation over the rows of all sources; constant features keep their scale."""
        if not standardise:
            return cls()
        rows = np.concatenate(list(x.values())).astype(np.float64)
        scale = rows.std(axis=0)
        return cls(rows.mean(axis=0), np.where(scale > 1e-12 * np.abs(rows).max(initial=1.0), scale, 1.0))

    def apply(self, x: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Rows of each source as the network takes them: scaled, (1, n, D)."""
        if self.centre is None:
            return {source: values[None] for source, values in x.items()}
        return {s: ((values - self.centre) / self.scale).astype(np.float32)[None] for s, values in x.items()}


def _check_values(x: np.ndarray, support: Support, where: str) -> None:
    """Refuse the first value that is no finite number, or that the likelihood does not allow."""
    if x.dtype.kind not in "biuf":
        raise bad_input(where, "type", str(x.dtype), "numbers")
    checks = [(~np.isfinite(x), "a finite number")] if x.dtype.kind == "f" else []
    checks += violations(x, support) if x.dtype.kind != "b" else []
    for bad, expected in checks:
        if bad.any():
            value = x[np.unravel_index(int(np.argmax(bad)), bad.shape)].item()
            raise bad_input(where, "", value, expected)


def smallest_type(x: np.ndarray, support: Support) -> np.ndarray:
    """Store values in the smallest type that holds them: unsigned integers for counts, else float32."""
    dtype = np.float32 if support == "real" else np.min_scalar_type(int(x.max(initial=0)))
    return np.ascontiguousarray(x, dtype=dtype)


def _feature_names(features: Sequence[str] | None, width: int) -> np.ndarray:
    if features is None:
        return np.array([f"feature{i}" for i in range(width)])
    names = np.array([str(name) for name in features])
    if len(names) != width or len(set(names)) != width:
        found = f"{len(names)} names, {len(set(names))} different"
        raise bad_input("features", "", found, f"{width} different names")
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
            expected = f"one for each of {len(rows[source])} rows"
            raise bad_input("labels", str(source), f"{len(values)} values", expected)
        found[rows[source]] = ["" if value is None or value != value else str(value) for value in values]
    return found.astype(str)
