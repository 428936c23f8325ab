"""A command of the workflow with bad input gives one line and exit code 2, and writes nothing."""

import contextlib
import importlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cdgm.models.checkpoint import save_stack
from cdgm.training.loop import build_model
from cdgm.utils import command_line
from cdgm.utils.files import canonical_json, write_json, write_npz
from cdgm.workflow.plan import dump
from tests.unit.builders import fit_spec
from tests.unit.data_helpers import made_counts, sparse, treated, write_h5ad
from tests.unit.fake_studies import weighed
from tests.unit.test_data_preprocess import SPEC

COUNTS = {"likelihood": {"kind": "negative_binomial", "link": "softmax", "dispersion": "learned"}}

POISSON = {"likelihood": {"kind": "poisson", "link": "exp"}}
BINARY = {"likelihood": {"kind": "bernoulli"}}


def arrays(features: int = 6, **changes: np.ndarray | None) -> dict[str, np.ndarray]:
    """A good data file of two sources, or one with some arrays changed or (None) left out."""
    rng = np.random.default_rng(0)
    good = {
        f"x/{split}/{source}": rng.poisson(2.0, (1, 30, features)).astype(np.float32)
        for split in ("train", "test")
        for source in ("background", "target")
    }
    changed = good | {name.replace("__", "/"): values for name, values in changes.items()}
    return {name: values for name, values in changed.items() if values is not None}


@dataclass(frozen=True)
class Done:
    returncode: int
    stderr: str


def run(script: str, *arguments: object) -> Done:
    """Run a command line in this process: importing torch anew for each case would take minutes."""
    main = importlib.import_module(f"workflow_scripts.{script}").main
    stderr = io.StringIO()
    argv = [script, *map(str, arguments)]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(stderr):
        patch.setattr("sys.argv", argv)
        try:
            command_line.run(main)
        except SystemExit as stop:
            return Done(stop.code, stderr.getvalue())
    return Done(0, stderr.getvalue())


def fit(spec: Any, folder: Path) -> Done:
    """Fit a specification to the folder's data file; texts are written as they are."""
    text = spec if isinstance(spec, str) else canonical_json(dump(spec))
    (folder / "fit.json").write_text(text, encoding="utf-8")
    return run(
        "fit", "--spec", folder / "fit.json", "--data", folder / "data.npz", "--out-dir", folder / "out"
    )


def refused(done: Done, out: Path, *parts: str) -> None:
    """One line of error with all parts, and no file left behind."""
    assert done.returncode == 2, done.stderr
    assert [line[:7] for line in done.stderr.splitlines()] == ["error: "], done.stderr
    for part in parts:
        assert part in done.stderr
    assert not out.exists() or not list(out.iterdir())


def with_value(value: float) -> np.ndarray:
    values = arrays()["x/train/target"].copy()
    values[0, 3, 2] = value
    return values


@pytest.mark.parametrize(
    ("model", "changes", "parts"),
    [
        ({}, {"x__train__target": None, "x__test__target": None}, ["sources", "'target'"]),
        ({}, {"x__train__target": with_value(np.nan)}, ["x/train/target[0, 3, 2]", "nan", "finite"]),
        (COUNTS, {"x__train__target": with_value(0.5)}, ["x/train/target[0, 3, 2]", "0.5", "integer"]),
        (POISSON, {"x__test__target": with_value(-1)}, ["x/test/target[0, 3, 2]", "-1", "negative"]),
        (BINARY, {"x__train__background": with_value(7)}, ["x/t", "got", "expected 0 or 1"]),
    ],
    ids=["source", "nan", "fraction", "negative", "binary"],
)
def test_fit_refuses_bad_data(tmp_path, model, changes, parts):
    write_npz(tmp_path / "data.npz", arrays(**changes))
    refused(fit(fit_spec((0,), model=model), tmp_path), tmp_path / "out", "data.npz", *parts)


