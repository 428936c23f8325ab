"""Fits of `benchmarks.choosing`: data sets with known truth, swept as users do, many in a stack."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cdgm.config.layers import merge
from cdgm.config.simulation import Simulation
from cdgm.estimator import specification
from cdgm.estimator.defaults import defaults
from cdgm.estimator.ensemble import Ensemble
from cdgm.estimator.model import ComparativeModel
from cdgm.estimator.selection.sweep import measured
from cdgm.evaluation.metrics.regression import linear_r2
from cdgm.models.comparative_vae import ComparativeVAE
from cdgm.simulation.simulate import simulate
from cdgm.training.loop import train
from cdgm.utils.command_line import log
from cdgm.utils.files import write_csv
from cdgm.workflow.plan import identify

#: Root of the random numbers of all simulations here; no study of config.yaml has it.
ROOT_SEED = 20_240_501
SOURCES = ("background", "target")


@dataclass(frozen=True, eq=False)
class Setting:
    """Data sets of one truth, and how they are fitted.

    Attributes
    ----------
    name
        For tables.
    truth
        True dimensions of the background and the salient block.
    simulation
        Changes of :func:`protocol`.
    model
        Arguments of ``ComparativeModel.from_arrays``.
    steps
        Optimiser steps.
    """

    name: str
    truth: tuple[int, int]
    simulation: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 1_000


def protocol(truth: tuple[int, int]) -> dict[str, Any]:
    """The simulations of config.yaml at other dimensions, with as many hidden units as latents."""
    return {
        "design": defaults()["design"],
        "dims": dict(zip(("background", "salient"), truth, strict=True)),
        "n_features": 30,
        "mixing": {"kind": "leaky_relu", "layers": 2, "slope": 0.2, "width": sum(truth)},
        "noise": {"kind": "gaussian", "sd": 0.1},
        "n_train": dict.fromkeys(SOURCES, 6_000),
        "n_test": dict.fromkeys(SOURCES, 2_000),
    }


def data_sets(setting: Setting, seeds: Sequence[int]) -> list[dict[str, np.ndarray]]:
    """A simulated data set a seed; see :func:`cdgm.simulation.simulate.simulate_one`."""
    spec = Simulation.model_validate(merge(protocol(setting.truth), setting.simulation))
    arrays = simulate(spec, seeds, ROOT_SEED)
    return [{name: values[i] for name, values in arrays.items()} for i in range(len(seeds))]


def rows(
    setting: Setting, points: Mapping[str, Mapping[str, Any]], seeds: Sequence[int], members: int, cache: Path
) -> pd.DataFrame:
    """What a sweep measures on each data set, and how well blocks do by the truth.

    Parameters
    ----------
    setting
        The truth.
    points
        Of each point of the sweep, by a name: its ``columns``, and its arguments ``model``.
    seeds
        Data sets.
    members
        Members of each fit.
    cache
        Folder of what was fitted before; a point that is there is not fitted again.
    """
    simulated: list[dict[str, np.ndarray]] = []
    tables = []
    for name, point in points.items():
        job = [setting.name, setting.truth, setting.simulation, setting.steps, members, list(seeds)]
        options = dict(setting.model) | dict(point["model"])
        path = cache / f"{identify(f'{setting.name}-{name}', job, options)}.csv"
        if not path.exists():
            simulated = simulated or data_sets(setting, seeds)
            started = time.process_time()
            found = _fitted_rows(simulated, options, members, setting.steps)
            columns = {"setting": setting.name, **point["columns"]}
            table = pd.DataFrame(
                [{**columns, "data": seed, **row} for seed, row in zip(seeds, found, strict=True)]
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            write_csv(path, table.assign(seconds=time.process_time() - started), digits=None)
            log(f"{setting.name}, {name}: {time.process_time() - started:.0f} s")
        tables.append(pd.read_csv(path))
    return pd.concat(tables, ignore_index=True)


def _fitted_rows(
    simulated: Sequence[Mapping[str, np.ndarray]], options: Mapping[str, Any], members: int, steps: int
) -> list[dict[str, float]]:
    models = [
        ComparativeModel.from_arrays({s: data[f"x/train/{s}"] for s in SOURCES}, n_members=members, **options)
        for data in simulated
    ]
    train_together(models, steps)
    return [measured(model) | by_truth(model, data) for model, data in zip(models, simulated, strict=True)]


def train_together(models: Sequence[ComparativeModel], steps: int) -> None:
    """What ``model.train(max_steps=steps)`` does to each of several models of equal shapes, in one stack."""
    first, members = models[0], len(models[0].seeds)
    inputs = [model.network_input("train") for model in models]
    x = {source: np.concatenate([own[source] for own in inputs]) for source in inputs[0]}
    rows = [values.shape[1] for values in x.values()]
    training = specification.training_values(first.protocol, rows, steps, None, None, None)
    seeds = tuple(seed for model in models for seed in model.seeds)
    spec = specification.fit_spec(first.model_spec, first.variant, training, seeds)
    trained = train(spec, x, np.repeat(np.arange(len(models)), members).tolist())
    whole = dict(trained.model.named_parameters())
    for i, model in enumerate(models):
        own = slice(i * members, (i + 1) * members)
        stack = ComparativeVAE(model.model_spec, x[SOURCES[0]].shape[-1], members)
        for name, parameter in stack.named_parameters():
            parameter.data = whole[name].data[own].clone()
        alone = specification.fit_spec(model.model_spec, model.variant, training, model.seeds)
        history = {k: v if v.ndim < 2 else v[:, own] for k, v in trained.history.items()}
        model.ensemble = Ensemble(alone, stack, trained.finite[own], history)


def by_truth(model: ComparativeModel, data: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Linear R2, median over members, on target rows that no fit has seen.

    ``recovery_<block>`` of a block's own truth from the block, ``leak_<block>`` of the other block's truth
    from the block.
    """
    truth = {block: data[f"truth/test/target/{block}"] for block in ("background", "salient")}
    other = {"background": "salient", "salient": "background"}
    found = {}
    for block, own in truth.items():
        means = model.get_latent_representation(block, member="all", data={"target": data["x/test/target"]})
        kept = means[model.ensemble.members()]
        found[f"recovery_{block}"] = float(np.median([linear_r2(m, own) for m in kept]))
        found[f"leak_{block}"] = float(np.median([linear_r2(m, truth[other[block]]) for m in kept]))
    return found
