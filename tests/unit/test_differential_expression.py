"""Differential expression: summaries and p values known otherwise, effects of a known decoder, calls."""

import numpy as np
import pytest
import torch

import cdgm
from benchmarks.differential_expression import TARGET, simulate, wilcoxon
from cdgm.estimator import decoded_samples, gene_ranking
from cdgm.evaluation.effect_posterior import bulk_p_values, effect_table, expected_fdr, label_p_values
from tests.unit import small_cells
from tests.unit.data_helpers import refused

FEW = {"n_samples": 12}


@pytest.fixture(scope="module")
def trained():
    """Two members that tell blocks apart."""
    return small_cells.trained(steps=300, n_members=2, held_out=0.2)


def test_draws_are_summarised():
    rng = np.random.default_rng(0)
    effects = rng.normal([0.0, 1.0, -1.0], 0.1, (4_000, 3))
    table = effect_table(effects, np.abs(effects), 0.9)
    np.testing.assert_allclose(table["mean"], [0, 1, -1], atol=0.01)
    np.testing.assert_allclose(table["high"] - table["low"], 2 * 1.96 * 0.1, rtol=0.05)
    # P(|N(1, .1)| > .9) = P(N > -1) = .841.
    np.testing.assert_allclose(table["proba_de"], [0, 0.841, 0.841], atol=0.02)
    assert list(effect_table(effects, np.abs(effects), np.array([9, 0, 9]))["proba_de"]) == [0, 1, 0]


def test_expected_false_discoveries_are_those_of_the_list():
    probability = np.array([0.5, 1.0, 0.9, 0.9, 0.0])
    # Lists of 4, 1, 3, 3 and 5 features: those of equal probability enter together.
    expected = [(0 + 0.1 + 0.1 + 0.5) / 4, 0, 0.2 / 3, 0.2 / 3, 1.7 / 5]
    np.testing.assert_allclose(expected_fdr(probability), expected)


def sums(values: np.ndarray, stratum: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, ...]:
    cells = [[(stratum == k) & (group == g) for g in (0, 1)] for k in np.unique(stratum)]
    parts = ([[f(values[one]) for one in row] for row in cells] for f in (len, total, square))
    return tuple(np.array(part, dtype=float) for part in parts)


def total(values: np.ndarray) -> np.ndarray:
    return values.sum(axis=0)


def square(values: np.ndarray) -> np.ndarray:
    return (values**2).sum(axis=0)


def test_p_values_are_those_of_permutations_within_strata():
    rng = np.random.default_rng(1)
    stratum, group = (
        np.repeat([0, 1], [50, 90]),
        (rng.random(140) < np.repeat([0.2, 0.7], [50, 90])).astype(int),
    )
    values = rng.gamma(1.0, 1.0, (140, 4)) + 3 * stratum[:, None] + [0, 0.4, 0.8, 0] * (group == 0)[:, None]
    values[:, 3] = 7.1
    found = label_p_values(*sums(values, stratum, group), np.array([True, False]))
    drawn = np.empty((4_000, 4))
    for i in range(len(drawn)):
        order = np.concatenate([rng.permutation(50), 50 + rng.permutation(90)])
        drawn[i] = values[group[order] == 0].sum(axis=0)
    far = np.abs(drawn - drawn.mean(axis=0)) >= np.abs(values[group == 0].sum(axis=0) - drawn.mean(axis=0))
    np.testing.assert_allclose(found[:3], far[:, :3].mean(axis=0), atol=0.02)
    assert found[2] < 0.01
    assert found[3] == 1
    # A label that is the stratum cannot be told from it.
    assert np.isnan(label_p_values(*sums(values, stratum, stratum), np.array([True, False]))).all()


