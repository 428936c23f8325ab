"""Training steps per second: a replicate stack against fits one at a time, beside the core's sgemm rate.

Everything is measured in one run on one thread, in turn, so the ratios hold when the machine's speed
drifts. ``one at a time`` is the loop that one would write without stacks: ``nn.Linear`` layers, one
model, fused Adam, clipping, one-cycle schedule. ``stack of one`` is our own trainer with a single member.

Run with ``make bench``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import nn

from cdgm.config.fit import FitSpec
from cdgm.training.loop import train

DESIGN = {
    "sources": ["background", "target"],
    "blocks": {"background": ["background", "target"], "salient": ["target"]},
}
DIMS = {"background": 5, "salient": 3}
# (features, hidden, rows, members), and the least ratio and share of sgemm that the project promises.
CASES = {(50, 32, 128, 8): (5.0, None), (50, 64, 256, 8): (2.4, 0.42)}


def fit_spec(
    hidden: int, rows: int, members: int, steps: int, variant: dict | None = None, design: dict | None = None
) -> FitSpec:
    """A fit of the paper's shape: two hidden layers, rows split evenly over the sources (here two)."""
    design = design or DESIGN
    return FitSpec.model_validate(
        {
            "dataset": "benchmark",
            "model": {
                "design": design,
                "dims": {
                    block: DIMS.get(block, 5 if len(s) > 1 else 3) for block, s in design["blocks"].items()
                },
                "encoder_hidden": [hidden] * 2,
                "decoder_hidden": [hidden] * 2,
                "encoder_activation": "leaky_relu",
                "decoder_activation": "leaky_relu",
                "likelihood": {"kind": "gaussian"},
            },
            "variant": variant or {"combiner": {"kind": "sum"}},
            "training": {
                "steps": steps,
                "batch_size": rows // len(design["sources"]),
                "learning_rate": 1e-3,
                "clip": 10.0,
                "log_every": steps,
            },
            "seeds": list(range(members)),
            "root_seed": 0,
        }
    )


def network(n_in: int, hidden: int, n_out: int) -> nn.Sequential:
    """Two hidden layers of leaky ReLU."""
    return nn.Sequential(
        nn.Linear(n_in, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, hidden), nn.LeakyReLU(0.2),
        nn.Linear(hidden, n_out),
    )  # fmt: skip


def plain_fit(x: dict[str, torch.Tensor], hidden: int, rows: int, steps: int) -> None:
    """One contrastive VAE in plain PyTorch."""
    n, features = x["target"].shape
    shared, salient = (
        network(features, hidden, 2 * DIMS["background"]),
        network(features, hidden, 2 * DIMS["salient"]),
    )
    decoder = network(sum(DIMS.values()), hidden, features)
    log_sd = nn.Parameter(torch.zeros(()))
    parameters = [*shared.parameters(), *salient.parameters(), *decoder.parameters(), log_sd]
    adam = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=1e-3, total_steps=steps + 1)
    half = rows // 2

    def sample(encoder: nn.Module, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_variance = encoder(h).chunk(2, dim=-1)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)
        return mean + (0.5 * log_variance).exp() * torch.randn_like(mean), kl

    for _ in range(steps):
        xb, xt = (x[source][torch.randint(n, (half,))] for source in ("background", "target"))
        both = torch.cat([xb, xt])
        z, kl_z = sample(shared, both)
        t, kl_t = sample(salient, xt)
        f = decoder(torch.cat([z, torch.cat([t.new_zeros(half, t.shape[1]), t])], dim=1))
        log_prob = -0.5 * (both - f).square().sum(-1) * (-2 * log_sd).exp() - features * log_sd
        loss = -(log_prob - kl_z)[:half].mean() - (log_prob - kl_z)[half:].mean() + kl_t.mean()
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 10.0)
        adam.step()
        schedule.step()


def multiply_adds(features: int, hidden: int, rows: int) -> int:
    """Multiply-adds of all layers in one forward pass of one member."""
    shared = features * hidden + hidden * hidden + hidden * 2 * DIMS["background"]
    salient = features * hidden + hidden * hidden + hidden * 2 * DIMS["salient"]
    decoder = sum(DIMS.values()) * hidden + hidden * hidden + hidden * features
    return rows * (shared + decoder) + rows // 2 * salient


def observations(features: int, sources: Sequence[str] = DESIGN["sources"]) -> dict[str, np.ndarray]:
    """Something to train on: (1, 6000, features) for each source."""
    rng = np.random.default_rng(0)
    return {source: rng.standard_normal((1, 6000, features), np.float32) for source in sources}


def seconds(work: Callable[[], None]) -> float:
    """Processor time of one call: other processes on the core do not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


def sgemm_rate() -> float:
    """Floating point operations a second of a 1024^3 product, best of eight."""
    a = torch.randn(1024, 1024)
    return 2 * 1024**3 / min(seconds(lambda: a @ a) for _ in range(8))


def options(description: str) -> argparse.Namespace:
    """Command line of a benchmark of ratios."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds, each measuring everything once")
    parser.add_argument("--check", action="store_true", help="fail when a promised ratio is missed")
    return parser.parse_args()


def main() -> None:
    """Measure and print; exit with 1 when a promised ratio is missed and ``--check`` is given."""
    arguments = options(__doc__)
    torch.set_num_threads(1)
    rate = sgemm_rate()
    print(f"sgemm 1024^3 on one core: {rate / 1e9:.0f} GFLOP/s")
    missed = False
    for (features, hidden, rows, members), (least, least_share) in CASES.items():
        x = observations(features)
        flat = {source: torch.from_numpy(values[0]) for source, values in x.items()}
        work = {
            "one at a time": (1, 300, lambda n, f=flat, h=hidden, r=rows: plain_fit(f, h, r, n)),
            "stack of one": (1, 300, lambda n, x=x, h=hidden, r=rows: train(fit_spec(h, r, 1, n), x, [0])),
            "stack": (
                members,
                100,
                lambda n, x=x, h=hidden, r=rows, m=members: train(fit_spec(h, r, m, n), x, [0] * m),
            ),
        }
        rates: dict[str, list[float]] = {name: [] for name in work}
        for turn in range(arguments.rounds + 1):
            for name, (stack, steps, run) in work.items():
                taken = seconds(lambda run=run, steps=steps: run(steps))
                if turn > 0:  # the first round warms up
                    rates[name].append(stack * steps / taken)
        ratio = statistics.median(s / o for s, o in zip(rates["stack"], rates["one at a time"], strict=True))
        # Forward, gradient of the weights and gradient of the inputs: three products, each 2 flops.
        flops = 3 * 2 * multiply_adds(features, hidden, rows)
        print(f"\n{features} features, {hidden} hidden, {rows} rows, {members} members")
        for name, values in rates.items():
            median = statistics.median(values)
            print(f"  {name:14s} {median:7.0f} model-steps/s   {median * flops / rate:.2f} of sgemm")
        share = statistics.median(rates["stack"]) * flops / rate
        wanted = f"promised {least}" + (f" and {least_share} of sgemm" if least_share else "")
        print(f"  stack / one at a time = {ratio:.2f}   ({wanted})")
        missed |= ratio < least or (least_share is not None and share < least_share)
    if arguments.check and missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
