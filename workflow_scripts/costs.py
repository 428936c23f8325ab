"""Gather what a study's jobs cost; apart from the scores, since times do not repeat to the byte."""

from __future__ import annotations

from pathlib import Path

from cdgm.utils.command_line import Parser, run_job
from cdgm.utils.files import read_json, write_csv
from cdgm.workflow.costs import costs_table


def main() -> None:
    """Parse, gather, write."""
    parser = Parser(description=__doc__)
    parser.add_argument("--study", required=True)
    parser.add_argument("--spec", required=True, help="file of each stack's place and ids (.json)")
    parser.add_argument("--results", required=True, help="results folder")
    parser.add_argument("--out", required=True, help="table to write (.csv)")
    arguments = parser.parse_args()
    table = costs_table(arguments.study, read_json(arguments.spec), Path(arguments.results))
    write_csv(arguments.out, table, digits=None)


if __name__ == "__main__":
    run_job(main)
