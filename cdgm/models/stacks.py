"""Layers of many members at once: parameters and activations carry a leading member axis (E, ...)."""

# Torch's own types are partial (from_numpy).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from cdgm.config.model import HiddenNorm
from cdgm.models.hidden_layers import AfterLinear, Kept

# Matrix products with fewer columns than this are formed transposed: MKL is up to 5 times slower for them.
NARROW = 32


class StackedLinear(nn.Module):
    """E independent linear layers, (E, B, in) to (E, B, out), as one batched matrix product."""

    def __init__(self, n_members: int, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_members, n_in, n_out))
        self.bias = nn.Parameter(torch.empty(n_members, 1, n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Apply each member's layer to its own rows."""
        return torch.baddbmm(self.bias, x, self.weight)

    @torch.no_grad()
    def reset(self, generators: Sequence[np.random.Generator]) -> None:
        """Draw weights and biases from U(-1, 1) / sqrt(in), each member from its own generator."""
        bound = self.weight.shape[1] ** -0.5
        for member, rng in enumerate(generators):
            for parameter in (self.weight, self.bias):
                values = rng.uniform(-bound, bound, size=parameter.shape[1:])
                parameter[member] = torch.from_numpy(values)


LayerGradients = Sequence[tuple[Tensor, Tensor]]
"""Where the gradients of a network's weights (E, in, out) and biases (E, 1, out) go, layer by layer."""


@dataclass(frozen=True)
class Trace:
    """What a pass through a :class:`StackedMLP` leaves for its gradient.

    Attributes
    ----------
    inputs
        Input of each layer (E, B, in).
    kept
        What follows each hidden layer leaves.
    """

    inputs: list[Tensor]
    kept: list[Kept]


class StackedMLP(nn.Module):
    """E independent multilayer perceptrons with a linear output, (E, B, in) to (E, B, out)."""

    def __init__(
        self,
        n_members: int,
        n_in: int,
        hidden: Sequence[int],
        n_out: int,
        activation: str,
        norm: HiddenNorm | None = None,
    ) -> None:
        super().__init__()
        widths = [n_in, *hidden, n_out]
        self.layers = nn.ModuleList(StackedLinear(n_members, a, b) for a, b in itertools.pairwise(widths))
        self.hidden = AfterLinear(activation, norm)
        # The same, of known type and without the cost of a look-up.
        self._stack: list[StackedLinear] = [cast("StackedLinear", layer) for layer in self.layers]

    def reset(self, generators: Sequence[np.random.Generator]) -> None:
        """Draw the weights of all layers, first to last, each member from its own generator."""
        for layer in self._stack:
            layer.reset(generators)

    def forward(self, x: Tensor) -> Tensor:
        """Apply each member's network to its own rows, without dropout."""
        return self._stack[-1](self._hidden(x).inputs[-1])

    def traced(
        self, x: Tensor, rows_last: bool = False, masks: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Trace]:
        """What :meth:`forward` gives, and what :meth:`pull` needs.

        Parameters
        ----------
        x
            Input (E, B, in).
        rows_last
            Whether the output is (E, out, B) and not (E, B, out); the better one where ``out`` is small.
        masks
            Dropout of each hidden layer (E, B, width), see :meth:`AfterLinear.apply`; empty without.
        """
        trace, last = self._hidden(x, masks), self._stack[-1]
        if rows_last:
            return torch.baddbmm(last.bias.mT, last.weight.mT, trace.inputs[-1].mT), trace
        return last(trace.inputs[-1]), trace

    def _hidden(self, x: Tensor, masks: Sequence[Tensor] = ()) -> Trace:
        trace = Trace([x], [])
        for i, layer in enumerate(self._stack[:-1]):
            x, kept = self.hidden.apply(layer(x), masks[i] if masks else None)
            trace.inputs.append(x)
            trace.kept.append(kept)
        return trace

    def pull(
        self,
        trace: Trace,
        gradient: Tensor,
        into: Sequence[tuple[slice, LayerGradients]],
        to_input: bool = False,
    ) -> Tensor | None:
        """Gradients by the parameters, and by the input if it is asked for.

        Parameters
        ----------
        trace
            What :meth:`traced` gave.
        gradient
            Gradient by the output (E, B, out).
        into
            For each group of rows, where the part of the gradients goes that comes from them; the former
            values are overwritten.
        to_input
            Whether the gradient by the input is wanted.

        Returns
        -------
        Tensor or None
            Gradient by the input, (E, in, B).
        """
        for i in reversed(range(len(self._stack))):
            for rows, places in into:
                weight, bias = places[i]
                part = gradient[:, rows]
                _multiply(trace.inputs[i][:, rows].mT, part, weight)
                torch.sum(part, 1, keepdim=True, out=bias)
            if i > 0:
                gradient = torch.bmm(gradient, self._stack[i].weight.mT)
                gradient = self.hidden.pull(gradient, trace.kept[i - 1])
        return torch.bmm(self._stack[0].weight, gradient.mT) if to_input else None

    def places(self, views: Mapping[str, Tensor], name: str) -> LayerGradients:
        """Places of this network's gradients among those of a whole stack, in which it is ``name``."""
        return [
            (views[f"{name}.layers.{i}.weight"], views[f"{name}.layers.{i}.bias"])
            for i in range(len(self._stack))
        ]


def _multiply(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Write the products ``a @ b`` to ``out``, all with a leading member axis."""
    columns = out.shape[-1]
    # Not by `out=`: for what is not contiguous, torch then goes member by member.
    out.copy_(torch.bmm(b.mT, a.mT).mT if columns < NARROW and columns % 16 else torch.bmm(a, b))


def weight_mask(module: nn.Module) -> Tensor:
    """Which of a member's parameters (P,) are weights of linear layers: 1, and 0 for biases and others."""
    named = module.named_parameters()
    return torch.cat([p.new_full((p[0].numel(),), float(name.endswith(".weight"))) for name, p in named])


def flatten_parameters(module: nn.Module, n_members: int) -> Tensor:
    """Move all parameters of a stack into one (E, P) tensor, of which they become views.

    One tensor makes the optimiser step, the norm of each member's gradient and the freezing of a
    member single operations instead of one a layer, which counts at the small sizes of the
    simulations.

    Returns
    -------
    Tensor
        The (E, P) tensor; a change to it is a change of the parameters.
    """
    flat = torch.cat([p.detach().reshape(n_members, -1) for p in module.parameters()], dim=1).contiguous()
    views = parameter_views(module, flat)
    for name, p in module.named_parameters():
        p.data = views[name]
    return flat


def parameter_views(module: nn.Module, flat: Tensor) -> dict[str, Tensor]:
    """Parts (E, ...) of ``flat`` (E, P) that belong to each parameter of a stack, by its name."""
    views: dict[str, Tensor] = {}
    start = 0
    for name, p in module.named_parameters():
        size = p[0].numel()
        views[name] = flat[:, start : start + size].view(p.shape)
        start += size
    return views
