"""Score the true model of a simulation on the points of the fits: the ceiling of all fits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cdgm.config.evaluation import CeilingSpec
from cdgm.config.simulation import Simulation
from cdgm.data.bundle import Bundle
from cdgm.evaluation.metrics.nulls import row
from cdgm.evaluation.metrics.truth_scores import draw_nulls, score_member
from cdgm.simulation.simulate import true_decoder
from cdgm.simulation.true_posterior import true_posterior_means
from cdgm.utils.random_streams import stream


def score_true_model(
    simulation: Simulation, ceiling: CeilingSpec, bundle: Bundle, null_draws: int, root: int
) -> Iterator[list[dict[str, Any]]]:
    """Rows of each replicate in turn: all scores against the simulated truth, and effective draws.

    Parameters
    ----------
    simulation
        The setting; its mixing is drawn again from each replicate's seed.
    ceiling
        Importance draws a point.
    bundle
        The setting's data.
    null_draws
        Permutations of each score's null, which is drawn with the first replicate and serves all.
    root
        Root of all random streams.
    """
    assert bundle.seeds is not None  # a simulation has one for each replicate
    nulls = None
    for replicate, seed in enumerate(int(seed) for seed in bundle.seeds):
        decode = true_decoder(simulation, seed, root)
        truths, means, effective = {}, {}, []
        for source in simulation.design.sources:
            x = bundle.x["test"][source][replicate]
            blocks = bundle.truth["test"][source]
            truths[source] = {b: blocks[b][replicate] for b in simulation.design.active(source)}
            rng = stream("ceiling", "draws", source, seed, root=root)
            found = true_posterior_means(simulation, decode, source, x, ceiling.draws, rng)
            means[source] = found.means
            effective.append(row(source, "", "", "effective_draws", np.median(found.effective)))
            low = np.quantile(found.effective, 0.05)
            effective.append(row(source, "", "", "effective_draws_low", low))
        rng = stream("ceiling", "permutations", seed, root=root)
        if nulls is None:
            nulls = draw_nulls(means, truths, rng, draws=null_draws)
        rows = score_member(means, truths, None, rng, nulls) + effective
        yield [{"seed": seed, "member": replicate, "finite": True} | r for r in rows]
