"""Layer norm, dropout and weight decay: torch's own layers and AdamW are the oracles."""

import json
import re

import numpy as np
import pytest
import torch
from torch import nn

import cdgm
from cdgm.cli.main import main
from cdgm.config.fit import FitSpec
from cdgm.config.model import LEAKY_RELU_SLOPE
from cdgm.models.checkpoint import load_stack, save_stack
from cdgm.models.inference import held_out_bounds, posterior_means
from cdgm.models.source_data import SourceData
from cdgm.models.stacks import StackedMLP, flatten_parameters, weight_mask
from cdgm.training import loop
from cdgm.training.batches import dropout_masks
from cdgm.training.loop import build_model, train
from cdgm.training.optimiser import FrozenAwareAdam, learning_rates
from cdgm.utils.errors import UserError
from cdgm.workflow.plan import dump
from tests.unit.builders import CONTRASTIVE, THREE_SOURCES, fit_spec, observations, simulation
from tests.unit.test_variants import VARIANTS

BOTH = {"hidden_norm": "layer", "dropout": 0.3}
DECAY = {"optimiser": {"kind": "adam", "weight_decay": 0.5}}
TORCHS = {"leaky_relu": lambda: nn.LeakyReLU(LEAKY_RELU_SLOPE), "silu": nn.SiLU, "tanh": nn.Tanh}


class Masked(nn.Module):
    """Dropout of given units."""

    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self, x):
        return x * self.mask


@pytest.mark.parametrize("activation", TORCHS)
def test_a_network_is_one_of_torchs_layers(activation):
    """Outputs, and gradients by the input and by all parameters, member by member."""
    generator = torch.Generator().manual_seed(0)
    network = StackedMLP(2, 4, (7, 5), 3, activation, "layer").double()
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    x = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    masks = [(torch.rand(2, 6, width, generator=generator) < 0.7).double() / 0.7 for width in (7, 5)]
    by_output = torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)
    places = [(torch.zeros_like(layer.weight), torch.zeros_like(layer.bias)) for layer in network.layers]
    with torch.inference_mode():
        output, trace = network.traced(x, masks=masks)
        by_input = network.pull(trace, by_output.clone(), [(slice(None), places)], to_input=True)
    for e in range(2):
        layers = []
        for i, layer in enumerate(network.layers):
            linear = nn.Linear(*layer.weight.shape[1:], dtype=torch.float64)
            linear.weight.data, linear.bias.data = layer.weight[e].T.clone(), layer.bias[e, 0].clone()
            layers.append(linear)
            if i < 2:
                norm = nn.LayerNorm(linear.out_features, elementwise_affine=False)
                layers += [norm, TORCHS[activation](), Masked(masks[i][e])]
        leaf = x[e].clone().requires_grad_()
        expected = nn.Sequential(*layers)(leaf)
        expected.backward(by_output[e])
        torch.testing.assert_close(output[e], expected.detach())
        torch.testing.assert_close(by_input[e].T, leaf.grad)
        linears = [layer for layer in layers if isinstance(layer, nn.Linear)]
        for (weight, bias), linear in zip(places, linears, strict=True):
            torch.testing.assert_close(weight[e].T, linear.weight.grad)
            torch.testing.assert_close(bias[e, 0], linear.bias.grad)


def test_steps_with_weight_decay_are_those_of_torchs_adamw():
    """Weights decay; biases and parameters of the likelihood do not."""
    spec = fit_spec((0, 1), training={"steps": 20, "clip": 1e9} | DECAY)
    ours, theirs = build_model(spec, 6), build_model(spec, 6)
    flat = flatten_parameters(ours, 2)
    optimiser = FrozenAwareAdam(flat, spec.training, weight_mask(ours))
    named = dict(theirs.named_parameters())
    decaying = {name for name, p in named.items() if ".layers." in name and p.shape[1] > 1}
    assert len(decaying) == 6  # two layers of two encoders and a decoder
    adamw = torch.optim.AdamW(
        [
            {"params": [p for name, p in named.items() if name in decaying], "weight_decay": 0.5},
            {"params": [p for name, p in named.items() if name not in decaying], "weight_decay": 0.0},
        ]
    )
    generator = torch.Generator().manual_seed(0)
    for rate in learning_rates(spec.training):
        for parameter in named.values():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        for group in adamw.param_groups:
            group["lr"] = rate
        gradient = torch.cat([p.grad.flatten(1) for p in named.values()], dim=1)
        adamw.step()
        optimiser.step(gradient, torch.zeros(2))
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter, named[name], msg=name)


