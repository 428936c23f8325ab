"""The interface of likelihoods. Methods import torch, so the config can load these modules without it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from cdgm.config.value_support import Support
from cdgm.utils.registry import Plugin

if TYPE_CHECKING:
    from torch import Tensor


class Likelihood(Plugin):
    """Distribution of the observations given the decoder's output.

    Shapes: E members, B rows, D features. Log-probabilities are in nats, with all constants.
    """

    support: ClassVar[Support]
    """Values that observations take; data with any other value are refused."""

    def initial_parameters(self, n_members: int, n_features: int) -> dict[str, Tensor]:
        """Start values of the learned parameters, each with a leading member axis; none by default."""
        return {}

    def library_size(self, x: Tensor) -> Tensor:
        """Library size (...) of observations ``x`` (..., D): the factor of all rates of a row.

        Ones by default, for rates that the decoder alone determines.
        Computed once per data set, outside the training loop.
        """
        return x.new_ones(x.shape[:-1])

    def encoder_input(self, x: Tensor) -> Tensor:
        """Input of the encoders for observations ``x`` (..., D); by default these themselves."""
        return x

    def constant(self, x: Tensor) -> Tensor:
        """The part (...) of the log-probability of ``x`` (..., D) that no parameter changes; by default 0.

        It is computed once per data set, outside the training loop.
        """
        return x.new_zeros(x.shape[:-1])

    @abstractmethod
    def log_prob(self, x: Tensor, f: Tensor, library: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        """Log-probability (E, B) of ``x``, summed over features, *without* :meth:`constant`.

        Parameters
        ----------
        x, f
            Observations and decoder outputs (E, B, D).
        library
            Library size of each row (E, B, 1), as :meth:`library_size` gives it; only count likelihoods
            look at it.
        parameters
            Learned parameters, as :meth:`initial_parameters` names them.
        """

    def log_prob_and_gradients(
        self, x: Tensor, f: Tensor, library: Tensor, parameters: dict[str, Tensor], weight: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """:meth:`log_prob`, and the gradients of its weighted sum over rows.

        By default from autograd. A formula of one's own is faster.

        Parameters
        ----------
        x, f, library, parameters
            As in :meth:`log_prob`; ``f`` may be overwritten.
        weight
            Weight of each row (B,).

        Returns
        -------
        log_prob
            (E, B).
        by_output
            Gradient by ``f`` (E, B, D).
        by_parameters
            Gradient by each parameter, in its shape.
        """
        import torch

        # The caller may be in inference mode, of whose tensors autograd takes copies alone.
        with torch.inference_mode(False), torch.enable_grad():
            x, library, weight = x.clone(), library.clone(), weight.clone()
            output = f.clone().requires_grad_()
            learned = {name: p.clone().requires_grad_() for name, p in parameters.items()}
            values = self.log_prob(x, output, library, learned)
            by_output, *found = torch.autograd.grad((values * weight).sum(), [output, *learned.values()])
        return values.detach(), by_output, dict(zip(learned, found, strict=True))

    def summary(self, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
        """Learned parameters of the noise, metric name to (E,); none by default."""
        return {}
