"""What a combiner is."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from cdgm.config.design import Design
from cdgm.objectives.setup import Setup
from cdgm.utils.registry import Plugin

if TYPE_CHECKING:
    from torch import Tensor


class Combiner(Plugin):
    """Weighs the sources' losses against each other, for each member on its own.

    Shapes: K sources, E members. Parameters that several sources use get the weighted sum of these
    sources' gradients; those that one source uses alone (a private block's encoder) get its own gradient,
    unweighted. Weights sum to K, so that penalties keep their strength.
    """

    per_source: ClassVar[bool] = True
    """Whether the sources' gradients are needed apart; if not, the weights are all 1."""
    needs_gram: ClassVar[bool] = False
    """Whether :meth:`weights` looks at inner products of the gradients."""

    most_sources: ClassVar[int | None] = None
    """Most sources that can be weighed; None for any number."""

    def check(self, design: Design) -> None:
        """Refuse a design that the combiner can't weigh, with a ValueError."""
        n = len(design.sources)
        if self.most_sources is not None and n > self.most_sources:
            raise ValueError(f"{self.kind} weighs up to {self.most_sources} sources, got {n}")

    def start(self, setup: Setup) -> Any:
        """State that the combiner keeps; most need none."""
        return None

    @abstractmethod
    def weights(self, losses: Tensor, gram: np.ndarray | None, state: Any) -> np.ndarray:
        """Weight of each source (E, K); they sum to K.

        Parameters
        ----------
        losses
            Loss (negative ELBO) of each source (K, E), detached.
        gram
            Inner products of the sources' gradients over shared parameters (E, K, K), float64; given if
            ``needs_gram``.
        state
            What :meth:`start` gave.
        """


class GradientCombiner(Combiner):
    """A combiner whose weights follow from the gradients' inner products.

    Attributes
    ----------
    normalise
        What gradients are divided by before their weights are found: nothing, their own norm (``l2``),
        or the absolute value of the loss (``loss``). The weights found are applied to the gradients as
        they are, as in the public code of MGDA (Sener & Koltun 2018).
    """

    normalise: Literal["none", "l2", "loss"]
    needs_gram: ClassVar[bool] = True

    def weights(self, losses: Tensor, gram: np.ndarray | None, state: Any) -> np.ndarray:
        """See :meth:`Combiner.weights`."""
        scaled = normalised(gram, losses.double().cpu().numpy().T, self.normalise)
        sound = np.isfinite(scaled).all(axis=(1, 2))
        # A member that is about to be frozen must not spoil the others' solution.
        scaled = np.where(sound[:, None, None], scaled, np.eye(scaled.shape[1]))
        found = self.solve(scaled, state)
        found *= found.shape[1] / found.sum(axis=1, keepdims=True)
        return np.where(sound[:, None], found, 1.0)

    @abstractmethod
    def solve(self, gram: np.ndarray, state: Any) -> np.ndarray:
        """Weights (E, K), not negative and not all 0, for finite inner products (E, K, K)."""


def normalised(gram: np.ndarray, losses: np.ndarray, how: str) -> np.ndarray:
    """Inner products (E, K, K) of gradients divided by 1, their norms or their losses' sizes (E, K)."""
    if how == "none":
        return gram
    sizes = np.sqrt(np.diagonal(gram, axis1=1, axis2=2)) if how == "l2" else np.abs(losses)
    # A gradient of zero has no direction; it stays zero.
    sizes = np.where(sizes > 0, sizes, 1.0)
    return gram / (sizes[:, :, None] * sizes[:, None, :])
