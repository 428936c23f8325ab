"""What a likelihood is. Torch is imported inside methods: the config loads these modules too."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from cdgm.config.support import Support
from cdgm.utils.registry import Plugin

if TYPE_CHECKING:
    from torch import Tensor


class Likelihood(Plugin):
    """Law of the observations given the decoder's output.

    Shapes: E members, B rows, D features. Log-probabilities are in nats, with all constants.
    """

    support: ClassVar[Support]
    """Which values it is a law of; data with any other value are refused."""

    @abstractmethod
    def initial_parameters(self, n_members: int, n_features: int) -> dict[str, Tensor]:
        """Start values of the learned parameters, each with a leading member axis; may be empty."""

    def library_size(self, x: Tensor) -> Tensor:
        """Library size (...) of observations ``x`` (..., D): what multiplies the rates of a whole row.

        Ones unless a likelihood says otherwise, which is right where rates are those of the decoder alone.
        Computed once per data set, outside the training loop.
        """
        return x.new_ones(x.shape[:-1])

    @abstractmethod
    def encoder_input(self, x: Tensor) -> Tensor:
        """What the encoders see of observations ``x`` (..., D)."""

    @abstractmethod
    def constant(self, x: Tensor) -> Tensor:
        """The part (...) of the log-probability of ``x`` (..., D) that no parameter changes.

        It is computed once per data set, outside the training loop.
        """

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

    @abstractmethod
    def summary(self, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
        """What was learned of the noise, metric name to (E,); may be empty."""
