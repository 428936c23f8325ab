"""Builders of small specs and observations."""

from typing import Any

import numpy as np

from cdgm.config.fit import FitSpec
from cdgm.config.simulation import Simulation

CONTRASTIVE = {
    "sources": ["background", "target"],
    "blocks": {"background": ["background", "target"], "salient": ["target"]},
}
# One block shared by all, one by two, one private: nothing here is contrastive.
THREE_SOURCES = {
    "sources": ["a", "b", "c"],
    "blocks": {"own": ["b"], "shared": ["a", "b", "c"], "pair": ["a", "c"]},
}


def simulation(**changes: Any) -> Simulation:
    """A small contrastive simulation."""
    values = {
        "design": CONTRASTIVE,
        "dims": {"background": 5, "salient": 3},
        "n_features": 12,
        "mixing": {"kind": "leaky_relu", "layers": 2, "slope": 0.2, "width": 8},
        "noise": {"kind": "gaussian", "sd": 0.1},
        "n_train": {"background": 200, "target": 300},
        "n_test": {"background": 50, "target": 60},
    }
    return Simulation.model_validate(values | changes)


def fit_spec(
    seeds: tuple[int, ...] = (0, 1, 2),
    design: dict = CONTRASTIVE,
    dims: dict[str, int] | None = None,
    model: dict | None = None,
    training: dict | None = None,
    variant: dict | None = None,
) -> FitSpec:
    """A small fit."""
    return FitSpec.model_validate(
        {
            "dataset": "test",
            "model": {
                "design": design,
                "dims": dims or dict.fromkeys(design["blocks"], 2),
                "encoder_hidden": [8],
                "decoder_hidden": [8],
                "encoder_activation": "leaky_relu",
                "decoder_activation": "leaky_relu",
                "likelihood": {"kind": "gaussian"},
            }
            | (model or {}),
            "variant": variant or {"combiner": {"kind": "sum"}},
            "training": {"steps": 50, "batch_size": 16, "learning_rate": 1e-2, "clip": 10.0, "log_every": 10}
            | (training or {}),
            "seeds": seeds,
            "root_seed": 7,
        }
    )


def observations(
    spec: FitSpec, n: int = 100, n_features: int = 6, replicates: int = 3, counts: bool = False
) -> dict:
    """Random observations of each source of a fit, (R, n, D)."""
    rng = np.random.default_rng(5)
    shape = (replicates, n, n_features)
    return {
        source: rng.poisson(3.0, shape).astype(np.float32)
        if counts
        else rng.standard_normal(shape, np.float32)
        for source in spec.model.design.sources
    }
