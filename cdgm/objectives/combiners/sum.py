"""The plain comparative VAE: the sources' ELBOs are summed with equal weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from cdgm.objectives.combiners.base import Combiner

if TYPE_CHECKING:
    from torch import Tensor


class Sum(Combiner):
    """Sum of the sources' losses, each a mean over its own rows, whatever the sources' sizes."""

    kind: Literal["sum"] = "sum"
    per_source: ClassVar[bool] = False

    def weights(self, losses: Tensor, gram: np.ndarray | None, state: Any) -> np.ndarray:
        """See :meth:`Combiner.weights`."""
        return np.ones(losses.shape[::-1])
