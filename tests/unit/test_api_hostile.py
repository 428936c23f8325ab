"""A damaged or hostile folder of a saved model gives a one-line error before any network is built."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import cdgm
from cdgm.cli import plot
from cdgm.utils.folders import atomic_folder
from tests.unit.data_helpers import refused

DATA = {name: np.random.default_rng(i).standard_normal((30, 4)) for i, name in enumerate("ab")}
BIAS = "parameter/decoder.layers.2.bias"


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """A model that was trained without early stopping, and one with it."""
    root = tmp_path_factory.mktemp("saved")
    for name, options in (("plain", {}), ("stopped", {"early_stopping": True, "early_stopping_share": 0.4})):
        model = cdgm.ComparativeModel.from_arrays(DATA, "cvae", n_background=2, n_salient=2)
        model.train(max_steps=4, **options)
        model.save(root / name)
        assert len(cdgm.ComparativeModel.load(root / name, DATA).history) == len(model.history)
    return root


def about(change):
    """Change model.json."""

    def apply(folder: Path) -> None:
        values = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        change(values)
        (folder / "model.json").write_text(json.dumps(values), encoding="utf-8")

    return apply


def update(*path: str, **changes):
    """Change some values below a path of model.json."""

    def change(values: dict) -> None:
        for key in path:
            values = values[key]
        values.update(changes)

    return about(change)


def array(file: str, name: str, make):
    """Change one array of a file; None removes it."""

    def apply(folder: Path) -> None:
        with np.load(folder / file) as archive:
            arrays = dict(archive)
        arrays[name] = make(arrays.get(name))
        np.savez(folder / file, **{n: a for n, a in arrays.items() if a is not None})

    return apply


def text(content: str):
    return lambda folder: (folder / "model.json").write_text(content, encoding="utf-8")


HOSTILE = {
    "nested JSON": (text("[" * 100_000), ["model.json", "not a JSON file"]),
    "another format": (update(format=1), ["model.json: format: got 1"]),
    "no spec": (about(lambda a: a.pop("spec")), ["model.json: spec: missing"]),
    "an unknown key": (update(run="x"), ["model.json: run: unknown key"]),
    "code for a likelihood": (
        update("spec", "model", likelihood={"kind": "os:system"}), ["unknown likelihood 'os:system'"],
    ),
    "a name for precision": (update("spec", "training", precision="__class__"), ["spec.training.precision"]),
    # Half a terabyte of parameters, had they been allocated before they were compared with the file.
    "huge blocks": (update("spec", "model", dims={"background": 10**9, "salient": 2}), ["background: got"]),
    "a negative seed": (update("spec", seeds=[-1]), ["seed: got -1", "at least 0"]),
    "a number of sources": (update(sources=5), ["model.json: sources"]),
    "lists for sources": (update(sources=[["a"], "b"]), ["model.json: sources.0"]),
    "half a registration": (update(registration={}), ["registration.source_key: missing"]),
    "another digest": (update(digest="0"), ["the data that the model was fitted to"]),
    "no split": (array("data.npz", "split/a", lambda _: None), ["data.npz", "split/a"]),
    "an unknown part": (array("data.npz", "split/a", lambda p: p + 2), ["data.npz: split/a", "of 30 rows"]),
    "no held-out rows": (array("data.npz", "split/a", lambda p: p * 0), ["split/a", "1 held_out"]),
    "a scale of 0": (array("data.npz", "scale", np.zeros_like), ["data.npz: scale", "a scale > 0"]),
    "no features": (array("data.npz", "features", lambda f: f[:0]), ["data.npz: features", "4 names"]),
    "one feature": (array("data.npz", "features", lambda _: np.array("x")), ["features", "4 names"]),
    "numbers for features": (array("data.npz", "features", lambda _: np.arange(4)), ["4 names"]),
    "a complex parameter": (array("model.npz", BIAS, lambda p: p + 0j), ["model.npz", BIAS, "complex"]),
    "a parameter of NaN": (array("model.npz", BIAS, lambda p: p * np.nan), ["model.npz", BIAS, "nan"]),
    "more finite members": (array("model.npz", "finite", lambda _: np.ones((3, 3), bool)), ["finite"]),
    "pickles": (array("history.npz", "x", lambda _: np.array([{}], dtype=object)), ["history.npz", "pickle"]),
    "a shorter history": (array("history.npz", "step", lambda s: s[:0]), ["history.npz", "0 records"]),
    "no history": (lambda folder: (folder / "history.npz").unlink(), ["history.npz: no such file"]),
    "validation rows": (array("data.npz", "split/a", lambda p: np.arange(30) % 3), ["data.npz: split/a"]),
}  # fmt: skip
STOPPED = {
    "no record": (update(early_stopping=3), ["model.json: early_stopping"]),
    "half a record": (about(lambda a: a["early_stopping"].pop("best_step")), ["best_step: missing"]),
    "other members": (update("early_stopping", stopped_early=[True, False]), ["one a member"]),
    "steps before the first": (update("early_stopping", best_step=[-1]), ["early_stopping.best_step.0"]),
    "text for an ELBO": (update("early_stopping", best_elbo=["x"]), ["early_stopping.best_elbo.0"]),
    "a share of all": (update("early_stopping", "rule", share=1), ["rule.share"]),
    "no validation rows": (array("data.npz", "split/a", lambda p: p % 2), ["split/a", "2 validation"]),
    "rows without the record": (update(early_stopping=None), ["data.npz: split/a"]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "case"), [("plain", case) for case in HOSTILE] + [("stopped", case) for case in STOPPED]
)
def test_a_hostile_folder_is_one_line(name, case, folders, tmp_path):
    change, parts = (HOSTILE if name == "plain" else STOPPED)[case]
    shutil.copytree(folders / name, tmp_path / "saved")
    change(tmp_path / "saved")
    refused(lambda: cdgm.ComparativeModel.load(tmp_path / "saved", DATA), *parts)


@pytest.mark.parametrize("file", ["model.npz", "history.npz", "data.npz"])
def test_a_file_of_another_model_with_the_same_shapes_is_refused(file, folders, tmp_path):
    other = cdgm.ComparativeModel.from_arrays(DATA, "cvae", n_background=2, n_salient=2, seed=7)
    other.train(max_steps=4)
    other.save(tmp_path / "other")
    shutil.copytree(folders / "plain", tmp_path / "saved")
    shutil.copy(tmp_path / "other" / file, tmp_path / "saved" / file)
    refused(lambda: cdgm.ComparativeModel.load(tmp_path / "saved", DATA), f"{file}: is not as it was saved")


@pytest.mark.parametrize(
    ("table", "parts"),
    [("cell,source\nx,a\n", ["latents.csv: columns", "'label'"]), ("\x00", ["latents.csv"])],
    ids=["columns", "no table"],
)
def test_drawing_again_refuses_a_table_of_another_model(folders, tmp_path, table, parts):
    results = tmp_path / "results"
    shutil.copytree(folders / "plain", results / "model")
    (results / "latents.csv").write_text(table, encoding="utf-8")
    arguments = {"results": results, "out": tmp_path / "out", "data": None, "colour": None}
    arguments |= {"map": "pca", "overwrite": False}
    refused(lambda: plot.run(type("Arguments", (), arguments)), *parts)
    assert not (tmp_path / "out").exists()


def test_drawing_again_refuses_an_edited_table(folders, tmp_path):
    """Rows that are missing, or in another order, cannot be seen in the table itself."""
    header = "cell,source,label,held_out,background_0,background_1,salient_0,salient_1\n"
    with atomic_folder(tmp_path / "results") as place:
        shutil.copytree(folders / "plain", place / "model")
        (place / "latents.csv").write_text(header + "x,a,,False,0,0,0,0\ny,b,,False,1,1,1,1\n")
    arguments = {"results": tmp_path / "results", "out": tmp_path / "out", "data": None, "colour": None}
    arguments |= {"map": "pca", "overwrite": False}
    (tmp_path / "results" / "latents.csv").write_text(header + "y,b,,False,1,1,1,1\n")
    refused(lambda: plot.run(type("Arguments", (), arguments)), "latents.csv: was changed")
    assert not (tmp_path / "out").exists()
