"""Batches and other covariates: encoded, told to networks, saved; unknown ones are refused in one line."""

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

import cdgm
from cdgm.data.covariates import encode, learn
from cdgm.estimator.interpretation import check_crossing
from cdgm.estimator.scores import Scores
from cdgm.evaluation.metrics.independence import hsic_test
from cdgm.evaluation.metrics.nulls import permutation
from cdgm.models.inference import held_out_bounds, posterior_means
from cdgm.training.loop import build_model, train
from tests.unit import small_cells
from tests.unit.builders import fit_spec, observations
from tests.unit.data_helpers import refused

KEYS = {
    "batch_key": "donor",
    "categorical_covariate_keys": ["lane"],
    "continuous_covariate_keys": ["age"],
}


def cells(n=small_cells.CELLS, **changes) -> anndata.AnnData:
    rng = np.random.default_rng(3)
    columns = {
        "donor": rng.choice(["p1", "p2", "p3"], n),
        "lane": pd.Categorical(rng.choice(["x", "y"], n)),
        "age": rng.normal(50, 10, n),
    }
    return small_cells.cells(**(columns | changes))


@pytest.fixture(scope="module")
def adata():
    return small_cells.set_up(cells(), **KEYS)


@pytest.fixture(scope="module")
def model(adata):
    made = small_cells.trained(adata, steps=20, n_members=2)
    made.protocol = made.protocol | {"evaluation": {"elbo_draws": 1, "null_draws": 19}}
    return made


def encoding(training=None, **values):
    values = {name: np.array(v).astype(str) for name, v in values.items()}
    kinds = {name: "continuous" if name == "age" else "categorical" for name in values}
    rows = [f"c{i}" for i in range(len(next(iter(values.values()))))]
    training = np.ones(len(rows), dtype=bool) if training is None else np.array(training)
    learned = learn(kinds, values, training, "obs", rows)
    return learned, encode(learned, values, "obs", rows)


def test_categories_are_one_hot_and_numbers_in_deviations_of_training_rows():
    learned, columns = encoding([1, 1, 0, 0], donor=["b", "a", "c", "b"], age=[10, 20, 15, 30])
    assert [covariate.name for covariate in learned] == ["donor", "age"]
    assert learned[0].categories == ("a", "b", "c")
    assert (learned[1].mean, learned[1].sd) == (15.0, 5.0)
    expected = [[0, 1, 0, -1], [1, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 3]]
    np.testing.assert_allclose(columns, expected)
    assert columns.dtype == np.float32


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"donor": ["a", ""]}, ["donor", "'c1'", "no value"]),
        ({"age": [1.0, "old"]}, ["age", "'c1'", "'old'", "finite number"]),
        ({"age": [1.0, np.inf]}, ["age", "'c1'", "'inf'"]),
        ({"age": [4.0, 4.0]}, ["age", "standard deviation 0", "differ"]),
        ({"age": [1e300, -1e300]}, ["age", "standard deviation"]),
        ({"donor": range(1_001)}, ["donor", "1,001 categories", "continuous"]),
    ],
    ids=["missing", "word", "infinite", "constant", "huge", "too many"],
)
def test_columns_that_are_no_covariates(values, told):
    with np.errstate(over="ignore"):
        refused(lambda: encoding(**values), *told)


@pytest.mark.parametrize("encode_them", [False, True], ids=["decoder", "both"])
@pytest.mark.parametrize("batch_size", [16, 100])
def test_a_stack_equals_separate_fits(encode_them, batch_size):
    """Also in minibatches, where each member draws its own rows with their own covariates."""
    changes = {
        "model": {"covariates": ["batch"], "encode_covariates": encode_them},
        "training": {"precision": "float64", "steps": 20, "batch_size": batch_size},
    }
    spec = fit_spec((3, 1, 2), **changes)
    x, rng = observations(spec), np.random.default_rng(0)
    covariates = {s: np.eye(2)[rng.integers(0, 2, v.shape[:2])] for s, v in x.items()}
    stack = train(spec, x, [0, 1, 2], covariates=covariates)
    for member, seed in enumerate(spec.seeds):
        alone = train(fit_spec((seed,), **changes), x, [member], covariates=covariates)
        for whole, own in zip(stack.model.parameters(), alone.model.parameters(), strict=True):
            np.testing.assert_allclose(whole[member].detach(), own[0].detach(), rtol=1e-8, atol=1e-10)
    draws = [[np.random.default_rng(i) for i in range(3)] for _ in range(2)]
    told = held_out_bounds(stack.model, x, [0, 1, 2], draws[0], 1, covariates)[0]
    swapped = {s: v[..., ::-1] for s, v in covariates.items()}
    otherwise = held_out_bounds(stack.model, x, [0, 1, 2], draws[1], 1, swapped)[0]
    assert all((told[s] != otherwise[s]).all() for s in told)