@pytest.mark.parametrize("design", [CONTRASTIVE, THREE_SOURCES], ids=["contrastive", "three"])
def test_a_stack_with_all_of_them_equals_separate_fits(design):
    options = {"model": BOTH, "training": {"steps": 40, "precision": "float64"} | DECAY}
    spec = fit_spec((3, 1, 2), design, **options)
    x = observations(spec)
    stack = train(spec, x, [0, 1, 2])
    for member, seed in enumerate(spec.seeds):
        alone = train(fit_spec((seed,), design, **options), x, [member])
        for together, separate in zip(stack.model.parameters(), alone.model.parameters(), strict=True):
            torch.testing.assert_close(together[member], separate[0], rtol=1e-9, atol=1e-9)


def test_the_same_job_twice_gives_equal_numbers_and_each_option_changes_them():
    x = observations(fit_spec())
    found = {}
    for name, model, training in (
        ("none", {}, {}),
        ("norm", {"hidden_norm": "layer"}, {}),
        ("dropout", {"dropout": 0.3}, {}),
        ("decay", {}, DECAY),
    ):
        spec = fit_spec(model=model, training={"steps": 10} | training)
        first, second = (flatten_parameters(train(spec, x, [0, 1, 2]).model, 3) for _ in range(2))
        assert torch.equal(first, second)
        found[name] = first
    assert all((found[name] != found["none"]).any(1).all() for name in ("norm", "dropout", "decay"))


def test_a_dropped_unit_has_rate_and_scale():
    width = 50
    streams = {("decoder", 0): [[np.random.default_rng((s, e)) for e in range(2)] for s in range(3)]}
    for rate in (0.1, 0.5):
        masks = dropout_masks(streams, {("decoder", 0): width}, rate, 100, torch.float64)
        (mask,) = next(masks)["decoder"]
        assert mask.shape == (2, 300, width)
        torch.testing.assert_close(mask.unique(), torch.tensor([0.0, 1 / (1 - rate)], dtype=torch.float64))
        assert abs((mask == 0).double().mean(dim=(1, 2)) - rate).max() < 0.02
        assert not torch.equal(mask[0], mask[1])


def test_what_a_small_rate_drops_a_larger_one_drops_too_and_rows_keep_their_masks():
    """Also where encoders look at inactive blocks: rows of one source come first, others are more."""
    found = {}
    for rate in (0.1, 0.4):
        for inactive in (False, True):
            spec = fit_spec(model={"dropout": rate})
            layers = loop.dropout_streams(spec, build_model(spec, 6), inactive)
            streams = {layer: of_layer for layer, (_, of_layer) in layers.items()}
            widths = {layer: width for layer, (width, _) in layers.items()}
            found[rate, inactive] = next(dropout_masks(streams, widths, rate, 16, torch.float32))
    assert list(found[0.1, True]) == ["encoders.background", "encoders.salient", "decoder"]
    small, large = found[0.1, True], found[0.4, True]
    for network in small:
        assert (large[network][0][small[network][0] == 0] == 0).all()
    assert torch.equal(found[0.1, False]["encoders.salient"][0], small["encoders.salient"][0][:, 16:])
    assert torch.equal(found[0.1, False]["decoder"][0], small["decoder"][0])


def test_nothing_is_dropped_outside_of_training():
    spec = fit_spec(model=BOTH, training={"steps": 5})
    x = observations(spec)
    model = train(spec, x, [0, 1, 2]).model
    plain = build_model(fit_spec(model={"hidden_norm": "layer"}), 6)
    for own, other in zip(plain.parameters(), model.parameters(), strict=True):
        own.data = other.data
    for source in x:
        ours, expected = (posterior_means(m, x[source], [0, 1, 2], source) for m in (model, plain))
        for block in ours:
            np.testing.assert_array_equal(ours[block], expected[block])
    bounds = [
        held_out_bounds(m, x, [0, 1, 2], [np.random.default_rng(e) for e in range(3)], 2)[0]
        for m in (model, plain)
    ]
    for source in x:
        np.testing.assert_array_equal(bounds[0][source], bounds[1][source])


def test_a_second_batch_for_weights_has_masks_of_its_own():
    spec = fit_spec(model=BOTH, variant=VARIANTS["mo-cvae-512-rows"], training={"steps": 3})
    x = observations(spec)
    model = build_model(spec, 6)
    data = {s: SourceData(x[s], [0, 1, 2], model.likelihood, torch.float32) for s in x}
    first, second = (
        next(loop._batches(spec, model, data, False, rows, *names))[0].masks
        for rows, *names in ((16,), (512, "weights"))
    )
    for network in ("encoders.background", "decoder"):
        assert first[network][0].shape == (3, 32, 8)
        assert second[network][0].shape == (3, 1024, 8)
        assert not torch.equal(first[network][0][:, :16], second[network][0][:, :16])
    assert train(spec, x, [0, 1, 2]).finite.all()


