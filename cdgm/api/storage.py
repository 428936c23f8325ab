"""A trained model as a folder of arrays and JSON: nothing in it is executed when it is read."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cdgm.api import anndata_input, arrays, settings
from cdgm.api.early_stopping import Stopping
from cdgm.api.fitted import Fitted
from cdgm.api.observed import Observed, Split
from cdgm.api.scaling import Scaling
from cdgm.errors import UserError, bad_input
from cdgm.files import read_json, read_npz, require_writable, write_json, write_npz
from cdgm.inference import load_stack, save_stack
from cdgm.specs import FitSpec
from cdgm.validation import validated

if TYPE_CHECKING:
    from cdgm.api.model import ComparativeVAE

MODEL, HISTORY, DATA, ABOUT = "model.npz", "history.npz", "data.npz", "model.json"
PARTS = ("train", "held_out", "validation")
FORMAT = 1


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


def save(model: ComparativeVAE, folder: str | Path, overwrite: bool = False) -> None:
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


def write_model(model: ComparativeVAE, place: Path) -> None:
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


def load(cls: type[ComparativeVAE], folder: str | Path, data: Any) -> ComparativeVAE:
    """Read what :func:`save` wrote; see ``ComparativeVAE.load``."""
    folder = Path(folder)
    about = read_json(folder / ABOUT)
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else type(about).__name__
        raise bad_input(folder / ABOUT, "format", found, f"{FORMAT}, of a model that cdgm saved")
    for key in ("spec", "registration", "sources", "digest"):
        if key not in about:
            raise bad_input(folder / ABOUT, "keys", sorted(about), f"also {key!r}")
    spec = validated(FitSpec, about["spec"], folder / ABOUT, ("spec",))
    sources = spec.model.design.sources
    stopping = about.get("early_stopping")
    parts = PARTS if stopping is not None else PARTS[:2]
    names = [f"{which}/{source}" for which in parts for source in sources]
    held = read_npz(folder / DATA, ("features", *names))
    stack, finite = load_stack(folder / MODEL, spec)
    observed = _observe_again(data, about, held["features"], spec)
    if observed.digest() != about["digest"]:
        rows = {source: len(x) for source, x in observed.x.items()}
        raise bad_input(
            folder, "data", rows,
            f"the data that the model was fitted to, same rows and order: {about.get('rows')}",
        )  # fmt: skip
    self = cls.__new__(cls)
    self.observed, self.variant, self.model_spec = observed, spec.variant, spec.model
    self.seeds = spec.seeds
    self.split = Split(*({s: held[f"{which}/{s}"] for s in sources} for which in parts))
    kind = settings.CELLS if spec.model.likelihood.support == "counts" else settings.ARRAYS
    self._base = settings.base_for(kind, sum(map(len, self.split.set_aside(0, 0).train.values())))
    self.scaling = Scaling(held.get("centre"), held.get("scale"))
    self._fitted = Fitted(
        spec, stack, finite, read_npz(folder / HISTORY), None if stopping is None else Stopping.of(stopping)
    )
    self.registration = _registration(about)
    self.adata = None if self.registration is None else data
    return self


def _registration(about: Mapping[str, Any]) -> anndata_input.Registration | None:
    """What the data of a saved model were registered with; None for arrays."""
    stored = about["registration"]
    if stored is None:
        return None
    return anndata_input.Registration(
        stored["source_key"], tuple(stored["background"]), stored.get("layer"), stored.get("labels_key")
    )


def _observe_again(data: Any, about: Mapping[str, Any], features: np.ndarray, spec: FitSpec) -> Observed:
    """The features of a saved model, of the data that come with it."""
    support = spec.model.likelihood.support
    if about["registration"] is None:
        if not isinstance(data, Mapping) or set(data) != set(about["sources"]):
            found = sorted(data) if isinstance(data, Mapping) else type(data).__name__
            raise bad_input("data", "", found, f"arrays of the sources {about['sources']}")
        data = {source: data[source] for source in about["sources"]}
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
