"""Registry of distributions of latents; a new one is a module here and a line in the table."""

from cdgm.utils.registry import Registry

LATENTS = Registry(
    "distribution of latents",
    {
        "correlated": "cdgm.simulation.latents.correlated:Correlated",
        "heavy_tailed": "cdgm.simulation.latents.heavy_tailed:HeavyTailed",
        "shifted": "cdgm.simulation.latents.shifted:Shifted",
        "standard_normal": "cdgm.simulation.latents.standard_normal:StandardNormal",
    },
)
