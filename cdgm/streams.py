"""Random streams named by what they are for, so that no result hangs on what ran before it."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def stream(*names: str | int, root: int) -> np.random.Generator:
    """Return a numpy generator that depends on its names and the root seed only.

    Parameters
    ----------
    names
        What the stream is for, from coarse to fine, such as ``"preprocess", "papalexi2021"``.
    root
        Root seed of the whole run, >= 0.

    Notes
    -----
    Names are hashed (sha256, eight 32-bit words) because ``SeedSequence`` takes integers only; the JSON
    list keeps ``("a", "bc")`` apart from ``("ab", "c")`` and ``1`` apart from ``"1"``.
    """
    digest = hashlib.sha256(json.dumps(list(names)).encode()).digest()
    words = [int.from_bytes(digest[start : start + 4], "little") for start in range(0, 32, 4)]
    return np.random.default_rng(np.random.SeedSequence([root, *words]))
