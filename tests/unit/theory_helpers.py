"""What tests of the theory share: a mixing, and a test of equal laws."""

import numpy as np
import torch

from cdgm.objectives.kernels import mmd2
from cdgm.simulation.mixings import MIXINGS

FEATURES = 12


def mixing(n_latent, seed=0):
    """A leaky ReLU mixing of rows (n, n_latent): continuous, injective, piecewise affine."""
    spec = MIXINGS.parse({"kind": "leaky_relu", "layers": 2, "slope": 0.2, "width": n_latent})
    drawn = spec.draw(np.random.default_rng(seed), n_latent, FEATURES)
    return lambda u: drawn({"all": u})


def p_equal_laws(x, y, rng, draws=199):
    """P value of a permutation test of equal laws by the unbiased MMD, all permutations in one stack."""
    both = torch.from_numpy(np.concatenate([x, y]) / np.concatenate([x, y]).std())
    orders = [np.arange(len(both)), *(rng.permutation(len(both)) for _ in range(draws))]
    stack = both[torch.from_numpy(np.stack(orders))]
    values = torch.cat([mmd2(part[:, : len(x)], part[:, len(x) :]) for part in stack.split(20)])
    return float((values >= values[0]).double().mean())
