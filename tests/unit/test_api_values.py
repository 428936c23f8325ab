"""Values and arguments that would change a result without a word: matched, or refused in one line."""

import re
import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

import cdgm
from cdgm.config.design import Design
from tests.unit import small_cells
from tests.unit.data_helpers import refused

SMALL = {"variant": "cvae", "n_background": 2, "n_salient": 1, "model": {"encoder_hidden": [8]}}
NAMES = list("cab")
load = cdgm.ComparativeModel.load


def noise(rows: int = 40, columns: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {source: rng.standard_normal((rows, columns)) for source in "ab"}


def make(arrays, **options) -> cdgm.ComparativeModel:
    return cdgm.ComparativeModel.from_arrays(arrays, **(SMALL | options))


def frames(**columns) -> dict[str, pd.DataFrame]:
    return {s: pd.DataFrame(x, columns=columns.get(s, NAMES)) for s, x in noise().items()}


def seen(model: cdgm.ComparativeModel) -> dict[str, np.ndarray]:
    return model.network_input("all")


def equal(found, expected) -> None:
    for source, x in seen(expected).items():
        np.testing.assert_array_equal(seen(found)[source], x)


# ---------------------------------------------------------------- data frames
def test_columns_of_data_frames_are_matched_by_name(tmp_path):
    straight, turned = frames(), frames()
    turned["b"] = turned["b"][["a", "b", "c"]]
    model = make(turned)
    equal(model, make(straight))
    assert list(model.observations.features) == NAMES
    # `features` gives the order.
    sorted_ = make(turned, features=["a", "b", "c"])
    np.testing.assert_array_equal(seen(sorted_)["a"], seen(model)["a"][..., [1, 2, 0]])
    model.train(max_steps=2, progress_bar=False)
    model.save(tmp_path / "m")
    equal(load(tmp_path / "m", straight), model)
    equal(load(tmp_path / "m", {s: frame[["b", "c", "a"]] for s, frame in straight.items()}), model)
    latents = model.get_latent_representation("background", data={"b": turned["b"][["b", "a", "c"]]})
    whole = model.get_latent_representation("background", source="b")
    np.testing.assert_allclose(latents, whole, rtol=1e-5)


@pytest.mark.parametrize(
    ("columns", "parts"),
    [
        ({"b": list("cax")}, ["arrays['b']", "no 'b'"]),
        ({"b": list("caa")}, ["arrays['b']", "'a'", "each name once"]),
        ({"a": list("caa")}, ["arrays['a']", "'a'", "each name once"]),
        ({"b": range(3)}, ["arrays['b']", "names"]),
    ],
)
def test_other_columns_are_refused(columns, parts):
    refused(lambda: make(frames(**columns)), *parts)


def test_more_columns_and_unnamed_sources_are_refused():
    more = frames()
    more["b"]["d"] = 1.0
    refused(lambda: make(more), "arrays['b']", "also 'd'", "'c', 'a', 'b'")
    refused(lambda: make(frames() | {"b": noise()["b"]}), "arrays['b']", "no names")
    refused(lambda: make(frames(), features=list("xyz")), "arrays['a']", "no 'x'")
    model = make(frames())
    model.train(max_steps=2, progress_bar=False)
    other = {"b": frames(b=list("cax"))["b"]}
    refused(lambda: model.get_latent_representation(data=other), "no 'b'")


# ---------------------------------------------------------------- masks
def test_masked_values_are_refused():
    arrays = noise()
    masked = np.ma.masked_array(arrays["b"], mask=np.zeros_like(arrays["b"], dtype=bool))
    equal(make(arrays | {"b": masked}), make(arrays))
    masked[3, 1] = np.ma.masked
    refused(lambda: make(arrays | {"b": masked}), "arrays['b']", "1 masked values")
    # anndata takes them as well.
    x = np.ma.masked_array(small_cells.counts().astype(np.float32))
    x[0, 0] = np.ma.masked
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata = small_cells.cells()
        adata.layers["x"] = x
    if np.ma.isMaskedArray(adata.layers["x"]):
        adata = small_cells.set_up(adata, layer="x")
        refused(lambda: small_cells.model(adata), "layers/x", "1 masked values")


# ---------------------------------------------------------------- precision
@pytest.mark.parametrize("change", [lambda x: x + 1e8, lambda x: x * 1e-60, lambda x: x * 1e300])
def test_standardised_values_keep_their_digits(change):
    arrays = noise()
    found = seen(make({source: change(x) for source, x in arrays.items()}))
    for source, x in seen(make(arrays)).items():
        np.testing.assert_allclose(found[source], x, atol=1e-6)
    adata = small_cells.cells(change(np.random.default_rng(0).standard_normal((160, 24))))
    x = small_cells.model(small_cells.set_up(adata), likelihood="gaussian").network_input("all")
    assert all(len(np.unique(values)) == values.size for values in x.values())


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (lambda x: x + 1e8, {"standardise": False}),
        (lambda x: x * 1e-60, {"standardise": False}),
        (lambda x: x * 1e60, {"standardise": False}),
        (lambda x: np.where(np.arange(40)[:, None] == 7, 1e30, x), {}),
    ],
    ids=["offset", "tiny", "huge", "an outlier"],
)
def test_a_loss_of_precision_is_refused_with_its_numbers(change, options):
    arrays = {source: change(x) for source, x in noise().items()}
    message = refused(lambda: make(arrays, held_out=0.05, **options), "feature 'feature0'", "float32")
    had, kept = map(int, re.search(r"(\d+) different values .* of which (\d+) stay", message).groups())
    assert had > 2 * kept


