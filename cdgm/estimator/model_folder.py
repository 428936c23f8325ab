"""A trained model as a folder of arrays and JSON; reading it executes nothing.

The folder holds ``model.npz`` (parameters), ``history.npz``, ``data.npz`` (features, split and scaling, but
no observations) and ``model.json`` (all settings). It may be damaged or come from someone else: every mistake
is one line.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from cdgm.config.fit import FitSpec
from cdgm.config.validation import validated
from cdgm.data.covariates import Covariate
from cdgm.estimator import anndata_input
from cdgm.estimator.anndata_input import Registration
from cdgm.estimator.early_stopping import Stopping
from cdgm.estimator.ensemble import Ensemble
from cdgm.estimator.observations import Observations, Scaling
from cdgm.estimator.split import PARTS, Split
from cdgm.estimator.starts import Starts
from cdgm.models.checkpoint import load_stack, save_stack
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.files import file_digest, read_json, read_npz, write_json, write_npz
from cdgm.utils.registry import Strict

if TYPE_CHECKING:
    from cdgm.estimator.model import ComparativeModel

MODEL, HISTORY, DATA, ABOUT = "model.npz", "history.npz", "data.npz", "model.json"
FORMAT = 4


class About(Strict):
    """Content of ``model.json``.

    Attributes
    ----------
    format
        Version of the folder's format.
    spec
        The fit, see :class:`cdgm.config.fit.FitSpec`.
    registration
        See :class:`cdgm.estimator.anndata_input.Registration`; None for arrays.
    sources, rows
        Sources in the user's order, and the number of rows of each.
    digest
        See :meth:`cdgm.estimator.observations.Observations.digest`.
    files
        SHA-256 of each of the other files: those of two fits may have the same shapes.
    early_stopping
        Its result; None without it.
    covariates
        Names and categories, or means and standard deviations, of the covariates.
    starts
        What chose each member from several starts; None for one start.
    """

    format: Literal[4]
    spec: dict[str, Any]
    registration: Registration | None
    sources: tuple[str, ...] = Field(min_length=1)
    rows: dict[str, int]
    digest: str
    files: dict[str, str]
    early_stopping: Stopping | None = None
    covariates: tuple[Covariate, ...] = Field((), exclude_if=operator.not_)
    starts: Starts | None = Field(None, exclude_if=operator.not_)


def write_model(model: ComparativeModel, folder: Path) -> None:
    """Write the files of a trained model into an existing folder."""
    ensemble, observations = model.ensemble, model.observations
    save_stack(folder / MODEL, ensemble.stack, ensemble.finite)
    write_npz(folder / HISTORY, ensemble.history)
    arrays: dict[str, np.ndarray] = {"features": observations.features.astype(str)}
    arrays |= {f"split/{source}": part for source, part in model.split.part.items()}
    if model.scaling.centre is not None and model.scaling.scale is not None:
        arrays |= {"centre": model.scaling.centre, "scale": model.scaling.scale}
    write_npz(folder / DATA, arrays)
    about = About(
        format=FORMAT,
        spec=ensemble.spec.model_dump(mode="json"),
        registration=observations.registration,
        sources=tuple(observations.x),
        rows={source: len(x) for source, x in observations.x.items()},
        digest=observations.digest(),
        files={name: file_digest(folder / name) for name in (MODEL, HISTORY, DATA)},
        early_stopping=ensemble.stopping,
        covariates=model.covariates,
        starts=ensemble.starts,
    )
    write_json(folder / ABOUT, about.model_dump(mode="json"))


def read_about(folder: Path) -> tuple[About, FitSpec]:
    """Read ``model.json`` and the fit in it.

    Raises
    ------
    UserError
        If it is missing or damaged, or this version of the package did not write it.
    """
    path = folder / ABOUT
    values = read_json(path)
    found = values.get("format") if isinstance(values, dict) else type(values).__name__
    if found != FORMAT:
        raise bad_input(path, "format", found, f"{FORMAT}, of a model that cdgm saved")
    about = validated(About, values, str(path))
    spec = validated(FitSpec, about.spec, str(path), ("spec",))
    if sorted(about.sources) != sorted(spec.model.design.sources):
        expected = f"those of its design: {list(spec.model.design.sources)}"
        raise bad_input(path, "sources", list(about.sources), expected)
    names = tuple(covariate.name for covariate in about.covariates)
    registered = about.registration.covariate_kinds if about.registration is not None else {}
    if names != spec.model.covariates or names != tuple(registered):
        expected = f"those of its model and its registration: {list(spec.model.covariates)}"
        raise bad_input(path, "covariates", list(names), expected)
    stopping = about.early_stopping
    for name, values in stopping.model_dump(exclude={"rule"}).items() if stopping else ():
        if len(values) != len(spec.members):
            expected = f"{len(spec.members)} values, one a member"
            raise bad_input(path, f"early_stopping.{name}", values, expected)
    for name, values in about.starts.model_dump().items() if about.starts else ():
        if len(values) != len(spec.members):
            raise bad_input(path, f"starts.{name}", values, f"{len(spec.members)} values, one a member")
    return about, spec


def require_unchanged(folder: Path, about: About) -> None:
    """Refuse files that were edited, or come from another model; what is wrong within a file is told first.

    Raises
    ------
    UserError
        Naming the first such file.
    """
    for name in (MODEL, HISTORY, DATA):
        if file_digest(folder / name) != about.files.get(name):
            raise UserError(
                f"{folder / name}: is not as it was saved: edited, or of another model than {ABOUT} beside it"
            )


def read_history(folder: Path, members: int) -> dict[str, np.ndarray]:
    """Read the history of training: numbers (T,) or (T, E).

    Raises
    ------
    UserError
        If an array has another shape or holds no numbers.
    """
    path = folder / HISTORY
    arrays = read_npz(path, ("step",))
    records = arrays["step"].size
    for name, values in arrays.items():
        good = values.ndim == 1 or (values.ndim == 2 and values.shape[1] == members and name != "step")
        # Quantities of every step have more records.
        good &= name.startswith("each/") or len(np.atleast_1d(values)) == records
        if not good or values.dtype.kind not in "iufb":
            expected = f"numbers of {records} records and {members} members"
            raise bad_input(path, name, _shown(values), expected)
    return arrays


def load(
    cls: type[ComparativeModel], folder: Path, data: Any, keys: Mapping[str, str | None]
) -> ComparativeModel:
    """See ``ComparativeModel.load``; ``keys`` are those that replace a part of the registration."""
    about, spec = read_about(folder)
    stack, finite = load_stack(folder / MODEL, spec)
    for name, parameter in stack.named_parameters():
        if not parameter.detach()[finite].isfinite().all():
            raise bad_input(folder / MODEL, f"parameter/{name}", "nan or inf", "numbers, of finite members")
    columns = sum(covariate.width for covariate in about.covariates)
    if columns != stack.n_covariates:
        expected = f"{stack.n_covariates} columns, as the parameters have"
        raise bad_input(folder / ABOUT, "covariates", f"{columns} columns", expected)
    path = folder / DATA
    arrays = read_npz(path, ("features", *(f"split/{source}" for source in about.sources)))
    features = arrays["features"]
    if features.shape != (stack.n_features,) or features.dtype.kind != "U":
        raise bad_input(path, "features", _shown(features), f"{stack.n_features} names, as the model has")
    observations = _observations(
        about, spec, features, data, {k: v for k, v in keys.items() if v is not None}
    )
    rows = {source: len(x) for source, x in observations.x.items()}
    if rows != about.rows or observations.digest() != about.digest:
        found = rows if rows != about.rows else "other names, values or another order of rows"
        expected = f"the data that the model was fitted to, same rows and order: {about.rows}"
        raise bad_input(folder, "data", found, expected)
    model = cls(
        observations,
        spec.variant.model_dump(mode="json"),
        n_members=len(spec.seeds),
        likelihood=spec.model.likelihood.model_dump(mode="json"),
        seed=spec.seeds[0],
        model=spec.model.model_dump(mode="json", exclude={"design", "dims", "likelihood", "covariates"}),
        design=spec.model.design.model_dump(mode="json"),
        dims=spec.model.dims,
    )
    if model.seeds != spec.seeds:
        raise bad_input(
            folder / ABOUT, "spec.seeds", list(spec.seeds), f"seeds in a row: {list(model.seeds)}"
        )
    model.split = _split(arrays, observations, about, path)
    model.covariates = about.covariates
    model.scaling = _scaling(arrays, stack.n_features, path)
    history = read_history(folder, len(finite))
    require_unchanged(folder, about)
    model.ensemble = Ensemble(spec, stack, finite, history, about.early_stopping, about.starts)
    return model


def _observations(
    about: About, spec: FitSpec, features: np.ndarray, data: Any, keys: Mapping[str, str]
) -> Observations:
    """The features of a saved model in the data that come with it."""
    support, registration = spec.model.likelihood.support, about.registration
    if registration is not None:
        if isinstance(data, Mapping):
            raise bad_input("data", "", "arrays", "the AnnData object that the model was fitted to")
        registration = registration.model_copy(update=keys)
        return anndata_input.observe(data, registration, support, None, features)
    for key in keys:
        raise UserError(f"{key}: is about AnnData objects, and this model is of arrays")
    named = {str(source): values for source, values in data.items()} if isinstance(data, Mapping) else {}
    if set(named) != set(about.sources):
        found = sorted(named) if isinstance(data, Mapping) else type(data).__name__
        raise bad_input("data", "", found, f"arrays of the sources {list(about.sources)}")
    arrays = {source: named[source] for source in about.sources}
    widths = {source: np.shape(values)[-1] for source, values in arrays.items() if np.ndim(values)}
    if set(widths.values()) - {len(features)}:
        raise bad_input("arrays", "features", widths, f"{len(features)}, as the model has")
    return Observations.from_arrays(arrays, support, features=features.tolist())


def _split(arrays: Mapping[str, np.ndarray], observations: Observations, about: About, path: Path) -> Split:
    parts = {}
    known = range(len(PARTS) - (about.early_stopping is None and about.starts is None))
    for source, x in observations.x.items():
        part = arrays[f"split/{source}"]
        if part.dtype.kind not in "iu" or part.shape != (len(x),) or set(np.unique(part)) != set(known):
            expected = f"the part of each of {len(x)} rows: {', '.join(f'{i} {PARTS[i]}' for i in known)}"
            raise bad_input(path, f"split/{source}", _shown(part), expected)
        parts[source] = part
    return Split(parts)


def _scaling(arrays: Mapping[str, np.ndarray], features: int, path: Path) -> Scaling:
    found = {name: arrays[name] for name in ("centre", "scale") if name in arrays}
    if len(found) == 1:
        raise bad_input(path, "arrays", list(found), "centre and scale, or neither")
    for name, values in found.items():
        good = values.dtype.kind == "f" and values.shape == (features,) and np.isfinite(values).all()
        if not good or (name == "scale" and not (values > 0).all()):
            expected = f"a finite number for each of {features} features, a scale > 0"
            raise bad_input(path, name, _shown(values), expected)
    return Scaling(**found)


def _shown(values: np.ndarray) -> str:
    return f"{values.dtype} of shape {values.shape}"
