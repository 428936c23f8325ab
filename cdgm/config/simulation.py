"""A simulated setting: true dimensions, mixing, noise, and how many points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from cdgm.config.design import Design
from cdgm.config.value_support import WORDS
from cdgm.utils.registry import Strict, field_of, registry_at

if TYPE_CHECKING:
    from cdgm.simulation.latents.base import LatentDistribution
    from cdgm.simulation.mixings.base import Mixing
    from cdgm.simulation.noises.base import Noise
else:
    LatentDistribution = field_of("cdgm.simulation.latents:LATENTS")
    Mixing = field_of("cdgm.simulation.mixings:MIXINGS")
    Noise = field_of("cdgm.simulation.noises:NOISES")
#: N(0, I), the distribution that models assume.
STANDARD_NORMAL: Any = registry_at("cdgm.simulation.latents:LATENTS").parse({"kind": "standard_normal"})


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
        Distribution of the latents (plug-in); N(0, I), as models assume, if absent.
    n_train, n_test
        Points per source; a mapping where sources differ in size.
    """

    design: Design
    dims: dict[str, Annotated[int, Field(le=10_000)]]
    n_features: int = Field(ge=1, le=1_000_000)
    mixing: Mixing
    noise: Noise
    noise_of: dict[str, Noise] = Field({})
    latents: LatentDistribution = STANDARD_NORMAL
    n_train: dict[str, Annotated[int, Field(le=100_000_000)]]
    n_test: dict[str, Annotated[int, Field(le=100_000_000)]]

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
        mixing: Any = self.mixing
        while mixing is not None:
            if (twist := getattr(mixing, "twist", None)) is not None:
                self.design.check_twist(twist.block, twist.by, self.dims, "twist of the mixing")
            mixing = getattr(mixing, "base", None)
        width = getattr(self.mixing, "width", None)
        if width is not None and not sum(self.dims.values()) <= width <= self.n_features:
            raise ValueError(
                f"mixing width is {width}, an injective mixing needs a value from "
                f"{sum(self.dims.values())} latents to {self.n_features} features"
            )
        return self