def test_the_order_of_categories_does_not_matter():
    """Columns and their weights permuted alike give the same bounds and the same means."""
    spec = fit_spec(model={"covariates": ["batch"], "encode_covariates": True})
    x, rng = observations(spec), np.random.default_rng(0)
    covariates = {s: np.eye(3)[rng.integers(0, 3, v.shape[:2])] for s, v in x.items()}
    first, second = build_model(spec, 6, 3), build_model(spec, 6, 3)
    order = [2, 0, 1]
    for network in (second.decoder, *second.encoders.values()):
        weight = network.layers[0].weight.data
        weight[:, -3:] = weight[:, -3:][:, order]
    turned = {s: v[..., order] for s, v in covariates.items()}
    elbos = [
        held_out_bounds(m, x, [0, 1, 2], [np.random.default_rng(i) for i in range(3)], 1, c)[0]
        for m, c in ((first, covariates), (second, turned))
    ]
    for source, elbo in elbos[0].items():
        np.testing.assert_allclose(elbo, elbos[1][source], rtol=1e-5)
    means = [
        posterior_means(m, x["target"], [0, 1, 2], "target", c["target"])
        for m, c in ((first, covariates), (second, turned))
    ]
    np.testing.assert_allclose(means[0]["salient"], means[1]["salient"], atol=1e-5)


def test_a_network_without_its_covariates_says_so():
    spec = fit_spec(model={"covariates": ["batch"], "encode_covariates": True})
    with pytest.raises(ValueError, match="3 columns of covariates, got None"):
        posterior_means(build_model(spec, 6, 3), observations(spec)["target"], [0, 1, 2], "target")
    with pytest.raises(ValueError, match="0 columns"):
        build_model(spec, 6)
    with pytest.raises(ValueError, match="no covariates"):
        fit_spec(model={"encode_covariates": True})


def test_a_fit_is_told_of_all_columns(model, adata):
    assert model.model_spec.covariates == ("donor", "lane", "age")
    assert model.ensemble.stack.n_covariates == 3 + 2 + 1
    assert "covariates: donor, lane, age" in repr(model)
    training = np.concatenate([model.observations.rows[s][r] for s, r in model.split.rows("train").items()])
    assert model.covariates[2].mean == pytest.approx(adata.obs["age"].to_numpy()[training].mean())
    columns = model.network_covariates("held_out")["target"][0]
    rows = model.observations.rows["target"][model.split.rows("held_out")["target"]]
    donors = np.array(model.covariates[0].categories)[columns[:, :3].argmax(axis=1)]
    assert donors.tolist() == adata.obs["donor"].iloc[rows].tolist()


def test_genes_are_decoded_at_each_cell_s_own_covariates(adata):
    """Changes of genes by hand, from each cell's columns; with the columns of others they differ."""
    options = {"likelihood": "gaussian", "model": {"decoder_hidden": [8]}, "standardise": False}
    model = small_cells.trained(adata, steps=20, **options)
    stack, columns = model.ensemble.stack, model.network_covariates("all")["target"]
    means = {b: torch.as_tensor(m) for (s, b), m in model.posterior_means("all").items() if s == "target"}

    def change(covariates):
        known = torch.as_tensor(np.ascontiguousarray(covariates))
        without = means | {"salient": torch.zeros_like(means["salient"])}
        with torch.no_grad():
            return (stack.decode(means, known) - stack.decode(without, known)).mean(1)[0].numpy()

    table = model.rank_genes().set_index("gene").loc[model.observations.features]
    np.testing.assert_allclose(table["change"], change(columns), atol=1e-5)
    # A posterior sample is one more latent, so the mean effect of a nearly linear decoder is close to this.
    effects = model.differential_expression().set_index("gene").loc[model.observations.features]
    assert np.corrcoef(effects["difference_mean"], change(columns))[0, 1] > 0.95
    assert np.abs(table["change"] - change(columns[:, ::-1])).max() > 1e-4


def test_saving_and_loading(model, adata, tmp_path):
    model.save(tmp_path / "model")
    loaded = cdgm.ComparativeModel.load(tmp_path / "model", adata)
    assert loaded.covariates == model.covariates
    pd.testing.assert_frame_equal(loaded.get_elbo(draws=2), model.get_elbo(draws=2))
    pd.testing.assert_frame_equal(loaded.rank_genes(), model.rank_genes())
    other = adata.copy()
    other.obs["donor"] = other.obs["donor"].to_numpy()[::-1]
    refused(lambda: cdgm.ComparativeModel.load(tmp_path / "model", other), "data", "other names, values")


