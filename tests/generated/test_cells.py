"""Generated AnnData objects: refused in one line, or fitted with the very counts that they hold."""

from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import cdgm
from tests.generated.promise import examples, kept
from tests.generated.test_arrays import ODD, SMALL, check_trained

CELLS, GENES = 32, 4
TYPES = ("f4", "f4", "f8", "i4", "i8", "u2", "u8", "?", "f2")


def repeated(x: np.ndarray) -> sp.csr_matrix:
    """A sparse matrix each of whose entries is stored as two parts, and whose zeros are stored."""
    half = x // 2 if x.dtype.kind in "iu" else np.floor(x / 2)
    n, d = x.shape
    data = np.stack([half, x - half], axis=-1).ravel()
    return sp.csr_matrix((data, np.tile(np.repeat(np.arange(d), 2), n), np.arange(n + 1) * 2 * d), (n, d))


MATRICES: dict[str, Any] = {
    "dense": lambda x: x, "fortran": np.asfortranarray, "csr": sp.csr_matrix, "csc": sp.csc_matrix,
    "csr array": sp.csr_array, "csc array": sp.csc_array, "coo": sp.coo_matrix, "in parts": repeated,
    "unsorted": lambda x: sp.csr_matrix(x[:, ::-1])[:, ::-1], "no mask": np.ma.masked_array,
    "masked": lambda x: np.ma.masked_array(x, mask=np.arange(x.size).reshape(x.shape) == 1),
}  # fmt: skip
COLUMNS: dict[str, Any] = {
    "text": lambda of: of.astype(object),
    "category": lambda of: pd.Categorical(of),
    "more categories": lambda of: pd.Categorical(of, categories=["none", "drug", "ctrl", "other"]),
    "ordered": lambda of: pd.Categorical(of, categories=["ctrl", "drug"], ordered=True),
    "three": lambda of: np.where(np.arange(len(of)) % 4 == 1, "third", of).astype(object),
    "string": lambda of: pd.array(of, dtype="string"),
    "number": lambda of: (of == "drug") * 1.5,
    "switch": lambda of: of == "drug",
    "one source": lambda of: np.full(len(of), "ctrl").astype(object),
    "other source": lambda of: np.full(len(of), "drug").astype(object),
    "missing": lambda of: pd.Series(of).where(np.arange(len(of)) != 3).to_numpy(),
    "missing category": lambda of: pd.Categorical([*["x"][: len(of)], *of[1:]], ["ctrl", "drug"]),
    "all missing": lambda of: np.full(len(of), np.nan),
    "nothing": lambda of: np.full(len(of), None),
    "blanks": lambda of: np.where(of == "ctrl", " ", of).astype(object),
    "empty text": lambda of: np.where(of == "ctrl", "", of).astype(object),
    "date": lambda of: pd.to_datetime(np.where(of == "ctrl", "2020-01-01", "2021-01-01")),
}  # fmt: skip
NAMES: dict[str, Any] = {
    "usual": lambda n: [f"g{i}" for i in range(n)],
    "twice": lambda n: ["g"] * n,
    "numbers": lambda n: list(map(str, range(n))),
    "strange": lambda n: [f"ü\n{i}/" for i in range(n)],
    "empty": lambda n: ["", *map(str, range(n - 1))][:n],
}
CALLS = {
    "source_key": st.sampled_from(["condition", "label", "gone", "", "condition "]),
    "background": st.sampled_from(
        ["ctrl", "drug", ["ctrl"], ["ctrl", "drug"], ["ctrl", "ctrl"], [], "", "x", "0.0"]
    ),
    "labels_key": st.sampled_from(["label", "condition", "gone", None]),
    "layer": st.sampled_from([None, "counts", "gone", "X", ""]),
}


