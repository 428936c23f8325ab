"""How much of known continuous doses each block of a fit to cells explains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from cdgm.config.evaluation import EvaluationSpec
from cdgm.config.fit import FitSpec
from cdgm.data.bundle import SPLITS, Bundle
from cdgm.evaluation.catalogue import DOSE, dose_metrics
from cdgm.evaluation.metrics.nulls import row, summary
from cdgm.evaluation.metrics.regression import KernelRegression, linear_r2
from cdgm.utils.random_streams import stream

NONLINEAR_DRAWS = 20


def dose_rows(
    spec: FitSpec,
    evaluation: EvaluationSpec,
    bundle: Bundle,
    members: Sequence[int],
    means: Mapping[tuple[str, str, str], np.ndarray],
) -> Iterator[list[dict[str, object]]]:
    """R2 of the doses of target cells in each block, with permutation nulls, member after member.

    Cells of both splits are scored: doses never enter training. Scores are held out by halves of the cells.

    Parameters
    ----------
    spec, evaluation
        The fit, and how it is scored.
    bundle
        Its data, which are cells; without doses there are no rows.
    members
        Replicate of each member (E,).
    means
        Posterior means by split, source and block, (E, n, d).
    """
    design = spec.model.design
    for e, replicate in enumerate(members):
        rows = []
        if bundle.truth:
            _, target, _ = design.contrast()
            dose = np.concatenate([bundle.truth[split][target][DOSE][replicate] for split in SPLITS])
            rng = stream("evaluate", "doses", spec.dataset, spec.members[e].seed, root=spec.root_seed)
            shuffled = np.stack([rng.permutation(dose) for _ in range(evaluation.null_draws)])
            for block in design.active(target):
                estimate = np.concatenate([means[split, target, block][e] for split in SPLITS])
                private = len(design.blocks[block]) < len(design.sources)
                linear, nonlinear = dose_metrics(private)
                value = float(linear_r2(estimate, dose))
                null = summary(np.atleast_1d(linear_r2(estimate, shuffled)))
                rows.append(row(target, block, DOSE, linear, value, null))
                value, *drawn = KernelRegression([estimate]).r2([dose, *shuffled[:NONLINEAR_DRAWS]])
                rows.append(row(target, block, DOSE, nonlinear, value, summary(drawn)))
        yield rows
