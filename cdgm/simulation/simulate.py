"""Draw the data sets of a simulated setting: all replicates, sources and splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field, model_validator

from cdgm.config.design import Design
from cdgm.config.support import WORDS
from cdgm.simulation.latents import LATENTS
from cdgm.simulation.latents.standard_normal import StandardNormal
from cdgm.simulation.mixings import MIXINGS
from cdgm.simulation.mixings._base import Latents, MixingFunction
from cdgm.simulation.noises import NOISES
from cdgm.simulation.noises._base import Noise
from cdgm.utils.random_streams import stream
from cdgm.utils.registry import Strict, field_of

# Points from which the global output scale is taken; enough that it varies by well under 1 %.
SCALE_POINTS = 20_000


class Simulation(Strict):
    """A simulated setting.

    Attributes
    ----------
    design
        Sources and blocks.
    dims
        True dimension of each block.
    n_features
        Number of observed features.
    mixing, noise
        Mixing function (plug-in) and observation noise (plug-in).
    noise_of
        Noise of single sources (plug-ins) in place of ``noise``; of the same support.
    latents
        Law of the latents (plug-in); N(0, I), as models assume, if absent.
    n_train, n_test
        Points per source; a mapping where sources differ in size.
    """

    design: Design
    dims: dict[str, int]
    n_features: int = Field(ge=1)
    mixing: field_of(MIXINGS)
    noise: field_of(NOISES)
    noise_of: dict[str, field_of(NOISES)] = Field({})
    latents: field_of(LATENTS) = StandardNormal()
    n_train: dict[str, int]
    n_test: dict[str, int]

    @model_validator(mode="after")
    def _check(self) -> Simulation:
        self.design.check_dims(self.dims, "dims of the simulation")
        for key, sizes in (("n_train", self.n_train), ("n_test", self.n_test)):
            if set(sizes) != set(self.design.sources):
                raise ValueError(f"{key} names {sorted(sizes)}, the sources are {list(self.design.sources)}")
            if min(sizes.values()) < 2:
                raise ValueError(f"{key} must be at least 2 in each source")
        if min(self.dims.values()) < 1:
            raise ValueError(f"dims holds {min(self.dims.values())}, expected values of at least 1")
        if self.n_features < sum(self.dims.values()):
            raise ValueError(
                f"n_features is {self.n_features}, an injective mixing of {sum(self.dims.values())} "
                "latents needs at least as many"
            )
        if unknown := sorted(set(self.noise_of) - set(self.design.sources)):
            raise ValueError(f"noise_of names {unknown}, the sources are {list(self.design.sources)}")
        for source, noise in self.noise_of.items():
            if noise.support != self.noise.support:
                raise ValueError(
                    f"noise_of gives {WORDS[noise.support]} in source {source!r}, "
                    f"noise gives {WORDS[self.noise.support]}: all sources need the same"
                )
        self.latents.check(self.design)
        width = getattr(self.mixing, "width", None)
        if width is not None and not sum(self.dims.values()) <= width <= self.n_features:
            raise ValueError(
                f"mixing width is {width}, an injective mixing needs a value from "
                f"{sum(self.dims.values())} latents to {self.n_features} features"
            )
        return self


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
            latents[block] = np.zeros((*joined.shape[:-1], spec.dims[block]))
    return latents


def draw_latents(spec: Simulation, source: str, n: int, rng: np.random.Generator) -> Latents:
    """Latents (n, d) of each block in decoder order: of the simulation's law where active, else zero."""
    return split_blocks(spec, source, spec.latents.draw(spec.design, spec.dims, source, n, rng))


def true_decoder(spec: Simulation, seed: int, root: int) -> MixingFunction:
    """The function from latents to signals of one replicate: its mixing, scaled to unit sd.

    It has streams of its own, so it can be drawn again without the data.
    """
    weights = stream("simulate", "mixing", seed, root=root)
    mix = spec.mixing.draw(weights, sum(spec.dims.values()), spec.n_features)
    # One global factor brings the signal to unit sd over all sources; per-feature scaling would
    # undo the orthonormal mixing.
    reference = [
        mix(draw_latents(spec, source, SCALE_POINTS, stream("scale", source, seed, root=root)))
        for source in spec.design.sources
    ]
    scale = 1.0 / np.concatenate(reference).std()
    return lambda latents: scale * mix(latents)


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
