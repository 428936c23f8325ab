"""A trained model as a folder of arrays and JSON: nothing in it is executed when it is read."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cdgm.config.fit import FitSpec
from cdgm.config.validation import validated
from cdgm.estimator import anndata_input, arrays, settings
from cdgm.estimator.fitted import Fitted
from cdgm.estimator.observed import Observed
from cdgm.estimator.saved import (
    ABOUT,
    DATA,
    FORMAT,
    HISTORY,
    MODEL,
    PARTS,
    About,
    history_of,
    read_about,
    scaling_of,
    split_of,
    stopping_of,
)
from cdgm.estimator.trainable import Trainable
from cdgm.models.checkpoint import load_stack, save_stack
from cdgm.utils.errors import UserError, bad_input
from cdgm.utils.files import read_npz, require_writable, write_json, write_npz

Model = TypeVar("Model", bound=Trainable)


@contextlib.contextmanager
def whole_folder(folder: str | Path, overwrite: bool) -> Iterator[Path]:
    """Yield a new folder beside ``folder``, and put it in its place when all went well; else delete it.

    What a process that was killed left behind is cleared away by the next one that writes ``folder``.

    Raises
    ------
    UserError
        If there is such a folder already and ``overwrite`` is not set, or it can't be written.
    """
    shown, folder = folder, Path(os.path.abspath(folder))
    if folder.exists() and not folder.is_dir():
        raise bad_input(shown, "", "a file", "a folder to write to")
    require_writable(folder.parent)
    _clear_left_behind(folder)
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise UserError(f"{shown}: exists and is not empty: choose another folder, or overwrite it")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if folder.exists():
            os.replace(folder, old)
        os.replace(temporary, folder)
    except OSError as error:
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        raise UserError(f"{shown}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _clear_left_behind(folder: Path) -> None:
    """Delete what earlier writers of a folder did not finish; put a folder back that was moved away."""
    if not folder.parent.is_dir():
        return
    name = re.compile(rf"\.{re.escape(folder.name)}\.\d+\.(part|old)")
    for other in folder.parent.iterdir():
        found = name.fullmatch(other.name)
        if found is None:
            continue
        if found[1] == "old" and not folder.exists():
            os.replace(other, folder)
        else:
            shutil.rmtree(other, ignore_errors=True)


def save(model: Trainable, folder: str | Path, overwrite: bool = False) -> None:
    """Write a trained model, whole or not at all.

    Parameters
    ----------
    folder
        Gets ``model.npz`` (parameters), ``history.npz``, ``data.npz`` (names of features, split, scaling; no
        observations) and ``model.json`` (all settings).
    overwrite
        Replace a folder that is not empty.
    """
    with whole_folder(folder, overwrite) as place:
        write_model(model, place)


def write_model(model: Trainable, place: Path) -> None:
    """Write the files of a model into a folder."""
    fitted, observed = model.fitted, model.observed
    save_stack(place / MODEL, fitted.stack, fitted.finite)
    write_npz(place / HISTORY, fitted.history)
    held = {"features": observed.features.astype(str)}
    for which in PARTS:
        parts = getattr(model.split, which)
        held |= {f"{which}/{source}": rows for source, rows in parts.items()}
    if model.scaling.centre is not None:
        held |= {"centre": model.scaling.centre, "scale": model.scaling.scale}
    write_npz(place / DATA, held)
    registration = None
    if model.registration is not None:
        registration = {**model.registration.plain(), "background": list(model.registration.background)}
    about = {
        "format": FORMAT,
        "spec": fitted.spec.model_dump(mode="json"),
        "registration": registration,
        "sources": list(observed.x),
        "rows": {source: len(x) for source, x in observed.x.items()},
        "digest": observed.digest(),
        "early_stopping": None if fitted.stopping is None else fitted.stopping.plain(),
    }
    write_json(place / ABOUT, about)


def load(cls: type[Model], folder: str | Path, data: Any) -> Model:
    """Read what :func:`save` wrote; see ``ComparativeVAE.load``."""
    folder = Path(folder)
    about = read_about(folder)
    spec = validated(FitSpec, about.spec, str(folder / ABOUT), ("spec",))
    if sorted(about.sources) != sorted(spec.model.design.sources):
        wanted = f"those of its design: {list(spec.model.design.sources)}"
        raise bad_input(folder / ABOUT, "sources", list(about.sources), wanted)
    sources = spec.model.design.sources
    stopping = stopping_of(about, len(spec.members), folder / ABOUT)
    parts = PARTS if stopping is not None else PARTS[:2]
    names = [f"{which}/{source}" for which in parts for source in sources]
    held = read_npz(folder / DATA, ("features", *names))
    stack, finite = load_stack(folder / MODEL, spec)
    observed = _observe_again(data, about, held["features"], spec)
    if observed.digest() != about.digest:
        rows = {source: len(x) for source, x in observed.x.items()}
        raise bad_input(
            folder, "data", rows, f"the data that the model was fitted to, same rows and order: {about.rows}"
        )
    for name, parameter in stack.named_parameters():
        if not parameter.detach()[finite].isfinite().all():
            raise bad_input(folder / MODEL, f"parameter/{name}", "nan or inf", "numbers, of finite members")
    features = len(observed.features)
    if stack.n_features != features:
        raise bad_input(folder / MODEL, "features", stack.n_features, f"{features}, as the data have")
    self = cls.__new__(cls)
    self.observed, self.variant, self.model_spec = observed, spec.variant, spec.model
    self.seeds = spec.seeds
    self.split = split_of(held, observed, parts, folder / DATA)
    kind = settings.CELLS if spec.model.likelihood.support == "counts" else settings.ARRAYS
    self.base = settings.base_for(kind, sum(map(len, self.split.set_aside(0, 0).train.values())))
    self.scaling = scaling_of(held, features, folder / DATA)
    history = history_of(read_npz(folder / HISTORY, ("step",)), len(finite), folder / HISTORY)
    self._fitted = Fitted(spec, stack, finite, history, stopping)
    self.registration = _registration(about)
    self.adata = None if self.registration is None else data
    return self


def _registration(about: About) -> anndata_input.Registration | None:
    """What the data of a saved model were registered with; None for arrays."""
    return None if about.registration is None else anndata_input.Registration(**dict(about.registration))


def _observe_again(data: Any, about: About, features: np.ndarray, spec: FitSpec) -> Observed:
    """The features of a saved model, of the data that come with it."""
    support = spec.model.likelihood.support
    if about.registration is None:
        if not isinstance(data, Mapping) or set(data) != set(about.sources):
            found = sorted(data) if isinstance(data, Mapping) else type(data).__name__
            raise bad_input("data", "", found, f"arrays of the sources {list(about.sources)}")
        data = {source: data[source] for source in about.sources}
        observed = arrays.observe_arrays(data, support)
        if len(observed.features) != len(features):
            raise bad_input(
                "arrays", "features", len(observed.features), f"{len(features)}, as the model has"
            )
        return Observed(observed.x, observed.rows, features, observed.names)
    if isinstance(data, Mapping):
        raise bad_input("data", "", "arrays", "the AnnData object that the model was fitted to")
    anndata_input.require_anndata(data)
    registration = _registration(about)
    return anndata_input.observe(data, registration, support, None, features)
