"""The table of README.md that leads from each claim to its study and figure: print it, or write it there.

``python -m cdgm.reports.readme_table README.md`` writes it between its two marks.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cdgm.config.layers import load_layers
from cdgm.config.study import Config, parse_config
from cdgm.utils.command_line import run
from cdgm.utils.errors import bad_input
from cdgm.utils.files import write_text

START, END = (
    "<!-- claims: made by python -m cdgm.reports.readme_table README.md -->",
    "<!-- end of claims -->",
)
SOURCES = {"paper": "the paper", "theory": "its theory", "ours": "this project"}
CONFIG = Path(__file__).parents[2] / "config.yaml"


def readme_table(config: Config) -> str:
    """The claims as a Markdown table, in the order of the config; empty if it states none."""
    claims = {name: claim for name, claim in config.claims.items() if claim is not None}
    if not claims:
        return ""
    rows = [
        f"| {_cell(claim.statement)} | {SOURCES[claim.source]} | `{claim.study}` | `{claim.figure}` |"
        for claim in claims.values()
    ]
    return "\n".join(["| claim | of | study | figure |", "|---|---|---|---|", *rows]) + "\n"


def with_table(text: str, table: str, where: str) -> str:
    """A text with the table between its two marks.

    Raises
    ------
    UserError
        If the text has not both marks.
    """
    before, start, rest = text.partition(f"{START}\n")
    _, end, after = rest.partition(END)
    if not start or not end:
        raise bad_input(where, "marks", text[:40], f"a line {START} and a line {END}")
    return f"{before}{start}{table}{end}{after}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Print the table, or write it into the file that is named."""
    table = readme_table(parse_config(load_layers([CONFIG], {}), [CONFIG]))
    for name in sys.argv[1:]:
        write_text(name, with_table(Path(name).read_text(encoding="utf-8"), table, name))
    if not sys.argv[1:]:
        print(table, end="")


if __name__ == "__main__":
    run(main)
