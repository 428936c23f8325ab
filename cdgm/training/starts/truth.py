"""Start at the decoder that the data were drawn with.

A decoder that is wide enough holds a leaky ReLU mixing exactly. Its first layers are the mixing's own; each
further layer passes a value h on as a pair, h = (a(h) - a(-h)) / (1 + slope) for the leaky ReLU a. Units that
the truth does not use keep their random weights, and nothing reads them until training makes use of them.
"""

# Torch's own types are partial (from_numpy).
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from cdgm.config.model import LEAKY_RELU_SLOPE as SLOPE
from cdgm.config.model import ModelSpec
from cdgm.config.simulation import Simulation
from cdgm.training.starts.base import Start

if TYPE_CHECKING:
    from cdgm.models.comparative_vae import ComparativeVAE
    from cdgm.models.stacks import StackedLinear


class Truth(Start):
    """Decoder and noise of the true model; encoders are random.

    Attributes
    ----------
    decoder_held
        See :class:`Start`.
    simulation
        The setting that the data were drawn from; a workflow fills it in.
    """

    kind: Literal["truth"] = "truth"
    simulation: Simulation | None = None

    def of_setting(self, simulation: Simulation | None) -> Truth:
        """See :meth:`Start.of_setting`."""
        return self.model_copy(update={"simulation": simulation})

    def check(self, model: ModelSpec) -> None:
        """See :meth:`Start.check`."""
        if self.simulation is None:
            raise ValueError("start 'truth' needs a simulation: cells have no known truth")
        mixing: Any = self.simulation.mixing
        if mixing.kind != "leaky_relu" or mixing.slope != SLOPE:
            raise ValueError(f"start 'truth' needs a mixing leaky_relu of slope {SLOPE}, got {mixing!r}")
        if self.simulation.noise.kind != "gaussian" or self.simulation.noise_of:
            raise ValueError("start 'truth' needs noise gaussian, the same in all sources")
        if model.likelihood.kind != "gaussian" or model.twist is not None:
            raise ValueError("start 'truth' needs a model with likelihood gaussian and without a twist")
        if model.decoder_activation != "leaky_relu":
            raise ValueError(
                f"start 'truth' needs decoder_activation leaky_relu, got {model.decoder_activation!r}"
            )
        if model.hidden_norm is not None:
            raise ValueError(f"start 'truth' needs a model without hidden_norm, got {model.hidden_norm!r}")
        for block, d in self.simulation.dims.items():
            if model.dims[block] < d:
                raise ValueError(f"start 'truth' needs dims.{block} of at least {d}, got {model.dims[block]}")
        needed = self._units(len(model.decoder_hidden))
        if len(model.decoder_hidden) < mixing.layers - 1 or any(
            width < units for width, units in zip(model.decoder_hidden, needed, strict=True)
        ):
            least = self._units(max(len(model.decoder_hidden), mixing.layers - 1))
            found = list(model.decoder_hidden)
            raise ValueError(f"start 'truth' needs decoder_hidden of at least {least}, got {found}")

    def _units(self, hidden: int) -> list[int]:
        """Units of each hidden layer of a decoder that the truth takes."""
        mixing: Any = cast("Simulation", self.simulation).mixing
        own = mixing.layers - 1
        carried = mixing.width if own else sum(cast("Simulation", self.simulation).dims.values())
        return [mixing.width] * min(own, hidden) + [2 * carried] * max(0, hidden - own)

    def apply(self, model: ComparativeVAE, seeds: Sequence[int], root: int) -> None:
        """See :meth:`Start.apply`."""
        import torch

        from cdgm.simulation.simulate import mixing_stream, output_scale

        simulation = cast("Simulation", self.simulation)
        mixing: Any = simulation.mixing
        sizes = sum(simulation.dims.values()), simulation.n_features
        columns = _columns([(model.spec.dims[b], simulation.dims[b]) for b in model.design.blocks])
        layers = cast("list[StackedLinear]", list(model.decoder.layers))
        with torch.no_grad():
            noise: Any = simulation.noise
            model.likelihood_parameters["log_sd"].fill_(float(np.log(noise.sd)))
            for member, seed in enumerate(seeds):
                *hidden, last = mixing.weights(mixing_stream(seed, root), *sizes)
                mix = mixing.draw(mixing_stream(seed, root), *sizes)
                last = last * output_scale(simulation, mix, seed, root)
                exact = embedded([*hidden, last], len(layers) - 1, mixing.slope)
                for i, (layer, weight) in enumerate(zip(layers, exact, strict=True)):
                    rows = columns if i == 0 else np.arange(len(weight))
                    full, used = layer.weight[member], slice(weight.shape[1])
                    # What the truth does not use must not enter what it does use.
                    full[:, used] = 0.0
                    full[torch.from_numpy(rows), used] = torch.from_numpy(weight).to(full.dtype)
                    layer.bias[member][:, used] = 0.0


def embedded(weights: Sequence[np.ndarray], hidden: int, slope: float) -> list[np.ndarray]:
    """Weights of a leaky ReLU network with ``hidden`` hidden layers that is one of fewer, exactly.

    Parameters
    ----------
    weights
        Weights (in, out) of the network, without biases; at most ``hidden + 1``.
    hidden
        Number of hidden layers wanted.
    slope
        Slope for negative inputs.
    """
    *first, last = weights
    found, read = list(first), np.eye(last.shape[0])
    for _ in range(hidden - len(first)):
        pair = np.concatenate([np.eye(last.shape[0]), -np.eye(last.shape[0])], axis=1)
        found.append(read @ pair)
        read = pair.T / (1.0 + slope)
    return [*found, read @ last]


def _columns(dims: Sequence[tuple[int, int]]) -> np.ndarray:
    """Places of the true latents among the fitted ones, the first of each block, for pairs (fitted, true)."""
    starts = np.cumsum([0, *(fitted for fitted, _ in dims)])
    return np.concatenate(
        [start + np.arange(true) for start, (_, true) in zip(starts[:-1], dims, strict=True)]
    )
