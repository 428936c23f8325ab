"""Lay out verdicts, figures, tables and provenance on one page."""

from __future__ import annotations

from pathlib import Path

from cdgm.evaluation.table_files import read_table
from cdgm.evaluation.table_slices import rows_of
from cdgm.reports.captions import read_caption
from cdgm.reports.index import Across, StudySection, index_page, runs_of
from cdgm.utils.command_line import Parser, natural, run_job
from cdgm.utils.files import read_json, write_text

CAPTIONS = Path(__file__).parents[1] / "report"


def main() -> None:
    """Parse, read, write."""
    parser = Parser(description=__doc__)
    parser.add_argument("--spec", required=True, help="file of studies and their figures (.json)")
    parser.add_argument("--claims", help="table of verdicts (.csv), if the configuration states claims")
    parser.add_argument("--captions", type=Path, default=CAPTIONS, help="folder of <figure>.rst")
    parser.add_argument("--detection", default="", help="name of the figure across studies, if there is one")
    parser.add_argument("--root-seed", type=natural, required=True)
    parser.add_argument("--results", type=Path, required=True, help="folder of the results")
    parser.add_argument("--out", required=True, help="page to write (.html)")
    arguments = parser.parse_args()
    results: Path = arguments.results
    studies = []
    for section in read_json(arguments.spec):
        name, figures = section["study"], section["figures"]
        scores = rows_of({"scores": read_table(results / "tables" / f"{name}.csv")}, "scores", name)
        captions = {figure: read_caption(arguments.captions / f"{figure}.rst", name) for figure in figures}
        studies.append(StudySection(name, captions, runs_of(scores)))
    fits = sorted({fit for study in studies for fit in study.runs["fit"]})
    write_text(
        arguments.out,
        index_page(
            read_table(arguments.claims) if arguments.claims else None,
            studies,
            [read_json(results / "fits" / fit / "provenance.json") for fit in fits],
            arguments.root_seed,
            Path(arguments.claims or "claims.csv").stem,
            Across(arguments.detection, read_caption(arguments.captions / "detection.rst", "all"))
            if arguments.detection
            else None,
        ),
    )


if __name__ == "__main__":
    run_job(main)
