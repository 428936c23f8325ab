"""The plain comparative VAE: the sources' ELBOs are summed with equal weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from cdgm.objectives.combiners._base import Combiner, flat_gradient

if TYPE_CHECKING:
    from torch import Tensor


class Sum(Combiner):
    """Sum of the sources' losses, each a mean over its own rows, whatever the sources' sizes."""

    kind: Literal["sum"] = "sum"

    def gradient(self, losses: Tensor, added: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """See :meth:`Combiner.gradient`."""
        return flat_gradient((losses.sum(0) + added).sum(), parameters), losses.new_ones(losses.shape)
