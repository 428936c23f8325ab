"""What every command line of the project shares: one-line errors, exit codes, logging to stderr."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

from cdgm.utils.errors import UserError


def run(main: Callable[[], None]) -> None:
    """Run ``main``; a user's mistake becomes one line on stderr and exit code 2."""
    try:
        main()
    except UserError as error:
        _tell(f"error: {error}")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        _tell("error: interrupted")
        raise SystemExit(130) from None


def log(message: str) -> None:
    """A line of progress on stderr, which the workflow keeps in the job's log."""
    # A log that can't be written is no reason to lose the work; a full disk is told when results are written.
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def _tell(message: str) -> None:
    """An error, on stderr; where that is a file on a full disk, on stdout, which the workflow passes on."""
    try:
        print(message, file=sys.stderr, flush=True)
    except OSError:
        print(message, flush=True)
