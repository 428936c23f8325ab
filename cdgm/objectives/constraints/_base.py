"""What a constraint is."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from cdgm.designs import Design
from cdgm.plugins import Plugin

if TYPE_CHECKING:
    from torch import Tensor

    from cdgm.models.comparative_vae import Pass


class Constraint(Plugin):
    """A quantity to be held at or under a level; its state (multipliers, averages) is kept outside."""

    @abstractmethod
    def start(self, n_members: int) -> Any:
        """State before the first step."""

    @abstractmethod
    def term(self, result: Pass, design: Design, state: Any) -> tuple[Tensor, Any]:
        """Term (E,) of the Lagrangian for this step, and the state after it."""
