"""Turn raw files of cells into the bundle and the tables of a data set."""

from __future__ import annotations

import logging
from pathlib import Path

from cdgm.config.dataset import DatasetSpec
from cdgm.config.validation import validated
from cdgm.data.preprocess import preprocess, write_prepared
from cdgm.utils.command_line import Parser, natural, run_job
from cdgm.utils.files import read_json
from cdgm.utils.provenance import Provenance


def main() -> None:
    """Parse, preprocess, write."""
    parser = Parser(description=__doc__)
    parser.add_argument("--spec", required=True, help="file of the entry of datasets: in the config (.json)")
    parser.add_argument("--name", required=True, help="name of that entry")
    parser.add_argument("--root-seed", required=True, type=natural, metavar="N", help="root seed of the run")
    parser.add_argument(
        "--raw", required=True, type=Path, nargs="+", metavar="FILE", help="raw files, as fetched"
    )
    parser.add_argument("--out-dir", required=True, type=Path, metavar="DIR", help="folder of the results")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    provenance = Provenance()
    values = read_json(arguments.spec)
    spec = validated(DatasetSpec, values, f"dataset {arguments.name}")
    raw, *more = arguments.raw
    write_prepared(preprocess(spec, arguments.name, raw, arguments.root_seed, more), arguments.out_dir)
    provenance.write(arguments.out_dir / "provenance.json", values)


if __name__ == "__main__":
    run_job(main)
