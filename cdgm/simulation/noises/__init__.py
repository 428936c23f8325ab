"""Registry of observation noises of simulations; a new one is a module here and a line in the table."""

from cdgm.utils.registry import Registry

NOISES = Registry(
    "noise",
    {
        "bernoulli": "cdgm.simulation.noises.bernoulli:Bernoulli",
        "gaussian": "cdgm.simulation.noises.gaussian:Gaussian",
        "negative_binomial": "cdgm.simulation.noises.negative_binomial:NegativeBinomial",
        "poisson": "cdgm.simulation.noises.poisson:Poisson",
    },
)
