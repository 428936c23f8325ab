"""Covariates of a data set: prepared, refused where a setting or a file lacks them, fitted and scored."""

from pathlib import Path

import numpy as np
import pytest

from cdgm.config.dataset import DatasetSpec
from cdgm.config.evaluation import EvaluationSpec
from cdgm.config.layers import load_layers
from cdgm.config.study import parse_config
from cdgm.data.bundle import read_bundle
from cdgm.data.cell_table import read_cell_table
from cdgm.data.preprocess import preprocess, write_prepared
from cdgm.evaluation.catalogue import metrics_of
from cdgm.evaluation.fits import bound_rows, constraint_rows, embed, score_cells
from cdgm.models.checkpoint import load_stack, save_stack
from cdgm.training.loop import train
from cdgm.utils.files import write_npz
from cdgm.workflow.plan import expand
from tests.unit.builders import fit_spec
from tests.unit.data_helpers import made_counts, refused, sparse, write_h5ad

BASE = Path(__file__).parents[2] / "config.yaml"
CELLS = 120
READER = {
    "kind": "h5ad",
    "source_column": "treatment",
    "sources": {"background": ["control"], "target": "rest"},
    "labels": {"label": "treatment", "batch": "batch", "depth": "depth"},
}
SPEC = {
    "download": "mine",
    "reader": READER,
    "sources": ["background", "target"],
    "genes": {"kind": "all"},
    "held_out": 0.3,
    "covariates": {"batch": "categorical", "depth": "continuous"},
}
EVALUATION = EvaluationSpec(elbo_draws=1, null_draws=10)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    rng = np.random.default_rng(0)
    obs = {
        "treatment": [("control", "drug a", "drug b")[i % 3] for i in range(CELLS)],
        "batch": [f"b{i}" for i in rng.integers(0, 3, CELLS)],
        "depth": rng.normal(10, 3, CELLS),
    }
    folder = tmp_path_factory.mktemp("data")
    raw = write_h5ad(folder / "mine.h5ad", sparse(made_counts(CELLS, 8, seed=7)), obs)
    write_prepared(preprocess(DatasetSpec.model_validate(SPEC), "mine", raw, root=1), folder)
    return folder


def test_columns_of_covariates_are_those_of_the_cells(prepared):
    bundle, table = read_bundle(prepared / "cells.npz"), read_cell_table(prepared / "cells.csv").table
    training = table[table["split"] == "train"]["depth"].astype(float)
    assert bundle.batches == ("batch",)
    for (split, source), part in table.groupby(["split", "source"]):
        columns = bundle.covariates_of(split, ["depth", "batch"])[source][0]
        depth = (part["depth"].astype(float) - training.mean()) / training.std(ddof=0)
        np.testing.assert_allclose(columns[:, 0], depth, atol=1e-4)
        assert [f"b{i}" for i in columns[:, 1:].argmax(axis=1)] == part["batch"].tolist()
    assert bundle.covariates_of("train", []) is None


def test_a_data_set_without_covariates_is_as_it_was(prepared, tmp_path):
    plain = DatasetSpec.model_validate({key: v for key, v in SPEC.items() if key != "covariates"})
    arrays = preprocess(plain, "mine", prepared / "mine.h5ad", root=1).arrays
    assert {name.partition("/")[0] for name in arrays} == {"x"}
    spec = DatasetSpec.model_validate(SPEC | {"covariates": {"lane": "categorical"}})
    refused(lambda: preprocess(spec, "mine", prepared / "mine.h5ad", 1), "covariates", "'lane'", "'batch'")


@pytest.mark.parametrize("encode", [False, True], ids=["decoder", "both"])
def test_a_stack_is_fitted_saved_and_scored(prepared, tmp_path, encode):
    bundle = read_bundle(prepared / "cells.npz", support="counts")
    spec = fit_spec(
        (0, 1),
        model={
            "likelihood": {"kind": "negative_binomial", "link": "softmax", "dispersion": "learned"},
            "covariates": ["batch", "depth"],
            "encode_covariates": encode,
        },
        training={"steps": 10},
        variant=load_layers([BASE])["variants"]["co-hsic-only"],
    )
    covariates = bundle.covariates_of("train", spec.model.covariates)
    trained = train(spec, bundle.x["train"], [0, 0], covariates=covariates)
    save_stack(tmp_path / "model.npz", trained.model, trained.finite)
    model, _ = load_stack(tmp_path / "model.npz", spec)
    assert model.n_covariates == 4
    means = embed(model, bundle, [0, 0])
    cells = read_cell_table(prepared / "cells.csv")
    rows = next(score_cells(spec, EVALUATION, cells, means, bundle.batches))
    scored = {(r["source"], r["block"], r["truth"]) for r in rows if r["metric"] in metrics_of("batches")}
    assert scored == {(s, b, "batch") for s in ("background", "target") for b in ("background", "salient")}
    elbos = [
        r["value"] for r in bound_rows(spec, EVALUATION, model, bundle, [0, 0])[0] if r["metric"] == "elbo"
    ]
    assert np.isfinite(elbos).all()
    held = constraint_rows(spec, model, bundle, [0, 0])[0]
    assert held
    assert np.isfinite([r["value"] for r in held]).all()


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("covariates/test/target/batch", None, ["covariates/test/target", "'depth'", "batch"]),
        ("covariates/test/target/batch", np.ones((1, 2, 3), np.float32), ["floats of shape"]),
        ("covariates/train/target/depth", np.nan, ["covariates/train/target/depth[0, 0, 0]", "nan"]),
        ("covariates/train/target", np.ones((1, 2, 3), np.float32), ["covariates/<split>/<source>/<name>"]),
    ],
    ids=["missing", "shape", "nan", "name"],
)
def test_damaged_files_are_refused(prepared, tmp_path, name, change, told):
    with np.load(prepared / "cells.npz") as file:
        arrays = dict(file)
    if isinstance(change, float):
        change = np.full_like(arrays[name], change)
    arrays = {key: v for key, v in (arrays | {name: change}).items() if v is not None}
    write_npz(tmp_path / "cells.npz", arrays)
    refused(lambda: read_bundle(tmp_path / "cells.npz"), tmp_path / "cells.npz", *told)


def test_what_a_model_needs_and_a_file_lacks(prepared):
    bundle = read_bundle(prepared / "cells.npz")
    refused(
        lambda: bundle.require("cells.npz", ["target"], covariates=["lane"]), "cells.npz", "'lane'", "batch"
    )


def planned(**changes):
    layers = [BASE, {"studies": {"papalexi2021": {"settings": {"papalexi2021": changes}}}}]
    return expand(parse_config(load_layers(layers), [BASE]), [BASE])


def test_settings_name_covariates_of_their_data_set():
    told = planned(model={"covariates": ["replicate"]})
    plain = planned()
    fits = {fit for fit, job in told.fits.items() if job.spec.model.covariates}
    rows = plain.studies["papalexi2021"]
    assert len(fits) == len({plain.evaluations[row.evaluation].fit for row in rows})
    # All other fits are the same jobs.
    assert set(told.fits) - fits < set(plain.fits)
    refused(lambda: planned(model={"covariates": ["lane"]}), "model.covariates.0", "'lane'", "['replicate']")
    layers = [BASE, {"protocols": {"simulation": {"model": {"covariates": ["replicate"]}}}}]
    refused(
        lambda: expand(parse_config(load_layers(layers), [BASE]), [BASE]), "simulations have no covariates"
    )