def test_errors_of_rounding_are_no_values_of_their_own():
    levels = np.random.default_rng(0).integers(1, 4, (40, 3)) * 0.1
    arrays = {"a": levels + 0.2 - 0.2, "b": levels}
    assert make(arrays, standardise=False).observations.x["a"].shape == (40, 3)
    constant = noise()
    constant["a"][:, 0] = constant["b"][:, 0] = 1e9
    assert np.all(seen(make(constant))["a"][..., 0] == 0)


def test_counts_have_a_bound():
    x = np.random.default_rng(0).poisson(3, (40, 3))
    for large in (10**10, 2**31, float(2**64), 1e300):
        values = x.astype(type(large) if isinstance(large, float) else np.int64)
        values[2, 1] = large
        refused(lambda v=values: make({"a": v, "b": x}, likelihood="poisson"), "row 2, feature 1",
                "a count of at most 2147483647")  # fmt: skip
    x[2, 1] = 2**31 - 1
    model = make({"a": x, "b": x}, likelihood="poisson")
    model.train(max_steps=2, progress_bar=False)


# ---------------------------------------------------------------- data of a saved model
@pytest.mark.parametrize(
    "change",
    [lambda x: x[::-1], lambda x: x * 100 + 7, lambda x: x + np.eye(*x.shape) * 1e-9],
    ids=["turned", "rescaled", "one value"],
)
def test_a_saved_model_knows_the_values_of_its_arrays(change, tmp_path):
    arrays = noise()
    model = make(arrays)
    model.train(max_steps=2, progress_bar=False)
    model.save(tmp_path / "m")
    for data in ({s: change(x) for s, x in arrays.items()}, {"a": arrays["b"], "b": arrays["a"]}):
        refused(lambda data=data: load(tmp_path / "m", data), "other names, values or another order")
    equal(load(tmp_path / "m", {s: np.asfortranarray(x) for s, x in arrays.items()}), model)


def test_a_saved_model_knows_the_counts_of_its_cells(tmp_path):
    trained = small_cells.trained(steps=2)
    trained.save(tmp_path / "m")
    zero, shuffled = small_cells.cells(), small_cells.cells()
    zero.X = zero.X * 0
    shuffled.X = shuffled.X[np.random.default_rng(0).permutation(shuffled.n_obs)]
    for adata in (zero, shuffled):
        refused(lambda adata=adata: load(tmp_path / "m", adata), "other names, values or another order")
    again = small_cells.cells(small_cells.counts().astype(np.int64))
    equal(load(tmp_path / "m", again), trained)


