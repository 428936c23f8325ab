"""Multiple gradient descent: the weights that make the combined gradient shortest."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from cdgm.objectives.combiners.base import GradientCombiner
from cdgm.objectives.context import ObjectiveContext
from cdgm.objectives.simplex import MAX_DIMENSION, minimise_on_simplex
from cdgm.utils.registry import PerMember, Sweep


class MGDA(GradientCombiner):
    """Min-norm point of the convex hull of the sources' gradients (Désidéri 2012; Sener & Koltun 2018).

    Unless it is zero, a small plain step against the min-norm point of *exact* gradients lowers the loss
    of every source. Where gradients are mostly noise, of mean squared norm v_k, weights go as 1 / v_k.
    Its weights sum to 1; they are multiplied by the number of sources K, so that equal weights are the
    plain sum of the losses and penalties keep the strength that they have beside it.

    Attributes
    ----------
    normalise
        What gradients are divided by before their weights are found: nothing, their own norm (``l2``),
        or the absolute value of the loss (``loss``). The weights are applied to the gradients as they
        are, as in the public code of Sener & Koltun (2018); with ``l2`` and ``loss`` the step may
        therefore raise the loss of a source.
    average
        Decay of a moving average of the weights over the steps, per member, in [0, 1); 0 is none. A step
        takes ``(1 - a) sum over s <= t of a^(t - s) w_s / (1 - a^t)`` in place of w_t, so that the noise of
        single minibatches averages out.
    rows
        Rows of each source in a second batch, from which weights are found in place of the step's own
        (Fernando et al. 2023 discuss the bias that one batch for both has); absent means none.
    """

    kind: Literal["mgda"] = "mgda"
    normalise: Literal["none", "l2", "loss"]
    average: Annotated[float | Sweep, PerMember(minimum=0, maximum=0.9999)] = 0.0
    rows: int | None = Field(None, ge=2, le=1_000_000)

    most_sources: ClassVar[int | None] = MAX_DIMENSION

    @property
    def weight_rows(self) -> int | None:
        """See :attr:`Combiner.weight_rows`."""
        return self.rows

    def start(self, context: ObjectiveContext) -> RunningMean | None:
        """Return the average of the members' weights, if they are averaged."""
        decays = np.array([member.average for member in context.members], dtype=np.float64)
        return RunningMean(decays) if decays.any() else None

    def solve(self, gram: np.ndarray, losses: np.ndarray, state: Any) -> np.ndarray:
        """See :meth:`GradientCombiner.solve`."""
        found = gram.shape[1] * minimise_on_simplex(normalised(gram, losses, self.normalise))
        return found if state is None else state.after(found)


class RunningMean:
    """Mean of values over steps in which those s steps ago weigh as ``decay ** s``, for each member.

    Parameters
    ----------
    decays
        Decay of each member (E,), in [0, 1).
    """

    def __init__(self, decays: np.ndarray) -> None:
        self._decays = decays[:, None]
        self._sum: np.ndarray | float = 0.0
        self._weight: np.ndarray | float = 0.0

    def after(self, values: np.ndarray) -> np.ndarray:
        """The mean once these values (E, K) are in."""
        self._sum = self._decays * self._sum + values
        self._weight = self._decays * self._weight + 1.0
        return self._sum / self._weight


def normalised(gram: np.ndarray, losses: np.ndarray, how: str) -> np.ndarray:
    """Inner products (E, K, K) of gradients divided by 1, their norms or their absolute losses (E, K)."""
    if how == "none":
        return gram
    sizes = np.sqrt(np.diagonal(gram, axis1=1, axis2=2)) if how == "l2" else np.abs(losses)
    # A gradient of zero has no direction; it stays zero.
    sizes = np.where(sizes > 0, sizes, 1.0)
    return gram / (sizes[:, :, None] * sizes[:, None, :])
