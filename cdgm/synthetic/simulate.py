"""Draw the data sets of a simulated setting: all replicates, sources and splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field, model_validator

from cdgm.designs import Design
from cdgm.plugins import Strict, field_of
from cdgm.streams import stream
from cdgm.synthetic.mixings import MIXINGS
from cdgm.synthetic.mixings._base import Latents
from cdgm.synthetic.noises import NOISES

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
    n_train, n_test
        Points per source; a mapping where sources differ in size.
    """

    design: Design
    dims: dict[str, int]
    n_features: int = Field(ge=1)
    mixing: field_of(MIXINGS)
    noise: field_of(NOISES)
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
        width = getattr(self.mixing, "width", None)
        if width is not None and not sum(self.dims.values()) <= width <= self.n_features:
            raise ValueError(
                f"mixing width is {width}, an injective mixing needs a value from "
                f"{sum(self.dims.values())} latents to {self.n_features} features"
            )
        return self


def draw_latents(
    design: Design, dims: dict[str, int], source: str, n: int, rng: np.random.Generator
) -> Latents:
    """Latents (n, d) of each block in decoder order: standard normal where active, else zero."""
    active = design.active(source)
    return {
        block: rng.standard_normal((n, dims[block])) if block in active else np.zeros((n, dims[block]))
        for block in design.blocks
    }


def simulate_one(spec: Simulation, seed: int, root: int) -> dict[str, np.ndarray]:
    """One replicate: arrays ``x/<split>/<source>`` and ``truth/<split>/<source>/<block>``.

    The mixing, the latents and the noise have streams of their own, so settings that differ in one
    of them share the others: a linear and a leaky ReLU mixing see the same latents.
    """
    weights = stream("simulate", "mixing", seed, root=root)
    mix = spec.mixing.draw(weights, sum(spec.dims.values()), spec.n_features)
    # One global factor brings the signal to unit sd over all sources; per-feature scaling would
    # undo the orthonormal mixing.
    reference = [
        mix(
            draw_latents(
                spec.design, spec.dims, source, SCALE_POINTS, stream("scale", source, seed, root=root)
            )
        )
        for source in spec.design.sources
    ]
    scale = 1.0 / np.concatenate(reference).std()
    arrays = {}
    for split, sizes in (("train", spec.n_train), ("test", spec.n_test)):
        for source in spec.design.sources:
            latents = draw_latents(
                spec.design, spec.dims, source, sizes[source],
                stream("simulate", "latents", split, source, seed, root=root),
            )  # fmt: skip
            noise = stream("simulate", "noise", split, source, seed, root=root)
            x = spec.noise.draw(noise, scale * mix(latents))
            arrays[f"x/{split}/{source}"] = x.astype(np.float32)
            for block in spec.design.active(source):
                arrays[f"truth/{split}/{source}/{block}"] = latents[block].astype(np.float32)
    return arrays


def simulate(spec: Simulation, seeds: Sequence[int], root: int) -> dict[str, np.ndarray]:
    """All replicates of a setting, stacked along a leading axis (R, ...), with their ``seeds``."""
    replicates = [simulate_one(spec, seed, root) for seed in seeds]
    arrays = {name: np.stack([arrays[name] for arrays in replicates]) for name in replicates[0]}
    return arrays | {"seeds": np.asarray(seeds, dtype=np.int64)}
