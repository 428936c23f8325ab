"""Score a stack while it is trained: in which block is which truth, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cdgm.config.fit import FitSpec
from cdgm.config.training import TrainingSpec
from cdgm.data.bundle import Bundle
from cdgm.evaluation.fits import member_rows
from cdgm.evaluation.metrics.nulls import row
from cdgm.evaluation.metrics.regression import linear_r2
from cdgm.models.comparative_vae import ComparativeVAE
from cdgm.models.inference import posterior_means

#: Steps that are scored, at most: denser at first, when it is decided which block takes what.
CHECKPOINTS = 15
DENSER = 1.5


def checkpoints(training: TrainingSpec) -> list[int]:
    """Steps after which a stack is scored: recorded ones, the last among them."""
    recorded = [*range(training.log_every, training.steps, training.log_every), training.steps]
    places = (np.arange(1, CHECKPOINTS + 1) / CHECKPOINTS) ** DENSER * len(recorded)
    return sorted({recorded[int(np.ceil(place)) - 1] for place in places})


class Trace:
    """A watch for :func:`cdgm.training.loop.train` that scores held-out rows and changes nothing.

    Attributes
    ----------
    rows
        One a step, member and score: those of :func:`cdgm.evaluation.fits.member_rows` and ``step``.
        ``finite`` is that of the step.
    """

    def __init__(self, spec: FitSpec, bundle: Bundle, members: Sequence[int]) -> None:
        self._spec, self._bundle, self._members = spec, bundle, members
        self._steps = frozenset(checkpoints(spec.training))
        self.rows: list[dict[str, Any]] = []

    def __call__(self, step: int, model: ComparativeVAE, finite: np.ndarray) -> bool:
        """Score a checkpoint; training goes on."""
        if step in self._steps:
            for e, scores in enumerate(self._scores(model)):
                self.rows += [{"step": step} | r for r in member_rows(e, self._spec, finite, scores)]
        return False

    def _scores(self, model: ComparativeVAE) -> list[list[dict[str, Any]]]:
        """Linear R2 of every truth in every block that is active in a source, for each member."""
        found: list[list[dict[str, Any]]] = [[] for _ in self._members]
        for source in model.design.sources:
            means = posterior_means(model, self._bundle.x["test"][source], self._members, source)
            for e, replicate in enumerate(self._members):
                for truth, values in self._bundle.truth["test"][source].items():
                    for block in model.design.active(source):
                        metric = "recovery_r2" if block == truth else "leakage_r2"
                        r2 = float(linear_r2(means[block][e], values[replicate]))
                        found[e].append(row(source, block, truth, metric, r2))
        return found
