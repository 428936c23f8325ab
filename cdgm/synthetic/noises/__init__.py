"""Registry of observation noises of simulations; a new one is a module here and a line in the table."""

from cdgm.plugins import Registry

NOISES = Registry(
    "noise",
    {
        "bernoulli": "cdgm.synthetic.noises.bernoulli:Bernoulli",
        "gaussian": "cdgm.synthetic.noises.gaussian:Gaussian",
        "negative_binomial": "cdgm.synthetic.noises.negative_binomial:NegativeBinomial",
        "poisson": "cdgm.synthetic.noises.poisson:Poisson",
    },
)
