"""Score posterior means under the true model of a simulation."""

from __future__ import annotations

from cdgm.config.evaluation import CeilingSpec
from cdgm.config.simulation import Simulation
from cdgm.config.validation import validated
from cdgm.data.bundle import read_bundle
from cdgm.evaluation.true_model import score_true_model
from cdgm.utils.command_line import Parser, log, natural, run_job
from cdgm.utils.files import read_json, write_rows
from cdgm.utils.registry import Strict


class CeilingJob(Strict):
    """A ceiling, the simulation whose true model is scored, and the permutations of each score's null."""

    ceiling: CeilingSpec
    simulation: Simulation
    null_draws: int


def main() -> None:
    """Parse, score, write."""
    parser = Parser(description=__doc__)
    parser.add_argument("--spec", required=True, help="file of the ceiling and its simulation (.json)")
    parser.add_argument("--root-seed", type=natural, required=True)
    parser.add_argument("--data", required=True, help="data file of the simulation (.npz)")
    parser.add_argument("--out", required=True, help="table to write (.csv)")
    arguments = parser.parse_args()
    job: CeilingJob = validated(CeilingJob, read_json(arguments.spec), arguments.spec)
    simulation = job.simulation
    bundle = read_bundle(arguments.data, support=simulation.noise.support)
    bundle.require(arguments.data, simulation.design.sources, simulation.n_features)
    rows = []
    for replicate in score_true_model(simulation, job.ceiling, bundle, job.null_draws, arguments.root_seed):
        rows += replicate
        log(f"replicate {replicate[0]['member'] + 1} of {bundle.replicates} scored")
    write_rows(arguments.out, rows)


if __name__ == "__main__":
    run_job(main)
