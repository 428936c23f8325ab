"""Say how well scores without truth tell fits that went wrong, over all simulated studies of a target."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cdgm.evaluation.detection import FAULTS, GROUPINGS, detection_table, faults
from cdgm.evaluation.table_files import read_table
from cdgm.evaluation.truth_free import MEMBER, SCORES, scores_of_latents, scores_without_truth
from cdgm.utils.command_line import Parser, log, natural, run_job
from cdgm.utils.files import read_json, read_npz, write_csv
from cdgm.utils.random_streams import stream


def main() -> None:
    """Parse, gather, judge scores, write."""
    parser = Parser(description=__doc__)
    parser.add_argument("--spec", required=True, help="file of stacks and their groups (.json)")
    parser.add_argument("--root-seed", type=natural, required=True)
    parser.add_argument("--results", type=Path, required=True, help="folder of the results")
    parser.add_argument("--out", required=True, help="table of areas and thresholds (.csv)")
    parser.add_argument("--members", required=True, help="table of members, their faults and scores (.csv)")
    arguments = parser.parse_args()
    results: Path = arguments.results
    stacks = pd.DataFrame(read_json(arguments.spec), columns=["study", "fit", "evaluation", *GROUPINGS])
    columns = [*MEMBER, *GROUPINGS, *FAULTS, "recovery", *SCORES]
    members = pd.DataFrame(columns=columns)
    tables = []
    for study, mine in stacks.groupby("study", sort=False):
        scores = read_table(results / "tables" / f"{study}.csv")
        scores = scores[scores["finite"] & scores["fit"].isin([*mine["fit"], ""])]
        own = scores_without_truth(scores[scores["fit"] != ""])
        own = own.merge(faults(scores), on=["fit", "member"])
        tables.append(own.merge(mine.drop(columns="study"), on="fit"))
    if tables:
        members = pd.concat(tables, ignore_index=True)
        once = members.drop_duplicates(["fit", "member"])
        latents = (
            (fit, read_npz(results / "evaluations" / evaluation / "latents.npz"))
            for fit, evaluation in once[["fit", "evaluation"]].drop_duplicates().itertuples(index=False)
        )
        members = members.merge(scores_of_latents(once, latents), on=["fit", "member"])[columns]
    log(f"{len(members)} fits, {int((members['moved'] == 1).sum())} with a moved dimension")
    write_csv(arguments.members, members)
    write_csv(arguments.out, detection_table(members, stream("detect", root=arguments.root_seed)))


if __name__ == "__main__":
    run_job(main)
