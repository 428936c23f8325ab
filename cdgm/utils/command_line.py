"""Shared by all command lines of the project: one-line errors, exit codes, logging to stderr."""

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
        _print_error(f"error: {error}")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        _print_error("error: interrupted")
        raise SystemExit(130) from None


def log(message: str) -> None:
    """A line of progress on stderr, which the workflow keeps in the job's log."""
    # The work goes on without a log; a full disk becomes an error when results are written.
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def _print_error(message: str) -> None:
    """An error, on stderr; where that is a file on a full disk, on stdout, which the workflow passes on."""
    try:
        print(message, file=sys.stderr, flush=True)
    except OSError:
        print(message, flush=True)