def test_registrations_survive_a_file(adata, tmp_path):
    adata.write_h5ad(tmp_path / "cells.h5ad")
    again = small_cells.model(anndata.read_h5ad(tmp_path / "cells.h5ad"))
    assert again.observations.registration == small_cells.model(adata).observations.registration


def test_models_without_covariates_are_saved_as_before(tmp_path):
    small_cells.trained(steps=4).save(tmp_path / "plain")
    assert "covariate" not in (tmp_path / "plain/model.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("column", ["donor", "lane"])
def test_new_cells_of_an_unknown_category(model, adata, column):
    new = adata[:5].copy()
    new.obs[column] = "new"
    told = (f"adata.obs['{column}']", "'c0'", "'new'", "one of [")
    refused(lambda: model.get_latent_representation("background", data=new), *told)


def test_new_cells_without_a_column_or_with_fewer_categories(model, adata):
    new = adata[:5].copy()
    expected = model.get_latent_representation("background")[:5]
    found = model.get_latent_representation("background", data=new)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    del new.obs["donor"]
    refused(lambda: model.get_latent_representation("background", data=new), "batch_key", "'donor'", "lane")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"batch_key": "nobody"}, ["batch_key", "'nobody'", "donor"]),
        ({"batch_key": "condition"}, ["batch_key", "'condition'", "a column of its own"]),
        ({"batch_key": "donor", "categorical_covariate_keys": ["donor"]}, ["categorical_cov", "'donor'"]),
        ({"continuous_covariate_keys": {"age": 1}}, ["continuous_covariate_keys", "a list of columns"]),
    ],
    ids=["missing", "source", "twice", "mapping"],
)
def test_keys_that_are_refused(keys, told):
    refused(lambda: small_cells.set_up(cells(), **keys), *told)


def test_words_are_no_numbers():
    adata = small_cells.set_up(cells(), continuous_covariate_keys=["lane"])
    refused(lambda: small_cells.model(adata), "adata.obs['lane']", "'c0'", "categorical_covariate_keys")
    plain = small_cells.set_up(cells())
    refused(lambda: small_cells.model(plain, model={"covariates": ["donor"]}), "covariates", "batch_key=")


def test_every_report_scores_the_batch_beside_null_and_floor(model):
    scores = Scores.of(model)
    rows = scores.leakage.query("metric == 'batch_accuracy'")
    assert set(zip(rows["block"], rows["source"], strict=True)) == {
        ("background", "background"), ("background", "target"), ("salient", "target"),
    }  # fmt: skip
    assert rows[["null_mean", "null_high", "floor", "p"]].notna().all(axis=None)
    told = [check.about for check in scores.checks()]
    assert {"donor and sources", "donor in the background block", "donor in the salient block"} <= set(told)
    plain = small_cells.trained(steps=4)
    assert "floor" not in plain.get_leakage()


def test_batches_that_the_model_is_not_told_are_scored_and_judged(tmp_path):
    adata = small_cells.set_up(cells(), check_batch_key="donor")
    plain = small_cells.trained(adata, steps=4, n_members=1)
    plain.protocol = plain.protocol | {"evaluation": {"elbo_draws": 1, "null_draws": 19}}
    assert plain.model_spec.covariates == ()
    scores = Scores.of(plain)
    told = {check.about for check in scores.checks()}
    assert {"donor and sources", "donor in the background block", "donor in the salient block"} <= told
    # A fit that knew of no batch is scored by any column afterwards; cells may lack a batch.
    small_cells.set_up(adata)
    other = small_cells.trained(adata, steps=4, n_members=1)
    other.save(tmp_path / "model")
    adata.obs["ward"] = np.where(np.arange(len(adata)) < 5, None, adata.obs["donor"])
    loaded = cdgm.ComparativeModel.load(tmp_path / "model", adata, check_batch_key="ward")
    loaded.protocol = plain.protocol
    found = loaded.get_leakage().query("metric == 'batch_accuracy'")
    assert found["floor"].notna().all()
    # New cells need no such column.
    new = cells()
    del new.obs["donor"]
    assert plain.get_latent_representation("background", data=new).shape == (160, 2)
    refused(lambda: small_cells.set_up(cells(), check_batch_key="nobody"), "check_batch_key", "'nobody'")
    refused(
        lambda: small_cells.set_up(cells(), check_batch_key="condition"), "check_batch_key", "another column"
    )


