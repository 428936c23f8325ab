"""Check the config files and values on the command line of ``snakemake``, before Snakemake itself reads them.

Snakemake reads them before any Snakefile, and tells neither file nor line of a mistake. A profile comes
first: those of this project call :func:`check`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from cdgm.config.layers import load_layers
from cdgm.utils.command_line import run
from cdgm.utils.errors import UserError, bad_input


def check(arguments: Sequence[str] | None = None) -> None:
    """End the process with one line and exit code 2 if a file or value cannot be read.

    Parameters
    ----------
    arguments
        Those of the command line; by default of this process.
    """
    run(lambda: require_readable(sys.argv[1:] if arguments is None else arguments))


def require_readable(arguments: Sequence[str]) -> None:
    """Refuse files of ``--configfile`` that are no mappings in YAML, and ``--config`` that is no KEY=VALUE.

    Raises
    ------
    UserError
        Naming the file with its line, or the option.
    """
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", action="extend", default=[])
    parser.add_argument("--config", "-C", nargs="*", action="extend", default=[])
    try:
        known, _ = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError:
        return  # Snakemake tells mistakes of its own options
    load_layers(known.configfile)
    for entry in known.config:
        _check_entry(entry)


def _check_entry(entry: str) -> None:
    # Snakemake's own reading, whose mistakes are tracebacks.
    from snakemake.cli import parse_config

    try:
        parse_config([entry])
    except Exception as error:  # of any type: it tries several languages
        reason = " ".join(str(error).split())
        raise bad_input("--config", "", entry, f"KEY=VALUE, as in root_seed=1: {reason}") from error
    if "=" not in entry:
        raise UserError(f"--config: got {entry!r}, expected KEY=VALUE")
