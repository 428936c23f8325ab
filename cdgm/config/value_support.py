"""Which values observations can take: real numbers, counts, or 0 and 1.

Noises draw them, likelihoods give them a probability, and data files hold them.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

# Counts are whole and not negative; binary values are 0 and 1.
Support = Literal["real", "counts", "binary"]

# From narrow to wide: each holds all values of those before it.
_FROM_NARROW_TO_WIDE: tuple[Support, ...] = ("binary", "counts", "real")

#: How messages name them.
WORDS: dict[Support, str] = {"binary": "values 0 and 1", "counts": "counts", "real": "real values"}


def holds(wide: Support, narrow: Support) -> bool:
    """Return whether every value of ``narrow`` is one of ``wide``, as every count is a real number."""
    return _FROM_NARROW_TO_WIDE.index(narrow) <= _FROM_NARROW_TO_WIDE.index(wide)


def violations(values: np.ndarray, support: Support) -> list[tuple[np.ndarray, str]]:
    """Find finite ``values`` outside ``support``: masks of the same shape, each with what was expected.

    An array of unsigned integers holds counts by its type and is not searched.
    """
    if support == "real":
        return []
    if support == "binary":
        return [((values != 0) & (values != 1), "0 or 1")]
    found = []
    if values.dtype.kind != "u":
        found.append((values < 0, "a count, which is not negative"))
    if values.dtype.kind == "f":
        found.append((values != np.floor(values), "a count, which is an integer"))
    return found
