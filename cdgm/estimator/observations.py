"""Observations of several sources: checked rows of arrays or of an AnnData object, and their scaling."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cdgm.config.value_support import Support
from cdgm.data.covariates import encode
from cdgm.estimator.array_input import matrices, row_labels
from cdgm.utils.errors import UserError

if TYPE_CHECKING:
    from anndata import AnnData

    from cdgm.data.covariates import Categorical, Continuous
    from cdgm.estimator.anndata_input import Registration

#: Name of the table of covariates, for messages.
OBS = "adata.obs"
#: Rows whose values are digested at once.
DIGESTED_ROWS = 4_096
#: Standard deviation, as a share of the largest value, up to which a feature counts as constant.
CONSTANT = 1e-12
#: Rows by which a loss of precision is judged, and the relative size of errors of rounding in float64.
COMPARED_ROWS, ROUNDING = 1_000, 1e-14


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
    covariates
        Values of each covariate in all rows in the user's order, as text (n,); by name.
    batch
        Batch of all rows in the user's order (n,) that scores are about, "" for a row without one; None
        without.
    """

    x: dict[str, np.ndarray]
    rows: dict[str, np.ndarray]
    features: np.ndarray
    names: np.ndarray
    label: np.ndarray | None = None
    adata: AnnData | None = None
    registration: Registration | None = None
    covariates: Mapping[str, np.ndarray] = field(default_factory=dict)
    batch: np.ndarray | None = None

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
            Source to array, sparse matrix or data frame. Columns of data frames are put into one order, that
            of ``features`` or of the first frame.
        support
            Values that the likelihood allows.
        labels
            Source to a label of each row.
        features
            Names of the features; of data frames by default those of their columns.
        least
            Fewest sources.

        Raises
        ------
        UserError
            If there are too few sources, shapes or names differ, values are masked or of a wrong type or
            outside of ``support``, or labels do not fit.
        """
        checked, names = matrices(arrays, support, features, least)
        x, rows, start = {}, {}, 0
        for source, values in checked.items():
            x[source] = np.ascontiguousarray(values, dtype=held_type(values, support))
            rows[source] = np.arange(start, start + len(values))
            start += len(values)
        cells = np.array([f"{source}-{i}" for source, values in x.items() for i in range(len(values))])
        return cls(x, rows, names, cells, row_labels(labels, rows, start))

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

    def batches_of(self, source: str) -> np.ndarray | None:
        """Batch of each row of a source (n_k,); None without a column of batches."""
        return None if self.batch is None else self.batch[self.rows[source]]

    def encoded(
        self, covariates: Sequence[Categorical | Continuous], positions: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray] | None:
        """Columns of covariates of some rows of each source (1, n, C), for a stack; None without."""
        if not covariates:
            return None
        places = {source: self.rows[source][rows] for source, rows in positions.items()}
        return {
            source: encode(
                covariates, {name: v[rows] for name, v in self.covariates.items()}, OBS, self.names[rows]
            )[None]
            for source, rows in places.items()
        }

    def digest(self) -> str:
        """Digest of rows, sources, features, their values and covariates: it tells data sets apart.

        Equal numbers of another type give the same digest. Labels and batches that only scores know have no
        part in it.
        """
        digest = hashlib.sha256("\n".join([*self.names, "", *self.source, "", *self.features]).encode())
        for source, values in self.x.items():
            digest.update(f"{source}{values.shape}".encode())
            for start in range(0, len(values), DIGESTED_ROWS):
                block = values[start : start + DIGESTED_ROWS].astype("<f8")
                # Adding 0 makes -0 a 0.
                digest.update(np.ascontiguousarray(block + 0.0).tobytes())
        for name, covariate in self.covariates.items():
            digest.update("\n".join(["", name, *covariate]).encode())
        return digest.hexdigest()[:16]


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
        largest = np.abs(rows).max(axis=0)
        # Powers of two, so that squares neither overflow nor vanish and no digit changes.
        unit = np.ldexp(1.0, np.frexp(np.where(largest > 0, largest, 1.0))[1] - 1)
        rows = rows / unit
        scale = rows.std(axis=0) * unit
        return cls(rows.mean(axis=0) * unit, np.where(scale > CONSTANT * largest, scale, 1.0))

    def apply(self, x: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Rows of each source as the network takes them: scaled, (1, n, D), float32 or counts."""
        if self.centre is not None:
            x = {source: (values - self.centre) / self.scale for source, values in x.items()}
        return {s: _narrow(values)[None] for s, values in x.items()}

    def require_precision(self, x: Mapping[str, np.ndarray], features: np.ndarray) -> None:
        """Refuse values that lose what tells them apart when they become float32.

        Judged by :data:`COMPARED_ROWS` rows at most: more than half of the steps between a feature's
        different values must stay.

        Raises
        ------
        UserError
            Naming the first feature, its range, and how many different values are left.
        """
        if next(iter(x.values())).dtype.kind != "f":
            return
        whole = {s: values[:: max(1, len(x) * len(values) // COMPARED_ROWS)] for s, values in x.items()}
        before = np.sort(np.concatenate(list(whole.values())).astype(np.float64), axis=0)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            after = np.sort(np.concatenate([values[0] for values in self.apply(whole).values()]), axis=0)
            rises = (np.diff(after, axis=0) > 0).sum(axis=0)
        # Steps in the last digits are errors of rounding and no values of their own.
        steps = np.diff(before, axis=0) > ROUNDING * np.abs(before[1:])
        had, kept = 1 + steps.sum(axis=0), 1 + rises
        lost = (2 * rises < had - 1) | ~np.isfinite(after).all(axis=0)
        if lost.any():
            j = int(np.argmax(lost))
            found = f"{had[j]} different values from {before[0, j]:.9g} to {before[-1, j]:.9g}"
            expected = "values that float32 tells apart or can hold: subtract what they share, or rescale"
            raise UserError(
                f"feature {str(features[j])!r}: got {found}, of which {kept[j]} stay different, "
                f"expected {expected}"
            )


def _narrow(values: np.ndarray) -> np.ndarray:
    # What float32 cannot hold is refused by name, by those who call.
    with np.errstate(over="ignore"):
        return values.astype(np.float32, copy=False) if values.dtype.kind == "f" else values


def held_type(x: np.ndarray, support: Support) -> np.dtype:
    """Type in which values are held: the smallest unsigned one for counts, their own precision for others.

    Only :meth:`Scaling.apply` makes real values float32: before that, an offset would cost their digits.
    """
    if support == "real":
        return np.dtype(np.float32 if x.dtype.kind == "f" and x.dtype.itemsize <= 4 else np.float64)
    return np.min_scalar_type(int(x.max(initial=0)))
