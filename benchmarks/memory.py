"""Memory and time against the number of cells: from an AnnData file on disk to a fit.

For each size a file of made counts is written as the atlases come: CSR, single precision, deflated, with
a column of perturbations. Then the workflow's own command lines preprocess it and a fit takes some
hundred steps, each in a process of its own, whose peak of resident memory the kernel reports. Seconds are
those of the processor, on one thread. Memory and seconds an epoch should grow no faster than the number of
cells: the benchmark fails if they do, or if a peak is above the promised one. The table is kept as CSV, the
curves as PNG.

Run with ``make bench-memory``; ``--cells 10000 30000`` is a short run.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Nothing heavy is imported at the top: a child's peak would hold what its parent holds when it starts.
ROOT = Path(__file__).resolve().parent.parent
THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
# Largest peak of resident memory, in bytes, that the project promises at 310,000 cells.
PROMISE = (310_000, 6e9)
# Power of the number of cells that the seconds of an epoch may grow with: 1 is linear, the rest is noise.
STEEPEST = 1.1
CONTROLS = 0.05
SOURCES = ["background", "target"]


def dataset(selected: int) -> dict[str, Any]:
    """Spec of the data set, as in ``config.yaml``."""
    return {
        "download": "made",
        "reader": {
            "kind": "h5ad",
            "source_column": "perturbation",
            "sources": {"background": "control", "target": "rest"},
        },
        "sources": SOURCES,
        "filters": {"min_cells_per_gene": 20},
        "genes": {"kind": "pearson_residuals", "n": selected, "theta": 100},
        "held_out": 0.1,
    }


def fit(steps: int, batch: int, members: int) -> dict[str, Any]:
    """Spec of the fit: the atlas studies' sizes."""
    return {
        "dataset": "made",
        "model": {
            "design": {"sources": SOURCES, "blocks": {"background": SOURCES, "salient": ["target"]}},
            "dims": {"background": 10, "salient": 10},
            "encoder_hidden": [128],
            "decoder_hidden": [128],
            "encoder_activation": "leaky_relu",
            "decoder_activation": "leaky_relu",
            "likelihood": {"kind": "negative_binomial", "link": "softmax", "dispersion": "learned"},
        },
        "variant": {"combiner": {"kind": "sum"}},
        "training": {
            "steps": steps,
            "batch_size": batch,
            "learning_rate": 0.002,
            "clip": 100.0,
            "log_every": max(1, steps // 10),
        },
        "seeds": list(range(members)),
        "root_seed": 0,
    }


def make(path: Path, cells: int, genes: int) -> None:
    """Write made counts, block after block: about a third of the genes are seen in a cell."""
    import h5py
    import numpy as np
    import scipy.sparse as sp
    from anndata.io import write_elem
    from pandas import Categorical, DataFrame

    rng = np.random.default_rng(0)
    share = rng.lognormal(0.0, 1.6, genes)
    share /= share.sum()
    # One program of abundant genes varies over cells, so that chosen genes hold counts beyond one byte.
    program = np.argsort(-share)[:100]
    control = rng.random(cells) < CONTROLS
    names = np.where(control, "control", np.char.add("gene ", rng.integers(0, 2000, cells).astype(str)))
    with h5py.File(path, "w") as file:
        obs = DataFrame({"perturbation": Categorical(names)}, index=[f"cell {i}" for i in range(cells)])
        write_elem(file, "obs", obs)
        write_elem(file, "var", DataFrame(index=[f"gene {i}" for i in range(genes)]))
        group = file.create_group("X")
        group.attrs.update(
            {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": (cells, genes)}
        )
        packed = {"compression": "gzip", "compression_opts": 1, "maxshape": (None,), "chunks": (1 << 18,)}
        data = group.create_dataset("data", (0,), np.float32, **packed)
        indices = group.create_dataset("indices", (0,), np.int32, **packed)
        pointers = [np.zeros(1, np.int64)]
        for start in range(0, cells, 1000):
            depth = rng.lognormal(np.log(9000), 0.4, (min(1000, cells - start), 1))
            rate = depth * share
            rate[:, program] *= rng.lognormal(0.0, 0.5, (len(depth), 1))
            block = sp.csr_matrix(rng.poisson(rate).astype(np.float32))
            for target, values in ((data, block.data), (indices, block.indices)):
                target.resize((len(target) + len(values),))
                target[-len(values) :] = values
            pointers.append(block.indptr[1:] + pointers[-1][-1])
        group.create_dataset("indptr", data=np.concatenate(pointers))


def train(data: str, spec: dict[str, Any]) -> None:
    """Fit as the command line does and print the seconds of a step, after the first records."""
    import torch

    from cdgm.config.fit import FitSpec
    from cdgm.data.bundle import read_bundle
    from cdgm.training.loop import train

    torch.set_num_threads(1)
    parsed = FitSpec.model_validate(spec)
    bundle = read_bundle(data, support=parsed.model.likelihood.support)
    times: list[tuple[int, float]] = []
    train(
        parsed,
        bundle.x["train"],
        bundle.replicates_of(parsed.seeds, data),
        lambda done: times.append((done, time.process_time())),
    )
    # Each record tells how many steps were finished since the one before.
    (_, begun), (_, ended) = times[0], times[-1]
    taken = sum(steps for steps, _ in times[1:])
    target = bundle.x["train"]["target"]
    print(json.dumps({"step": (ended - begun) / taken, "n": target.shape[1], "type": str(target.dtype)}))


def measured(*command: str) -> tuple[float, float, str]:
    """Peak of resident memory in bytes, processor seconds and output of a command."""
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            stdout=out,
            env=os.environ | THREADS | {"PYTHONPATH": str(ROOT)},
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"error: {' '.join(command[:3])} ended with code {child.returncode}")
        out.seek(0)
        unit = 1 if sys.platform == "darwin" else 1024
        return usage.ru_maxrss * unit, usage.ru_utime + usage.ru_stime, out.read()


def one_size(folder: Path, cells: int, options: argparse.Namespace) -> dict[str, float]:
    """Make, preprocess and fit one size."""
    raw, out = folder / "made.h5ad", folder / "made"
    this = str(Path(__file__).resolve())
    measured(this, "--make", str(raw), "--cells", str(cells), "--genes", str(options.genes))
    print(f"{cells} cells: file of {raw.stat().st_size / 1e6:.0f} MB is made", file=sys.stderr)
    (folder / "made.json").write_text(json.dumps(dataset(options.selected)), encoding="utf-8")
    words = ["--spec", str(folder / "made.json"), "--name", "made", "--root-seed", "0"]
    prepare_peak, prepare_seconds, _ = measured(
        "-m", "workflow_scripts.preprocess", *words, "--raw", str(raw), "--out-dir", str(out)
    )
    size = raw.stat().st_size
    raw.unlink()
    spec = json.dumps(fit(options.steps, options.batch, options.members))
    fit_peak, _, text = measured(this, "--train", str(out / "cells.npz"), "--spec", spec)
    found = json.loads(text)
    row = {
        "cells": cells,
        "file": size,
        "prepare_peak": prepare_peak,
        "prepare_seconds": prepare_seconds,
        "bundle": (out / "cells.npz").stat().st_size,
        "fit_peak": fit_peak,
        "step": found["step"],
        "epoch": found["step"] * found["n"] / options.batch,
    }
    shutil.rmtree(out)
    return row


def steepness(cells: Sequence[float], values: Sequence[float]) -> float:
    """Power of the number of cells that values grow with: slope of the logarithms, by least squares."""
    x, y = ([math.log(value) for value in numbers] for numbers in (cells, values))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum(
        (a - mean_x) ** 2 for a in x
    )


def broken_promises(rows: Sequence[dict[str, float]]) -> list[str]:
    """What of the promises a table does not keep, in words."""
    cells, most = PROMISE
    broken = [
        f"{row['cells']:,.0f} cells: a peak of {peak / 1e9:.1f} GB, {most / 1e9:.0f} GB are promised"
        for row in rows
        if (peak := max(row["prepare_peak"], row["fit_peak"])) > most and row["cells"] <= cells
    ]
    if len({row["cells"] for row in rows}) > 1:
        for what in ("epoch", "bundle"):
            power = steepness([row["cells"] for row in rows], [row[what] for row in rows])
            if power > STEEPEST:
                broken.append(f"{what}: grows with the number of cells to the power of {power:.2f}")
    return broken


HEAD = (
    "| cells | preprocess: peak memory, MB | s | data of the fit, MB | fit: peak memory, MB | ms a step "
    "| s an epoch |",
    "|---|---|---|---|---|---|---|",
)


def line(row: Mapping[str, float]) -> str:
    """A row of the table, as ``docs/data.md`` has it."""
    return (
        f"| {row['cells']:,.0f} | {row['prepare_peak'] / 1e6:,.0f} | {row['prepare_seconds']:.0f} "
        f"| {row['bundle'] / 1e6:,.0f} | {row['fit_peak'] / 1e6:,.0f} | {1e3 * row['step']:.0f} "
        f"| {row['epoch']:.1f} |"
    )


def write(rows: Sequence[dict[str, float]], out: Path) -> None:
    """The table as ``<out>.csv``, bytes and seconds in full."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.with_suffix(".csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in rows)


def draw(rows: Sequence[dict[str, float]], out: Path) -> None:
    """The curves as ``<out>.png``: seconds of an epoch, and peaks of memory, against the number of cells."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    cells = [row["cells"] for row in rows]
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(cells, [row["epoch"] for row in rows], "o-", label="measured")
    linear = [rows[-1]["epoch"] * n / cells[-1] for n in cells]
    left.plot(cells, linear, color="0.6", ls="--", label="in proportion to cells")
    left.set(ylabel="seconds an epoch")
    for name, label in (("prepare_peak", "preprocess"), ("fit_peak", "fit"), ("bundle", "data of the fit")):
        right.plot(cells, [row[name] / 1e9 for row in rows], "o-", label=label)
    right.axhline(PROMISE[1] / 1e9, color="0.6", ls="--", label="promised at 310,000 cells")
    right.set(ylabel="peak of memory, GB")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="cells")
        axes.set_xticks(cells, [f"{n:,.0f}" for n in cells])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        # Room for the legend, above all curves.
        axes.set_ylim(top=6 * axes.get_ylim()[1])
        axes.legend(frameon=False, fontsize="small", loc="upper left")
    figure.savefig(out.with_suffix(".png"), dpi=120, metadata={"Software": None})


def main() -> None:
    """Measure each size, print the table, keep it and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[10_000, 30_000, 100_000, 310_000])
    parser.add_argument("--genes", type=int, default=8_563, help="genes of the file")
    parser.add_argument("--selected", type=int, default=2_000, help="genes of the fit")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=128, help="rows of each source")
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, default=ROOT / "results" / "bench" / "memory", help="path of the .csv and .png"
    )
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--train", help=argparse.SUPPRESS)
    parser.add_argument("--spec", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        return make(options.make, options.cells[0], options.genes)
    if options.train:
        return train(options.train, json.loads(options.spec))
    print("\n".join(HEAD), flush=True)
    rows = []
    for cells in options.cells:
        with tempfile.TemporaryDirectory(prefix="cdgm-memory-") as folder:
            row = one_size(Path(folder), cells, options)
        rows.append(row)
        write(rows, options.out)
        print(line(row), flush=True)
    draw(rows, options.out)
    print(f"{options.out}.csv, {options.out}.png", file=sys.stderr)
    if broken := broken_promises(rows):
        raise SystemExit(f"error: {'; '.join(broken)}")


if __name__ == "__main__":
    main()
