"""Baselines find a salient program that is planted under a stronger shared one."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from cdgm.evaluation.metrics import baselines
from cdgm.evaluation.metrics.baselines import library_size_space
from cdgm.evaluation.metrics.label_scores import label_scores
from cdgm.evaluation.metrics.latent_space_scores import score_baselines


@pytest.fixture(scope="module")
def planted():
    """Shared axis of sd 1.2 over 40 genes in all cells; two weak programs of 10 genes in the target."""
    rng = np.random.default_rng(23)
    n, genes = 900, 80
    source = np.array(["control", "treated"])[np.arange(n) % 2]
    label = np.where(source == "treated", np.array(["up", "down", "none"])[rng.integers(0, 3, n)], "")
    log_rate = np.full((n, genes), 1.5)
    log_rate[:, :40] += 1.2 * rng.normal(size=(n, 1)) * np.sign(rng.normal(size=40))
    log_rate[:, 60:70] += 0.6 * (label == "up")[:, None]
    log_rate[:, 70:] -= 0.6 * (label == "down")[:, None]
    return rng.poisson(np.exp(log_rate)), source, label


def test_pca_agrees_with_sklearn(planted):
    counts, source, _ = planted
    split = baselines.Split.of(counts, source, "treated", "control")
    space = baselines.spaces(split, 5)["pca"][split.foreground]
    expected = PCA(5, svd_solver="full").fit_transform(split.x[split.foreground].astype(float))
    np.testing.assert_allclose(np.abs(space), np.abs(expected), atol=1e-3)


def test_contrast_finds_what_the_shared_axis_hides(planted):
    counts, source, _ = planted
    split = baselines.Split.of(counts, source, "treated", "control")
    cells = split.x[split.foreground], split.x[split.reference]
    axes, alpha = baselines.contrastive_directions(*cells, 2)
    np.testing.assert_allclose(axes.T @ axes, np.eye(2), atol=1e-8)

    def share(directions):
        return (directions[60:] ** 2).sum() / 2

    sweep = {a: share(baselines.contrastive_directions(*cells, 2, (a,))[0]) for a in baselines.ALPHAS}
    # the rule sees no labels and no programs, yet takes the alpha that shows most of them
    assert alpha == max(sweep, key=sweep.__getitem__)
    assert share(axes) > 0.55 > 2 * share(np.linalg.svd(cells[0] - cells[0].mean(0))[2][:2].T)


def test_the_contrast_is_judged_on_cells_that_it_was_not_fitted_on(planted):
    counts, source, _ = planted
    split = baselines.Split.of(counts[:160], source[:160], "treated", "control")
    # 80 + 80 cells for 80 genes: in sample, stiller and stiller directions of the control always win
    _, alpha = baselines.contrastive_directions(split.x[split.foreground], split.x[split.reference], 2)
    assert alpha < max(baselines.ALPHAS)


def test_rows_order_the_baselines(planted):
    counts, source, label = planted
    fit = np.arange(len(source)) % 3 > 0
    rows = score_baselines(counts, source, label, "treated", "control", fit=fit, dims=2, rng=0, draws=10)
    assert {r["variant"] for r in rows} == {
        "pca",
        "pca_background",
        "contrastive_pca",
        "oracle",
        "library_size",
    }
    assert {r["block"] for r in rows} == {"salient"}

    def of(variant, metric):
        return next(
            r for r in rows if (r["variant"], r["metric"], r["source"]) == (variant, metric, "treated")
        )

    for metric in ("knn_accuracy", "ari", "nmi"):
        values = {v: of(v, metric)["value"] for v in ("pca_background", "contrastive_pca", "oracle")}
        assert values["pca_background"] + 0.2 < values["contrastive_pca"] <= values["oracle"] + 0.02
        assert of("oracle", metric)["null_high"] < values["oracle"]
    assert of("pca_background", "knn_accuracy")["value"] < 0.5
    assert of("oracle", "knn_accuracy")["null_mean"] == pytest.approx(1 / 3, abs=0.05)


def test_the_oracle_is_cross_validated(planted):
    counts, source, label = planted
    split = baselines.Split.of(counts, source, "treated", "control")
    shuffled = label.copy()
    target = np.flatnonzero(split.foreground)
    shuffled[target] = np.random.default_rng(0).permutation(label[target])
    predicted = baselines.oracle_predictions(split, shuffled)
    assert np.mean(predicted[target] == shuffled[target]) == pytest.approx(1 / 3, abs=0.1)
    assert (predicted[~split.foreground] == "").all()
    rare = np.where(np.arange(len(label)) == target[0], "rare", label)
    assert "rare" not in baselines.oracle_predictions(split, rare)
    assert (baselines.oracle_predictions(split, np.full(len(label), "")) == "").all()


def test_the_floor_finds_what_depth_and_batch_tell_and_nothing_else():
    rng = np.random.default_rng(0)
    batch = np.repeat(["a", "b"], 150)
    counts = rng.poisson(np.where(np.arange(300) % 2, 4.0, 8.0)[:, None], (300, 20))
    deep, effect = np.array(["few", "many"])[1 - np.arange(300) % 2], rng.choice(["p", "q"], 300)
    counts[effect == "p", 0], counts[effect == "p", 1] = 0, counts[effect == "p", :2].sum(axis=1)

    def accuracy(label, batch):
        return label_scores(library_size_space(counts, batch), label, draws=2)["knn_accuracy"][0]

    assert accuracy(deep, None) > 0.9
    assert accuracy(batch, batch) == 1
    assert accuracy(batch, None) < 0.65
    assert accuracy(effect, batch) < 0.65