def test_the_bulk_of_the_features_is_the_null():
    rng = np.random.default_rng(3)
    sizes = np.exp(rng.normal(-2, 0.5, 4_000))
    p = bulk_p_values(sizes)
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.02)
    # Features with large effects keep the level of the others, which becomes a little stricter.
    some = bulk_p_values(np.concatenate([sizes, np.full(600, 3.0)]))
    assert 0.01 < (some[:4_000] < 0.05).mean() <= 0.05
    assert (some[4_000:] < 1e-6).all()
    assert np.isnan(bulk_p_values(sizes[:49])).all()
    assert (bulk_p_values(np.zeros(60)) == 1).all()


@pytest.mark.parametrize("shape", [0.5, 5.0])
def test_p_values_are_uniform_without_an_effect(shape):
    rng = np.random.default_rng(2)
    values = rng.gamma(shape, 1.0, (120, 4_000))
    p = label_p_values(
        *sums(values, np.zeros(120), rng.permutation(np.arange(120) % 3 > 0)), np.array([True, False])
    )
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.02)
    np.testing.assert_allclose(np.quantile(p, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.05)


def test_the_effect_of_a_block_is_what_a_linear_decoder_adds():
    rng = np.random.default_rng(0)
    arrays = {source: 5 + 2 * rng.standard_normal((60, 7)) for source in ("healthy", "ill")}
    model = cdgm.ComparativeModel.from_arrays(
        arrays, variant="cvae", n_background=2, n_salient=3, n_members=2, model={"decoder_hidden": []}
    )
    model.train(max_steps=60, progress_bar=False)
    salient = model.get_latent_representation("salient", source="ill", member="all")
    weights = model.ensemble.stack.decoder.layers[0].weight.detach().numpy()[:, 2:]
    added = np.einsum("end,edf->enf", salient, weights).mean(axis=(0, 1)) * model.scaling.scale
    table = model.differential_expression(n_samples=400).set_index("gene").loc[model.observations.features]
    error = (table["difference_mean"] - added) / (table["difference_std"] / np.sqrt(400))
    assert (error.abs() < 5).all()
    assert (table["size"] >= table["difference_mean"].abs()).all()
    # One scale for every feature: the probability does not change with the unit of a feature.
    np.testing.assert_allclose(table["delta"], 0.25 * model.scaling.scale)
    sources = model.differential_expression("source", "ill", **FEW)
    assert sources["p_value"].isna().all()
    order = [list(model.observations.features).index(gene) for gene in sources["gene"]]
    np.testing.assert_allclose(sources["raw_mean1"], arrays["ill"][:, order].mean(axis=0))


def test_known_genes_come_first(trained):
    moved = {f"g{j}" for j in range(small_cells.MOVED)}
    table = trained.differential_expression(**FEW)
    assert len(moved & set(table["gene"][: len(moved)])) >= len(moved) - 1
    assert list(table["fdr"]) == sorted(table["fdr"])
    # The first latent moves its genes one way in one half of the cells, the other way in the other.
    groups = trained.differential_expression("state", block="salient", group1="up", **FEW)
    against = trained.differential_expression("state", group1="up", group2="down", **FEW)
    fold = [t.set_index("gene")["lfc_mean"] for t in (groups, against)]
    assert fold[0].corr(fold[1].loc[fold[0].index]) > 0.5
    assert len(moved & set(against.nsmallest(len(moved), "p_value")["gene"])) >= len(moved) - 2
    # Two groups are each other's rest, with all signs turned.
    both = trained.differential_expression("state", **FEW)
    assert list(both["comparison"].unique()) == ["down vs rest", "up vs rest"]
    one, other = (both[both["comparison"] == c].set_index("gene") for c in both["comparison"].unique())
    np.testing.assert_allclose(one["lfc_mean"], -other["lfc_mean"].loc[one.index], atol=1e-9)
    np.testing.assert_allclose(one["p_value"], other["p_value"].loc[one.index])


def test_a_seed_gives_one_table_and_chunks_bound_memory(trained, tmp_path, monkeypatch):
    table = trained.differential_expression(seed=3, **FEW)
    trained.save(tmp_path / "model")
    again = cdgm.ComparativeModel.load(tmp_path / "model", trained.observations.adata)
    assert again.differential_expression(seed=3, **FEW).equals(table)
    other = again.differential_expression(seed=4, **FEW).set_index("gene").loc[table["gene"]]
    assert not np.array_equal(other["lfc_mean"], table["lfc_mean"])
    np.testing.assert_allclose(other["scale1"], table["scale1"], rtol=0.2)
    rows = []
    decoded = decoded_samples.decoded
    monkeypatch.setattr(decoded_samples, "CHUNK", 32)
    monkeypatch.setattr(
        decoded_samples, "decoded", lambda s, u, c: [rows.append(u["salient"].shape[1]), decoded(s, u, c)][1]
    )
    small = again.differential_expression("state", cells=30, n_samples=2)
    assert max(rows) <= 32
    assert len(small) == 2 * small_cells.GENES
    assert np.isfinite(small.select_dtypes("number").to_numpy()).all()


def test_a_posterior_with_correlations_is_refused():
    model = small_cells.trained(steps=2, model={"posterior": "full_covariance"})
    refused(model.differential_expression, "model.posterior", "'full_covariance'", "mean_field")


def test_what_is_refused(trained):
    ask = trained.differential_expression
    refused(lambda: ask("kind"), "groupby", "'kind'", "['condition', 'state']")
    refused(lambda: ask("state", "left"), "group1", "'left'", "['down', 'up']")
    refused(lambda: ask("state", "up", "left"), "group2", "'left'")
    refused(lambda: ask("state", "up", "up"), "groupby", "two groups")
    refused(lambda: ask(group1="up"), "group1", "groupby=")
    refused(lambda: ask("state", group2="up", block="salient"), "group2", "no block=")
    refused(lambda: ask(block="background"), "block", "'background'", "['salient']")
    refused(lambda: ask(delta=-1), "delta", "-1", "at least 0")
    refused(lambda: ask(n_samples=1), "n_samples", "1", "at least 2")


@pytest.mark.slow
def test_calls_are_right_and_shuffled_labels_call_nothing():
    truth = simulate("mixed", seed=0, cells=600, genes=100)
    cdgm.ComparativeModel.setup_anndata(truth.cells, "source", "control")
    model = cdgm.ComparativeModel(truth.cells, "cvae", n_background=5, n_salient=2, n_members=2)
    model.train(max_steps=300, progress_bar=False)
    table = model.differential_expression(**FEW).set_index("gene").loc[truth.cells.var_names]
    ours = (table["q_value"] <= TARGET).to_numpy()
    theirs = (wilcoxon(truth.cells, "source", "treated", "control")["fdr"] <= TARGET).to_numpy()
    assert ours[truth.moved].mean() > max(0.7, theirs[truth.moved].mean())
    assert ours[~truth.moved].mean() < 0.1
    rng, low, sure = np.random.default_rng(0), [], []
    for _ in range(20):
        truth.cells.obs["chance"] = rng.permutation(["a", "b"] * 300)
        table = model.differential_expression("chance", "a", n_samples=4)
        low.append((table["p_value"] < 0.05).mean())
        sure.append((table["proba_de"] > 0.95).mean())
    # Genes of one data set share latents, so their p values go together: the mean over labels counts.
    assert np.mean(low) == pytest.approx(0.05, abs=0.04)
    assert np.mean(sure) < 0.01


def test_genes_are_decoded_on_one_thread(monkeypatch):
    """Other libraries leave torch with more: threads that wait for each other at each small operation."""
    model, seen = small_cells.trained(steps=2), []
    for module in (decoded_samples, gene_ranking):
        real = module.decoded

        def spy(*arguments, real=real):
            seen.append(torch.get_num_threads())
            return real(*arguments)

        monkeypatch.setattr(module, "decoded", spy)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        model.differential_expression(n_samples=2)
        model.rank_genes()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert len(seen) > 2
    assert set(seen) == {1}
