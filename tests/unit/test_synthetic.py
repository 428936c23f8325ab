"""Simulations are injective and reproducible, and the twist keeps the prior."""

import numpy as np
import pytest
from scipy import stats

from cdgm.config.latent_twist import Twist
from cdgm.config.simulation import Simulation
from cdgm.simulation.mixings.base import orthonormal
from cdgm.simulation.simulate import simulate, simulate_one
from cdgm.utils.random_streams import stream
from tests.unit.builders import simulation

LEAKY = {"kind": "leaky_relu", "layers": 2, "slope": 0.2, "width": 8}
COUPLING = {"kind": "coupling", "layers": 2, "strength": 1.0, "kinks": 16}
TWIST = {"angle": 2.0, "block": "background", "by": "salient"}


def test_shapes_and_active_blocks():
    arrays = simulate(simulation(), [4, 9], root=1)
    assert arrays["x/train/background"].shape == (2, 200, 12)
    assert arrays["truth/test/target/salient"].shape == (2, 60, 3)
    assert "truth/train/background/salient" not in arrays
    assert arrays["seeds"].tolist() == [4, 9]
    assert all(a.dtype == np.float32 for name, a in arrays.items() if name != "seeds")


@pytest.mark.parametrize(
    "mixing",
    [
        {"kind": "linear"},
        LEAKY,
        LEAKY | {"layers": 4},
        {"kind": "near_linear", "layers": 3, "slope": 0.1, "width": 9},
        COUPLING,
    ],
    ids=lambda m: m["kind"] + str(m.get("layers", "")),
)
def test_mixings_are_injective(mixing):
    """The Jacobian has full column rank everywhere we look, with a margin."""
    spec = simulation(mixing=mixing)
    mix = spec.mixing.draw(np.random.default_rng(3), 8, 12)
    u = np.random.default_rng(4).standard_normal((50, 8))

    def apply(points):
        return mix({"background": points[:, :5], "salient": points[:, 5:]})

    step = 1e-5
    jacobian = np.stack(
        [(apply(u + step * e) - apply(u - step * e)) / (2 * step) for e in np.eye(8)], axis=-1
    )
    smallest = np.linalg.svd(jacobian, compute_uv=False)[:, -1]
    assert smallest.min() > 0.2 ** spec.mixing.model_dump().get("layers", 1) * 0.3


@pytest.mark.parametrize("mixing", [LEAKY, COUPLING], ids=lambda m: m["kind"])
def test_piecewise_affine_mixings_are_so_along_a_line(mixing):
    """Differences along a line are constant but for the few steps that hold a kink, and they never jump."""
    rng = np.random.default_rng(5)
    f = simulation(mixing=mixing).mixing.draw(rng, 8, 12)
    at, along = rng.standard_normal((2, 8))
    steps = np.linspace(-2, 2, 4_001)
    u = at + steps[:, None] * along
    y = f({"background": u[:, :5], "salient": u[:, 5:]})
    slopes = np.diff(y, axis=0)
    bent = np.abs(np.diff(slopes, axis=0)).max(1) > 1e-9
    assert 0 < bent.sum() <= 2 * 32
    assert np.abs(slopes).max() < 0.02 * np.linalg.norm(along)


def test_orthonormal_rows_of_uniform_law():
    weight = orthonormal(np.random.default_rng(0), 3, 7)
    np.testing.assert_allclose(weight @ weight.T, np.eye(3), atol=1e-12)
    # QR without the sign fix gives a biased first entry; Haar gives mean 0.
    first = [orthonormal(np.random.default_rng(i), 2, 2)[0, 0] for i in range(2_000)]
    assert abs(np.mean(first)) < 4 * np.std(first) / np.sqrt(2_000)
    with pytest.raises(ValueError, match="injectively"):
        orthonormal(np.random.default_rng(0), 7, 3)


def test_signal_has_unit_sd_and_noise_its_own():
    quiet = simulate_one(
        simulation(noise={"kind": "gaussian", "sd": 1e-6}, n_train={"background": 9_000, "target": 9_000}),
        3,
        1,
    )
    loud = simulate_one(
        simulation(noise={"kind": "gaussian", "sd": 0.5}, n_train={"background": 9_000, "target": 9_000}),
        3,
        1,
    )
    signal = np.concatenate([quiet["x/train/background"], quiet["x/train/target"]])
    assert signal.std() == pytest.approx(1.0, rel=0.02)
    noise = loud["x/train/target"] - quiet["x/train/target"]
    assert noise.std() == pytest.approx(0.5, rel=0.02)