# ---------------------------------------------------------------- arguments
NONSENSE = {
    "a likelihood through model=": ({"model": {"likelihood": {"kind": "bernoulli"}}}, ["likelihood="]),
    "dims through model=": ({"model": {"dims": {"background": 9}}}, ["model: dims", "n_background="]),
    "a design through model=": ({"model": {"design": {}}}, ["model: design", "design="]),
    "text for a switch": ({"standardise": "no"}, ["standardise: got 'no'", "True or False"]),
    "dims that are not used": ({"dims": {"background": 3, "salient": 1}}, ["dims", "n_background="]),
    "a design of another type": ({"design": 3}, ["design: got 3"]),
    "a design that is a list": ({"design": [1]}, ["design: got [1]"]),
    "dims that are no mapping": (
        {"design": {"sources": ["a", "b"], "blocks": {"z": ["a", "b"]}}, "dims": "z",
         "n_background": 10, "n_salient": 10}, ["dims: got 'z'"],
    ),
    "sizes beside a design": (
        {"design": {"sources": ["a", "b"], "blocks": {"z": ["a", "b"]}}, "dims": {"z": 2}},
        ["n_background, n_salient: got (2, 1)", "dims="],
    ),
    "no held-out share": ({"held_out": None}, ["held_out: got None"]),
    "text for a share": ({"held_out": "x"}, ["held_out: got 'x'"]),
    "a list for a share": ({"held_out": [0.1]}, ["held_out: got [0.1]"]),
    "no variant": ({"variant": None}, ["variant: got None"]),
    "a number for a variant": ({"variant": 3}, ["variant: got 3"]),
    "no likelihood": ({"likelihood": None}, ["likelihood: got None"]),
    "a list of likelihoods": ({"likelihood": ["gaussian"]}, ["likelihood: got ['gaussian']"]),
    "a kind that is a list": ({"likelihood": {"kind": ["gaussian"]}}, ["likelihood", "['gaussian']"]),
    "a number for the model": ({"model": 3}, ["model: got 3"]),
    "a number for features": ({"features": 3}, ["features: got 3"]),
    "no name of a feature": ({"features": ["a", None, "c"]}, ["features: got ['a', None, 'c']", "a name"]),
    "text for features": ({"features": "abc"}, ["features: got 'abc'"]),
    "a list for labels": ({"labels": [1, 2]}, ["labels: got [1, 2]"]),
    "text for labels": ({"labels": "ab"}, ["labels: got 'ab'"]),
    "a number for labels of a source": ({"labels": {"a": 5}}, ["labels: a: got 5", "40 rows"]),
    "no labels of a source": ({"labels": {"a": None}}, ["labels: a: got None"]),
    "two labels a row": ({"labels": {"a": np.ones((40, 2))}}, ["labels: a", "40 rows"]),
    "too many members": ({"n_members": 10**20}, ["n_members", "at most 1,000"]),
    "too many dimensions": ({"n_background": 10**9}, ["background", "at most 1,000"]),
    "None for a name": ({"arrays": {None: 1, "b": 2}}, ["name of a source: got None"]),
    "a name with a slash": ({"arrays": {"a/b": 1, "b": 2}}, ["name of a source: got 'a/b'"]),
    "a list for data": ({"arrays": [1, 2]}, ["data: got 'list'"]),
    "text for a size": ({"n_background": "2"}, ["n_background: got '2'"]),
    "too large a seed": ({"seed": 10**30}, ["seed", "at most"]),
}  # fmt: skip