@st.composite
def objects(draw: st.DrawFn) -> tuple[anndata.AnnData, np.ndarray, str]:
    """An object, the values of X, and what is special."""
    n = draw(st.sampled_from([*[CELLS] * 8, 20, 19, 2, 1, 0]))
    d = draw(st.sampled_from([*[GENES] * 8, 2, 1, 0]))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    x = rng.poisson(3, (n, d)).astype(
        draw(st.sampled_from(["f4", "f4", "f8", "i4", "i8", "u2", "u8", "?", "f2"]))
    )
    of = np.where(np.arange(n) < n // 2, "ctrl", "drug")
    if x.size and x.dtype.kind == "f" and draw(st.integers(0, 9)) == 9:
        x[-1, 0] = draw(st.sampled_from([np.nan, np.inf, -1, 0.5, 3e4]))
    if x.size and draw(st.integers(0, 4)) == 4:
        x[: draw(st.integers(1, n))] = 0
    usual = {"category", "usual", "dense"}
    # Sparse matrices have no such type.
    matrix = draw(st.sampled_from(["dense", "masked"] if x.dtype == np.float16 else sorted(MATRICES)))
    column = draw(st.sampled_from([*["category"] * 12, *sorted(COLUMNS)]))
    names = draw(st.sampled_from([*["usual"] * 12, *sorted(NAMES)]))
    label = draw(st.sampled_from(sorted(COLUMNS)))
    obs = pd.DataFrame(index=[f"c{i}" for i in range(n)])
    obs["condition"] = COLUMNS[column](of)
    obs["label"] = COLUMNS[label](of[::-1])
    made = anndata.AnnData(
        MATRICES["csr" if matrix == "coo" else matrix](x), obs=obs, var=pd.DataFrame(index=NAMES[names](d))
    )
    if matrix == "coo":
        made.layers["counts"] = sp.coo_matrix(x).tocsc()
    elif draw(st.booleans()):
        made.layers["counts"] = made.X.copy()
    shape = draw(st.sampled_from([*["whole"] * 8, "view", "copy", "no X", "transposed"]))
    if shape == "view":
        made = made[: n - 1]
    elif shape == "copy":
        made, x = made[::-1].copy(), x[::-1]
    elif shape == "no X":
        made.X = None
    elif shape == "transposed":
        made = made.T
    return made, x, ", ".join(sorted({column, names, matrix, shape, str((n, d)), x.dtype.name} - usual))


def choices() -> st.SearchStrategy[dict[str, Any]]:
    """Arguments of the set-up, at most one of them strange."""
    one = st.sampled_from(sorted(CALLS)).flatmap(
        lambda name: st.tuples(st.just(name), CALLS[name] | CALLS[name] | CALLS[name] | ODD)
    )
    return st.just({}) | st.lists(one, max_size=1).map(dict)


class Shown:
    """An object whose repr is short."""

    def __init__(self, parts: tuple[anndata.AnnData, np.ndarray, str]) -> None:
        self.adata, self.x, self.told = parts

    def __repr__(self) -> str:
        return f"Shown({self.told})"


@examples(1)
@given(
    objects().map(Shown),
    choices(),
    st.sampled_from(["negative_binomial", "negative_binomial", "poisson", "gaussian", "bernoulli"]),
    st.sampled_from([None, None, None, "all", 2, 4, 1, 99, 2.5]),
)
@pytest.mark.filterwarnings("ignore:Observation names are not unique:UserWarning")
@pytest.mark.filterwarnings("ignore:Variable names are not unique:UserWarning")
@pytest.mark.filterwarnings("ignore:Transforming to str index:anndata.ImplicitModificationWarning")
def test_cells_are_refused_in_one_line_or_fitted_as_they_are(shown, call, likelihood, n_genes):
    adata = shown.adata
    before = None if adata.X is None else adata.X.copy()
    arguments = {"source_key": "condition", "background": "ctrl", "labels_key": "label"} | call
    _, line = kept(lambda: cdgm.ComparativeModel.setup_anndata(adata, **arguments))
    if line is not None:
        assert "_cdgm" not in adata.uns
        return
    options = SMALL | {"likelihood": likelihood, "n_genes": n_genes}
    model, line = kept(lambda: cdgm.ComparativeModel(adata, **options))
    if line is None:
        matrix = adata.X if arguments.get("layer") is None else adata.layers[arguments["layer"]]
        whole = np.asarray(matrix.toarray() if sp.issparse(matrix) else matrix)
        wanted = arguments["background"]
        wanted = [wanted] if isinstance(wanted, str) or not isinstance(wanted, list | tuple) else wanted
        column = adata.obs[arguments["source_key"]].astype(object).astype(str)
        in_background = column.isin([str(value) for value in wanted]).to_numpy()
        genes = [list(adata.var_names).index(name) for name in model.observations.features]
        assert len(genes) == (whole.shape[1] if n_genes in (None, "all") else n_genes)
        true = {"background": whole[in_background][:, genes], "target": whole[~in_background][:, genes]}
        for source, values in true.items():
            np.testing.assert_array_equal(model.observations.x[source], values)
        _, line = kept(lambda: model.train(max_steps=2, progress_bar=False))
        if line is None:
            check_trained(model, true)
            latents = model.get_latent_representation("salient")
            assert latents.shape[0] == adata.n_obs
    if before is not None:
        after = adata.X
        difference = (
            (after != before).sum() if sp.issparse(after) else (np.asarray(after) != np.asarray(before)).sum()
        )
        assert (
            difference
            == np.isnan(np.asarray(before.data if sp.issparse(before) else before, dtype=float)).sum()
        )
