"""Score linear baselines, a supervised ceiling and a floor on a data set of cells."""

from __future__ import annotations

import pandas as pd

from cdgm.config.evaluation import EvaluationSpec
from cdgm.config.model import ModelSpec
from cdgm.config.validation import validated
from cdgm.data.bundle import read_bundle
from cdgm.data.cell_table import MOST_FOR_BASELINES, read_cell_table
from cdgm.evaluation.metrics.latent_space_scores import score_baselines
from cdgm.utils.command_line import Parser, natural, run_job
from cdgm.utils.files import read_json, write_csv
from cdgm.utils.random_streams import stream
from cdgm.utils.registry import Strict


class BaselinesJob(Strict):
    """An evaluation, and the model whose design and dimensions the baselines match."""

    evaluation: EvaluationSpec
    model: ModelSpec


def main() -> None:
    """Parse, score, write."""
    parser = Parser(description=__doc__)
    parser.add_argument("--spec", required=True, help="file of evaluation and model (.json)")
    parser.add_argument("--root-seed", type=natural, required=True)
    parser.add_argument("--data", required=True, help="data file (.npz)")
    parser.add_argument("--cells", required=True, help="table of cells (.csv)")
    parser.add_argument("--out", required=True, help="table to write (.csv)")
    arguments = parser.parse_args()
    job: BaselinesJob = validated(BaselinesJob, read_json(arguments.spec), arguments.spec)
    evaluation, model = job.evaluation, job.model
    bundle = read_bundle(arguments.data, support="counts")
    cells = read_cell_table(arguments.cells).of(0)
    cells = cells.thinned(MOST_FOR_BASELINES, stream("baselines", "cells", root=arguments.root_seed))
    block, foreground, reference = model.design.contrast()
    rows = score_baselines(
        cells.join({(split, s): x[0] for split, sources in bundle.x.items() for s, x in sources.items()}),
        cells.source,
        cells.label,
        foreground,
        reference,
        block=block,
        dims=model.dims[block],
        strata=cells.strata,
        batch=cells.batch,
        rng=stream("baselines", root=arguments.root_seed),
        draws=evaluation.null_draws,
    )
    table = pd.DataFrame(rows).assign(seed=-1, member=0, finite=True)
    write_csv(arguments.out, table)


if __name__ == "__main__":
    run_job(main)
