"""The twist: a change of latents that leaves the distribution of the data as it is.

``T(z, t) = (R(c |t|) z, t)`` rotates pairs of coordinates of one block by an angle that grows with the
norm of another. It keeps the distribution N(0, I) of all latents and is the identity where the other block is
inactive (zero), so a decoder ``f`` and ``f o T^-1`` give the same distribution in every source while their
latents differ: the witness that comparative models with unrestricted mixing are not identifiable.
It is not piecewise affine, so it is no contradiction to the theorem for piecewise affine mixing.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from pydantic import Field, field_validator

from cdgm.utils.registry import Strict


class Twist(Strict):
    """A twist of ``block`` by the norm of ``by``.

    Attributes
    ----------
    angle
        c, in radians per unit of the norm of ``by``.
    block
        Block whose pairs of coordinates (0, 1), (2, 3), ... are rotated; an odd last one stays.
    by
        Block whose norm sets the angle.
    """

    angle: float
    block: str = Field(min_length=1)
    by: str = Field(min_length=1)

    @field_validator("angle")
    @classmethod
    def _turns(cls, angle: float) -> float:
        if angle == 0:
            raise ValueError("is 0, which turns nothing")
        return angle

    def apply(self, latents: dict[str, Any], xp: ModuleType, inverse: bool = False) -> dict[str, Any]:
        """Twisted latents, the same mapping with ``block`` replaced.

        Parameters
        ----------
        latents
            Block to array (..., d), numpy or torch.
        xp
            ``numpy`` or ``torch``: what the arrays are.
        inverse
            Apply the inverse map instead.
        """
        z, t = latents[self.block], latents[self.by]
        pairs = z.shape[-1] // 2 * 2
        # The tiny constant keeps the gradient of the norm finite where the other block is zero.
        norm = xp.sqrt((t * t).sum(-1) + 1e-30)
        angle = (-self.angle if inverse else self.angle) * norm[..., None]
        cos, sin = xp.cos(angle), xp.sin(angle)
        first, second = z[..., 0:pairs:2], z[..., 1:pairs:2]
        rotated = xp.stack([cos * first - sin * second, sin * first + cos * second], -1)
        rotated = rotated.reshape(*z.shape[:-1], pairs)
        return latents | {self.block: xp.concatenate([rotated, z[..., pairs:]], -1)}
