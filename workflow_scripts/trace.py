"""Train a replicate stack of a simulation as its fit was trained, and score it on the way."""

from __future__ import annotations

import torch

from cdgm.config.fit import FitSpec
from cdgm.config.validation import validated
from cdgm.data.bundle import read_bundle
from cdgm.evaluation.trace import Trace
from cdgm.training.loop import train
from cdgm.utils.command_line import Parser, run_job
from cdgm.utils.files import read_json, write_rows
from cdgm.utils.progress import progress


def main() -> None:
    """Parse, train, write."""
    parser = Parser(description=__doc__)
    parser.add_argument("--spec", required=True, help="file of the fit (.json)")
    parser.add_argument("--data", required=True, help="data file of the fit (.npz)")
    parser.add_argument("--out", required=True, help="table of scores by step (.csv)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    spec = validated(FitSpec, read_json(arguments.spec), arguments.spec)
    bundle = read_bundle(arguments.data, support=spec.model.likelihood.support)
    bundle.require(arguments.data, spec.model.design.sources)
    members = bundle.replicates_of([m.seed for m in spec.members], arguments.data)
    trace = Trace(spec, bundle, members)
    with progress("training", spec.training.steps, "steps") as advance:
        train(spec, bundle.x["train"], members, advance, trace)
    write_rows(arguments.out, trace.rows)


if __name__ == "__main__":
    run_job(main)
