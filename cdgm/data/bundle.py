"""The file that fits read: one array for each split and source, with the truth where it is known.

Every fit job imports this module, so it needs numpy only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cdgm.config.value_support import Support, violations
from cdgm.utils.errors import bad_input
from cdgm.utils.files import read_npz

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Bundle:
    """Data of one simulation setting or one data set of cells.

    Attributes
    ----------
    x
        ``x[split][source]``, (R, n, D): R replicates (one a seed for simulations, one a random division into
        splits for cells), n points (its own for each split and source), D features.
    truth
        ``truth[split][source][block]``, (R, n, d) float32; empty for cells, active blocks only.
    seeds
        Seeds of the replicates, (R,) int64; None for cells.
    covariates
        ``covariates[split][source][name]``, (R, n, k) float32: a column a category, or one of a continuous
        covariate; empty for simulations.
    """

    x: dict[str, dict[str, np.ndarray]]
    truth: dict[str, dict[str, dict[str, np.ndarray]]] = field(default_factory=dict)
    seeds: np.ndarray | None = None
    covariates: dict[str, dict[str, dict[str, np.ndarray]]] = field(default_factory=dict)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, sorted (the file does not keep the design's order)."""
        return tuple(sorted(self.x[SPLITS[0]]))

    @property
    def replicates(self) -> int:
        """Number of replicates R."""
        return self._any().shape[0]

    def replicates_of(self, seeds: Sequence[int], path: object) -> list[int]:
        """Replicate that each member with these seeds is fitted to; of cells, that of the seed modulo R.

        Raises
        ------
        UserError
            If a simulation lacks one of the seeds; names ``path``.
        """
        if self.seeds is None:
            return [seed % self.replicates for seed in seeds]
        known = {int(seed): i for i, seed in enumerate(self.seeds)}
        for seed in seeds:
            if seed not in known:
                raise bad_input(path, "seeds", sorted(known), f"a replicate with seed {seed}")
        return [known[seed] for seed in seeds]

    @property
    def batches(self) -> tuple[str, ...]:
        """Names of the covariates with categories."""
        if not self.covariates:
            return ()
        found = next(iter(self.covariates[SPLITS[0]].values()))
        return tuple(name for name, values in found.items() if values.shape[2] > 1)

    def covariates_of(self, split: str, names: Sequence[str]) -> dict[str, np.ndarray] | None:
        """Columns of covariates of each source's rows (R, n, C), in the order of names; None without."""
        if not names:
            return None
        return {
            source: np.concatenate([found[name] for name in names], axis=2)
            for source, found in self.covariates[split].items()
        }

    def require(
        self,
        path: object,
        sources: Sequence[str],
        features: int | None = None,
        covariates: Sequence[str] = (),
    ) -> None:
        """Refuse data that lack one of ``sources`` or ``covariates``, or have not that many ``features``.

        Raises
        ------
        UserError
            Names ``path``.
        """
        for source in sources:
            if source not in self.x[SPLITS[0]]:
                raise bad_input(path, "sources", list(self.sources), f"a source named {source!r}")
        if features is not None and features != self.features:
            raise bad_input(path, "features", self.features, f"{features}, as the model was fitted to")
        known = [*next(iter(self.covariates[SPLITS[0]].values()))] if self.covariates else []
        for name in covariates:
            if name not in known:
                raise bad_input(path, "covariates", known, f"one named {name!r}")

    @property
    def features(self) -> int:
        """Number of features D."""
        return self._any().shape[2]

    def _any(self) -> np.ndarray:
        return next(iter(self.x[SPLITS[0]].values()))


