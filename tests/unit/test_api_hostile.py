"""Folders of saved models that are damaged or made to do harm: one line each, before anything is made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import cdgm
from cdgm.cli import plot
from tests.unit.data_helpers import refused

DATA = {name: np.random.default_rng(i).standard_normal((30, 4)) for i, name in enumerate("ab")}
BIAS = "parameter/decoder.layers.2.bias"


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    model = cdgm.ComparativeModel.from_arrays(DATA, "cvae", n_background=2, n_salient=2)
    model.train(max_steps=2)
    folder = tmp_path_factory.mktemp("saved") / "good"
    model.save(folder)
    return folder


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    """A model that was trained with early stopping."""
    model = cdgm.ComparativeModel.from_arrays(DATA, "cvae", n_background=2, n_salient=2)
    model.train(max_steps=4, early_stopping=True, early_stopping_share=0.4)
    folder = tmp_path_factory.mktemp("saved") / "stopped"
    model.save(folder)
    return folder


def told(change):
    """Change what model.json says."""

    def apply(folder: Path) -> None:
        about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        change(about)
        (folder / "model.json").write_text(json.dumps(about), encoding="utf-8")

    return apply


def held(file: str, name: str, make):
    """Change one array of a file; None takes it away."""

    def apply(folder: Path) -> None:
        with np.load(folder / file) as archive:
            arrays = dict(archive)
        arrays[name] = make(arrays.get(name))
        np.savez(folder / file, **{n: a for n, a in arrays.items() if a is not None})

    return apply


def text(content: str):
    return lambda folder: (folder / "model.json").write_text(content, encoding="utf-8")


def model_of(**changes):
    return told(lambda about: about["spec"]["model"].update(changes))


HOSTILE = {
    "nested JSON": (text("[" * 100_000), ["model.json", "not a JSON file"]),
    "a list": (text("[1]"), ["model.json: format", "'list'"]),
    "another format": (told(lambda a: a.update(format=2)), ["model.json: format: got 2"]),
    "no spec": (told(lambda a: a.pop("spec")), ["model.json: spec: missing"]),
    "a spec that is none": (told(lambda a: a.update(spec=None)), ["model.json: spec"]),
    "an unknown key": (told(lambda a: a.update(run="x")), ["model.json: run: unknown key"]),
    "code for a likelihood": (model_of(likelihood={"kind": "os:system"}), ["unknown likelihood 'os:system'"]),
    "a name for precision": (
        told(lambda a: a["spec"]["training"].update(precision="__class__")),
        ["spec.training.precision"],
    ),
    # Half a terabyte of parameters, had they been made before they were compared with the file.
    "huge blocks": (model_of(dims={"background": 10**9, "salient": 2}), ["model.npz", "expected shape"]),
    "huge layers": (model_of(encoder_hidden=[10**9]), ["model.npz", "expected shape"]),
    "many members": (told(lambda a: a["spec"].update(seeds=list(range(10**5)))), ["model.npz", "shape"]),
    "a number of sources": (told(lambda a: a.update(sources=5)), ["model.json: sources"]),
    "lists for sources": (told(lambda a: a.update(sources=[["a"], "b"])), ["model.json: sources.0"]),
    "fewer sources": (told(lambda a: a.update(sources=["a"])), ["model.json: sources", "its design"]),
    "half a registration": (told(lambda a: a.update(registration={})), ["registration.source_key: missing"]),
    "another digest": (told(lambda a: a.update(digest="0")), ["the data that the model was fitted to"]),
    "negative rows": (held("data.npz", "train/a", lambda _: np.array([-1, -5])), ["data.npz: train/a"]),
    "rows beyond the data": (held("data.npz", "train/a", lambda _: np.array([10**9])), ["each of 30 rows"]),
    "rows twice": (held("data.npz", "held_out/b", lambda rows: np.repeat(rows, 2)), ["each of 30 rows once"]),
    "fractions of rows": (held("data.npz", "train/a", lambda rows: rows + 0.5), ["train/a", "float"]),
    "no rows": (held("data.npz", "held_out/a", lambda rows: rows[:0]), ["data.npz: held_out/a", "(0,)"]),
    "text for a centre": (held("data.npz", "centre", lambda _: np.array(["x"] * 4)), ["data.npz: centre"]),
    "a scale of 0": (held("data.npz", "scale", np.zeros_like), ["data.npz: scale", "a scale > 0"]),
    "no scale": (held("data.npz", "scale", lambda _: None), ["data.npz", "centre and scale, or neither"]),
    "few features": (held("data.npz", "features", lambda _: np.array(["x"])), ["features: got 4"]),
    "a scalar parameter": (held("model.npz", BIAS, lambda _: np.float32(1)), ["model.npz", BIAS]),
    "a text parameter": (held("model.npz", BIAS, lambda p: np.full(p.shape, "x")), ["model.npz", BIAS]),
    "a complex parameter": (held("model.npz", BIAS, lambda p: p + 0j), ["model.npz", BIAS, "complex"]),
    "a parameter of NaN": (held("model.npz", BIAS, lambda p: p * np.nan), ["model.npz", BIAS, "nan"]),
    "more finite members": (held("model.npz", "finite", lambda _: np.ones((3, 3), bool)), ["finite"]),
    "pickles": (held("history.npz", "x", lambda _: np.array([{}], dtype=object)), ["history.npz", "pickle"]),
    "a shorter history": (held("history.npz", "step", lambda s: s[:0]), ["history.npz", "0 records"]),
    "text for a history": (held("history.npz", "elbo/a", lambda v: v.astype(str)), ["history.npz: elbo/a"]),
    "no history": (lambda folder: (folder / "history.npz").unlink(), ["history.npz: no such file"]),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_folder_is_one_line(good, tmp_path, case):
    change, parts = HOSTILE[case]
    shutil.copytree(good, tmp_path / "saved")
    change(tmp_path / "saved")
    refused(lambda: cdgm.ComparativeModel.load(tmp_path / "saved", DATA), *parts)


def stopping_of(**changes):
    return told(lambda about: about["early_stopping"].update(changes))


STOPPED = {
    "no record": (told(lambda a: a.update(early_stopping=3)), ["model.json: early_stopping"]),
    "half a record": (told(lambda a: a["early_stopping"].pop("kept")), ["early_stopping.kept: missing"]),
    "other members": (stopping_of(early=[True, False]), ["early_stopping.early", "one a member"]),
    "steps before the first": (stopping_of(kept=[-1]), ["early_stopping.kept.0"]),
    "text for a bound": (stopping_of(best=["x"]), ["early_stopping.best.0"]),
    "a share of all": (told(lambda a: a["early_stopping"]["rule"].update(share=1)), ["rule.share"]),
    "no validation rows": (held("data.npz", "validation/a", lambda _: None), ["data.npz", "validation/a"]),
    "rows in two parts": (held("data.npz", "validation/a", lambda r: r * 0), ["data.npz", "rows once"]),
    "rows without the record": (told(lambda a: a.update(early_stopping=None)), ["data.npz"]),
}  # fmt: skip


@pytest.mark.parametrize("case", STOPPED)
def test_a_damaged_record_of_early_stopping_is_one_line(stopped, tmp_path, case):
    change, parts = STOPPED[case]
    shutil.copytree(stopped, tmp_path / "saved")
    cdgm.ComparativeModel.load(tmp_path / "saved", DATA)
    change(tmp_path / "saved")
    refused(lambda: cdgm.ComparativeModel.load(tmp_path / "saved", DATA), *parts)


def test_the_good_folder_is_loaded(good):
    model = cdgm.ComparativeModel.load(good, DATA)
    assert np.isfinite(model.get_latent_representation("background")).all()
    assert len(model.history)


@pytest.mark.parametrize(
    ("table", "parts"),
    [("cell,source\nx,a\n", ["latents.csv: columns", "'label'"]), ("\x00", ["latents.csv"])],
    ids=["columns", "no table"],
)
def test_drawing_again_refuses_a_table_that_is_not_the_model_s(good, tmp_path, table, parts):
    results = tmp_path / "results"
    shutil.copytree(good, results / "model")
    (results / "latents.csv").write_text(table, encoding="utf-8")
    arguments = {"results": results, "out": tmp_path / "out", "data": None, "colour": None}
    arguments |= {"map": "pca", "overwrite": False}
    refused(lambda: plot.run(type("Arguments", (), arguments)), *parts)
    assert not (tmp_path / "out").exists()
