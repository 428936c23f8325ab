"""Fetch and verify one raw file."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from cdgm.command_line import parse_json, run
from cdgm.data.downloads import DOWNLOADS
from cdgm.data.fetch import fetch
from cdgm.validation import validated


def main() -> None:
    """Parse, fetch, say where the file came from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", required=True, metavar="JSON", help="entry of downloads: in the config")
    parser.add_argument("--name", required=True, help="name of that entry")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="where to put the file")
    arguments = parser.parse_args()
    # Retries are progress: like the bar, they show on a terminal only; a log holds the outcome.
    level = logging.INFO if sys.stderr.isatty() else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s")
    download = validated(DOWNLOADS.parse, parse_json(arguments.spec, "--spec"), f"download {arguments.name}")
    origin = fetch(download, f"download {arguments.name}", arguments.out)
    print(f"download {arguments.name}: verified, from {origin}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
