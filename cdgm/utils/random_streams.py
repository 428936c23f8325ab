"""Random streams: every random number of the project has a name, and its seed follows from it."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(*names: str | int, root: int) -> np.random.Generator:
    """Generator for the stream with the given names.

    Streams with different names are independent, so adding a stage, a member or a data set changes
    no other stream, and a member's numbers do not depend on its neighbours in a stack.

    Parameters
    ----------
    names
        What the numbers are for, from coarse to fine: stage, data set, configuration, seed.
    root
        Root seed of the project (config key ``root_seed``).
    """
    words = [root]
    for name in names:
        # Python's own hash() differs between processes; a digest does not.
        digest = hashlib.sha256(f"{type(name).__name__}:{name}".encode()).digest()
        words.extend(int.from_bytes(digest[i : i + 4], "little") for i in (0, 4, 8))
    return np.random.default_rng(np.random.SeedSequence(words))