def read_bundle(path: str | os.PathLike[str], *, support: Support = "real") -> Bundle:
    """Read and check a bundle.

    Parameters
    ----------
    path
        ``.npz`` with ``x/<split>/<source>``, for simulations ``truth/<split>/<source>/<block>`` and
        ``seeds``, and for cells ``covariates/<split>/<source>/<name>``.
    support
        Refuse values outside of it: that of the likelihood which the data are for.

    Raises
    ------
    UserError
        If an array is missing, has another shape than its fellows, is empty or holds NaN, infinity or
        a value outside of ``support``. Names file and array.
    """
    arrays = read_npz(path)
    x: dict[str, dict[str, np.ndarray]] = {split: {} for split in SPLITS}
    truth: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    known: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for name in sorted(arrays):
        match name.split("/"):
            case ["x", ("train" | "test") as split, source] if source:
                x[split][source] = _checked_x(path, name, arrays[name], support)
            case ["truth", ("train" | "test") as split, source, block] if source and block:
                truth.setdefault(split, {}).setdefault(source, {})[block] = arrays[name]
            case ["covariates", ("train" | "test") as split, source, covariate] if source and covariate:
                known.setdefault(split, {}).setdefault(source, {})[covariate] = arrays[name]
            case ["seeds"]:
                pass
            case _:
                raise bad_input(
                    path,
                    "array",
                    name,
                    "x/<split>/<source>, truth/<split>/<source>/<block>, seeds or "
                    "covariates/<split>/<source>/<name>",
                )
    if not x["train"]:
        raise bad_input(path, "arrays", sorted(arrays), "at least one named x/train/<source>")
    if set(x["train"]) != set(x["test"]):
        raise bad_input(
            path, "sources in x/test", sorted(x["test"]), f"those of x/train: {sorted(x['train'])}"
        )
    _same_axes(path, x)
    bundle = Bundle(x, truth, arrays.get("seeds"), known)
    _check_truth(path, bundle)
    _check_covariates(path, bundle)
    if bundle.seeds is not None and (
        bundle.seeds.shape != (bundle.replicates,) or bundle.seeds.dtype.kind not in "iu"
    ):
        found = f"{bundle.seeds.dtype} {bundle.seeds.shape}"
        raise bad_input(path, "seeds", found, f"one integer for each of {bundle.replicates} replicates")
    return bundle


def _checked_x(path: object, name: str, values: np.ndarray, support: Support) -> np.ndarray:
    if values.dtype.kind not in "iuf":
        raise bad_input(path, name, str(values.dtype), "numbers")
    if values.ndim != 3:
        raise bad_input(path, name, values.shape, "the shape (replicates, points, features)")
    if values.shape[0] == 0 or values.shape[2] == 0:
        raise bad_input(path, name, values.shape, "at least one replicate and one feature")
    if values.shape[1] < 2:
        raise bad_input(path, name, f"{values.shape[1]} points", "at least 2")
    if values.dtype.kind == "f":
        _refuse(path, name, values, ~np.isfinite(values), "a finite number")
    for bad, expected in violations(values, support):
        _refuse(path, name, values, bad, expected)
    return values


def _refuse(path: object, name: str, values: np.ndarray, bad: np.ndarray, expected: str) -> None:
    if bad.any():
        place = tuple(int(each) for each in np.unravel_index(int(np.argmax(bad)), bad.shape))
        raise bad_input(path, f"{name}[{', '.join(map(str, place))}]", values[place].item(), expected)


def _same_axes(path: object, x: dict[str, dict[str, np.ndarray]]) -> None:
    """Replicates and features must be the same in all arrays; the number of points need not."""
    axes = {
        f"x/{split}/{source}": (values.shape[0], values.shape[2])
        for split in SPLITS
        for source, values in x[split].items()
    }
    first, expected = next(iter(axes.items()))
    for name, found in axes.items():
        if found != expected:
            raise bad_input(path, f"{name}: replicates and features", found, f"{expected} as in {first}")


def _check_covariates(path: object, bundle: Bundle) -> None:
    """Each source of each split needs the same covariates, with the same columns."""
    if not bundle.covariates:
        return
    first = next(iter(next(iter(bundle.covariates.values())).values()))
    for split, source in ((split, source) for split in SPLITS for source in bundle.sources):
        found = bundle.covariates.get(split, {}).get(source, {})
        if set(found) != set(first):
            expected = f"the covariates of all others: {sorted(first)}"
            raise bad_input(path, f"covariates/{split}/{source}", sorted(found), expected)
        for name, values in found.items():
            shape = (*bundle.x[split][source].shape[:2], first[name].shape[-1])
            place = f"covariates/{split}/{source}/{name}"
            if values.dtype.kind != "f" or values.shape != shape:
                raise bad_input(path, place, f"{values.dtype} {values.shape}", f"floats of shape {shape}")
            _refuse(path, place, values, ~np.isfinite(values), "a finite number")


def _check_truth(path: object, bundle: Bundle) -> None:
    for split, by_source in bundle.truth.items():
        for source, blocks in by_source.items():
            if source not in bundle.x[split]:
                expected = f"a source of x: {list(bundle.sources)}"
                raise bad_input(path, f"truth/{split}/{source}", source, expected)
            points = bundle.x[split][source].shape[:2]
            for block, values in blocks.items():
                name = f"truth/{split}/{source}/{block}"
                fits = values.ndim == 3 and values.shape[:2] == points and values.shape[2] > 0
                if values.dtype.kind != "f" or not fits:
                    found = f"{values.dtype} {values.shape}"
                    expected = f"({points[0]}, {points[1]}, d)"
                    raise bad_input(
                        path, name, found, f"floats of shape (replicates, points, dims) = {expected}"
                    )
                _refuse(path, name, values, ~np.isfinite(values), "a finite number")