def test_a_layer_norm_does_not_notice_the_scale_of_a_hidden_layer():
    """So it is the norm that is there, in encoders and in the decoder."""
    model = build_model(fit_spec(model={"hidden_norm": "layer"}, training={"precision": "float64"}), 6)
    x = torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 9
    before = model.block_means(x, "target")
    latents = {block: mean.clone() for block, mean in before.items()}
    decoded = model.decode(latents)
    with torch.no_grad():
        for network in (*model.encoders.values(), model.decoder):
            network.layers[0].weight *= 50
            network.layers[0].bias *= 50
    for block, mean in model.block_means(x, "target").items():
        torch.testing.assert_close(mean, before[block], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.decode(latents), decoded, rtol=1e-3, atol=1e-3)


def test_a_stack_is_saved_and_loaded_with_its_norm(tmp_path):
    spec = fit_spec(model=BOTH, training={"steps": 5} | DECAY)
    x = observations(spec)
    trained = train(spec, x, [0, 1, 2])
    save_stack(tmp_path / "stack.npz", trained.model, trained.finite)
    again = FitSpec.model_validate_json(json.dumps(dump(spec)))
    assert again == spec
    loaded, _ = load_stack(tmp_path / "stack.npz", again)
    for block, mean in posterior_means(loaded, x["target"], [0, 1, 2], "target").items():
        found = posterior_means(trained.model, x["target"], [0, 1, 2], "target")[block]
        np.testing.assert_array_equal(mean, found)


def test_a_fit_without_them_is_written_as_before():
    written = fit_spec().model_dump(mode="json")
    assert not {"hidden_norm", "dropout"} & set(written["model"])
    assert set(written["training"]["optimiser"]) == {"kind", "betas", "eps"}


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {source: rng.standard_normal((60, 5)) for source in ("healthy", "ill")}


def test_the_estimator_takes_saves_and_loads_them(arrays, tmp_path):
    options = {"variant": "cvae", "n_background": 2, "n_salient": 2, "n_members": 2}
    model = cdgm.ComparativeModel.from_arrays(arrays, model=BOTH, **options)
    model.train(20, weight_decay=0.5, progress_bar=False)
    assert model.ensemble.spec.training.optimiser.weight_decay == 0.5
    model.save(tmp_path / "model")
    loaded = cdgm.ComparativeModel.load(tmp_path / "model", arrays)
    assert loaded.model_spec.hidden_norm == "layer"
    assert loaded.model_spec.dropout == 0.3
    for block in ("background", "salient"):
        np.testing.assert_array_equal(
            loaded.get_latent_representation(block, source="ill"),
            model.get_latent_representation(block, source="ill"),
        )


def test_the_command_line_takes_them(arrays, tmp_path):
    np.savez(tmp_path / "arrays.npz", **arrays)
    words = "--decoder-hidden 8 --hidden-norm layer --dropout 0.3 --weight-decay 0.5"
    words += " --max-steps 5 --members 1 --map pca"
    data, out = str(tmp_path / "arrays.npz"), str(tmp_path / "fit")
    main(["fit", data, "--background", "healthy", "--variant", "cvae", *words.split(), "--out", out])
    loaded = cdgm.ComparativeModel.load(tmp_path / "fit" / "model", arrays)
    assert loaded.model_spec.decoder_hidden == (8,)
    assert (loaded.model_spec.hidden_norm, loaded.model_spec.dropout) == ("layer", 0.3)
    assert loaded.ensemble.spec.training.optimiser.weight_decay == 0.5


@pytest.mark.parametrize(
    ("model", "training", "message"),
    [
        ({"dropout": 1.0}, {}, "model: dropout: got 1.0, expected less than or equal to 0.9"),
        ({"dropout": -0.1}, {}, "model: dropout: got -0.1, expected greater than or equal to 0"),
        ({"hidden_norm": "batch"}, {}, "model: hidden_norm: got 'batch', expected 'layer'"),
        ({}, {"weight_decay": -1}, "weight_decay: got -1, expected greater than or equal to 0"),
        ({}, {"weight_decay": 500}, "weight_decay times learning_rate is 2, expected less than 1"),
        ({}, {"weight_decay": "much"}, "weight_decay: got 'much', expected a valid number"),
    ],
)
def test_bad_values_are_one_line(arrays, model, training, message):
    def fit():
        made = cdgm.ComparativeModel.from_arrays(arrays, variant="cvae", model=model)
        made.train(5, progress_bar=False, **training)

    with pytest.raises(UserError, match=re.escape(message)) as caught:
        fit()
    assert "\n" not in str(caught.value)


def test_a_start_at_the_truth_is_refused_with_a_norm():
    start = {"kind": "truth", "decoder_held": 0.1, "simulation": simulation().model_dump(mode="json")}
    dims = {"background": 5, "salient": 3}
    options = {"hidden_norm": "layer", "decoder_hidden": [64, 64]}
    with pytest.raises(ValueError, match="start 'truth' needs a model without hidden_norm, got 'layer'"):
        fit_spec(dims=dims, model=options, training={"start": start})
