"""Which values observations can take: what noises make, what likelihoods are laws of, what files hold."""

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
    """Whether every value of ``narrow`` is one of ``wide``: counts are real numbers, but not the reverse."""
    return _FROM_NARROW_TO_WIDE.index(narrow) <= _FROM_NARROW_TO_WIDE.index(wide)


def violations(values: np.ndarray, support: Support) -> list[tuple[np.ndarray, str]]:
    """Where finite ``values`` lie outside of ``support``: masks of the same shape, and what was expected.

    Only checks that the array's type does not already answer are made: unsigned integers are counts.
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
