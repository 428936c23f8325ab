"""Keep memory that a step frees for the next step, instead of giving it back to the system."""

from __future__ import annotations

import ctypes

# Parameters of mallopt, <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
KEPT = 128 * 2**20
"""Most free bytes at the top of the heap that stay with the process."""
LARGE = 32 * 2**20
"""Bytes from which an allocation goes back to the system when it is freed; the most that glibc takes."""


def keep_freed_memory() -> None:
    """Set glibc's allocator so that steps of a training find their memory where the last one left it.

    Otherwise glibc gives the top of the heap back whenever a few megabytes are free, and a step pays for
    hundreds of page faults, up to a fifth of its time in the stacks of the simulations. It costs at most
    :data:`KEPT` bytes. Elsewhere than under glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function; no such library (Windows)
        return
    mallopt(_M_MMAP_THRESHOLD, LARGE)
    mallopt(_M_TRIM_THRESHOLD, KEPT)
