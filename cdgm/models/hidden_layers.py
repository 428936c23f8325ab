"""What follows a hidden linear layer: layer norm, nonlinearity, dropout; and the gradient of it all by hand.

Norm and dropout keep networks upright that are wide beside their number of rows. Their order is that of
scvi-tools: linear, norm, nonlinearity, dropout. There is no batch norm: its statistics would tie the rows of
all sources together, and the gradients of the sources' ELBOs could no longer be told apart by rows.
"""

# Torch's own types are partial (ops, native_layer_norm).
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cdgm.config.model import LEAKY_RELU_SLOPE as SLOPE
from cdgm.config.model import HiddenNorm

#: Added to the variance by the layer norm, as in :class:`torch.nn.LayerNorm`.
EPSILON = 1e-5


@dataclass(frozen=True)
class Activation:
    """A nonlinearity and its gradient.

    Attributes
    ----------
    apply
        The nonlinearity; in place, unless its gradient looks at the inputs.
    pull
        ``pull(gradient, kept)`` changes a gradient by the outputs to one by the inputs, in place.
    keeps_input
        Whether ``pull`` looks at the inputs; else at the outputs.
    """

    apply: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor, Tensor], Tensor]
    keeps_input: bool = False


_aten = torch.ops.aten
ACTIVATIONS: dict[str, Activation] = {
    "leaky_relu": Activation(
        lambda z: nn.functional.leaky_relu_(z, SLOPE),
        lambda g, y: _aten.leaky_relu_backward.grad_input(g, y, SLOPE, True, grad_input=g),
    ),
    "silu": Activation(
        nn.functional.silu,
        lambda g, z: _aten.silu_backward.grad_input(g, z, grad_input=g),
        keeps_input=True,
    ),
    "tanh": Activation(torch.tanh_, lambda g, y: _aten.tanh_backward.grad_input(g, y, grad_input=g)),
}


class Kept(NamedTuple):
    """What a pass through :class:`AfterLinear` leaves for its gradient.

    Attributes
    ----------
    activation
        What the gradient of the nonlinearity looks at (E, B, h).
    norm
        Input (E, B, h) of the layer norm, and mean and inverse standard deviation (E, B, 1) of each row;
        None without one.
    mask
        The mask of the dropout (E, B, h); None without.
    """

    activation: Tensor
    norm: tuple[Tensor, Tensor, Tensor] | None
    mask: Tensor | None


class AfterLinear:
    """What follows the hidden linear layers of a network; it has no parameters.

    The layer norm (Ba et al. 2016) gives each row mean 0 and variance 1 over the units of the layer, whatever
    the other rows are. It has no gains and shifts of its own, as in scvi-tools: the next layer has them.

    Parameters
    ----------
    activation
        Name of the nonlinearity.
    norm
        ``layer`` for a layer norm; None without.
    """

    def __init__(self, activation: str, norm: HiddenNorm | None = None) -> None:
        self.activation, self.norm = ACTIVATIONS[activation], norm

    def apply(self, z: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Kept]:
        """Input of the next layer (E, B, h), and what :meth:`pull` needs.

        Parameters
        ----------
        z
            Output of the linear layer (E, B, h); it may be overwritten.
        mask
            Factors of the dropout (E, B, h): 0 for what is dropped, ``1 / (1 - p)`` for what is kept
            (Srivastava et al. 2014). None without dropout, as always outside of training.
        """
        norm = None
        if self.norm is not None:
            normed, mean, inverse_sd = torch.native_layer_norm(z, z.shape[-1:], None, None, EPSILON)
            norm, z = (z, mean, inverse_sd), normed
        y = self.activation.apply(z)
        kept = Kept(z if self.activation.keeps_input else y, norm, mask)
        return (y if mask is None else y * mask), kept

    def pull(self, gradient: Tensor, kept: Kept) -> Tensor:
        """Gradient by the output of the linear layer; that by the next one's input is overwritten."""
        if kept.mask is not None:
            gradient = gradient.mul_(kept.mask)
        gradient = self.activation.pull(gradient, kept.activation)
        if kept.norm is None:
            return gradient
        z, mean, inverse_sd = kept.norm
        found = _aten.native_layer_norm_backward(
            gradient, z, z.shape[-1:], mean, inverse_sd, None, None, [True, False, False]
        )
        return found[0]
