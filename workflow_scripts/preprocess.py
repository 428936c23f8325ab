"""Turn one raw file of cells into the bundle and the tables of a data set."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from cdgm.command_line import run
from cdgm.data.config import DatasetSpec, parse_spec
from cdgm.data.preprocess import preprocess, write_prepared


def main() -> None:
    """Parse, preprocess, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", required=True, metavar="JSON", help="entry of datasets: in the config")
    parser.add_argument("--name", required=True, help="name of that entry")
    parser.add_argument("--root-seed", required=True, type=int, metavar="N", help="root seed of the run")
    parser.add_argument("--raw", required=True, type=Path, metavar="FILE", help="raw file, as fetched")
    parser.add_argument("--out-dir", required=True, type=Path, metavar="DIR", help="folder of the results")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    spec = parse_spec(arguments.spec, f"dataset {arguments.name}", DatasetSpec.model_validate)
    write_prepared(preprocess(spec, arguments.name, arguments.raw, arguments.root_seed), arguments.out_dir)


if __name__ == "__main__":
    run(main)
