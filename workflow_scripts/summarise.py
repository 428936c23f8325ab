"""Gather a study's scores, histories and maps into its tables."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from cdgm.config.fit import FitSpec
from cdgm.config.validation import validated
from cdgm.evaluation.study_tables import SCORE_COLUMNS, long_history, summarise, with_study
from cdgm.utils.command_line import log, parse_json, run
from cdgm.utils.errors import UserError
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", required=True)
    parser.add_argument(
        "--rows", required=True, help="JSON list of [setting, variant, dataset, fit, evaluation]"
    )
    parser.add_argument("--baselines", required=True, help="the same for the evaluations that have baselines")
    parser.add_argument("--ceilings", required=True, help="JSON list of [setting, dataset, ceiling]")
    parser.add_argument("--results", type=Path, required=True, help="folder of the results")
    parser.add_argument("--out-prefix", required=True, help="path of the tables without their endings")
    arguments = parser.parse_args()
    results: Path = arguments.results
    scores, histories, maps = [], [], []
    baselines = parse_json(arguments.baselines, "--baselines")
    for setting, variant, dataset, fit, evaluation in parse_json(arguments.rows, "--rows"):
        place = dict(study=arguments.study, setting=setting, variant=variant, dataset=dataset, fit=fit)
        scores.append(with_study(read_table(results / "evaluations" / evaluation / "metrics.csv"), place))
        spec = results / "fits" / fit / "spec.json"
        members = validated(FitSpec, read_json(spec), str(spec)).members
        history = long_history(read_npz(results / "fits" / fit / "history.npz", ("step",)), members)
        histories.append(with_study(history, place))
        if baselines:
            maps.append(with_study(read_table(results / "maps" / f"{evaluation}.csv"), place))
    for setting, _, dataset, _, evaluation in baselines:
        table = read_table(results / "baselines" / evaluation / "metrics.csv")
        for variant, rows in table.groupby("variant", sort=False):
            place = dict(study=arguments.study, setting=setting, variant=variant, dataset=dataset, fit="")
            scores.append(with_study(rows.drop(columns="variant").assign(point=""), place))
    for setting, dataset, ceiling in parse_json(arguments.ceilings, "--ceilings"):
        table = read_table(results / "ceilings" / ceiling / "metrics.csv")
        place = dict(study=arguments.study, setting=setting, variant="ceiling", dataset=dataset, fit="")
        scores.append(with_study(table.assign(point=""), place))
    long = pd.concat(scores, ignore_index=True)[SCORE_COLUMNS]
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


def read_table(path: Path) -> pd.DataFrame:
    """Read a CSV table; empty text stays empty text."""
    try:
        table = pd.read_csv(
            path, keep_default_na=False, na_values={"null_mean": [""], "null_high": [""], "value": [""]}
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable table: {error}") from error
    return table


if __name__ == "__main__":
    run(main)
