"""What an objective costs: whole training steps of a stack under a variant, over those of the plain sum.

Both are measured in turn in one run on one thread, so the ratios hold when the machine's speed drifts.

Run with ``make bench``.
"""

from __future__ import annotations

import statistics
import sys

import torch
from throughput import fit_spec, observations, options, seconds

from cdgm.training.loop import train

FEATURES, HIDDEN, ROWS, MEMBERS = 50, 64, 256, 8
STEPS = 100
SUM = {"combiner": {"kind": "sum"}}
HSIC = {"kind": "hsic", "estimator": "unbiased", "of": "means"}
MMD = {"estimator": "unbiased", "of": "means", "kernel": "expected_distance"}
HELD = {"kind": "upper_bound", "alpha": 0.05, "rate": 1.0, "average": 0.99, "warm_up": 0}
HSIC_HELD, MMD_HELD = HELD | {"penalty": HSIC}, HELD | {"penalty": MMD | {"kind": "mmd_shared"}}


def penalised(**penalty: object) -> dict:
    """The plain sum with one penalty."""
    return SUM | {"penalties": [penalty | {"weight": 1.0}]}


def combined(kind: str, **options: object) -> dict:
    """Sources' gradients weighed by a combiner."""
    return {"combiner": {"kind": kind} | options}


# A shared block and a private one for each of five sources.
FIVE = {
    "sources": list("abcde"),
    "blocks": {"shared": list("abcde")} | {f"private_{source}": [source] for source in "abcde"},
}
# Name: variant, rows of a step (half of them a source), and the largest ratio that the project promises.
CASES = {
    "hsic, 64 rows a source": (penalised(**HSIC), 128, 1.5),
    "hsic, 128 rows a source": (penalised(**HSIC), ROWS, 1.5),
    "hsic held at its null": (SUM | {"constraints": [HSIC_HELD]}, ROWS, None),
    "hsic and mmd held": (SUM | {"constraints": [MMD_HELD, HSIC_HELD]}, ROWS, 2.0),
    "mmd_shared": (penalised(kind="mmd_shared", **MMD), ROWS, None),
    "mmd_shared, 13 kernels": (penalised(kind="mmd_shared", **MMD | {"kernel": "mm_cvae"}), ROWS, None),
    "mmd_inactive": (penalised(kind="mmd_inactive", **MMD), ROWS, None),
    "wasserstein_inactive": (penalised(kind="wasserstein_inactive"), ROWS, None),
    "tc": (penalised(kind="tc", hidden=64, learning_rate=1e-3), ROWS, None),
    "size_weighted": (combined("size_weighted"), ROWS, None),
    "mgda": (combined("mgda", normalise="none"), ROWS, 1.3),
    "pcgrad": (combined("pcgrad"), ROWS, None),
    "cagrad": (combined("cagrad", c=0.5), ROWS, None),
    "mgda, five sources": (combined("mgda", normalise="none"), ROWS, 1.7),
}


def main() -> None:
    """Measure and print; exit with 1 when a promised ratio is missed and ``--check`` is given."""
    arguments = options(__doc__)
    torch.set_num_threads(1)
    two, five = observations(FEATURES), observations(FEATURES, FIVE["sources"])
    print(f"{FEATURES} features, {HIDDEN} hidden, {MEMBERS} members; time of a step over that of the sum's")
    missed = False
    for name, (variant, rows, most) in CASES.items():
        x, design = (five, FIVE) if "five" in name else (two, None)
        ratios = []
        for turn in range(arguments.rounds + 1):
            taken = [
                seconds(
                    lambda v=v, r=rows, x=x, d=design: train(
                        fit_spec(HIDDEN, r, MEMBERS, STEPS, v, d), x, [0] * MEMBERS
                    )
                )
                for v in (SUM, variant)
            ]
            if turn > 0:  # the first round warms up
                ratios.append(taken[1] / taken[0])
        ratio = statistics.median(ratios)
        promise = f"   (promised {most})" if most else ""
        print(f"  {name:24s} {rows:4d} rows   {ratio:.2f}{promise}", flush=True)
        missed |= most is not None and ratio > most
    if arguments.check and missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