def test_penalties_and_levels_within_batches(adata, tmp_path):
    options = {"variant": "mo-co-cvae", "n_members": 2}
    made = small_cells.trained(adata, steps=8, within_batches=True, **options)
    plain = small_cells.trained(adata, steps=8, **options)
    bounds = [c.penalty for c in made.variant.constraints if c.kind == "upper_bound"]
    assert {p.kind for p in bounds} == {"hsic", "mmd_shared"}
    assert all(p.within_covariates for p in bounds)
    for kind in ("hsic", "mmd_shared"):
        values, others = made.ensemble.history[f"level/{kind}"], plain.ensemble.history[f"level/{kind}"]
        assert np.isfinite(values[-1]).all()
        assert (values[-1] > 0).all()
        assert (values[-1] != others[-1]).all()
    made.save(tmp_path / "model")
    assert cdgm.ComparativeModel.load(tmp_path / "model", adata).variant == made.variant
    # What does not ask for it is saved as before.
    assert "within_covariates" not in str(plain.variant.model_dump())
    refused(lambda: small_cells.model(adata, within_batches=True), "within_batches", "hsic or mmd_shared")
    no_batch = small_cells.set_up(cells())
    refused(
        lambda: small_cells.model(no_batch, within_batches=True, **options), "within_batches", "batch_key"
    )


def test_batches_that_are_sources_are_objected_to():
    sources = np.repeat(["background", "target"], 10)
    crossed = np.tile(["p1", "p2"], 10)
    (good,) = check_crossing(sources, crossed, "donor")
    (bad,) = check_crossing(sources, np.repeat(["p1", "p2"], 10), "donor")
    (part,) = check_crossing(sources, np.where(np.arange(20) < 4, "p3", crossed), "donor")
    assert [check.verdict for check in (good, bad, part)] == ["good", "doubt", "minor"]
    assert "20% of the cells" in part.text


def test_permutations_stay_within_their_strata():
    rng, strata = np.random.default_rng(0), np.repeat(["a", "b", "c"], [3, 40, 1])
    order = permutation(44, rng, strata)
    assert sorted(order) == list(range(44))
    assert (strata[order] == strata).all()
    assert (order != np.arange(44)).any()


def test_dependence_by_batches_alone_is_not_found_within_them():
    """Two blocks that depend by their batches: a test that ignores these finds it, one within does not."""
    rng = np.random.default_rng(1)
    batch = rng.integers(0, 2, 300)
    x, y = (rng.normal(size=(300, 1)) + 2.0 * batch[:, None] for _ in range(2))
    plain = hsic_test(x, y, np.random.default_rng(0), 99)
    within = hsic_test(x, y, np.random.default_rng(0), 99, within=batch.astype(str))
    assert plain[0] == pytest.approx(within[0], rel=1e-9)
    assert plain[1] < 0.02 < 0.05 < within[1]
    more = hsic_test(x, y + x, np.random.default_rng(0), 99, within=batch.astype(str))
    assert more[1] < 0.02


@pytest.mark.slow
def test_a_known_shift_of_batches_goes_to_the_covariate_and_not_to_the_latents():
    """Batches that shift all genes: the plain fit's background block knows them, that of the other not."""
    rng = np.random.default_rng(5)
    n, genes = 800, 24
    counts = small_cells.counts(2, n, genes).astype(float)
    batch = rng.integers(0, 2, n)
    shift = np.exp(1.5 * np.where(np.arange(genes) % 2, 1, -1) / 2)
    counts = rng.poisson(np.where(batch[:, None] == 1, counts * shift, counts)).astype(np.float32)
    adata = small_cells.cells(counts, seed=2, donor=np.where(batch, "p1", "p2"))
    found, elbo = {}, {}
    for key in (None, "donor"):
        small_cells.set_up(adata, labels_key="donor", batch_key=key)
        options = {"encoder_hidden": [16], "encode_covariates": bool(key)}
        fitted = small_cells.trained(adata, steps=600, n_background=3, model=options)
        fitted.protocol = fitted.protocol | {"evaluation": {"elbo_draws": 5, "null_draws": 19}}
        table = fitted.get_leakage(split="all")
        found[key] = table.query("metric == 'knn_accuracy'").set_index(["block", "source"])["value"]
        elbo[key] = fitted.get_elbo()["elbo"].mean()
    assert found[None]["background", "background"] > 0.8
    assert (found["donor"] < 0.62).all()
    assert elbo["donor"] > elbo[None] + 0.5
