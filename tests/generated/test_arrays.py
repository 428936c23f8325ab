"""Generated arrays and arguments: refused in one line, or fitted with the very values that were given."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

import cdgm
from cdgm.estimator.observations import CONSTANT
from cdgm.utils.errors import UserError
from tests.generated.promise import examples, kept

SMALL = {"variant": "cvae", "n_background": 1, "n_salient": 1, "model": {"encoder_hidden": [4]}}
DTYPES = (*["f8"] * 12, "f4", "f4", "f2", "g", ">f8", "i1", "i8", "u1", "u8", "?", "O", "c16", "U3", "M8[s]")
ROWS = st.sampled_from([*[16] * 12, 24, 10, 9, 2, 1, 0])
#: What values are made of: normal deviates times a scale, plus an offset.
SCALES = st.sampled_from([1.0, 1.0, 1.0, 3.0, 1e-12, 1e12, 1e-60, 1e60, 1e-300, 1e300, 0.0])
OFFSETS = st.sampled_from([0.0, 0.0, 0.0, 1.0, -5.0, 1e4, 1e8, -1e12, 1e16, 1e300])
SPECIAL = st.sampled_from([np.nan, np.inf, -np.inf, -1.0, 0.5, 2.0**31, 2.0**64, 1e300, -1e300, 1e-320, 3.0])
# Values that are of another type, or of a size that no machine can do.
ODD = st.sampled_from(
    [
        None, True, False, 0, 1, -1, 2, 1.0, 1.5, 1e300, -1e300, 1e-300, 10**12, 10**400, np.nan, np.inf, "",
        "1", "x", "ü\n", [], [1], {}, {"kind": 1}, (), b"1", np.float32(0.5), np.int64(2), np.array(3),
        np.bool_(1),
        object, {"a": 1}, {"a"}, range(3), 1j, torch.tensor(2), pd.NA,
    ]
)  # fmt: skip
OPTIONS = {
    "variant": st.sampled_from(["cvae", "cvae", "mo-cvae", "hsic-cvae", "co-cvae", "mo-co-cvae",
    "pcgrad-cvae",
                                "cave", {"combiner": {"kind": "sum"}}, {"combiner": {}}]),
    "n_background": st.integers(0, 3), "n_salient": st.integers(0, 3), "n_members": st.integers(0, 3),
    "likelihood": st.sampled_from(["gaussian", "poisson", "negative_binomial", "bernoulli", "student",
                                   {"kind": "gaussian"}, {"kind": "poisson", "link": "exp"}]),
    "held_out": st.floats(0, 1), "seed": st.integers(0, 2**33), "standardise": st.booleans(),
    "features": st.lists(st.text(max_size=2), max_size=4) | st.just(["u", "v", "w"]),
    "labels": st.dictionaries(st.sampled_from("abc"), st.lists(st.text(max_size=2), min_size=16,
    max_size=16)),
    "model": st.sampled_from([{}, {"encoder_hidden": []}, {"decoder_hidden": [3]}, {"encoder_hidden": [0]},
                              {"encoder_activation": "relu"}, {"likelihood": "gaussian"}, {"dims": {}}]),
}  # fmt: skip
TRAINING = {
    "max_steps": st.integers(-1, 3), "max_epochs": st.floats(-1, 2), "batch_size": st.integers(-1, 30),
    "learning_rate": st.floats(1e-6, 1) | st.sampled_from([1e3, 1e30, 1e300, 5e-324]),
    "early_stopping": st.booleans(), "early_stopping_patience": st.integers(-1, 3),
    "early_stopping_min_delta": st.floats(-1, 1), "early_stopping_share": st.floats(0, 1),
    "device": st.sampled_from(["cpu", "gpu", "cuda:7"]),
}  # fmt: skip


def values_of(draw: st.DrawFn, rows: int, columns: int, dtype: str) -> np.ndarray:
    """An array of any type whose values suit it, with some that do not."""
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    x = rng.standard_normal((rows, columns))
    with np.errstate(all="ignore"):
        whole = np.dtype(dtype).kind in "iub"
        if whole or draw(st.integers(0, 3)) == 0:
            x = rng.poisson(np.abs(x)).astype(float) * draw(st.sampled_from([1, 1, 1000]))
        else:
            x = x * draw(SCALES) + draw(OFFSETS)
        if x.size and draw(st.integers(0, 4)) == 0:
            x[:, 0] = draw(st.sampled_from([0.0, 1.0, 0.1, 1e9]))
        if x.size and draw(st.integers(0, 9)) == 9:
            x[draw(st.integers(0, rows - 1)), -1] = draw(SPECIAL)
        if dtype in ("c16", "U3", "O"):
            return x.astype(dtype)
        if dtype == "M8[s]":
            return np.zeros(x.shape, dtype)
        return np.nan_to_num(x, posinf=1, neginf=0).astype(dtype) if whole else x.astype(dtype)


def frame(x: np.ndarray, names: list[str]) -> pd.DataFrame:
    return pd.DataFrame(x, columns=names)


NAMES = list("uvwxyz")
CONTAINERS: dict[str, Any] = {
    "array": lambda x: x,
    "fortran": np.asfortranarray,
    "every other row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "read only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape) if x.dtype != object else x,
    "list": lambda x: x.tolist(),
    "frame without names": pd.DataFrame,
    "csr": sp.csr_matrix, "csc": sp.csc_matrix, "coo": sp.coo_array, "lil": sp.lil_matrix,
    "tensor": torch.tensor,
    "no mask": np.ma.masked_array,
    "matrix": np.asmatrix,
}  # fmt: skip
BROKEN: dict[str, Any] = {
    "masked": lambda x: np.ma.masked_array(x, mask=np.arange(x.size).reshape(x.shape) == 0),
    "one row": lambda x: x[0] if len(x) else x,
    "three axes": lambda x: x[None],
    "no axis": lambda _: np.array(3.0),
    "column less": lambda x: x[:, :-1],
    "text": lambda _: "text",
    "nothing": lambda _: None,
    "ragged": lambda x: [*x.tolist(), [1.0] * 9],
    "mapping": lambda x: dict(enumerate(x)),
    "frame of text": lambda x: pd.DataFrame(x).astype(str),
    "records": lambda x: np.zeros((max(1, len(x)), 2), [("a", "f8")]),
}  # fmt: skip


class Data:
    """What is handed over, the values that it holds (None where they are not whole), and names of columns."""

    def __init__(self, given: dict, true: dict | None, names: list[str] | None, forms: dict) -> None:
        self.given, self.true, self.names, self.forms = given, true, names, forms

    def __repr__(self) -> str:
        # Not of the values as they are: pandas fails to show some.
        shown = {s: (form, type(self.given[s]).__name__) for s, form in self.forms.items()}
        return f"Data({shown}, {self.true and list(self.true.values())})"


@st.composite
def sources(draw: st.DrawFn) -> Data:
    columns = draw(st.sampled_from([3, 3, 3, 3, 2, 2, 1, 1, 0]))
    given, true, forms = {}, {}, {}
    named = draw(st.integers(0, 3)) == 0
    dtype = draw(st.sampled_from(DTYPES))
    broken = False
    for source in draw(st.sampled_from([*["ab"] * 12, "a", "abc", ""])):
        x = values_of(draw, draw(ROWS), columns, dtype)
        true[source], forms[source] = x, "frame"
        order = draw(st.permutations(range(columns))) if named else None
        try:
            if order is not None:
                given[source] = frame(x[:, list(order)], [NAMES[i] for i in order])
                forms[source] = change = draw(
                    st.sampled_from([*[None] * 4, "rename", "more", "less", "twice"])
                )
                if change and source != "a" and columns > (change == "twice"):
                    broken = True
                    names = list(given[source])
                    if change == "rename":
                        given[source] = given[source].set_axis(["other", *names[1:]], axis=1)
                    elif change == "more":
                        given[source]["more"] = 1.0
                    elif change == "less":
                        given[source] = given[source][names[1:]]
                    else:
                        given[source] = given[source].set_axis([names[0]] * columns, axis=1)
            elif source != "a" and draw(st.integers(0, 9)) == 9:
                forms[source] = draw(st.sampled_from(sorted(BROKEN)))
                given[source] = BROKEN[forms[source]](x)
                broken = True
            else:
                forms[source] = draw(st.sampled_from(sorted(CONTAINERS)))
                given[source] = CONTAINERS[forms[source]](x)
        except (TypeError, ValueError, IndexError, RuntimeError):  # the container has no such values
            given[source] = x
    return Data(given, None if broken else true, NAMES[:columns] if named else None, forms)


def options(known: dict[str, st.SearchStrategy]) -> st.SearchStrategy[dict[str, Any]]:
    """One or two arguments, mostly of the right type."""
    one = st.sampled_from(sorted(known)).flatmap(
        lambda name: st.tuples(st.just(name), known[name] | known[name] | known[name] | ODD)
    )
    return st.just({}) | st.lists(one, max_size=2).map(dict)


def expected_input(model: cdgm.ComparativeModel, true: dict[str, np.ndarray], scaled: bool) -> Any:
    """The values in long double, standardised by the training rows; with the error that is allowed."""
    x = {source: np.asarray(values, dtype=np.longdouble) for source, values in true.items()}
    rows = np.concatenate([x[source][rows] for source, rows in model.split.rows("train").items()])
    if not scaled:
        return x, 1e-6
    largest = np.abs(rows).max(axis=0)
    sd = rows.std(axis=0)
    constant = sd <= 2 * CONSTANT * largest
    sd = np.where(constant, 1, sd)
    allowed = 1e-4 + 1e-14 * np.where(constant, 0, largest / sd)
    return {
        s: np.where(constant, np.nan, (values - rows.mean(axis=0)) / sd) for s, values in x.items()
    }, allowed


@examples(2)
@given(sources(), options(OPTIONS), options(TRAINING))
@pytest.mark.filterwarnings("ignore:.*matrix subclass:PendingDeprecationWarning")
def test_arrays_are_refused_in_one_line_or_fitted_as_they_are(data, arguments, training):
    given, true, names = data.given, data.true, data.names
    # Real values suit the usual likelihood; counts all.
    model, line = kept(lambda: cdgm.ComparativeModel.from_arrays(given, **(SMALL | arguments)))
    if line is not None:
        return
    assert true is not None, "values that are not all there are accepted"
    features = arguments.get("features")
    if features is None:
        features = (
            list(given[next(iter(given))])
            if names
            else [f"feature{i}" for i in range(true[next(iter(true))].shape[1])]
        )
    assert list(model.observations.features) == [str(name) for name in features]
    if names is not None:
        true = {s: x[:, [names.index(f) for f in model.observations.features]] for s, x in true.items()}
    real = model.model_spec.likelihood.support == "real"
    expected, allowed = expected_input(model, true, real and arguments.get("standardise", True) is True)
    for source, seen in model.network_input("all").items():
        assert seen.shape == (1, *true[source].shape)
        difference = np.abs(seen[0].astype(np.longdouble) - expected[source])
        size = np.abs(expected[source])
        assert not (difference > allowed * (1 + size) if real else difference > 0).any()
    _, line = kept(lambda: model.train(**({"max_steps": 2, "progress_bar": False} | training)))
    if line is None:
        check_trained(model, true)


def check_trained(model: cdgm.ComparativeModel, true: dict[str, np.ndarray]) -> None:
    """Latents have a row a row of the data and are finite, or the member is known to have diverged."""
    finite = model.get_elbo("all", draws=1)["finite"].to_numpy()
    rows = sum(map(len, true.values()))
    for member, seed in enumerate(model.seeds):
        if not finite[member * len(true)]:
            with pytest.raises(UserError, match=str(seed)):
                model.get_latent_representation("background", member=member)
            continue
        latents = model.get_latent_representation("background", member=member)
        assert latents.shape == (rows, model.model_spec.dims["background"])
        assert np.isfinite(latents).all()
    assert len(finite) == len(model.seeds) * len(true)


@examples(0.5)
@given(st.permutations(range(3)), st.permutations(range(3)), st.integers(0, 3))
def test_the_order_of_named_columns_has_no_part_in_a_result(first, second, seed):
    rng = np.random.default_rng(seed)
    x = {source: pd.DataFrame(rng.standard_normal((16, 3)), columns=list("uvw")) for source in "ab"}
    turned = {"a": x["a"].iloc[:, list(first)], "b": x["b"].iloc[:, list(second)]}
    found = []
    for data in (x, turned):
        model = cdgm.ComparativeModel.from_arrays(data, features=list("uvw"), **SMALL)
        model.train(max_steps=2, progress_bar=False)
        found.append(model.get_latent_representation("salient"))
    np.testing.assert_array_equal(*found)
