"""Registry of laws of latents; a new one is a module here and a line in the table."""

from cdgm.plugins import Registry

LATENTS = Registry(
    "law of latents",
    {
        "correlated": "cdgm.synthetic.latents.correlated:Correlated",
        "heavy_tailed": "cdgm.synthetic.latents.heavy_tailed:HeavyTailed",
        "shifted": "cdgm.synthetic.latents.shifted:Shifted",
        "standard_normal": "cdgm.synthetic.latents.standard_normal:StandardNormal",
    },
)
