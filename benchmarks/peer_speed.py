"""Processor seconds an epoch of our trainer and of scvi-tools', in turn, in one process, on one thread."""

from __future__ import annotations

import itertools
import statistics
import time
from dataclasses import replace

import numpy as np

from benchmarks.peer_ours import Ours, steps_an_epoch
from cdgm.config.fit import FitSpec
from cdgm.data.bundle import Bundle
from cdgm.workflow.plan import dump

# The most that an epoch of ours may cost of one of the peer's.
PROMISED = 0.7


def sparse_counts(cells: int = 5_000, genes: int = 2_000, seed: int = 0) -> Bundle:
    """Counts of two sources with low-rank log-rates, library sizes and dispersion 2; nine in ten are zero."""
    rng = np.random.default_rng(seed)
    base = rng.normal(0.0, 1.5, genes)
    loadings = rng.normal(0.0, 0.3, (10, genes))
    x = {}
    for source in ("background", "target"):
        log_rates = base + rng.normal(size=(cells // 2, 10)) @ loadings
        share = np.exp(log_rates)
        share /= share.sum(axis=1, keepdims=True)
        total = rng.lognormal(np.log(0.15 * genes), 0.4, (cells // 2, 1))
        x[source] = rng.poisson(total * share * rng.gamma(2.0, 0.5, share.shape)).astype(np.uint16)[None]
    return Bundle({"train": x, "test": x})


def our_epochs(ours: FitSpec, bundle: Bundle, epochs: int, method: Ours) -> list[float]:
    """Seconds of each epoch but the first, which warms up."""
    from cdgm.training.loop import train

    steps = steps_an_epoch(bundle, ours.training.batch_size)
    values = dump(method.spec(ours, [0]))
    values["training"] = values["training"] | {"steps": steps * (epochs + 1), "log_every": steps}
    times: list[float] = []
    train(FitSpec.model_validate(values), bundle.x["train"], [0], lambda _: times.append(time.process_time()))
    return [b - a for a, b in itertools.pairwise(times)]


def compare(ours: FitSpec, bundle: Bundle, epochs: int, rounds: int) -> tuple[str, float]:
    """Measure in turn; gives a Markdown table and our ratio to the peer's own likelihood.

    Both fit the same rows, genes, hidden widths, latent dimensions and batch size.
    """
    from benchmarks.contrastivevi import ContrastiveVI

    mine = {"cvae": Ours(equal_widths=True), "wasserstein-cvae": Ours("wasserstein-cvae", equal_widths=True)}
    theirs = {
        "scvi-tools": ContrastiveVI(epochs=epochs + 1, warm_up=None),
        "scvi-tools, Wasserstein": ContrastiveVI(epochs=epochs + 1, warm_up=None, wasserstein=1.0),
        "scvi-tools, NB, no dropout": ContrastiveVI(
            epochs=epochs + 1, warm_up=None, zero_inflated=False, dropout=0.0
        ),
    }
    measured: dict[str, list[float]] = {name: [] for name in (*mine, *theirs)}
    for _ in range(rounds):
        for name, method in mine.items():
            measured[name].append(statistics.median(our_epochs(ours, bundle, epochs, method)))
        for name, peer in theirs.items():
            seconds = replace(peer, batch_size=ours.training.batch_size).train(ours, bundle, 0)[1]
            measured[name].append(statistics.median(seconds[1:]))
    beside = {
        "cvae": ("scvi-tools", "scvi-tools, NB, no dropout"),
        "wasserstein-cvae": ("scvi-tools, Wasserstein",),
    }
    lines = ["| method | seconds an epoch | ratio to |", "|---|---|---|"]
    for name, values in measured.items():
        ratios = [f"{peer}: {ratio(values, measured[peer]):.2f}" for peer in beside.get(name, ())]
        lines.append(f"| {name} | {statistics.median(values):.2f} | {'; '.join(ratios)} |")
    return "\n".join(lines), ratio(measured["cvae"], measured["scvi-tools"])


def ratio(a: list[float], b: list[float]) -> float:
    """Median over rounds of the ratio within a round."""
    return statistics.median(x / y for x, y in zip(a, b, strict=True))
