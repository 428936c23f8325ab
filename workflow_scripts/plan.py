"""Write the plan as a table that explains every id in the results."""

from __future__ import annotations

import pandas as pd

from cdgm.utils.command_line import Parser, run_job
from cdgm.utils.files import read_json, write_csv

COLUMNS = (
    "study", "setting", "variant", "seeds", "members", "data", "fit", "evaluation", "ceiling",
)  # fmt: skip


def main() -> None:
    """Parse, write."""
    parser = Parser(description=__doc__)
    parser.add_argument("--spec", required=True, help="file of the table's rows (.json)")
    parser.add_argument("--out", required=True, help="table to write (.csv)")
    arguments = parser.parse_args()
    write_csv(arguments.out, pd.DataFrame(read_json(arguments.spec), columns=COLUMNS))


if __name__ == "__main__":
    run_job(main)
