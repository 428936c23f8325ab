"""Gather a study's scores, histories and maps into its tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cdgm.config.fit import FitSpec
from cdgm.config.regret import RegretSpec
from cdgm.config.validation import validated
from cdgm.evaluation.constraint_ends import constraint_ends
from cdgm.evaluation.moved_dimensions import moved_rows
from cdgm.evaluation.procedure_records import procedure_records
from cdgm.evaluation.regret import regret_rows
from cdgm.evaluation.study_tables import SCORE_COLUMNS, long_history, summarise, with_study
from cdgm.evaluation.table_files import read_table
from cdgm.utils.command_line import Parser, log, run_job
from cdgm.utils.files import atomic, read_json, read_npz, write_csv

MAP_COLUMNS = [
    "study",
    "setting",
    "variant",
    "dataset",
    "fit",
    "seed",
    "block",
    "cell",
    "split",
    "source",
    "label",
    "x",
    "y",
]


def main() -> None:
    """Parse, gather, write."""
    parser = Parser(description=__doc__)
    parser.add_argument("--study", required=True)
    parser.add_argument("--spec", required=True, help="file of rows, baselines and ceilings (.json)")
    parser.add_argument("--results", type=Path, required=True, help="folder of the results")
    parser.add_argument("--out-prefix", required=True, help="path of the tables without their endings")
    arguments = parser.parse_args()
    results: Path = arguments.results
    spec = read_json(arguments.spec)
    scores, histories, maps = [], [], []
    regret = RegretSpec.model_validate(spec["regret"]) if "regret" in spec else None
    own: dict[tuple[str, str], str] = {}

    def place(row: dict[str, str], **more: str) -> dict[str, str]:
        """Leading columns of a row of the study."""
        named = {name: row[name] for name in ("setting", "variant", "dataset", "fit") if name in row}
        return {"study": arguments.study, **named, **more}

    for row in spec["rows"]:
        table = read_table(results / "evaluations" / row["evaluation"] / "metrics.csv")
        fit = results / "fits" / row["fit"]
        fitted = validated(FitSpec, read_json(fit / "spec.json"), str(fit / "spec.json"))
        members = fitted.members
        if regret is not None and row["variant"] == regret.reference:
            sources = fitted.model.design.sources
            own |= {(row["setting"], m.point): sources[int(m.variant.combiner.place) - 1] for m in members}
        history = read_npz(fit / "history.npz", ("step",))
        derived = [
            constraint_ends(table, history, members), moved_rows(table), procedure_records(table, history)
        ]  # fmt: skip
        derived = [rows for rows in derived if len(rows)]
        scores.append(with_study(pd.concat([table, *derived]), place(row)))
        histories.append(with_study(long_history(history, members), place(row)))
        if spec["maps"]:
            maps.append(with_study(read_table(results / "maps" / f"{row['evaluation']}.csv"), place(row)))
    for row in spec["baselines"]:
        table = read_table(results / "baselines" / row["evaluation"] / "metrics.csv")
        for variant, rows in table.groupby("variant", sort=False):
            baseline = rows.drop(columns="variant").assign(point="")
            scores.append(with_study(baseline, place(row, variant=str(variant), fit="")))
    for row in spec["ceilings"]:
        table = read_table(results / "ceilings" / row["ceiling"] / "metrics.csv")
        scores.append(with_study(table.assign(point=""), place(row, variant="ceiling", fit="")))
    long = pd.concat(scores, ignore_index=True)[SCORE_COLUMNS]
    if regret is not None:
        found = regret_rows(long, regret.reference, own, regret.front)
        long = pd.concat([long, found], ignore_index=True)
    summary = summarise(long)
    runs = long[long["fit"] != ""].drop_duplicates(["fit", "member"])
    log(f"{arguments.study}: {int(runs['finite'].sum())} of {len(runs)} fits finished")
    write_csv(f"{arguments.out_prefix}.csv", long)
    write_csv(f"{arguments.out_prefix}_summary.csv", summary)
    write_csv(
        f"{arguments.out_prefix}_maps.csv",
        pd.concat(maps, ignore_index=True)[MAP_COLUMNS] if maps else pd.DataFrame(columns=MAP_COLUMNS),
    )
    with atomic(f"{arguments.out_prefix}_history.parquet") as path:
        pd.concat(histories, ignore_index=True).to_parquet(path, index=False)


if __name__ == "__main__":
    run_job(main)
