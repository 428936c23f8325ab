"""Conflict-averse gradient descent."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from cdgm.objectives.combiners.base import GradientCombiner
from cdgm.objectives.simplex import MAX_DIMENSION, minimise_on_simplex

ITERATIONS = 200


class CAGrad(GradientCombiner):
    """The direction near the mean gradient that lowers the worst-off source's loss most (Liu et al. 2021).

    With the mean gradient g0 the published direction solves ``max over d of min over k of <g_k, d>``
    subject to ``|d - g0| <= c |g0|``; the solution is ``g0 + c |g0| g_w / |g_w|``, where w minimises
    ``<g_w, g0> + c |g0| |g_w|`` on the simplex and g_w is the gradient weighted by w.

    Here d and g0 are both multiplied by the number of sources K, which keeps the bound: g0 is then the
    sum of the gradients, and penalties keep the strength that they have beside the sum.

    Attributes
    ----------
    c
        Radius around the mean gradient; 0 is the mean itself.
    """

    kind: Literal["cagrad"] = "cagrad"
    c: float = Field(ge=0, lt=1)

    most_sources: ClassVar[int | None] = MAX_DIMENSION

    def solve(self, gram: np.ndarray, losses: np.ndarray, state: Any) -> np.ndarray:
        """See :meth:`GradientCombiner.solve`.

        The norm in the objective is the least of ``(s + |g_w|^2 / s) / 2`` over s > 0, so a quadratic
        problem for w and ``s = |g_w|`` in turn never go up.
        """
        members, k, _ = gram.shape
        mean = np.full((members, k), 1.0 / k)
        linear = np.einsum("ekl,el->ek", gram, mean)
        radius = self.c * np.sqrt(np.maximum(np.einsum("ek,ek->e", linear, mean), 0.0))
        w = mean
        for _ in range(ITERATIONS):
            size = _norm(gram, w)
            # Where g_w is 0 the gradients cancel: there is nothing left to lower.
            scale = np.divide(radius, size, out=np.zeros_like(radius), where=size > 0)
            new = minimise_on_simplex(scale[:, None, None] * gram, linear)
            new = np.where((size > 0)[:, None], new, w)
            done = np.abs(new - w).max() < 1e-12
            w = new
            if done:
                break
        size = _norm(gram, w)
        share = np.divide(radius, size, out=np.zeros_like(radius), where=size > 0)
        return k * (mean + share[:, None] * w)


def _norm(gram: np.ndarray, w: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(np.einsum("ek,ekl,el->e", w, gram, w), 0.0))
