"""Scores of one member are complete and tidy, and right where the answer is known."""

import numpy as np
import pytest

from cdgm.config.evaluation import EvaluationSpec
from cdgm.data.bundle import Bundle
from cdgm.evaluation.fits import score_simulation
from cdgm.evaluation.metrics.truth_scores import draw_nulls, score_member
from tests.unit.builders import fit_spec

KEYS = {"source", "block", "truth", "twist", "metric", "value", "null_mean", "null_high"}


def lookup(rows, **where):
    found = [r["value"] for r in rows if all(r[k] == v for k, v in where.items())]
    assert len(found) == 1, (where, found)
    return found[0]


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(11)
    n = 1600
    truths = {"g0": {"shared": rng.normal(size=(n, 4))}}
    truths["g1"] = {"shared": rng.normal(size=(n, 4)), "own": rng.normal(size=(n, 3))}
    z, t = truths["g1"].values()
    phase = np.exp(2j * np.linalg.norm(t, axis=1))[:, None]
    turned = (z[:, :2] + 1j * z[:, 2:]) * phase
    twisted = {"g0": truths["g0"], "g1": {"shared": np.hstack([turned.real, turned.imag]), "own": t}}
    means = {
        source: {
            block: (u + 0.2 * rng.normal(size=u.shape)).astype(np.float32) for block, u in blocks.items()
        }
        for source, blocks in truths.items()
    }
    means["g0"]["own"] = np.zeros((n, 3), dtype=np.float32)
    nulls = draw_nulls(means, truths, rng=0, draws=20, nonlinear_draws=5, entanglement_draws=2)
    # the entry for 0 is wrong on purpose: it must be ignored
    return means, truths, {0.0: twisted, 2.0: twisted}, nulls


def test_rows_are_tidy_and_each_occurs_once(study):
    means, truths, twisted, nulls = study
    rows = score_member(means, truths, twisted, nulls=nulls)
    assert all(set(row) == KEYS for row in rows)
    ids = [tuple(row[k] for k in ("source", "block", "truth", "twist", "metric")) for row in rows]
    assert len(ids) == len(set(ids))
    assert all(np.isfinite(row["value"]) for row in rows)
    assert not any(row["source"] == "g0" and row["block"] == "own" for row in rows)
    without = {row["metric"] for row in rows if np.isnan(row["null_mean"])}
    no_null = {"active_dims", "true_dims", "alignment_min", "alignment_max", "hsic_p", "hsic_biased"}
    assert without == no_null
    sizes = {(r["source"], r["block"]): r["value"] for r in rows if r["metric"] == "true_dims"}
    assert sizes == {("g0", "shared"): 4, ("g1", "shared"): 4, ("g1", "own"): 3}


def test_the_values_of_a_good_fit(study):
    means, truths, twisted, nulls = study
    rows = score_member(means, truths, twisted, nulls=nulls)
    at = {"source": "g1", "block": "shared", "truth": "shared"}
    assert lookup(rows, metric="recovery_cc", twist=0.0, **at) == pytest.approx(1 / np.sqrt(1.04), abs=0.01)
    assert lookup(rows, metric="recovery_r2", twist=0.0, **at) == pytest.approx(1 / 1.04, abs=0.01)
    assert lookup(rows, metric="recovery_cc", twist=2.0, **at) == pytest.approx(0.411, abs=0.06)
    assert lookup(rows, metric="recovery_cc", twist=2.0, source="g0", block="shared") > 0.97
    assert lookup(rows, metric="active_dims", source="g1", block="own") == 3
    for twist in (0.0, 2.0):
        for metric in ("leakage_cc", "leakage_r2", "leakage_r2_nonlinear", "leakage_cc_excess"):
            for block, truth in (("shared", "own"), ("own", "shared")):
                place = {"source": "g1", "block": block, "truth": truth, "twist": twist}
                assert abs(lookup(rows, metric=metric, **place)) < 0.07
    joint = {"source": "g1", "block": "shared&own", "truth": "shared", "metric": "entanglement_r2"}
    assert abs(lookup(rows, twist=0.0, **joint)) < 0.02
    assert lookup(rows, twist=2.0, **joint) > 0.35
    assert lookup(rows, metric="hsic_p", source="g1") > 0.01


def test_each_point_of_a_sweep_has_its_own_null():
    penalty = {"kind": "hsic", "weight": [1, 10], "of": "means", "estimator": "unbiased"}
    spec = fit_spec(seeds=(0, 1), variant={"combiner": {"kind": "sum"}, "penalties": [penalty]})
    design = spec.model.design
    rng = np.random.default_rng(0)
    truth = {s: {b: rng.standard_normal((2, 60, 2)) for b in design.active(s)} for s in design.sources}
    means = {("test", s, b): rng.standard_normal((4, 60, 2)) for s in design.sources for b in design.blocks}
    means["test", "target", "salient"][2:, :, 1] = 0  # the members of the second weight lost an axis
    evaluation = EvaluationSpec(elbo_draws=1, null_draws=10)
    members = score_simulation(spec, evaluation, Bundle({}, {"test": truth}, spec.seeds), [0, 1, 0, 1], means)
    place = {"source": "target", "block": "salient", "truth": "background", "metric": "leakage_r2"}
    nulls = [next(r["null_high"] for r in rows if place.items() <= r.items()) for rows in members]
    assert nulls[0] == nulls[1] != nulls[2] == nulls[3]
