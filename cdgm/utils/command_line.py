"""Shared by all command lines of the project: one-line errors, exit codes, logging to stderr."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import os
import re
import sys
from collections.abc import Callable
from typing import NoReturn

from cdgm.utils.errors import LONGEST, UserError


def run(main: Callable[[], None]) -> None:
    """Run ``main``; a user's mistake becomes one line on stderr and exit code 2.

    A reader of stdout that has seen enough (``| head``) ends the command without a word.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell (``>&-``)
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        _print_error(f"error: {error}")
        raise SystemExit(2) from None
    except BrokenPipeError:
        _drop_output()
    except OSError as error:
        if error.errno is None:
            raise
        # Without a name it is stdout: files are read and written by functions that tell theirs.
        where = "standard output" if error.filename is None else os.fsdecode(error.filename)
        _drop_output()
        _print_error(f"error: {where}: {os.strerror(error.errno)}")
        raise SystemExit(2) from None
    except MemoryError as error:
        _print_error(f"error: not enough memory{f': {error}' if str(error) else ''}")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        _print_error("error: interrupted")
        raise SystemExit(130) from None


def run_job(main: Callable[[], None]) -> NoReturn:
    """:func:`run` as all that this process does, which then ends without taking its libraries down.

    That takes half a second where torch is loaded, and frees what the system frees anyway. Handlers of
    :mod:`atexit` run; threads that still work are not waited for.
    """
    # Loaded libraries stay until the end: collections pass over them (``workflow_scripts/__init__.py``).
    gc.freeze()
    gc.enable()
    run(main)
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


class Parser(argparse.ArgumentParser):
    """Parser that reports a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise a UserError, so that every mistake is reported alike; argparse shows words in full."""
        if len(message) > 2 * LONGEST:
            message = f"{message[:LONGEST]} ... {message[-LONGEST:]}"
        raise UserError(f"{message} (see {self.prog} --help)")


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    return whole(text, 1)


def natural(text: str) -> int:
    """A whole number of at least 0, for argparse."""
    return whole(text, 0)


def whole(text: str, least: int) -> int:
    """A whole number of at least ``least``."""
    # Python would also take 1_0 and digits of other scripts.
    value = int(text) if re.fullmatch(r"[+-]?[0-9]{1,99}", text.strip()) else least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number of at least {least}")
    return value


def _drop_output() -> None:
    """Let what is left of the output go nowhere: Python would try to write it once more at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
