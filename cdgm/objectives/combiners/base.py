"""The interface of combiners."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from cdgm.config.design import Design
from cdgm.objectives.context import ObjectiveContext
from cdgm.utils.registry import Plugin

if TYPE_CHECKING:
    from torch import Tensor


class Combiner(Plugin):
    """Weighs the sources' losses against each other, for each member on its own.

    Shapes: K sources, E members. Parameters that several sources use get the weighted sum of these
    sources' gradients; those that one source uses alone (a private block's encoder) get its own gradient,
    unweighted. Penalties and constraints are added to the result with their own weights, so every
    combiner returns a direction on the scale of the *sum* of the gradients, beside which a penalty's
    weight is understood. Each class states how it keeps that scale.
    """

    per_source: ClassVar[bool] = True
    """Whether the combiner needs one gradient for each source; if not, the weights are all 1."""
    needs_gram: ClassVar[bool] = False
    """Whether :meth:`weights` depends on inner products of the gradients."""

    most_sources: ClassVar[int | None] = None
    """Largest number of sources; None for any number."""

    @property
    def weight_rows(self) -> int | None:
        """Rows of each source in a batch of its own for the inner products; None for those of the step."""
        return None

    def check(self, design: Design) -> None:
        """Raise a ValueError for a design that the combiner cannot weigh."""
        n = len(design.sources)
        if self.most_sources is not None and n > self.most_sources:
            raise ValueError(f"{self.kind} weighs up to {self.most_sources} sources, got {n}")

    def start(self, context: ObjectiveContext) -> Any:
        """Return the state that the combiner keeps between steps; most need none."""
        return None

    @abstractmethod
    def weights(self, losses: Tensor, gram: np.ndarray | None, state: Any) -> np.ndarray:
        """Weight of each source (E, K).

        Parameters
        ----------
        losses
            Loss (negative ELBO) of each source (K, E), detached.
        gram
            Inner products of the sources' gradients over shared parameters (E, K, K), float64; given if
            ``needs_gram``.
        state
            The value that :meth:`start` returned.
        """


class GradientCombiner(Combiner):
    """A combiner whose weights follow from the gradients' inner products."""

    needs_gram: ClassVar[bool] = True

    def weights(self, losses: Tensor, gram: np.ndarray | None, state: Any) -> np.ndarray:
        """See :meth:`Combiner.weights`; a member whose inner products are not finite gets ones."""
        if gram is None:
            raise TypeError(f"combiner {self.kind!r} needs the inner products of the sources' gradients")
        values = losses.double().cpu().numpy().T
        finite = np.asarray(np.isfinite(gram).all(axis=(1, 2)) & np.isfinite(values).all(axis=1))
        if finite.all():
            return self.solve(gram, values, state)
        # A member that is about to be frozen must not spoil the solution of the others.
        gram = np.where(finite[:, None, None], gram, np.eye(gram.shape[1]))
        return np.where(finite[:, None], self.solve(gram, values, state), 1.0)

    @abstractmethod
    def solve(self, gram: np.ndarray, losses: np.ndarray, state: Any) -> np.ndarray:
        """Weights (E, K) for finite inner products (E, K, K) and losses (E, K)."""
