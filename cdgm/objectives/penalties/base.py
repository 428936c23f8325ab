"""The interface of penalties."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from cdgm.config.design import Design
from cdgm.config.ramp import Ramp
from cdgm.objectives.context import ObjectiveContext
from cdgm.utils.registry import PerMember, Plugin, Sweep

if TYPE_CHECKING:
    from torch import Tensor

    from cdgm.models.comparative_vae import Pass, Posteriors
    from cdgm.objectives.null_quantiles import NullMoments


class Penalty(Plugin):
    """A quantity of a pass that should be small: added to the loss with a weight, or held under a level.

    Attributes
    ----------
    weight
        Factor of the quantity in the loss; absent where it is held under a level instead.
    ramp
        Factor of the weight that changes over the first steps; without it the weight is constant.
    """

    weight: Annotated[float | Sweep | None, PerMember(minimum=0)] = None
    ramp: Ramp | None = None

    needs_inactive: ClassVar[bool] = False
    """Whether it looks at posteriors of blocks in sources where they are inactive."""
    has_null: ClassVar[bool] = False
    """Whether :meth:`null` is defined: the moments under chance alone."""
    is_pure: ClassVar[bool] = True
    """Whether it is a function of posteriors alone (:meth:`measure`)."""

    def start(self, context: ObjectiveContext) -> Any:
        """State that the penalty keeps between steps; most need none."""
        return None

    def value(self, result: Pass, design: Design, state: Any) -> Tensor:
        """Unweighted value (E,) in a step, with its graph.

        Parameters
        ----------
        result
            The pass.
        design
            Sources and blocks.
        state
            What :meth:`start` gave; may be changed in place.
        """
        return self.measure({**result.posteriors, **result.inactive}, design)

    def measure(self, posteriors: Posteriors, design: Design) -> Tensor:
        """The quantity (E,) as a function of posteriors; a penalty that is none writes :meth:`value`.

        Parameters
        ----------
        posteriors
            Posteriors of each (source, active block), and of each (source, inactive block) if
            ``needs_inactive``.
        design
            Sources and blocks.
        """
        raise NotImplementedError(f"penalty {self.kind!r} is not a function of posteriors alone")

    def null(self, posteriors: Posteriors, design: Design) -> NullMoments:
        """Moments of :meth:`measure` if there were nothing to find, given current posteriors.

        They belong to as many rows as ``posteriors`` has. A penalty without them can be held under an
        absolute level only.
        """
        raise NotImplementedError(f"penalty {self.kind!r} has no null")

    def check(self, design: Design) -> None:
        """Refuse a design in which the quantity does not exist, with a ValueError."""
