"""Registry of mixing functions; a new one is a module here and a line in the table."""

from cdgm.utils.registry import Registry

MIXINGS = Registry(
    "mixing",
    {
        "linear": "cdgm.simulation.mixings.linear:Linear",
        "leaky_relu": "cdgm.simulation.mixings.leaky_relu:LeakyReLU",
        "near_linear": "cdgm.simulation.mixings.near_linear:NearLinear",
        "coupling": "cdgm.simulation.mixings.coupling:Coupling",
        "twisted": "cdgm.simulation.mixings.twisted:Twisted",
    },
)
