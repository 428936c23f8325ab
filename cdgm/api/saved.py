"""What a saved model has to hold: a folder may be damaged, or made by someone else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from cdgm.api.observed import Observed, Split
from cdgm.api.scaling import Scaling
from cdgm.errors import UserError, bad_input
from cdgm.files import read_json
from cdgm.plugins import Strict
from cdgm.validation import validated

MODEL, HISTORY, DATA, ABOUT = "model.npz", "history.npz", "data.npz", "model.json"
FORMAT = 1


class StoredRegistration(Strict):
    """What the data were registered with; see :class:`cdgm.api.anndata_input.Registration`."""

    source_key: str
    background: tuple[str, ...]
    layer: str | None = None
    labels_key: str | None = None


class About(Strict):
    """Content of ``model.json``.

    Attributes
    ----------
    format
        Version of the folder's form.
    spec
        The fit, as :class:`cdgm.specs.FitSpec` has it.
    registration
        None for arrays.
    sources, rows
        Sources in the user's order, and the number of their rows.
    digest
        Of names of rows, sources and features.
    """

    format: Literal[1]
    spec: dict[str, Any]
    registration: StoredRegistration | None
    sources: tuple[str, ...] = Field(min_length=1)
    rows: dict[str, int]
    digest: str


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


def split_of(held: Mapping[str, np.ndarray], observed: Observed, path: Path) -> Split:
    """Which rows were trained on and which held out; refused where that does not split each source."""
    parts: tuple[dict[str, np.ndarray], ...] = ({}, {})
    for source, x in observed.x.items():
        for name, part in zip(("train", "held_out"), parts, strict=True):
            rows = held[f"{name}/{source}"]
            if rows.dtype.kind not in "iu" or rows.ndim != 1 or not len(rows):
                found = f"{rows.dtype} of shape {rows.shape}"
                raise bad_input(path, f"{name}/{source}", found, "positions of rows")
            part[source] = rows
        together = np.sort(np.concatenate([part[source] for part in parts]))
        if not np.array_equal(together, np.arange(len(x))):
            raise UserError(
                f"{path}: train/{source} and held_out/{source}: expected each of {len(x)} rows once"
            )
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
