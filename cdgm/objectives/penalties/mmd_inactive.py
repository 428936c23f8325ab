"""MMD of blocks against 0 in the sources where they are inactive."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import TYPE_CHECKING, ClassVar, Literal

from cdgm.config.design import Design
from cdgm.objectives.penalties._inactive import check_inactive, inactive_blocks
from cdgm.objectives.penalties._kernel import MMDPenalty

if TYPE_CHECKING:
    from torch import Tensor

    from cdgm.models.comparative_vae import Posteriors


class InactiveMMD(MMDPenalty):
    """Sum over sources and their inactive blocks of MMD^2 between the block and a point mass at 0.

    It trains the block's encoder to find nothing in rows whose source does not have the block. The second
    term of the MM-cVAE (Weinberger et al. 2022) is this on ``samples``, ``biased``, with the kernel
    ``mm_cvae`` and weight 1e3; an estimate below 0 is set to 0 there, and for ``biased`` here.
    On ``means`` the posterior's variance is left free.

    Attributes
    ----------
    estimator, of, kernel
        See the bases.
    """

    kind: Literal["mmd_inactive"] = "mmd_inactive"

    needs_inactive: ClassVar[bool] = True

    def check(self, design: Design) -> None:
        """See :meth:`Penalty.check`."""
        check_inactive(self.kind, design)

    def measure(self, posteriors: Posteriors, design: Design) -> Tensor:
        """See :meth:`Penalty.measure`."""
        from cdgm.objectives.kernels import mmd2_point

        return reduce(
            add,
            (
                self.clamped(mmd2_point(self.rows(posteriors[key]), self.estimator, self.gammas))
                for key in inactive_blocks(design)
            ),
        )
