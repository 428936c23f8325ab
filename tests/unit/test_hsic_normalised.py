"""Normalised HSIC: its oracle, gradient, invariances, null, floor, and its use as a level that binds."""

import numpy as np
import pytest
import torch

from cdgm.config.design import Design
from cdgm.config.fit import VariantSpec
from cdgm.models.comparative_vae import Posterior
from cdgm.objectives.kernels import prior_gamma
from cdgm.objectives.penalties import PENALTIES
from cdgm.objectives.penalties.hsic_normalised import normalised_hsic
from tests.unit.builders import CONTRASTIVE, THREE_SOURCES

PENALTY = PENALTIES.parse({"kind": "hsic_normalised", "of": "means"})


def rows(n=200, dim=3, seed=0, members=1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((members, n, dim)))


def oracle(x: np.ndarray, y: np.ndarray) -> float:
    """Cosine of U-centred kernel matrices (Székely & Rizzo 2014), by definition."""

    def centred(z: np.ndarray) -> np.ndarray:
        k = np.exp(-prior_gamma(z.shape[1]) * ((z[:, None] - z[None]) ** 2).sum(-1))
        n = len(k)
        np.fill_diagonal(k, 0)
        sums = k.sum(1)
        k = k - (sums[:, None] + sums[None]) / (n - 2) + k.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(k, 0)
        return k

    a, b = centred(x), centred(y)
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


@pytest.mark.parametrize("mixed", [0.0, 0.5, 2.0])
def test_it_is_the_cosine_of_centred_kernels(mixed):
    x, noise = rows(dim=3), rows(dim=2, seed=1)
    y = mixed * x[..., :2] + noise
    found = normalised_hsic(x, y).item()
    assert found == pytest.approx(oracle(x[0].numpy(), y[0].numpy()), rel=1e-3, abs=1e-6)


def test_it_is_one_for_a_rotated_copy_and_symmetric():
    x, y = rows(), rows(seed=1)
    rotation = torch.from_numpy(np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))[0])
    assert normalised_hsic(x, x @ rotation + 5).item() == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(normalised_hsic(x, y), normalised_hsic(y, x))


def test_it_hardly_changes_where_a_block_shrinks_and_hsic_does():
    from cdgm.objectives.kernels import hsic

    x, noise = rows(400), rows(400, seed=1)
    y = x + noise
    values = [normalised_hsic(scale * x, y).item() for scale in (0.5, 0.3)]
    assert values[0] == pytest.approx(values[1], rel=0.1)
    assert hsic(0.3 * x, y).item() < 0.5 * hsic(0.5 * x, y).item()


def test_an_empty_block_depends_on_nothing():
    x = rows()
    assert abs(normalised_hsic(1e-3 * x, x).item()) < 0.01
    assert normalised_hsic(0.0 * x, x).item() == 0


def test_shuffled_rows_give_the_same_small_values_at_every_size():
    """The null: mean 0, and a spread far below a level that reads like an R2, falling with rows."""
    rng = np.random.default_rng(0)
    spreads = []
    for n in (64, 256):
        x = rows(n, dim=3)
        y = x[..., :2] + 0.1 * rows(n, dim=2, seed=1)
        observed = normalised_hsic(x, y).item()
        shuffles = torch.stack([y[0, rng.permutation(n)] for _ in range(300)])
        null = normalised_hsic(x.expand(300, -1, -1), shuffles).numpy()
        assert abs(null.mean()) < 4 * null.std() / np.sqrt(300)
        assert observed > null.max()
        spreads.append(null.std())
    assert spreads[1] < spreads[0] < 0.06


def test_its_gradient_is_that_of_differences():
    x, y = rows(12, 2, members=2), rows(12, 3, seed=1, members=2)
    y[..., 0] += x[..., 0]
    x.requires_grad_()
    y.requires_grad_()
    assert torch.autograd.gradcheck(normalised_hsic, (x, y), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("given", [CONTRASTIVE, THREE_SOURCES], ids=["contrastive", "three"])
def test_the_largest_pair_of_blocks_counts(given):
    design = Design.model_validate(given)
    posteriors = {}
    for i, (source, block) in enumerate((s, b) for s in design.sources for b in design.active(s)):
        mean = rows(50, 2, seed=i)
        posteriors[source, block] = Posterior(mean, torch.zeros_like(mean), mean)
    source = next(s for s in design.sources if len(design.active(s)) > 1)
    a, b = design.active(source)[:2]
    mean = posteriors[source, a].mean + 0.1 * posteriors[source, b].mean
    posteriors[source, b] = Posterior(mean, torch.zeros_like(mean), mean)
    expected = normalised_hsic(posteriors[source, a].mean, mean)
    assert expected.item() > 0.9
    torch.testing.assert_close(PENALTY.measure(posteriors, design), expected)


def bounded(**options) -> dict:
    penalty = {"kind": "hsic_normalised", "of": "means"}
    held = {"kind": "upper_bound", "penalty": penalty, "rate": 10, "average": 0.9, "warm_up": 0}
    return {"combiner": {"kind": "sum"}, "constraints": [held | options]}


def test_it_is_held_under_a_level_and_has_no_quantile_of_chance():
    assert VariantSpec.model_validate(bounded(level=0.02)).constraints[0].name == "hsic_normalised"
    with pytest.raises(ValueError, match="'hsic_normalised' has no null"):
        VariantSpec.model_validate(bounded(alpha=0.05))
    ramped = {"kind": "hsic_normalised", "of": "means", "ramp": {"from": 0, "to": 1, "steps": 5}}
    with pytest.raises(ValueError, match="can't have a ramp"):
        VariantSpec.model_validate(bounded(level=0.02, penalty=ramped))
