"""Layers of many members at once: parameters and activations carry a leading member axis (E, ...)."""

# Torch's own types are partial (from_numpy).
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

# The slope of leaky ReLU is the usual one of the field's simulations (0.2).
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "leaky_relu": functools.partial(nn.functional.leaky_relu, negative_slope=0.2),
    "silu": nn.functional.silu,
    "tanh": torch.tanh,
}


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


class StackedMLP(nn.Module):
    """E independent multilayer perceptrons with a linear output, (E, B, in) to (E, B, out)."""

    def __init__(self, n_members: int, n_in: int, hidden: Sequence[int], n_out: int, activation: str) -> None:
        super().__init__()
        widths = [n_in, *hidden, n_out]
        self.layers = nn.ModuleList(StackedLinear(n_members, a, b) for a, b in itertools.pairwise(widths))
        self.activation = ACTIVATIONS[activation]

    def reset(self, generators: Sequence[np.random.Generator]) -> None:
        """Draw the weights of all layers, first to last, each member from its own generator."""
        for layer in self.layers:
            cast("StackedLinear", layer).reset(generators)

    def forward(self, x: Tensor) -> Tensor:
        """Apply each member's network to its own rows."""
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)


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
    parameters = list(module.parameters())
    flat = torch.cat([p.detach().reshape(n_members, -1) for p in parameters], dim=1).contiguous()
    start = 0
    for p in parameters:
        size = p[0].numel()
        p.data = flat[:, start : start + size].view(p.shape)
        start += size
    return flat
