"""Normalised HSIC between the active blocks of each source: a dependence on a scale from 0 to 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from cdgm.config.design import Design
from cdgm.objectives.penalties.base import Penalty
from cdgm.objectives.penalties.hsic import block_pairs

if TYPE_CHECKING:
    from torch import Tensor

    from cdgm.models.comparative_vae import Posterior, Posteriors

AUTO_FLOOR = 1e-7
"""Added to a block's HSIC with itself: blocks of sd below a few hundredths fade out."""


class NormalisedHSIC(Penalty):
    r"""Largest normalised HSIC of two active blocks of a source.

    .. math:: \mathrm{HSIC}(x, y) / \sqrt{\mathrm{HSIC}(x, x)\, \mathrm{HSIC}(y, y)},

    all three unbiased (Song et al. 2012), with RBF kernels at the prior's bandwidth: centred kernel alignment
    (Cortes et al. 2012; Kornblith et al. 2019). It is 0 under independence and 1 if one block determines the
    other up to a rotation, but for the noise of the estimate, which makes it negative at times. Unlike HSIC
    it hardly changes where means shrink, and a level means the same at every number of rows and dimensions:
    it reads like an R2. The largest pair counts, so that a level holds for each pair.

    Attributes
    ----------
    of
        Posterior ``means`` or ``samples`` (one a row). Noise of the samples hides dependence of the means.
    """

    kind: Literal["hsic_normalised"] = "hsic_normalised"
    of: Literal["means", "samples"]

    def check(self, design: Design) -> None:
        """See :meth:`Penalty.check`."""
        if not any(block_pairs(design)):
            raise ValueError(
                "penalty 'hsic_normalised' compares blocks of a source, but no source has two active blocks"
            )

    def measure(self, posteriors: Posteriors, design: Design) -> Tensor:
        """See :meth:`Penalty.measure`."""
        import torch

        pairs = list(block_pairs(design))
        rows = {
            (source, block): self._rows(posteriors[source, block])
            for source, *blocks in pairs
            for block in blocks
        }
        return torch.stack([normalised_hsic(rows[s, a], rows[s, b]) for s, a, b in pairs]).amax(0)

    def _rows(self, posterior: Posterior) -> Tensor:
        return posterior.mean if self.of == "means" else posterior.sample


def normalised_hsic(x: Tensor, y: Tensor) -> Tensor:
    """HSIC of rows (E, n, p) and (E, n, q) over the geometric mean of each one's with itself, (E,)."""
    from cdgm.objectives.kernels import hsic

    own = (hsic(x, x).clamp(min=0.0) + AUTO_FLOOR) * (hsic(y, y).clamp(min=0.0) + AUTO_FLOOR)
    return hsic(x, y) * own.rsqrt()
