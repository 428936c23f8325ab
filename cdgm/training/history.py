"""The history of a training run."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from cdgm.config.design import Design
from cdgm.config.training import TrainingSpec
from cdgm.objectives.lagrangian import Step


class History:
    """Collects what happens during training, every ``log_every`` steps and at the last one."""

    def __init__(self, design: Design, training: TrainingSpec) -> None:
        self.design, self.training = design, training
        self._rows: dict[str, list[Any]] = {}
        self._weights: np.ndarray | None = None
        self._steps = 0

    def due(self, step: int) -> bool:
        """Whether to record this step (0-based)."""
        return (step + 1) % self.training.log_every == 0 or step + 1 == self.training.steps

    def record(self, step: int, result: Step, norm: Tensor, learning_rate: float) -> None:
        """Add a record."""
        row = {"step": step + 1, "learning_rate": learning_rate, "gradient_norm": norm}
        for k, source in enumerate(self.design.sources):
            row[f"elbo/{source}"] = result.result.elbo[k]
            row[f"weight/{source}"] = result.weights[k]
        for (source, block), value in result.result.kl.items():
            row[f"kl/{source}/{block}"] = value
        row |= result.terms
        for name, value in row.items():
            value = value.detach().cpu().numpy().copy() if isinstance(value, Tensor) else value
            self._rows.setdefault(name, []).append(value)

    def every_step(self, result: Step) -> None:
        """Keep the weights of this step, whether or not it is recorded."""
        weights = result.weights.cpu().numpy()
        # One array for all steps: small ones of each step's own would lie between what steps free, and the
        # process would grow to several times what it uses.
        if self._weights is None:
            self._weights = np.empty((self.training.steps, *weights.shape), weights.dtype)
        self._weights[self._steps] = weights
        self._steps += 1

    def arrays(self) -> dict[str, np.ndarray]:
        """All records as arrays, time first."""
        found = {name: np.asarray(values) for name, values in self._rows.items()}
        if self._weights is not None:
            for k, source in enumerate(self.design.sources):
                found[f"each/weight/{source}"] = self._weights[: self._steps, k]
        return found
