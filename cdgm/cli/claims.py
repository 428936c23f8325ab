"""``cdgm claims``."""

from __future__ import annotations

import argparse
import difflib
import math
import textwrap
from pathlib import Path
from typing import Any, get_args

from cdgm.cli.inputs import local_path
from cdgm.utils.errors import UserError, bad_input, printable

SUMMARY = "show the verdicts on the claims"
DESCRIPTION = """\
Show the verdicts of the workflow. Each claim was written down with its conditions before the run, and is
supported only if the whole interval of every condition lies on the right side of its threshold.
"""
EPILOG = """\
examples
  cdgm claims                           verdicts of ./results
  cdgm claims --claim NAME              the conditions of one claim, with their numbers
  cdgm claims --results /some/results
"""
SIGNS = {"at_least": ">=", "at_most": "<="}
COLUMNS = (
    *("claim", "statement", "condition", "alternative", "estimate", "low", "high", "relation", "value", "n"),
    *("verdict", "reason", "claim_verdict", "note"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--results", type=local_path, default=Path("results"), metavar="DIR", help="results of the workflow"
    )
    parser.add_argument("--claim", metavar="NAME", help="one claim, with its conditions")


def run(arguments: argparse.Namespace) -> None:
    """Read the table, print it."""
    import pandas as pd

    from cdgm.claims.condition_verdicts import Verdict

    file = arguments.results / "claims.csv"
    try:
        table = pd.read_csv(file, keep_default_na=False, dtype=str).map(printable)
    except FileNotFoundError:
        raise UserError(
            f"{file}: no such file: run the workflow first, or name its results by --results"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: not a readable table: {' '.join(str(error).split())}") from error
    for column in COLUMNS:
        if column not in table:
            raise bad_input(file, "columns", list(table), f"also {column!r}")
    if table.empty:
        raise UserError(f"{file}: has no rows: the workflow judged no claims")
    for column in ("claim", "statement", "claim_verdict"):
        if (table[column].str.strip() == "").any():
            raise bad_input(file, column, "", "a text in each row")
    known = get_args(Verdict)
    for name, verdicts in table.groupby("claim", sort=False)["claim_verdict"]:
        if (found := verdicts.unique().tolist()) not in [[verdict] for verdict in known]:
            raise bad_input(file, f"claim_verdict of {name}", found, f"one verdict, of {', '.join(known)}")
    for column in ("estimate", "low", "high"):
        for text in table[column]:
            if text and not _is_number(text):
                raise bad_input(file, column, text, "a number, or nothing")
    if arguments.claim is None:
        for name, rows in table.groupby("claim", sort=False):
            print(f"{rows['claim_verdict'].iloc[0]:<15} {name}")
            print(textwrap.indent(textwrap.fill(rows["statement"].iloc[0], 90), 16 * " "))
        return
    rows = table[table["claim"] == arguments.claim]
    if rows.empty:
        names = list(dict.fromkeys(table["claim"]))
        near = difflib.get_close_matches(arguments.claim, names, 3) or names[:3]
        expected = f"one of the {len(names)} that `cdgm claims` lists, such as {', '.join(near)}"
        raise bad_input(file, "--claim", arguments.claim, expected)
    first = rows.iloc[0]
    print(f"{first['claim']}: {first['claim_verdict']}")
    for text in filter(None, (first["statement"], first["note"])):
        print(textwrap.fill(text, 100))
    for row in rows.itertuples():
        reason = f": {row.reason}" if row.reason else ""
        print(f"\n{row.condition}{f' at {row.alternative}' if row.alternative else ''}")
        print(f"    {row.verdict}{reason}")
        print(f"    {_numbers(row)}wanted {SIGNS.get(row.relation, row.relation)} {row.value}")


def _numbers(row: Any) -> str:
    """Median, interval and seeds of a condition, where it was judged."""
    if row.estimate == "":
        return ""
    interval = f" [{_short(row.low)}, {_short(row.high)}]" if row.low != "" else ""
    return f"median {_short(row.estimate)}{interval} over {row.n} seeds, "


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _short(value: Any) -> str:
    return f"{float(value):.4g}"
