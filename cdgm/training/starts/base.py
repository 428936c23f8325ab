"""The interface of starts."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Self

from pydantic import Field

from cdgm.utils.registry import Plugin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdgm.config.model import ModelSpec
    from cdgm.config.simulation import Simulation
    from cdgm.models.comparative_vae import ComparativeVAE


class Start(Plugin):
    """Start values of a stack that take the place of some of the random ones.

    Attributes
    ----------
    decoder_held
        Share of the steps in which the decoder and the likelihood's parameters stay as they start, while the
        encoders learn to serve them: encoders that are bad would drive a good decoder away.
    """

    decoder_held: float = Field(ge=0, le=1)

    def of_setting(self, simulation: Simulation | None) -> Self:
        """The same start with what it needs of a setting; ``simulation`` is None for cells."""
        return self

    @abstractmethod
    def check(self, model: ModelSpec) -> None:
        """Refuse a model that cannot start so, with a ValueError."""

    @abstractmethod
    def apply(self, model: ComparativeVAE, seeds: Sequence[int], root: int) -> None:
        """Write the start values into a stack that holds random ones.

        Parameters
        ----------
        model
            The stack.
        seeds
            Seed of each member (E,).
        root
            Root of all random streams.
        """
