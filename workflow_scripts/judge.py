"""Hold claims against the tables of their studies: verdicts as a table and as a page."""

from __future__ import annotations

import argparse
from pathlib import Path

from cdgm.claims import claims_table, judge
from cdgm.claims_config import Claim
from cdgm.command_line import log, run
from cdgm.errors import bad_input
from cdgm.files import atomic, read_json, write_text
from cdgm.pages.claims import claims_page
from cdgm.plotting.tables import read_table
from cdgm.validation import validated


def main() -> None:
    """Parse, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", required=True, help="claims, and why some can't be judged (.json)")
    parser.add_argument("--tables", nargs="*", default=[], help="tables named <study>.csv")
    parser.add_argument("--root-seed", type=int, required=True)
    parser.add_argument("--out", required=True, help="table of verdicts (.csv)")
    parser.add_argument("--page", required=True, help="page of verdicts (.html)")
    arguments = parser.parse_args()
    job = read_json(arguments.claims)
    for key in ("claims", "not_run"):
        if not isinstance(job, dict) or not isinstance(job.get(key), dict):
            raise bad_input(arguments.claims, key, job, "mappings named 'claims' and 'not_run'")
    claims = {
        name: validated(Claim, claim, arguments.claims, ("claims", name))
        for name, claim in job["claims"].items()
    }
    tables = {Path(path).stem: read_table(path) for path in arguments.tables}
    verdicts = judge(claims, tables, job["not_run"], arguments.root_seed)
    for verdict in verdicts:
        log(f"{verdict.name}: {verdict.verdict}")
    with atomic(arguments.out) as path:
        claims_table(verdicts).to_csv(path, index=False, lineterminator="\n", float_format="%.9g")
    write_text(arguments.page, claims_page(verdicts, Path(arguments.out).stem.removeprefix("claims")))


if __name__ == "__main__":
    run(main)
