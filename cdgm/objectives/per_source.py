"""Every source's own gradient at the price of one pass.

The sources' losses share parameters, so one backward pass gives only their sum. Here each source has a
copy of the stack that sees its rows alone: forward and backward passes touch every row once, as they do
for the sum, and the gradients arrive apart.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from cdgm.models.comparative_vae import Batch, ComparativeVAE, Pass
from cdgm.models.stacks import flatten_parameters


class PerSourceGradients:
    """Passes of a stack whose gradients can be told apart by source.

    Parameters
    ----------
    model
        The stack, its parameters views of ``flat``.
    flat
        All parameters (E, P).
    """

    def __init__(self, model: ComparativeVAE, flat: Tensor) -> None:
        self.model, self.flat = model, flat
        self._copies = [copy.deepcopy(model) for _ in model.design.sources]
        self._flats = [flatten_parameters(c, c.n_members) for c in self._copies]
        self._parameters = [p for c in self._copies for p in c.parameters()]
        self.shared, self.private = _columns(model)

    def forward(self, batch: Batch, noise: Mapping[str, Tensor], inactive: bool = False) -> Pass:
        """What ``model(batch, noise, inactive)`` gives, source by source."""
        passes = []
        for source, replica, flat in zip(batch.rows, self._copies, self._flats, strict=True):
            flat.copy_(self.flat)
            passes.append(replica(*_part(self.model, batch, noise, source, inactive), inactive))
        return Pass(
            elbo=torch.cat([p.elbo for p in passes]),
            **{
                name: {key: value for p in passes for key, value in getattr(p, name).items()}
                for name in ("kl", "posteriors", "inactive")
            },
        )

    def gradients(self, loss: Tensor, keep_graph: bool = False) -> Tensor:
        """Gradient (K, E, P) of a scalar with respect to each source's copy."""
        found = torch.autograd.grad(
            loss, self._parameters, retain_graph=keep_graph, allow_unused=True, materialize_grads=True
        )
        n = len(found) // len(self._copies)
        return torch.stack(
            [
                torch.cat([g.flatten(1) for g in found[k * n : (k + 1) * n]], dim=1)
                for k in range(len(self._copies))
            ]
        )

    def gram(self, gradients: Tensor) -> np.ndarray:
        """Inner products (E, K, K) of the sources' gradients over shared parameters, float64."""
        total = sum(
            torch.bmm(part, part.transpose(1, 2))
            for part in (gradients[:, :, columns].transpose(0, 1) for columns in self.shared)
        )
        return total.double().numpy()

    def combine(self, gradients: Tensor, weights: Tensor) -> Tensor:
        """Combined gradient (E, P) for weights (K, E), by the rule of :class:`Combiner`."""
        combined = (weights.unsqueeze(-1) * gradients).sum(0)
        for columns, k in self.private:
            combined[:, columns] = gradients[k, :, columns]
        return combined


def _part(
    model: ComparativeVAE, batch: Batch, noise: Mapping[str, Tensor], source: str, inactive: bool
) -> tuple[Batch, dict[str, Tensor]]:
    """Rows and noise of one source."""
    rows = batch.rows[source]
    size = rows.stop - rows.start
    part = Batch(batch.x[:, rows], batch.library[:, rows], batch.constant[:, rows], {source: slice(0, size)})
    own = {}
    for block, numbers in noise.items():
        start = 0
        for other in model.encoded(block, inactive):
            r = batch.rows[other]
            if other == source:
                own[block] = numbers[:, start : start + size]
            start += r.stop - r.start
    return part, own


def _columns(model: ComparativeVAE) -> tuple[list[slice], list[tuple[slice, int]]]:
    """Columns of (E, P) that several sources use, and those that one uses alone, with that source."""
    shared: list[slice] = []
    private: list[tuple[slice, int]] = []
    start = 0
    for name, parameter in model.named_parameters():
        columns = slice(start, start + parameter[0].numel())
        start = columns.stop
        parts = name.split(".")
        sources = model.design.blocks[parts[1]] if parts[0] == "encoders" else model.design.sources
        if len(sources) == 1:
            private.append((columns, model.design.sources.index(sources[0])))
        elif shared and shared[-1].stop == columns.start:
            shared[-1] = slice(shared[-1].start, columns.stop)
        else:
            shared.append(columns)
    return shared, private
