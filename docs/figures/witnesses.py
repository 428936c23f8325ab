"""Changes of latents that the page of the theory proves something by; its tests and figures use them.

Arrays are (n, d), a row each; ``z`` and ``w`` belong to the background block, ``t`` to the salient one.
"""

import numpy as np
from scipy import integrate, special, stats


def turned(z: np.ndarray) -> np.ndarray:
    """Quarter turn of the pairs of coordinates (0, 1), (2, 3), ...; an odd last one stays."""
    pairs = z.shape[1] // 2 * 2
    result = z.copy()
    result[:, 0:pairs:2], result[:, 1:pairs:2] = -z[:, 1:pairs:2], z[:, 0:pairs:2]
    return result


def quantised_twist(z: np.ndarray, t: np.ndarray) -> np.ndarray:
    """The background block of T(z, t) = (R z, t) where max |t_j| > 1, else (z, t): R is a quarter turn."""
    return np.where(np.abs(t).max(axis=1, keepdims=True) > 1, turned(z), z)


def swap(z: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both blocks with their first coordinates exchanged where neither is 0."""
    both = (z[:, :1] != 0) & (t[:, :1] != 0)
    first = np.where(both, t[:, :1], z[:, :1]), np.where(both, z[:, :1], t[:, :1])
    return np.hstack([first[0], z[:, 1:]]), np.hstack([first[1], t[:, 1:]])


def folded(w: np.ndarray, t: np.ndarray) -> np.ndarray:
    """``2 w |t| / sqrt(w^2 + t^2)`` for each coordinate, 0 where both are 0."""
    norm = np.hypot(w, t)
    return np.divide(2 * w * np.abs(t), norm, out=np.zeros_like(norm), where=norm > 0)


def gate(w: np.ndarray, t: np.ndarray, d: float) -> np.ndarray:
    """``clip(w_j, -s/d, s/d)`` with s = max |t_j|: w where t isn't close to 0, and 0 where t is 0."""
    open_to = np.abs(t).max(axis=1, keepdims=True) / d
    return np.clip(w, -open_to, open_to)


def mirrored_gate(z: np.ndarray, v: np.ndarray, t: np.ndarray, d: float) -> np.ndarray:
    """z where all salient coordinates (v, t) are 0, and v where they aren't close to it."""
    return z - gate(z - v, np.hstack([v, t]), d)


def gate_error(d: float, spare: int, salient: int) -> float:
    """Probability that the gate of ``spare`` coordinates w isn't w, with ``salient`` coordinates t."""

    def density(m: float) -> float:
        below = special.erf(m / np.sqrt(2))
        largest = spare * below ** (spare - 1) * 2 * stats.norm.pdf(m)
        return largest * special.erf(d * m / np.sqrt(2)) ** salient

    return integrate.quad(density, 0, np.inf)[0]
