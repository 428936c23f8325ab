"""Progress of long steps: a bar on a terminal or in a notebook, a line now and then in a log."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)

# A step that takes less writes no line: a log shows what someone waits for.
SECONDS_BETWEEN_LINES = 15.0
# The first line comes as soon as the time left can be told.
SECONDS_TO_FIRST_LINE = 2.0


@contextlib.contextmanager
def progress(
    what: str, total: int, unit: str, *, start: int = 0, bar: bool = True, keep: bool = False
) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the amount that was done since the last call.

    Parameters
    ----------
    what
        Name of the step, for the bar and the lines.
    total
        Amount to do.
    unit
        Unit of all amounts; lines show ``"B"`` as megabytes.
    start
        Amount that was done before.
    bar
        Show a bar where there is a terminal or a notebook.
    keep
        Leave the bar there at the end; a step that ended early fills it.
    """
    from tqdm import tqdm

    if bar and (sys.stderr.isatty() or "ipykernel" in sys.modules):
        with tqdm(
            total=total, initial=start, unit=f" {unit}", unit_scale=total >= 10_000, desc=what, leave=keep
        ) as shown:

            def update(more: int) -> None:
                shown.update(more)

            yield update
            shown.total = shown.n
            shown.refresh()
        return
    done, began = start, time.monotonic()
    last = began - SECONDS_BETWEEN_LINES + SECONDS_TO_FIRST_LINE

    def advance(more: int) -> None:
        nonlocal done, last
        done += more
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES and done < total:
            last = now
            scale, name = (1e6, "MB") if unit == "B" else (1, unit)
            left = (now - began) * (total - done) / (done - start)
            logger.info("%s: %.0f of %.0f %s (%.0f %%), %.0f s left", what, done / scale, total / scale, name,
                        100 * done / total, left)  # fmt: skip

    yield advance
