"""The catalogue lists exactly the metrics that are computed, and docs/results.md defines each."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from cdgm.config.evaluation import EvaluationSpec
from cdgm.evaluation.catalogue import METRICS, OF_PREDICTIONS, metrics_of
from cdgm.evaluation.fits import axis_rows
from cdgm.evaluation.metrics.latent_space_scores import score_baselines, score_space
from cdgm.evaluation.metrics.truth_scores import draw_nulls, score_member
from cdgm.utils.joint_names import JOINT
from tests.unit.builders import THREE_SOURCES, fit_spec

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def of_simulation() -> list[dict]:
    rng = np.random.default_rng(0)
    truths = {"target": {"background": rng.normal(size=(60, 2)), "salient": rng.normal(size=(60, 1))}}
    nulls = draw_nulls(truths, truths, rng, 3, 2, 1)
    return score_member(truths, truths, rng=rng, nulls=nulls, hsic_draws=9)


@pytest.fixture(scope="module")
def of_cells() -> list[dict]:
    rng = np.random.default_rng(0)
    counts = rng.poisson(5.0, size=(200, 12))
    source = np.repeat(["background", "target"], 100)
    label = np.tile(["a", "b"], 100)
    strata = np.tile(["x", "x", "y", "y"], 50)
    rows = score_space(counts, source, label, "salient", strata=strata, rng=0, draws=2)
    return rows + score_baselines(
        counts, source, label, "target", "background", dims=2, rng=0, draws=2, strata=strata
    )


def names(rows: list[dict], **given) -> set[str]:
    return {row["metric"] for row in rows if all(row.get(key) == value for key, value in given.items())}


def test_scores_of_simulations_are_the_catalogue_s(of_simulation):
    place = {"source": "target", "block": "background"}
    for truth, of in (("background", "own truth"), ("salient", "other truth"), ("", "size of block")):
        assert names(of_simulation, **place, truth=truth) == set(metrics_of(of))
    both = f"background{JOINT}salient"
    assert names(of_simulation, block=both, truth="salient") == set(metrics_of("all blocks"))
    assert names(of_simulation, block=both, truth="") == set(metrics_of("pair of blocks"))


def test_scores_of_cells_are_the_catalogue_s(of_cells):
    assert names(of_cells, source="target", truth="label") == set(metrics_of("labels"))
    assert names(of_cells, source="target", truth="") == {"active_dims", *metrics_of("source in block")}
    assert names(of_cells, source=f"background{JOINT}target") == set(metrics_of("sources in block"))
    assert names(of_cells, variant="oracle") == set(OF_PREDICTIONS)


def test_scores_of_shared_blocks_are_the_catalogue_s():
    spec = fit_spec(design=THREE_SOURCES)
    rng = np.random.default_rng(0)
    means = {
        ("test", source, block): rng.normal(size=(3, 30, 2))
        for source, block in itertools.product("abc", spec.model.design.blocks)
    }
    evaluation = EvaluationSpec(elbo_draws=1, null_draws=10)
    for rows in axis_rows(spec, evaluation, means, ["test"]):
        assert names(rows) == set(metrics_of("source over source in block"))
        # The other of two sources has a block more, in either direction; "pair" has two equal sources.
        assert [(r["block"], r["source"]) for r in rows] == [
            ("shared", JOINT.join(pair)) for pair in ("ab", "ba", "bc", "cb")
        ]
        assert all(0 < r["null_mean"] < r["null_high"] for r in rows)


def test_every_metric_has_a_title_and_is_documented():
    text = (ROOT / "docs/results.md").read_text(encoding="utf-8").split("## Metrics")[1]
    assert not [name for name, metric in METRICS.items() if not metric.title or f"`{name}`" not in text]
    defined = {
        name
        for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert defined >= set(METRICS)
