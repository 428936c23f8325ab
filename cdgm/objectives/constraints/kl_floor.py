"""A floor on what private blocks carry: the guard against emptying them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from cdgm.config.design import Design
from cdgm.objectives.constraints.base import Constraint
from cdgm.objectives.context import ObjectiveContext
from cdgm.utils.registry import PerMember, Sweep

if TYPE_CHECKING:
    from torch import Tensor

    from cdgm.models.comparative_vae import Pass, Posteriors


class KLFloor(Constraint):
    """``KL(q(u_b | x) || N(0, I)) >= level`` for every block b that some source lacks, mean over rows.

    Independence of the blocks can be had by emptying one of them, at an unchanged ELBO. One multiplier
    serves all such (source, block) pairs: it acts on the one with the smallest divergence.

    Attributes
    ----------
    level
        Floor in nats a row, per member.
    """

    kind: Literal["kl_floor"] = "kl_floor"
    level: Annotated[float | Sweep, PerMember(above=0)]

    sign: ClassVar[float] = -1.0

    def check(self, design: Design) -> None:
        """See :meth:`Constraint.check`."""
        if not private_pairs(design):
            raise ValueError("kl_floor needs a block that some source lacks")

    def begin(self, context: ObjectiveContext) -> Any:
        """See :meth:`Constraint.begin`."""
        return context.numbers("level")

    def measure(self, result: Pass, design: Design, state: Any) -> tuple[Tensor, Tensor]:
        """See :meth:`Constraint.measure`."""
        return _least([result.kl[pair] for pair in private_pairs(design)]), state

    def assess(self, members: Sequence[Any], posteriors: Posteriors, design: Design) -> tuple[Tensor, Tensor]:
        """See :meth:`Constraint.assess`."""
        from cdgm.models.comparative_vae import divergence

        value = _least([divergence(posteriors[pair]).mean(1) for pair in private_pairs(design)])
        return value, value.new_tensor([member.level for member in members])


def private_pairs(design: Design) -> list[tuple[str, str]]:
    """Each (source, active block) whose block is not shared by all sources."""
    return [
        (source, block)
        for block, sources in design.blocks.items()
        if len(sources) < len(design.sources)
        for source in sources
    ]


def _least(values: list[Tensor]) -> Tensor:
    import torch

    return torch.stack(values).amin(0)
