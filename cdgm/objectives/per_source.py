"""Every source's own gradient at the price of one pass.

The sources' losses share parameters, so one backward pass gives only their sum. Here each source has a
copy of the stack that sees its rows alone: forward and backward passes touch every row once, as they do
for the sum, and the gradients arrive apart.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from cdgm.models.comparative_vae import Batch, ComparativeVAE, Pass
from cdgm.models.stacks import flatten_parameters


class PerSourceGradients:
    """Passes of a stack that give a gradient for each source.

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
        self._parameters = [list(c.parameters()) for c in self._copies]
        self._places = _places(model)
        width = sum(place.width for place in self._places if place.at is not None)
        # Filled anew in each step; a source's gradient of what it does not use stays zero.
        self._apart = flat.new_zeros(flat.shape[0], len(self._copies), width)

    def forward(self, batch: Batch, noise: Mapping[str, Tensor], inactive: bool = False) -> Pass:
        """What ``model(batch, noise, inactive)`` gives, source by source."""
        passes: list[Pass] = []
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

    def gradients(self, loss: Tensor, keep_graph: bool = False) -> SourceGradients:
        """Gradients of a sum over sources, each by its own source's copy.

        Parameters
        ----------
        loss
            Scalar: the sum of all sources' losses.
        keep_graph
            Whether :meth:`gradient_of` follows.
        """
        wanted = [(place, k) for place in self._places for k in place.users]
        found = torch.autograd.grad(
            loss, [self._parameters[k][place.index] for place, k in wanted], retain_graph=keep_graph
        )
        own: list[tuple[slice, Tensor]] = []
        for (place, k), gradient in zip(wanted, found, strict=True):
            if place.at is None:
                own.append((place.columns, gradient.flatten(1)))
            else:
                self._apart[:, k, place.at] = gradient.flatten(1)
        return SourceGradients(self._apart, own)

    def gradient_of(self, added: Tensor) -> Tensor:
        """Gradient (E, P) of a scalar that belongs to no single source: a penalty."""
        found = torch.autograd.grad(
            added, [p for parameters in self._parameters for p in parameters],
            allow_unused=True, materialize_grads=True,
        )  # fmt: skip
        n = len(self._places)
        return torch.cat([reduce(torch.add, found[i::n]).flatten(1) for i in range(n)], dim=1)

    def combine(self, gradients: SourceGradients, weights: Tensor) -> Tensor:
        """Combined gradient (E, P) for weights (E, K), by the rule of :class:`Combiner`."""
        shared = torch.bmm(weights.unsqueeze(1), gradients.apart).squeeze(1)
        combined = torch.empty_like(self.flat)
        for place in self._places:
            if place.at is not None:
                combined[:, place.columns] = shared[:, place.at]
        for columns, gradient in gradients.own:
            combined[:, columns] = gradient
        return combined


@dataclass(frozen=True)
class SourceGradients:
    """Gradients of the sources' losses.

    Attributes
    ----------
    apart
        Of parameters that several sources use, by source (E, K, S).
    own
        Of parameters that one source uses alone: columns of (E, P), and the gradient there.
    """

    apart: Tensor
    own: list[tuple[slice, Tensor]]

    def gram(self) -> np.ndarray:
        """Inner products (E, K, K) of the sources' gradients over shared parameters, float64."""
        return torch.bmm(self.apart, self.apart.transpose(1, 2)).double().cpu().numpy()


def _part(
    model: ComparativeVAE, batch: Batch, noise: Mapping[str, Tensor], source: str, inactive: bool
) -> tuple[Batch, dict[str, Tensor]]:
    """Rows and noise of one source."""
    rows = batch.rows[source]
    size = rows.stop - rows.start
    part = Batch(batch.x[:, rows], batch.library[:, rows], batch.constant[:, rows], {source: slice(0, size)})
    own: dict[str, Tensor] = {}
    for block, numbers in noise.items():
        start = 0
        for other in model.encoded(block, inactive):
            r = batch.rows[other]
            if other == source:
                own[block] = numbers[:, start : start + size]
            start += r.stop - r.start
    return part, own


@dataclass(frozen=True)
class _Place:
    """Where one parameter of a stack lies.

    Attributes
    ----------
    index, columns
        Its number, and its columns in (E, P).
    users
        Sources that use it, by number.
    at
        Its columns among the shared parameters, None where one source uses it alone.
    """

    index: int
    columns: slice
    users: tuple[int, ...]
    at: slice | None

    @property
    def width(self) -> int:
        return self.columns.stop - self.columns.start


def _places(model: ComparativeVAE) -> list[_Place]:
    design = model.design
    places: list[_Place] = []
    start = shared = 0
    for i, (name, parameter) in enumerate(model.named_parameters()):
        columns = slice(start, start + parameter[0].numel())
        start = columns.stop
        group, block, *_ = name.split(".")
        sources = design.blocks[block] if group == "encoders" else design.sources
        at = None
        if len(sources) > 1:
            at = slice(shared, shared + columns.stop - columns.start)
            shared = at.stop
        places.append(_Place(i, columns, tuple(design.sources.index(s) for s in sources), at))
    return places
