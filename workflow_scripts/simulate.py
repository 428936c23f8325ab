"""Simulate all replicates of a setting into one data file."""

from __future__ import annotations

from pathlib import Path

from cdgm.config.simulation import Simulation
from cdgm.config.validation import validated
from cdgm.simulation.simulate import simulate
from cdgm.utils.command_line import Parser, natural, run_job
from cdgm.utils.files import read_json, write_npz
from cdgm.utils.provenance import Provenance


def main() -> None:
    """Parse, simulate, write."""
    parser = Parser(description=__doc__)
    parser.add_argument("--spec", required=True, help="file of the setting (.json)")
    parser.add_argument("--seeds", required=True, nargs="+", type=natural, help="seeds of the replicates")
    parser.add_argument("--root-seed", type=natural, required=True)
    parser.add_argument("--out", required=True, help="data file to write (.npz)")
    arguments = parser.parse_args()
    provenance = Provenance()
    values = read_json(arguments.spec)
    spec = validated(Simulation, values, arguments.spec)
    write_npz(arguments.out, simulate(spec, arguments.seeds, arguments.root_seed))
    provenance.write(Path(arguments.out).with_name("provenance.json"), values | {"seeds": arguments.seeds})


if __name__ == "__main__":
    run_job(main)