@pytest.mark.parametrize("size", [0, 100, 3_000])
def test_fit_refuses_a_truncated_file(tmp_path, size):
    path = tmp_path / "data.npz"
    write_npz(path, arrays())
    path.write_bytes(path.read_bytes()[:size])
    refused(fit(fit_spec((0,)), tmp_path), tmp_path / "out", "data.npz", "not a readable .npz file")


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("{", ["fit.json: not a JSON file"]),
        ("[]", ["fit.json: got []"]),
        ('{"dataset": "x"}', ["fit.json: ", "missing"]),
    ],
    ids=["json", "list", "keys"],
)
def test_fit_refuses_a_bad_spec(tmp_path, spec, parts):
    refused(fit(spec, tmp_path), tmp_path / "out", *parts)


def test_the_table_of_the_plan_is_written(tmp_path):
    row = {"study": "s", "setting": "a", "variant": "v", "seeds": "1 2", "members": 2}
    row |= {"data": "simulations/x", "fit": "f", "evaluation": "e", "ceiling": ""}
    write_json(tmp_path / "plan.json", [row])
    assert run("plan", "--spec", tmp_path / "plan.json", "--out", tmp_path / "plan.csv").returncode == 0
    assert (tmp_path / "plan.csv").read_text().splitlines() == [
        "study,setting,variant,seeds,members,data,fit,evaluation,ceiling",
        "s,a,v,1 2,2,simulations/x,f,e,",
    ]


@pytest.mark.parametrize(
    ("fitted", "features", "parts"),
    [
        (fit_spec((0,), model={"decoder_hidden": [9]}), 6, ["model.npz", "parameter"]),
        (fit_spec((0,)), 7, ["data.npz", "features", "as the model was fitted to"]),
    ],
    ids=["spec", "features"],
)
def test_evaluate_refuses_what_does_not_belong_together(tmp_path, fitted, features, parts):
    write_npz(tmp_path / "data.npz", arrays(features))
    save_stack(tmp_path / "model.npz", build_model(fitted, 6), np.array([True]))
    write_json(tmp_path / "spec.json", dump(fit_spec((0,))))
    write_json(tmp_path / "scoring.json", {"elbo_draws": 1, "null_draws": 10})
    done = run(
        "evaluate", "--spec", tmp_path / "scoring.json", "--fit-spec", tmp_path / "spec.json",
        "--model", tmp_path / "model.npz", "--data", tmp_path / "data.npz", "--out-dir", tmp_path / "out",
    )  # fmt: skip
    refused(done, tmp_path / "out", *parts)


@pytest.mark.slow
def test_draw_writes_the_figure_that_is_asked_for_or_names_those_there_are(tmp_path):
    places = []
    for name, table in weighed(seeds=(200,)).items():
        place = tmp_path / (f"{name}.parquet" if name == "history" else f"{name}.csv")
        table.to_parquet(place) if name == "history" else table.to_csv(place, index=False)
        places += [f"--{name}", place]
    wanted = ("draw", "--study", "weighed", *places, "--out-prefix", tmp_path / "out" / "a", "--figure")
    refused(run(*wanted, "objective"), tmp_path / "out", "objective", "objectives")
    assert run(*wanted, "objectives").returncode == 0
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"a.csv", "a.pdf", "a.png"}


def test_preprocess_writes_a_bundle_or_says_why_not(tmp_path):
    raw = write_h5ad(tmp_path / "mine.h5ad", sparse(made_counts(90, 25)), treated(90))
    for sources, out in ((["background", "treated"], "bad"), (SPEC["sources"], "good")):
        write_json(tmp_path / "spec.json", SPEC | {"sources": sources})
        words = ("--spec", tmp_path / "spec.json", "--name", "mine", "--root-seed", 1, "--raw", raw)
        done = run("preprocess", *words, "--out-dir", tmp_path / out)
        assert (done.returncode, (tmp_path / out).exists()) == ((2, False) if out == "bad" else (0, True))
    assert (tmp_path / "good" / "cells.npz").is_file()
