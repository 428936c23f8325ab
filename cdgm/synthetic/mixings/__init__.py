"""Registry of mixing functions; a new one is a module here and a line in the table."""

from cdgm.plugins import Registry

MIXINGS = Registry(
    "mixing",
    {
        "linear": "cdgm.synthetic.mixings.linear:Linear",
        "leaky_relu": "cdgm.synthetic.mixings.leaky_relu:LeakyReLU",
        "near_linear": "cdgm.synthetic.mixings.near_linear:NearLinear",
        "twisted": "cdgm.synthetic.mixings.twisted:Twisted",
    },
)
