"""Projecting conflicting gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from cdgm.objectives.combiners.base import GradientCombiner
from cdgm.objectives.context import ObjectiveContext


class PCGrad(GradientCombiner):
    """Sum of the gradients, each projected to be orthogonal to those it conflicts with (Yu et al. 2020).

    With two sources the direction conflicts with neither gradient. With more, the order of projections
    matters: each member draws it anew in each step. The direction is the published sum, unscaled: without
    conflicts it is the plain sum of the gradients, and penalties keep the strength they have beside it.
    """

    kind: Literal["pcgrad"] = "pcgrad"

    def start(self, context: ObjectiveContext) -> Any:
        """Return the members' generators, which draw the orders."""
        return context.generators

    def solve(self, gram: np.ndarray, losses: np.ndarray, state: Any) -> np.ndarray:
        """See :meth:`GradientCombiner.solve`."""
        k = int(gram.shape[1])
        if k < 3:
            orders = np.broadcast_to(np.arange(k), (len(gram), k, k))
        else:
            generators: Sequence[np.random.Generator] = state
            orders = np.stack([rng.permuted(np.tile(np.arange(k), (k, 1)), axis=1) for rng in generators])
        return projected(gram, orders)


def projected(gram: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Weights (E, K) of the gradients in the sum of the projected ones.

    Parameters
    ----------
    gram
        Inner products (E, K, K).
    orders
        Order (E, K, K) in which gradient k (second axis) meets the others; itself is passed over.
    """
    members, k = len(gram), int(gram.shape[1])
    each = np.arange(members)
    total = np.zeros((members, k))
    for i in range(k):
        weights = np.zeros((members, k))
        weights[:, i] = 1.0
        for position in range(k):
            j = orders[:, i, position]
            along = np.einsum("ek,ek->e", weights, gram[each, j])
            square = gram[each, j, j]
            conflict = (along < 0) & (j != i) & (square > 0)
            weights[each, j] -= np.where(conflict, along / np.where(square > 0, square, 1.0), 0.0)
        total += weights
    return total
