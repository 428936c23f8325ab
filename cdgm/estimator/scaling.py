"""Putting real values on the scale that the model's learned noise starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scaling:
    """Each feature less ``centre``, over ``scale`` (D,); None leaves values as they are."""

    centre: np.ndarray | None = None
    scale: np.ndarray | None = None

    @classmethod
    def of(cls, x: Mapping[str, np.ndarray], wanted: bool) -> Scaling:
        """Mean and standard deviation over the rows of all sources together; constant features stay."""
        if not wanted:
            return cls()
        rows = np.concatenate(list(x.values())).astype(np.float64)
        scale = rows.std(axis=0)
        return cls(rows.mean(axis=0), np.where(scale > 1e-12 * np.abs(rows).max(initial=1.0), scale, 1.0))

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Rows (..., D) as the model sees them."""
        if self.centre is None:
            return x
        return ((x - self.centre) / self.scale).astype(np.float32)
