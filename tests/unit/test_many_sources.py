"""With G sources, the shared block and each private block are recovered, and every source has a weight."""

import numpy as np
import pytest

from cdgm.evaluation.metrics.truth_scores import score_member
from cdgm.models.inference import posterior_means
from cdgm.simulation.simulate import simulate
from cdgm.training.loop import train
from tests.unit.builders import fit_spec, simulation


def design(n_sources: int) -> dict:
    sources = [f"s{i}" for i in range(n_sources)]
    return {"sources": sources, "blocks": {"shared": sources} | {f"own_{s}": [s] for s in sources}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_sources", "combiner"),
    [(3, {"kind": "sum"}), (5, {"kind": "mgda", "normalise": "none"})],
    ids=["sum", "mgda"],
)
def test_every_block_is_recovered_and_every_source_weighed(n_sources, combiner):
    these = design(n_sources)
    dims = {block: 3 if block == "shared" else 1 for block in these["blocks"]}
    sizes = dict.fromkeys(these["sources"], 1000)
    spec = simulation(
        design=these, dims=dims, n_features=20, mixing={"kind": "linear"}, n_train=sizes, n_test=sizes
    )
    data = simulate(spec, [0], root=1)
    fit = fit_spec(
        seeds=(0,), design=these, dims=dims, variant={"combiner": combiner},
        model={"encoder_hidden": [32], "decoder_hidden": []},
        training={"steps": 600, "batch_size": 32, "learning_rate": 1e-2},
    )  # fmt: skip
    trained = train(fit, {s: data[f"x/train/{s}"] for s in these["sources"]}, [0])
    assert trained.finite.all()
    weights = np.stack([trained.history[f"weight/{s}"] for s in these["sources"]])
    np.testing.assert_allclose(weights.sum(0), n_sources, rtol=1e-5)
    assert (weights > 0).any(axis=(1, 2)).all()
    truths = {
        s: {b: data[f"truth/test/{s}/{b}"][0] for b, active in these["blocks"].items() if s in active}
        for s in these["sources"]
    }
    means = {
        s: {b: m[0] for b, m in posterior_means(trained.model, data[f"x/test/{s}"], [0], s).items()}
        for s in these["sources"]
    }
    rows = score_member(means, truths)
    recovered = {(r["source"], r["block"]): r["value"] for r in rows if r["metric"] == "recovery_cc"}
    assert set(recovered) == {(s, b) for s, blocks in truths.items() for b in blocks}
    assert min(recovered.values()) > 0.8
    leaked = [r["value"] for r in rows if r["metric"] == "leakage_cc"]
    assert len(leaked) == 2 * n_sources
    assert np.median(leaked) < 0.3
