"""Fits that start at the true decoder."""

import numpy as np
import pytest
import torch

from cdgm.config.fit import FitSpec
from cdgm.simulation.simulate import draw_latents, simulate, true_decoder
from cdgm.training.loop import build_model, train
from tests.unit.builders import fit_spec, simulation

DIMS = {"background": 5, "salient": 3}
ROOT_SEED = 7


def started(decoder_hidden=(20, 20), dims=None, held=0.0, training=None, **setting):
    start = {
        "kind": "truth",
        "decoder_held": held,
        "simulation": simulation(**setting).model_dump(mode="json"),
    }
    return fit_spec(
        dims=dims or DIMS,
        model={"decoder_hidden": list(decoder_hidden)},
        training={"start": start} | (training or {}),
    )


@pytest.mark.parametrize(
    ("hidden", "layers"), [((8,), 2), ((20, 16), 2), ((9, 17, 18), 2), ((8, 9), 3), ((16, 20), 1)]
)
@pytest.mark.parametrize("dims", [DIMS, {"background": 7, "salient": 4}], ids=["right", "spare"])
def test_decodes_the_truth_to_rounding(hidden, layers, dims):
    """Whatever the decoder's depth and width and whatever latents it has to spare."""
    setting = {"mixing": {"kind": "leaky_relu", "layers": layers, "slope": 0.2, "width": 8}}
    spec = started(hidden, dims, training={"precision": "float64"}, **setting)
    model, made = build_model(spec, 12), simulation(**setting)
    rng = np.random.default_rng(0)
    latents = [draw_latents(made, "target", 40, rng) for _ in spec.seeds]
    entered = {}
    for block, d in dims.items():
        values = rng.standard_normal((3, 40, d))
        values[..., : DIMS[block]] = np.stack([drawn[block] for drawn in latents])
        entered[block] = torch.from_numpy(values)
    found = model.decode(entered).detach().numpy()
    for e, seed in enumerate(spec.seeds):
        expected = true_decoder(made, seed, ROOT_SEED)(latents[e])
        np.testing.assert_allclose(found[e], expected, atol=1e-12)
    np.testing.assert_allclose(model.likelihood_parameters["log_sd"].detach().exp(), 0.1)


def test_units_to_spare_stay_random_and_can_be_used():
    """Not one of them is dead: with its first step each gets weights that are read."""
    spec = started((20, 20), training={"steps": 3})
    model = build_model(spec, 12)
    last = model.decoder.layers[-1].weight
    assert (last[:, 16:] == 0).all()
    x = simulate(simulation(), spec.seeds, ROOT_SEED)
    x = {s: x[f"x/train/{s}"] for s in spec.model.design.sources}
    after = train(spec, x, [0, 1, 2]).model.decoder.layers[-1].weight
    assert (after[:, 16:].abs().amax(2) > 0).all()


def test_a_held_decoder_stays_while_encoders_learn():
    spec = started(held=0.5, training={"steps": 10})
    x = simulate(simulation(), spec.seeds, ROOT_SEED)
    x = {s: x[f"x/train/{s}"] for s in spec.model.design.sources}
    first = dict(build_model(spec, 12).named_parameters())
    seen = {}

    def watch(step, model, _):
        seen[step] = {name: p.detach().clone() for name, p in model.named_parameters()}
        return False

    every = spec.model_copy(update={"training": spec.training.model_copy(update={"log_every": 1})})
    train(FitSpec.model_validate(every.model_dump()), x, [0, 1, 2], watch=watch)
    for name, start in first.items():
        moved = [not torch.equal(seen[step][name], start) for step in (1, 5, 6)]
        assert moved == ([True] * 3 if name.startswith("encoders") else [False, False, True]), name


def test_a_random_start_is_as_it_was():
    """The option changes no other number: encoders and spare units are those of a random start."""
    plain = fit_spec(dims=DIMS, model={"decoder_hidden": [20, 20]})
    random, true = build_model(plain, 12), build_model(started(), 12)
    for name, value in random.encoders.named_parameters():
        assert torch.equal(value, true.encoders.get_parameter(name))
    assert torch.equal(random.decoder.layers[0].weight[..., 8:], true.decoder.layers[0].weight[..., 8:])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mixing": {"kind": "linear"}}, "mixing leaky_relu of slope 0.2"),
        ({"mixing": {"kind": "leaky_relu", "layers": 2, "slope": 0.1, "width": 8}}, "slope 0.2"),
        ({"noise": {"kind": "poisson", "rate": 5}}, "noise gaussian"),
        ({"decoder_hidden": (8, 15)}, r"decoder_hidden of at least \[8, 16\], got \[8, 15\]"),
        ({"decoder_hidden": ()}, r"decoder_hidden of at least \[8\], got \[\]"),
        ({"dims": {"background": 4, "salient": 3}}, "dims.background of at least 5, got 4"),
    ],
)
def test_what_cannot_start_there_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        started(**changes)


def test_a_setting_is_needed():
    with pytest.raises(ValueError, match="needs a simulation"):
        fit_spec(training={"start": {"kind": "truth", "decoder_held": 0}})


def test_specs_are_read_back():
    spec = started(held=0.25)
    assert FitSpec.model_validate(spec.model_dump(mode="json", exclude_defaults=True)) == spec
