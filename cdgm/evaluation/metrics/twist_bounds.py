r"""Bounds on the scores that any fit can reach against a twisted truth.

The twist turns pairs of shared coordinates by the angle :math:`c\|t\|`. The data have the same
distribution for all c, so a fit can recover one of the truths only; the bounds limit its scores on another.
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln, hyp1f1


def twist_correlation(angle: float, dim: int = 3) -> float:
    r"""Canonical correlation of a pair of coordinates with the same pair twisted.

    :math:`|E\,e^{ic\|t\|}|` for t ~ N(0, I_dim), the modulus of the characteristic function of the chi
    distribution: with M Kummer's function,
    :math:`E\,e^{icr} = M(\tfrac d2, \tfrac12, -\tfrac{c^2}2)
    + ic\sqrt2\,\frac{\Gamma((d+1)/2)}{\Gamma(d/2)} M(\tfrac{d+1}2, \tfrac32, -\tfrac{c^2}2)`.
    It follows from :math:`E[z'z^\top | t] = R(c\|t\|)`, whose mean over t is that modulus times a rotation.

    Parameters
    ----------
    angle
        c, radians per unit of the norm of t; with two truths of one fit, the *difference* of their angles.
    dim
        Dimensions of t.
    """
    x = -0.5 * float(angle) ** 2
    ratio = np.exp(gammaln((dim + 1) / 2) - gammaln(dim / 2))
    real = hyp1f1(dim / 2, 0.5, x)
    imaginary = angle * np.sqrt(2.0) * ratio * hyp1f1((dim + 1) / 2, 1.5, x)
    return float(np.hypot(real, imaginary))


def twisted_recovery(angle: float, shared_dim: int = 5, dim: int = 3) -> float:
    """Mean canonical correlation of a perfect fit with the twisted truth.

    Pairs get :func:`twist_correlation`; the coordinate left over by an odd ``shared_dim`` isn't turned and
    keeps 1.
    """
    pairs, odd = divmod(shared_dim, 2)
    return (2 * pairs * twist_correlation(angle, dim) + odd) / shared_dim


def twisted_r2(angle: float, shared_dim: int = 5, dim: int = 3) -> float:
    """Share of the twisted truth's variance that the untwisted one explains, by *any* function of it.

    E[z' | z] = E[R(c|t|)] z is linear, so no nonlinear regression does better; with t known too it is 1.
    """
    pairs, odd = divmod(shared_dim, 2)
    return (2 * pairs * twist_correlation(angle, dim) ** 2 + odd) / shared_dim
