"""Scores of cells agree with scikit-learn, and are right at chance and in degenerate spaces."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import (
    adjusted_rand_score,
    balanced_accuracy_score,
    normalized_mutual_info_score,
    pairwise_distances,
    silhouette_score,
)
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from cdgm.evaluation.metrics import label_scores
from cdgm.evaluation.metrics.asymmetric_axes import ALIVE_IN_ONE, axis_asymmetry
from cdgm.evaluation.metrics.latent_space_scores import score_space
from cdgm.evaluation.metrics.source_mixing import Neighbourhood, linear_separation


@pytest.fixture
def rng():
    return np.random.default_rng(17)


@pytest.fixture
def groups(rng):
    """Three clusters, 300 + 60 + 40 cells, and their codes."""
    codes = np.repeat([0, 1, 2], [300, 60, 40])
    return rng.normal(size=(400, 4)) + 2.5 * np.eye(4)[codes], codes


def table(rows):
    return {(r["source"], r["metric"]): r for r in rows}


def test_neighbours_agree_with_sklearn(rng):
    points = rng.normal(size=(1500, 6))
    expected = NearestNeighbors(n_neighbors=16).fit(points).kneighbors(points)[1][:, 1:]
    found = label_scores.neighbours(points, 15)
    agree = [len(set(a) & set(b)) for a, b in zip(found, expected, strict=True)]
    assert np.mean(agree) > 15 - 1e-2
    assert not (found == np.arange(1500)[:, None]).any()


def test_knn_accuracy_agrees_with_sklearn_on_equal_classes(rng):
    codes = np.repeat([0, 1, 2], 80)
    points = rng.normal(size=(240, 3)) + 1.2 * np.eye(3)[codes]
    predicted = np.empty(240, dtype=int)
    for i in range(240):
        rest = np.arange(240) != i
        model = KNeighborsClassifier(15).fit(points[rest], codes[rest])
        predicted[i] = model.predict(points[i : i + 1])[0]
    expected = balanced_accuracy_score(codes, predicted)
    assert label_scores.knn_accuracy(codes, label_scores.neighbours(points, 15)) == pytest.approx(
        expected, abs=0.02
    )


def test_knn_accuracy_is_at_chance_for_unequal_classes_that_mix(rng):
    codes = np.repeat([0, 1, 2], [3000, 300, 100])
    nearest = label_scores.neighbours(rng.normal(size=(3400, 5)), 15)
    values = [label_scores.knn_accuracy(rng.permutation(codes), nearest) for _ in range(60)]
    assert np.mean(values) == pytest.approx(1 / 3, abs=0.01)


def test_silhouette_agrees_with_sklearn(groups):
    points, codes = groups
    alone = np.where(np.arange(400) == 399, 3, codes)  # a class of one scores 0
    values = label_scores.silhouettes(points, np.array([codes, alone]))
    distances = pairwise_distances(points)
    expected = [silhouette_score(distances, c, metric="precomputed") for c in (codes, alone)]
    np.testing.assert_allclose(values, expected, atol=1e-5)


def test_agreement_with_clusters_is_that_of_sklearn(groups, rng):
    _, codes = groups
    found = np.where(rng.random(400) < 0.3, rng.integers(0, 5, 400), codes)
    labellings = np.array([codes, rng.permutation(codes), found, np.arange(400) // 399])
    for clusters in (found, codes, np.zeros(400, dtype=int)):
        nmi, ari = label_scores.cluster_agreement(labellings, clusters)
        expected = [normalized_mutual_info_score(labels, clusters) for labels in labellings]
        np.testing.assert_allclose(nmi, expected, atol=1e-12)
        np.testing.assert_allclose(ari, [adjusted_rand_score(y, clusters) for y in labellings], atol=1e-12)


def test_label_scores_and_their_nulls(groups, rng):
    points, codes = groups
    labels = np.array(["a", "b", "c"])[codes]
    order = rng.permutation(400)
    scores = label_scores.label_scores(points[order], labels[order], rng=0)
    assert set(scores) == {"knn_accuracy", "nmi", "ari", "silhouette"}
    assert scores["knn_accuracy"][0] > 0.85
    for metric, chance in (("knn_accuracy", 1 / 3), ("nmi", 0.0), ("ari", 0.0)):
        value, (mean, high) = scores[metric]
        assert mean == pytest.approx(chance, abs=0.03)
        assert mean < high < value
    assert scores["silhouette"][0] > scores["silhouette"][1][1]
    assert repr(label_scores.label_scores(points[order], labels[order], rng=0)) == repr(scores)


def test_cells_without_a_label_are_left_out(groups, rng):
    points, codes = groups
    labels = np.array(["a", "b", "c"])[codes]
    junk = rng.normal(size=(500, 4))
    full = np.concatenate([labels, np.full(500, "")])
    scores = label_scores.label_scores(np.vstack([points, junk]), full, rng=3)
    assert repr(scores) == repr(label_scores.label_scores(points, labels, rng=3))
    assert label_scores.label_scores(points, np.where(codes == 0, "a", ""), rng=3) == {}


def test_a_collapsed_space_knows_nothing_even_of_sorted_cells():
    labels = np.repeat(["a", "b"], 200)
    source = np.repeat(["x", "y"], 200)
    for flat in (np.zeros((400, 3)), np.full((400, 3), 0.7, dtype=np.float32)):
        assert label_scores.label_scores(flat, labels)["knn_accuracy"][0] == pytest.approx(0.5, abs=0.1)
        assert label_scores.label_scores(flat, labels)["silhouette"][0] == pytest.approx(0.0, abs=1e-3)
        assert Neighbourhood.of(flat, source).mixing("x") == pytest.approx(1.0, abs=0.05)


def test_mixing_is_one_when_mixed_and_the_number_of_sources_when_apart(rng):
    points = rng.normal(size=(3000, 5))
    source = rng.permutation(np.repeat(["x", "y"], [600, 2400]))
    apart = points + 50.0 * (source == "x")[:, None]
    for which in ("x", "y"):
        assert Neighbourhood.of(points, source).mixing(which) == pytest.approx(1.0, abs=0.04)
        assert Neighbourhood.of(apart, source).mixing(which) == pytest.approx(2.0, rel=0.01)


def test_nulls_of_mixing_hold_their_size_where_one_source_is_dense(rng):
    """A dense source gives all its cells the same neighbours; the null must not widen for that."""
    source = np.repeat(["x", "y", "y"], 300)
    points = rng.normal(size=(900, 4)) * np.where(source == "x", 0.01, 1.0)[:, None]
    cells_ = Neighbourhood.of(points, source)
    drawn = [cells_.shuffled(rng) for _ in range(100)]
    assert cells_.separation() > 0.9
    assert np.mean([cells_.separation(s) for s in drawn]) == pytest.approx(0.5, abs=0.02)
    assert np.quantile([cells_.separation(s) for s in drawn], 0.95) < 0.56
    assert np.mean([cells_.mixing("x", s) for s in drawn]) == pytest.approx(1.0, abs=0.01)


def test_mixing_by_brute_force(rng):
    source = rng.permutation(np.repeat(["x", "y"], 60))
    points = rng.normal(size=(120, 3)) + (source == "x")[:, None]
    shares = []
    for i in np.flatnonzero(source == "x"):
        others = np.argsort(np.linalg.norm(points - points[i], axis=1))[1:11]
        shares.append((source[others] == "x").mean() / (59 / 119))
    assert Neighbourhood.of(points, source, k=10).mixing("x") == pytest.approx(np.mean(shares), abs=1e-9)


def test_mixing_within_cell_types_forgives_unlike_compositions(rng):
    kind = np.repeat(["p", "q"], 1000)
    source = np.where(rng.random(2000) < np.where(kind == "p", 0.8, 0.2), "x", "y")
    points = rng.normal(size=(2000, 4)) + 8.0 * (kind == "q")[:, None]
    rows = table(score_space(points, source, np.full(2000, ""), "z", strata=kind, rng=0, draws=10))
    assert rows["x", "source_mixing"]["value"] > 1.3
    assert rows["x", "source_mixing_within"]["value"] == pytest.approx(1.0, abs=0.03)
    assert rows["x", "source_mixing_within"]["null_mean"] == pytest.approx(1.0, abs=0.03)


def test_the_strongest_class_is_found(rng):
    source = np.repeat(["x", "y"], 600)
    label = np.where(source == "y", np.tile(["a", "b", "c"], 400), "")
    points = rng.normal(size=(1200, 4)) + 6.0 * (label == "b")[:, None]
    rows = table(score_space(points, source, label, "z", rng=0, draws=20))
    assert rows["y", "source_mixing_strongest"]["value"] == pytest.approx(2.0, abs=0.02)
    assert rows["y", "source_mixing_strongest"]["null_high"] < 1.3
    assert 1.1 < rows["y", "source_mixing"]["value"] < 1.6
    assert rows["x&y", "source_separation"]["value"] > rows["x&y", "source_separation"]["null_high"]
    named = table(score_space(points, source, label, "z", strongest="a", rng=0, draws=20))
    assert named["y", "source_mixing_strongest"]["value"] < 1.2
    assert ("x", "knn_accuracy") not in rows
    assert ("y", "knn_accuracy") in rows


def test_separation_has_one_scale_for_all_shares_and_numbers_of_sources(rng):
    for names, sizes in ((["x", "y"], [1800, 200]), (["x", "y", "z"], [400, 400, 800])):
        source = rng.permutation(np.repeat(names, sizes))
        points = rng.normal(size=(len(source), 4))
        mixed = score_space(points, source, np.full(len(source), ""), "z", rng=0, draws=10)
        joint = table(mixed)["&".join(names), "source_separation"]
        assert joint["value"] == pytest.approx(1 / len(names), abs=0.06)
        assert joint["null_mean"] == pytest.approx(1 / len(names), abs=0.03)
        apart = points + 30.0 * np.unique(source, return_inverse=True)[1][:, None]
        assert Neighbourhood.of(apart, source).separation() == pytest.approx(1.0)


def test_linear_separation_agrees_with_sklearn(rng):
    source = np.repeat(["x", "y", "z"], [300, 200, 100])
    points = (
        rng.normal(size=(600, 4)) * [1, 2, 0.5, 1] + 1.3 * np.eye(4)[np.repeat([0, 1, 2], [300, 200, 100])]
    )
    model = LinearDiscriminantAnalysis(solver="lsqr", priors=[1 / 3] * 3).fit(points, source)
    expected = balanced_accuracy_score(source, model.predict(points))
    assert linear_separation(points, source) == pytest.approx(expected, abs=0.03)
    assert linear_separation(np.zeros((600, 4)), source) == pytest.approx(1 / 3)
    assert linear_separation(1000 * points, source) == linear_separation(points, source)


def two_kinds(rng, kind, cells=1000):
    """Background-block means of two sources, and what each kind of leakage makes of the target's."""
    types = np.arange(cells) % 3
    block = {s: rng.normal(size=(cells, 5)) * 0.7 + 1.5 * np.eye(5)[types] for s in ("background", "target")}
    if kind == "moved":  # a spare axis, at rest in the background
        block["background"][:, 4] = 0.05 * rng.normal(size=cells)
        block["target"][:, 4] = rng.normal(size=cells)
    if kind == "shifted":  # by an amount and in a direction that depend on the cell type
        block["target"] += np.array([[0, 0, 0, 1.5, 0], [0, 0, 0, 1, 1], [1, 0, 0, 1.2, 0]])[types]
    return block["target"], block["background"]


@pytest.mark.parametrize("kind", ["none", "moved", "shifted"])
def test_two_kinds_of_leakage_are_told_apart(kind, rng):
    """Both separate the sources; an asymmetric axis shows the one, a shift of means the other."""
    target, background = two_kinds(rng, kind)
    source = np.repeat(["target", "background"], len(target))
    rows = table(
        score_space(np.vstack([target, background]), source, np.full(2000, ""), "z", rng=0, draws=40)
    )
    joint, linear = (rows["background&target", f"source_separation{end}"] for end in ("", "_linear"))
    assert linear["null_mean"] < linear["null_high"] < 0.55
    assert (joint["value"] > 0.6) == (kind != "none")
    assert (linear["value"] > 0.6) == (kind == "shifted")
    assert linear["value"] < joint["value"] + 0.05
    assert (axis_asymmetry(target, background)[0] > ALIVE_IN_ONE) == (kind == "moved")
