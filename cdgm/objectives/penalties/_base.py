"""What a penalty is."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from pydantic import Field

from cdgm.designs import Design
from cdgm.plugins import Plugin

if TYPE_CHECKING:
    from torch import Tensor

    from cdgm.models.comparative_vae import Pass


class Penalty(Plugin):
    """A term added to the loss.

    Attributes
    ----------
    weight
        Factor of the term.
    """

    weight: float = Field(ge=0)

    @abstractmethod
    def value(self, result: Pass, design: Design) -> Tensor:
        """Unweighted value of the term (E,), with its graph."""
