"""Judge claims by the tables of their studies: verdicts as a table and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cdgm.claims.judge import claims_table, judge
from cdgm.config.claim import Claim
from cdgm.config.validation import validated
from cdgm.evaluation.table_files import read_table
from cdgm.reports.claims_page import claims_page
from cdgm.utils.command_line import Parser, log, run_job
from cdgm.utils.errors import bad_input
from cdgm.utils.files import read_json, write_csv, write_text
from cdgm.utils.provenance import rules_commit


def main() -> None:
    """Parse, judge, write."""
    parser = Parser(description=__doc__)
    parser.add_argument("--claims", required=True, help="claims, and why some can't be judged (.json)")
    parser.add_argument("--tables", nargs="*", default=[], help="tables named <study>.csv")
    parser.add_argument("--of", default="", help="ending of the names of the target's pages, as _perturbseq")
    parser.add_argument("--study", default="", help="the one study whose claims these are")
    parser.add_argument("--out", required=True, help="table of verdicts (.csv)")
    parser.add_argument("--page", required=True, help="page of verdicts (.html)")
    arguments = parser.parse_args()
    claims, job = read_claims(arguments.claims)
    tables = {Path(path).stem: read_table(path) for path in arguments.tables}
    verdicts = judge(claims, tables, job["not_run"], job["alpha"], job["ends"])
    for verdict in verdicts:
        log(f"{verdict.name}: {verdict.verdict}")
    write_csv(arguments.out, claims_table(verdicts))
    page = Path(arguments.page)
    # Figures of a target are part of it; those of one study may never be drawn.
    up, folder = ("../", page.parent) if arguments.study else ("", None)
    write_text(page, claims_page(verdicts, arguments.of, up, arguments.study, folder, rules_commit()))


def read_claims(path: str) -> tuple[dict[str, Claim], dict[str, Any]]:
    """Claims in their order, and the whole input (:mod:`cdgm.claims.scope`): why some can't be judged,
    the error that each may spend, and the first seeds that are too late for some.
    """
    job = read_json(path)
    if not isinstance(job, dict) or set(job) != {"claims", "not_run", "alpha", "ends"}:
        raise bad_input(path, "", job, "a mapping with the keys 'claims', 'not_run', 'alpha' and 'ends'")
    try:
        pairs = dict(job["claims"])
    except (TypeError, ValueError):
        raise bad_input(path, "claims", job["claims"], "a list of pairs of a name and a claim") from None
    claims = {name: validated(Claim, claim, path, ("claims", name)) for name, claim in pairs.items()}
    return claims, job


if __name__ == "__main__":
    run_job(main)
