"""Entry point of the command ``cdgm``."""

from __future__ import annotations

import argparse
import importlib
import logging
import signal
import sys
from collections.abc import Sequence

import cdgm
from cdgm.cli.inputs import in_terms_of_the_command
from cdgm.utils.command_line import Parser, run
from cdgm.utils.errors import UserError

COMMANDS = ("fit", "choose", "evaluate", "check", "plot", "claims", "datasets")

DESCRIPTION = (
    "Comparative models of two groups of cells (or of arrays): what they share, and what only one has."
)
EPILOG = """\
first run, on data that come with the project:
  cdgm datasets get immune_spikein --out immune.h5ad
  cdgm fit immune.h5ad --source-key source --background background --labels-key label --out fit

on your own file of raw counts:
  cdgm fit cells.h5ad --source-key condition --background ctrl --n-genes 2000 --out fit

then open fit/report.html. `cdgm COMMAND --help` explains a command; docs/own_data.md what the numbers mean.
"""


def parser() -> Parser:
    """The parser of all commands."""
    top = Parser(
        prog="cdgm",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"cdgm {cdgm.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"cdgm.cli.{name}")
        one = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(one)
        one.set_defaults(run=module.run)
    return top


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a user's mistake is one line on stderr and exit code 2."""

    def inner() -> None:
        given = list(sys.argv[1:] if arguments is None else arguments)
        if not given:
            parser().print_help()
            return
        parsed = parser().parse_args(given)
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        # Libraries log fonts and connections; only messages of this package are shown.
        logging.getLogger("cdgm").setLevel(logging.INFO)
        try:
            parsed.run(parsed)
        except UserError as error:
            raise in_terms_of_the_command(error, parsed) from error

    if arguments is None:
        # A scheduler may end the process, or its terminal may close: leave nothing half-written.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup ignores it
            signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    run(inner)
