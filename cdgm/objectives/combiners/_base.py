"""What a combiner is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cdgm.plugins import Plugin

if TYPE_CHECKING:
    from torch import Tensor


class Combiner(Plugin):
    """Turns the sources' losses into one gradient a member.

    Shapes: K sources, E members, P parameters a member.
    """

    @abstractmethod
    def gradient(self, losses: Tensor, added: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Combined gradient of the stack.

        Parameters
        ----------
        losses
            Loss (negative ELBO) of each source (K, E), with its graph.
        added
            Penalty and constraint terms (E,), with their graph; they enter with weight 1.
        parameters
            Parameters of the stack, each (E, ...).

        Returns
        -------
        gradient
            (E, P), parameters side by side in the given order.
        weights
            Weight of each source in it (K, E); they sum to K, so that penalties keep their strength.
        """


def flat_gradient(loss: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Gradient (E, P) of a stack's summed loss; members share nothing, so the sum keeps them apart."""
    import torch

    gradients = torch.autograd.grad(loss, parameters)
    return torch.cat([g.reshape(g.shape[0], -1) for g in gradients], dim=1)
