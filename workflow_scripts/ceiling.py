"""Score posterior means under the true model of a simulation."""

from __future__ import annotations

import argparse

import pandas as pd

from cdgm.config.evaluation import CeilingSpec
from cdgm.config.simulation import Simulation
from cdgm.config.validation import validated
from cdgm.data.bundle import read_bundle
from cdgm.evaluation.true_model import score_true_model
from cdgm.utils.command_line import log, parse_json, run
from cdgm.utils.files import write_csv


def main() -> None:
    """Parse, score, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", required=True, help="draws a point, as JSON")
    parser.add_argument("--simulation", required=True, help="the simulated setting, as JSON")
    parser.add_argument("--null-draws", type=int, required=True, help="permutations of each score's null")
    parser.add_argument("--root-seed", type=int, required=True)
    parser.add_argument("--data", required=True, help="data file of the simulation (.npz)")
    parser.add_argument("--out", required=True, help="table to write (.csv)")
    arguments = parser.parse_args()
    ceiling = validated(CeilingSpec, parse_json(arguments.spec, "--spec"), "--spec")
    simulation = validated(Simulation, parse_json(arguments.simulation, "--simulation"), "--simulation")
    bundle = read_bundle(arguments.data, support=simulation.noise.support)
    bundle.require(arguments.data, simulation.design.sources, simulation.n_features)
    rows = []
    for replicate in score_true_model(simulation, ceiling, bundle, arguments.null_draws, arguments.root_seed):
        rows += replicate
        log(f"replicate {replicate[0]['member'] + 1} of {bundle.replicates} scored")
    write_csv(arguments.out, pd.DataFrame(rows))


if __name__ == "__main__":
    run(main)
