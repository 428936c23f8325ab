"""What every command line of the project shares: one-line errors, exit codes, logging to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from cdgm.errors import UserError


def run(main: Callable[[], None]) -> None:
    """Run ``main``; a user's mistake becomes one line on stderr and exit code 2."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        raise SystemExit(130) from None


def parse_json(text: str, option: str) -> Any:
    """Value of a command-line option that holds JSON.

    Raises
    ------
    UserError
        If it is no JSON.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"{option}: not valid JSON: {error}") from error


def log(message: str) -> None:
    """A line of progress on stderr, which the workflow keeps in the job's log."""
    print(message, file=sys.stderr, flush=True)