def test_settings_that_differ_in_mixing_share_latents():
    a, b = simulate_one(simulation(), 3, 1), simulate_one(simulation(mixing={"kind": "linear"}), 3, 1)
    np.testing.assert_array_equal(a["truth/train/target/salient"], b["truth/train/target/salient"])
    assert not np.array_equal(a["x/train/target"], b["x/train/target"])


def test_replicates_do_not_depend_on_each_other():
    many, one = simulate(simulation(), [4, 9], 1), simulate(simulation(), [9], 1)
    np.testing.assert_array_equal(many["x/train/target"][1], one["x/train/target"][0])
    assert not np.array_equal(many["x/train/target"][0], many["x/train/target"][1])
    assert not np.array_equal(one["x/train/target"], simulate(simulation(), [9], 2)["x/train/target"])


class TestTwist:
    twist = Twist(**TWIST)

    def latents(self, n=20_000):
        rng = np.random.default_rng(0)
        return {"background": rng.standard_normal((n, 5)), "salient": rng.standard_normal((n, 3))}

    def test_inverse(self):
        u = self.latents(100)
        back = self.twist.apply(self.twist.apply(u, np), np, inverse=True)
        np.testing.assert_allclose(back["background"], u["background"], atol=1e-12)

    def test_keeps_the_prior_and_its_volume(self):
        u = self.latents()
        v = self.twist.apply(u, np)
        np.testing.assert_allclose(
            np.linalg.norm(v["background"], axis=1), np.linalg.norm(u["background"], axis=1), rtol=1e-12
        )
        for column in v["background"].T:
            assert stats.kstest(column, "norm").pvalue > 0.01
        both = np.concatenate([v["background"], v["salient"]], axis=1)
        np.testing.assert_allclose(np.cov(both.T), np.eye(8), atol=0.04)

    def test_is_the_identity_where_the_other_block_is_zero(self):
        u = self.latents(50) | {"salient": np.zeros((50, 3))}
        np.testing.assert_allclose(self.twist.apply(u, np)["background"], u["background"], atol=1e-12)

    def test_an_odd_coordinate_stays(self):
        u = self.latents(50)
        v = self.twist.apply(u, np)
        np.testing.assert_array_equal(v["background"][:, 4], u["background"][:, 4])
        assert np.abs(v["background"][:, :4] - u["background"][:, :4]).max() > 0.5

    def test_rotates_by_the_angle_that_it_says(self):
        v = self.twist.apply({"background": np.array([[1.0, 0.0]]), "salient": np.array([[0.3, 0.4]])}, np)
        np.testing.assert_allclose(v["background"], [[np.cos(1.0), np.sin(1.0)]], atol=1e-12)

    def test_numpy_and_torch_agree_and_the_gradient_at_zero_is_finite(self):
        import torch

        u = self.latents(10)
        tensors = {block: torch.from_numpy(values).requires_grad_() for block, values in u.items()}
        v = self.twist.apply(tensors, torch)
        np.testing.assert_allclose(
            v["background"].detach(), self.twist.apply(u, np)["background"], atol=1e-12
        )
        zero = {
            "background": torch.ones(2, 4, requires_grad=True),
            "salient": torch.zeros(2, 3, requires_grad=True),
        }
        self.twist.apply(zero, torch)["background"].sum().backward()
        assert torch.isfinite(zero["salient"].grad).all()


def test_twisted_mixing_gives_the_same_points_from_twisted_latents():
    """f o T^-1 at T(u) is f at u: the two settings can't be told apart by their data."""
    plain = simulation().mixing.draw(stream("m", root=1), 8, 12)
    twisted = simulation(mixing={"kind": "twisted", "base": LEAKY, "twist": TWIST}).mixing.draw(
        stream("m", root=1), 8, 12
    )
    rng = np.random.default_rng(0)
    u = {"background": rng.standard_normal((100, 5)), "salient": rng.standard_normal((100, 3))}
    np.testing.assert_allclose(twisted(Twist(**TWIST).apply(u, np)), plain(u), atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dims": {"background": 5}}, "dims of the simulation"),
        ({"n_features": 7}, "n_features is 7"),
        ({"mixing": LEAKY | {"width": 6}}, "mixing width is 6"),
        ({"n_train": {"background": 5}}, "n_train names"),
        ({"mixing": {"kind": "cubic"}}, "unknown mixing 'cubic', known: coupling, leaky_relu"),
        ({"noise_of": {"elsewhere": {"kind": "gaussian", "sd": 1}}}, "noise_of names \\['elsewhere'\\]"),
        (
            {"noise_of": {"target": {"kind": "poisson", "rate": 1}}},
            "noise_of gives counts in source 'target'",
        ),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        simulation(**changes)
    assert isinstance(simulation(), Simulation)
