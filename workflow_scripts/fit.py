"""Fit one replicate stack."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from cdgm.config.fit import FitSpec
from cdgm.config.validation import validated
from cdgm.data.bundle import read_bundle
from cdgm.models.checkpoint import save_stack
from cdgm.training.device import device_of
from cdgm.training.loop import train
from cdgm.utils.command_line import Parser, log, positive, run_job
from cdgm.utils.files import read_json, write_json, write_npz
from cdgm.utils.progress import progress
from cdgm.utils.provenance import Provenance


def main() -> None:
    """Parse, fit, write."""
    parser = Parser(description=__doc__)
    parser.add_argument("--spec", required=True, help="file of the fit (.json)")
    parser.add_argument("--data", required=True, help="data file (.npz)")
    parser.add_argument("--out-dir", required=True, help="folder for model.npz, history.npz, spec.json")
    parser.add_argument("--threads", type=positive, default=1)
    arguments = parser.parse_args()
    provenance = Provenance()
    torch.set_num_threads(arguments.threads)
    values = read_json(arguments.spec)
    spec = validated(FitSpec, values, arguments.spec)
    bundle = read_bundle(arguments.data, support=spec.model.likelihood.support)
    bundle.require(arguments.data, spec.model.design.sources, covariates=spec.model.covariates)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    replicates = bundle.replicates_of([m.seed for m in spec.members], arguments.data)
    procedure = spec.variant.procedure
    if procedure is not None:
        trained = procedure.fit(spec, bundle.x["train"], replicates)
    else:
        covariates = bundle.covariates_of("train", spec.model.covariates)
        with progress("training", spec.training.steps, "steps") as advance:
            trained = train(spec, bundle.x["train"], replicates, advance, covariates=covariates)
    last = {name: v[-1] for name, v in trained.history.items() if name.startswith("elbo/")}
    for member, which in enumerate(spec.members):
        state = "finished" if trained.finite[member] else "diverged and was frozen"
        title = f"seed {which.seed}" + (f", {which.point}" if which.point else "")
        log(f"{title}: {state}; " + ", ".join(f"{name} {v[member]:.2f}" for name, v in last.items()))
    out = Path(arguments.out_dir)
    write_npz(out / "history.npz", trained.history)
    write_json(out / "spec.json", values)
    provenance.write(out / "provenance.json", values, device_of(spec.training.device).type)
    save_stack(out / "model.npz", trained.model, trained.finite)


if __name__ == "__main__":
    run_job(main)
