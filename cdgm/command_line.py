"""What every command line of the project shares: one-line errors, exit codes, logging to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable

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
