"""What a saved model has to hold: a folder may be damaged, or made by someone else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from cdgm.config.validation import validated
from cdgm.estimator.early_stopping import Stopping
from cdgm.estimator.observed import Observed, Split
from cdgm.estimator.scaling import Scaling
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.files import read_json
from cdgm.utils.registry import Strict

MODEL, HISTORY, DATA, ABOUT = "model.npz", "history.npz", "data.npz", "model.json"
FORMAT = 1
#: Parts of the rows of each source; the last one only after early stopping.
PARTS = ("train", "held_out", "validation")


class StoredRegistration(Strict):
    """What the data were registered with; see :class:`cdgm.estimator.anndata_input.Registration`."""

    source_key: str
    background: tuple[str, ...]
    layer: str | None = None
    labels_key: str | None = None


class StoredRule(Strict):
    """When training ended; see :class:`cdgm.estimator.early_stopping.EarlyStopping`."""

    patience: int = Field(ge=1)
    min_delta: float = Field(ge=0)
    share: float = Field(gt=0, lt=1)


class StoredStopping(Strict):
    """What early stopping did, a value a member; see :class:`cdgm.estimator.early_stopping.Stopping`."""

    rule: StoredRule
    kept: tuple[Annotated[int, Field(ge=0)], ...]
    until: tuple[Annotated[int, Field(ge=0)], ...]
    early: tuple[bool, ...]
    best: tuple[float | None, ...]


class About(Strict):
    """Content of ``model.json``.

    Attributes
    ----------
    format
        Version of the folder's form.
    spec
        The fit, as :class:`cdgm.config.fit.FitSpec` has it.
    registration
        None for arrays.
    sources, rows
        Sources in the user's order, and the number of their rows.
    digest
        Of names of rows, sources and features.
    early_stopping
        None without it.
    """

    format: Literal[1]
    spec: dict[str, Any]
    registration: StoredRegistration | None
    sources: tuple[str, ...] = Field(min_length=1)
    rows: dict[str, int]
    digest: str
    early_stopping: StoredStopping | None = None


def read_about(folder: Path) -> About:
    """Read ``model.json``.

    Raises
    ------
    UserError
        If it is missing, damaged, or of no model of this version.
    """
    about = read_json(folder / ABOUT)
    found = about.get("format") if isinstance(about, dict) else type(about).__name__
    if found != FORMAT:
        raise bad_input(folder / ABOUT, "format", found, f"{FORMAT}, of a model that cdgm saved")
    return validated(About, about, str(folder / ABOUT))


def stopping_of(about: About, members: int, path: Path) -> Stopping | None:
    """What early stopping did; refused where that is not said of each member."""
    stored = about.early_stopping
    if stored is None:
        return None
    plain = stored.model_dump(mode="json")
    for name in ("kept", "until", "early", "best"):
        if len(plain[name]) != members:
            raise bad_input(path, f"early_stopping.{name}", plain[name], f"{members} values, one a member")
    return Stopping.of(plain)


def split_of(held: Mapping[str, np.ndarray], observed: Observed, names: Sequence[str], path: Path) -> Split:
    """The rows of each of :data:`PARTS` that is named; refused where that does not split each source."""
    parts: tuple[dict[str, np.ndarray], ...] = tuple({} for _ in names)
    for source, x in observed.x.items():
        for name, part in zip(names, parts, strict=True):
            rows = held[f"{name}/{source}"]
            if rows.dtype.kind not in "iu" or rows.ndim != 1 or not len(rows):
                found = f"{rows.dtype} of shape {rows.shape}"
                raise bad_input(path, f"{name}/{source}", found, "positions of rows")
            part[source] = rows
        together = np.sort(np.concatenate([part[source] for part in parts]))
        if not np.array_equal(together, np.arange(len(x))):
            shown = ", ".join(f"{name}/{source}" for name in names)
            raise UserError(f"{path}: {shown}: expected each of {len(x)} rows once")
    return Split(*parts)


def scaling_of(held: Mapping[str, np.ndarray], features: int, path: Path) -> Scaling:
    """How values were scaled; refused where that is no finite number for each feature."""
    names = [name for name in ("centre", "scale") if name in held]
    for name in names:
        values = held[name]
        good = values.dtype.kind == "f" and values.shape == (features,) and np.isfinite(values).all()
        if not good or (name == "scale" and not (values > 0).all()):
            found = f"{values.dtype} of shape {values.shape}"
            raise bad_input(
                path, name, found, f"a finite number for each of {features} features, a scale > 0"
            )
    if len(names) == 1:
        raise bad_input(path, "arrays", names, "centre and scale, or neither")
    return Scaling(held.get("centre"), held.get("scale"))


def history_of(arrays: Mapping[str, np.ndarray], members: int, path: Path) -> dict[str, np.ndarray]:
    """Records of training; refused where they are not one number a record, or a record and member."""
    records = arrays["step"].size
    for name, values in arrays.items():
        good = values.ndim == 1 or (values.ndim == 2 and values.shape[1] == members and name != "step")
        # What is kept of every step has more records.
        good &= name.startswith("each/") or len(np.atleast_1d(values)) == records
        if not good or values.dtype.kind not in "iufb":
            found = f"{values.dtype} of shape {values.shape}"
            raise bad_input(path, name, found, f"numbers of {records} records and {members} members")
    return dict(arrays)
