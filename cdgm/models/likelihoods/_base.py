"""What a likelihood is. Torch is imported inside methods: the config loads these modules too."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from cdgm.plugins import Plugin

if TYPE_CHECKING:
    from torch import Tensor


class Likelihood(Plugin):
    """Law of the observations given the decoder's output.

    Shapes: E members, B rows, D features. Log-probabilities are in nats, with all constants.
    """

    counts: ClassVar[bool]
    """Whether the observations are counts (non-negative integers)."""

    @abstractmethod
    def initial_parameters(self, n_members: int, n_features: int) -> dict[str, Tensor]:
        """Start values of the learned parameters, each with a leading member axis; may be empty."""

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
            Library size of each row (E, B, 1); only count likelihoods look at it.
        parameters
            Learned parameters, as :meth:`initial_parameters` names them.
        """

    @abstractmethod
    def summary(self, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
        """What was learned of the noise, metric name to (E,); may be empty."""
