"""Progress of long steps: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)

# A step that is done sooner writes no line: logs hold what someone waits for.
SECONDS_BETWEEN_LINES = 15.0


@contextlib.contextmanager
def progress(what: str, total: int, unit: str, *, start: int = 0) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how much more is done.

    Parameters
    ----------
    what
        What is going on, for the bar and the lines.
    total
        How much there is to do.
    unit
        Unit of both; ``"B"`` is shown as megabytes in lines.
    start
        How much was done before.
    """
    from tqdm import tqdm

    if sys.stderr.isatty():
        with tqdm(total=total, initial=start, unit=unit, unit_scale=True, desc=what, leave=False) as bar:
            yield bar.update
        return
    done, last = start, time.monotonic()

    def advance(more: int) -> None:
        nonlocal done, last
        done += more
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES and done < total:
            last = time.monotonic()
            scale, shown = (1e6, "MB") if unit == "B" else (1, unit)
            logger.info("%s: %.0f of %.0f %s (%.0f %%)", what, done / scale, total / scale, shown,
                        100 * done / total)  # fmt: skip

    yield advance