@pytest.mark.parametrize("what", NONSENSE)
def test_nonsense_is_refused(what):
    options, parts = NONSENSE[what]
    refused(lambda: make(**{"arrays": noise()} | options), *parts)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"batch_size": 37}, ["batch_size: got 37", "at most 36", "training rows"]),
        ({"batch_size": 10**12}, ["batch_size", "at most 36"]),
        ({"max_epochs": 1e300}, ["max_epochs", "10,000,000 steps"]),
        ({"max_epochs": float("inf")}, ["max_epochs", "10,000,000 steps"]),
        ({"max_epochs": "2"}, ["max_epochs"]),
        ({"max_steps": 10**12}, ["max_steps", "at most 10,000,000"]),
        ({"learning_rate": "fast"}, ["learning_rate"]),
    ],
    ids=str,
)
def test_sizes_of_a_training_are_bounded(options, parts):
    model = make(noise())
    refused(lambda: model.train(progress_bar=False, **options), *parts)


TENSORS = {
    "with gradients": lambda x: torch.tensor(x, requires_grad=True),
    "bfloat16": lambda x: torch.tensor(x).bfloat16(),
    "sparse": lambda x: torch.tensor(x).to_sparse(),
    "meta": lambda x: torch.tensor(x).to("meta"),
    "an object": lambda _: anndata.AnnData(np.eye(3)),
}


@pytest.mark.parametrize("what", TENSORS)
def test_what_is_no_array_is_one_line(what):
    refused(lambda: make(noise() | {"b": TENSORS[what](noise()["b"])}), "arrays['b']")


def test_questions_with_nonsense_are_refused():
    model = make(noise(), n_members=2)
    refused(lambda: model.train(max_steps=2, progress_bar="no"), "progress_bar: got 'no'")
    model.train(max_steps=2, progress_bar=False)
    for draws in (0, 1.5, "3", True, 10**9):
        refused(lambda draws=draws: model.get_elbo(draws=draws), f"draws: got {draws!r}")
    for ask in (model.get_leakage, model.stability):
        refused(lambda ask=ask: ask(split=""), "split: got ''")
    far = {"b": noise()["b"] * 1e39}
    refused(lambda: model.get_latent_representation("salient", data=far), "data: b: got", "float32")


def test_names_of_sources_may_be_numbers(tmp_path):
    data = {0: noise()["a"], 1: noise()["b"]}
    model = make(data)
    model.train(max_steps=2, progress_bar=False)
    model.save(tmp_path / "model")
    assert len(cdgm.ComparativeModel.load(tmp_path / "model", data).history) == len(model.history)


def test_columns_that_may_miss_values_are_numbers():
    frame = pd.DataFrame(np.arange(160).reshape(40, 4) % 7).astype("Int64")
    x = make({"a": frame, "b": frame}).observations.x["a"]
    assert (x == frame.to_numpy(dtype=float)).all()
    frame.iloc[3, 1] = pd.NA
    refused(lambda: make({"a": frame, "b": frame}), "arrays['a'], row 3, feature 1: got nan")


def test_names_that_are_one_as_text_are_refused():
    x = noise()
    refused(lambda: make({1: x["a"], "1": x["b"]}), "[1, '1']")


def test_labels_of_any_kind_may_be_missing():
    text = pd.array(["x", pd.NA] * 20, dtype="string")
    times = pd.Series(pd.to_datetime(["2024-01-01", None] * 20))
    label = make(noise(), labels={"a": text, "b": times}).observations.label
    assert list(label[:2]) == ["x", ""]
    assert list(label[40:42]) == ["2024-01-01 00:00:00", ""]


def test_a_twist_has_to_turn_something():
    design = Design(sources=["a", "b"], blocks={"own1": ["a"], "own2": ["b"], "shared": ["a", "b"]})
    dims = {"own1": 2, "own2": 2, "shared": 1}
    design.check_twist("own1", "shared", dims, "it")
    for block, by, part in (
        ("own1", "own2", "no source has both"),
        ("own1", "own1", "by itself"),
        ("shared", "own1", "of one dimension"),
        ("own1", "other", "'other'"),
    ):
        with pytest.raises(ValueError, match=part):
            design.check_twist(block, by, dims, "it")
