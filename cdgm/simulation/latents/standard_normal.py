"""The distribution that the models assume."""

from __future__ import annotations

from typing import Literal

import numpy as np

from cdgm.config.design import Design
from cdgm.simulation.latents.base import Dims, LatentDistribution


class StandardNormal(LatentDistribution):
    """All active dimensions independent and N(0, 1)."""

    kind: Literal["standard_normal"] = "standard_normal"

    def draw(self, design: Design, dims: Dims, source: str, n: int, rng: np.random.Generator) -> np.ndarray:
        """See :meth:`LatentDistribution.draw`."""
        # Block after block, so that a block's numbers don't depend on the dimensions of those after it.
        return np.concatenate(
            [rng.standard_normal((n, dims[block])) for block in design.active(source)], axis=1
        )

    def log_density(self, latents: np.ndarray, design: Design, dims: Dims, source: str) -> np.ndarray:
        """See :meth:`LatentDistribution.log_density`."""
        return -0.5 * np.einsum("...d,...d->...", latents, latents)
