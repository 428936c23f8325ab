"""Registry of likelihoods; a new one is a module here and a line in the table."""

from cdgm.utils.registry import Registry

LIKELIHOODS = Registry(
    "likelihood",
    {
        "bernoulli": "cdgm.models.likelihoods.bernoulli:Bernoulli",
        "gaussian": "cdgm.models.likelihoods.gaussian:Gaussian",
        "negative_binomial": "cdgm.models.likelihoods.negative_binomial:NegativeBinomial",
        "poisson": "cdgm.models.likelihoods.poisson:Poisson",
    },
)
