"""Draw the data sets of a simulated setting: all replicates, sources and splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cdgm.config.simulation import Simulation
from cdgm.simulation.mixings.base import Latents, MixingFunction
from cdgm.simulation.noises.base import Noise
from cdgm.utils.random_streams import stream

# Points from which the global output scale is taken; enough that it varies by well under 1 %.
SCALE_POINTS = 20_000


def noise_in(spec: Simulation, source: str) -> Noise:
    """Observation noise of a source."""
    return spec.noise_of.get(source, spec.noise)


def split_blocks(spec: Simulation, source: str, joined: np.ndarray) -> Latents:
    """Each block in decoder order, (..., d): columns of ``joined`` where active in the source, else zero."""
    latents, start = {}, 0
    for block in spec.design.blocks:
        if block in spec.design.active(source):
            latents[block] = joined[..., start : start + spec.dims[block]]
            start += spec.dims[block]
        else:
            latents[block] = np.zeros((*joined.shape[:-1], spec.dims[block]), dtype=joined.dtype)
    return latents


def draw_latents(spec: Simulation, source: str, n: int, rng: np.random.Generator) -> Latents:
    """Latents (n, d) of each block in decoder order: drawn where active, else zero."""
    return split_blocks(spec, source, spec.latents.draw(spec.design, spec.dims, source, n, rng))


def true_decoder(spec: Simulation, seed: int, root: int) -> MixingFunction:
    """The function from latents to signals of one replicate: its mixing, scaled to unit sd.

    It has streams of its own, so it can be drawn again without the data.
    """
    mix = spec.mixing.draw(mixing_stream(seed, root), sum(spec.dims.values()), spec.n_features)
    scale = output_scale(spec, mix, seed, root)
    return lambda latents: scale * mix(latents)


def mixing_stream(seed: int, root: int) -> np.random.Generator:
    """Stream that the weights of a replicate's mixing are drawn from."""
    return stream("simulate", "mixing", seed, root=root)


def output_scale(spec: Simulation, mix: MixingFunction, seed: int, root: int) -> float:
    """Factor that brings a replicate's signal to unit sd."""
    # One global factor brings the signal to unit sd over all sources; per-feature scaling would
    # undo the orthonormal mixing.
    reference = [
        mix(draw_latents(spec, source, SCALE_POINTS, stream("scale", source, seed, root=root)))
        for source in spec.design.sources
    ]
    return float(1.0 / np.concatenate(reference).std())


def simulate_one(spec: Simulation, seed: int, root: int) -> dict[str, np.ndarray]:
    """One replicate: arrays ``x/<split>/<source>`` and ``truth/<split>/<source>/<block>``.

    The mixing, the latents and the noise have streams of their own, so settings that differ in one
    of them share the others: a linear and a leaky ReLU mixing see the same latents.
    """
    decode = true_decoder(spec, seed, root)
    arrays = {}
    for split, sizes in (("train", spec.n_train), ("test", spec.n_test)):
        for source in spec.design.sources:
            latents = draw_latents(
                spec, source, sizes[source], stream("simulate", "latents", split, source, seed, root=root)
            )
            noise = stream("simulate", "noise", split, source, seed, root=root)
            x = noise_in(spec, source).draw(noise, decode(latents))
            arrays[f"x/{split}/{source}"] = x.astype(np.float32)
            for block in spec.design.active(source):
                arrays[f"truth/{split}/{source}/{block}"] = latents[block].astype(np.float32)
    return arrays


def simulate(spec: Simulation, seeds: Sequence[int], root: int) -> dict[str, np.ndarray]:
    """All replicates of a setting, stacked along a leading axis (R, ...), with their ``seeds``."""
    replicates = [simulate_one(spec, seed, root) for seed in seeds]
    arrays = {name: np.stack([arrays[name] for arrays in replicates]) for name in replicates[0]}
    return arrays | {"seeds": np.asarray(seeds, dtype=np.int64)}
