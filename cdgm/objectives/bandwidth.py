"""The bandwidth of RBF kernels on latents, which training and metrics share."""

from __future__ import annotations

import math


def expected_distance(dim: int) -> float:
    r"""Mean distance of two independent N(0, I_dim) vectors, :math:`2\,\Gamma((d+1)/2) / \Gamma(d/2)`.

    The bandwidth of Lopez et al. (2018): fixed by the prior, and so blind to the fit.

    Raises
    ------
    ValueError
        If ``dim`` is below 1.
    """
    if dim < 1:
        raise ValueError(f"a block has 1 dimension or more, got {dim}")
    return 2.0 * math.exp(math.lgamma((dim + 1) / 2) - math.lgamma(dim / 2))
