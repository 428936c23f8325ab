"""Draw one figure of a study, with its source data."""

from __future__ import annotations

import argparse

from cdgm.config.validation import validated
from cdgm.figures import FIGURES
from cdgm.utils.command_line import run


def main() -> None:
    """Parse, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", required=True, help="name of the figure, as registered in cdgm/figures")
    parser.add_argument("--study", required=True)
    parser.add_argument("--scores", required=True, help="tidy scores (.csv)")
    parser.add_argument("--history", required=True, help="training history (.parquet or .csv)")
    parser.add_argument("--maps", help="2-D maps of cells (.csv), for studies on cells")
    parser.add_argument("--costs", help="times and memory of jobs (.csv), for figures of them")
    parser.add_argument("--out-prefix", required=True, help="path of the .png, .pdf and .csv without suffix")
    arguments = parser.parse_args()
    draw = validated(FIGURES.load, arguments.figure, "--figure")
    # After the name was checked: a mistake in it shouldn't wait for matplotlib and pandas.
    from cdgm.evaluation.table_slices import read_table
    from cdgm.plotting.style import save

    names = ("scores", "history", "maps", "costs")
    paths = {name: getattr(arguments, name) for name in names}
    tables = {name: read_table(path) for name, path in paths.items() if path}
    save(*draw(tables, arguments.study), arguments.out_prefix)


if __name__ == "__main__":
    run(main)
