"""What asymmetric and inherited axes are in linear models, whose posteriors have closed forms."""

import numpy as np
import pytest
from scipy.linalg import eigh

from cdgm.evaluation.metrics.asymmetric_axes import ALIVE_IN_ONE, RIDGE, axis_asymmetry
from cdgm.evaluation.metrics.inherited_axes import inherited_axis

N, FEATURES = 20_000, 8
RNG = np.random.default_rng(11)
#: Loadings of three shared and two private dimensions: oblique, and at right angles.
OBLIQUE = RNG.standard_normal((FEATURES, 5)) / FEATURES**0.5
RIGHT_ANGLES = np.linalg.qr(RNG.standard_normal((FEATURES, 5)))[0]


def posterior(loadings, sd):
    """Map from rows to posterior means (d, D), and the posterior covariance."""
    covariance = np.linalg.inv(np.eye(loadings.shape[1]) + loadings.T @ loadings / sd**2)
    return covariance @ loadings.T / sd**2, covariance


def rows(loadings, sd, seed):
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((N, loadings.shape[1]))
    return latents @ loadings.T + sd * rng.standard_normal((N, FEATURES))


@pytest.mark.parametrize("loadings", [OBLIQUE, RIGHT_ANGLES])
@pytest.mark.parametrize("sd", [0.1, 0.5])
def test_with_true_posteriors_no_axis_of_the_richer_source_is_wider(loadings, sd):
    """Means vary by 1 less the posterior's variance, and an unknown t only adds to that."""
    of_target, target = posterior(loadings, sd)
    of_background, background = posterior(loadings[:, :3], sd)
    assert np.linalg.eigvalsh(target[:3, :3] - background).min() > -1e-12
    ridged = (1 + RIDGE) * np.eye(3)
    assert eigh(ridged - target[:3, :3], ridged - background, eigvals_only=True)[-1] <= 1 + 1e-12
    means = rows(loadings, sd, 0) @ of_target[:3].T, rows(loadings[:, :3], sd, 1) @ of_background.T
    np.testing.assert_allclose(np.cov(means[0].T), np.eye(3) - target[:3, :3], atol=0.04)
    assert axis_asymmetry(*means)[0] < 1.05


@pytest.mark.parametrize("told", ["target", "background"])
def test_an_encoder_that_is_not_told_the_source_adds_what_t_brings(told):
    sd = 0.3
    encoder = posterior(OBLIQUE if told == "target" else OBLIQUE[:, :3], sd)[0][:3]
    shared, private = OBLIQUE[:, :3], OBLIQUE[:, 3:]
    idle = encoder @ (shared @ shared.T + sd**2 * np.eye(FEATURES)) @ encoder.T + RIDGE * np.eye(3)
    brought = encoder @ private @ private.T @ encoder.T
    expected = 1 + eigh(brought, idle, eigvals_only=True)[-1]
    value, _, _ = axis_asymmetry(rows(OBLIQUE, sd, 2) @ encoder.T, rows(shared, sd, 3) @ encoder.T)
    assert value == pytest.approx(expected, rel=0.05)
    assert value >= 1


@pytest.mark.parametrize(("sds", "alarm"), [((0.3, 0.3), False), ((0.3, 1.0), False), ((0.1, 2.0), True)])
def test_unequal_noise_has_the_ratio_of_resolved_variances(sds, alarm):
    """Only where the other source resolves less than .3 of an axis is there a false alarm."""
    parts = [posterior(RIGHT_ANGLES[:, :3], sd) for sd in sds]
    resolved = [1 - covariance[0, 0] for _, covariance in parts]
    means = [
        rows(RIGHT_ANGLES[:, :3], sd, i) @ encoder.T
        for i, (sd, (encoder, _)) in enumerate(zip(sds, parts, strict=True))
    ]
    value, _, _ = axis_asymmetry(*means)
    assert value == pytest.approx((resolved[0] + RIDGE) / (resolved[1] + RIDGE), rel=0.06)
    assert (value > ALIVE_IN_ONE) == alarm == (resolved[1] < 0.3)


def test_an_inherited_axis_is_small_for_t_alone_and_nearly_1_for_a_dimension_of_z():
    sd = 0.1
    encoder, covariance = posterior(RIGHT_ANGLES, sd)
    target, background = rows(RIGHT_ANGLES, sd, 4), rows(RIGHT_ANGLES[:, :3], sd, 5)
    s = covariance[3, 3]
    alone = inherited_axis(background @ encoder[3:].T, target @ encoder[3:].T)
    # Noise alone, seen by the encoder of t: variance s (1 - s).
    assert alone == pytest.approx(s * (1 - s) / (1 - s + RIDGE), rel=0.1)
    with_z = encoder[[0, 3, 4]]
    moved = inherited_axis(background @ with_z.T, target @ with_z.T)
    assert moved == pytest.approx((1 - s) / (1 - s + RIDGE), rel=0.05)
    assert alone < 0.05 < 0.9 < moved
