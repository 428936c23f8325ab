"""Draw one figure of a study, or of all studies of a target, with its source data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cdgm.figures import ACROSS_STUDIES, FIGURES
from cdgm.utils.command_line import Parser, run_job
from cdgm.utils.errors import UserError


def main() -> None:
    """Parse, draw, write."""
    parser = Parser(description=__doc__)
    parser.add_argument(
        "--figure", required=True, help="name of the figure: one of the registry in cdgm/figures"
    )
    parser.add_argument(
        "--study", required=True, help="the study, or the target of its figures across studies"
    )
    parser.add_argument("--scores", required=True, help="tidy scores, or the table of members (.csv)")
    parser.add_argument("--history", help="training history (.parquet or .csv), for figures of a study")
    parser.add_argument("--detection", help="areas and thresholds (.csv), for figures across studies")
    parser.add_argument("--maps", help="2-D maps of cells (.csv), for studies on cells")
    parser.add_argument("--costs", help="times and memory of jobs (.csv), for figures of them")
    parser.add_argument("--traces", nargs="+", help="scores of fits by step (<fit>.csv), for figures of them")
    parser.add_argument("--out-prefix", required=True, help="path of the .png, .pdf and .csv without suffix")
    arguments = parser.parse_args()
    try:
        known = FIGURES if arguments.detection is None else ACROSS_STUDIES
        draw: Any = known.load(arguments.figure)
    except ValueError as error:
        raise UserError(f"--figure: {error}") from None
    # After the name was checked: a mistake in it shouldn't wait for matplotlib and pandas.
    import pandas as pd

    from cdgm.evaluation.table_files import read_table
    from cdgm.plotting.saving import save
    from cdgm.plotting.theme import theme

    names = ("scores", "history", "maps", "costs", "detection")
    paths = {name: getattr(arguments, name) for name in names}
    tables = {name: read_table(path) for name, path in paths.items() if path}
    if arguments.traces:
        found = [read_table(file).assign(fit=Path(file).stem) for file in arguments.traces]
        tables["traces"] = pd.concat(found, ignore_index=True)
    with theme():  # so that a figure needs no line of its own for the project's look
        figure, data = draw(tables, arguments.study)
    save(figure, data, arguments.out_prefix)


if __name__ == "__main__":
    run_job(main)
